//! What the relays of a node share.

use super::{Plan, Ranges, names};
use crate::network;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, atomic::AtomicUsize, mpsc},
};
use tokio::sync::{Semaphore, oneshot};

/// Of the connections and conversations of one node together, as a part of the descriptors that it may have: each takes two
/// of them, and the rest is for everything else.
const PART_OF_DESCRIPTORS: u64 = 4;
/// The same, at most: each connection has buffers of 16 KiB in the daemon's memory.
const PLACES_MAX: usize = 16_384;

/// Shared by all relays of a node.
#[derive(Debug)]
pub(crate) struct Context {
    pub(super) ranges: Ranges,
    pub(crate) plan: Plan,
    /// One for each connection or conversation.
    pub(super) places: Arc<Semaphore>,
    /// Which resolver answered last.
    pub(super) preferred: AtomicUsize,
    maker: mpsc::Sender<Wish>,
    /// The host lets programs bind addresses that are not its own.
    binds_any: bool,
}

/// A socket in a namespace, wanted by a relay.
struct Wish {
    namespace: OwnedFd,
    address: SocketAddrV4,
    give: oneshot::Sender<io::Result<UdpSocket>>,
}

impl Context {
    /// Starts the thread that makes sockets in namespaces; it ends with the context.
    pub(crate) fn start(ranges: Ranges, plan: Plan) -> io::Result<Arc<Context>> {
        let (maker, wishes) = mpsc::channel::<Wish>();
        std::thread::Builder::new().name("neap-egress".into()).spawn(move || {
            for wish in wishes {
                let made = (|| {
                    network::enter(&wish.namespace)?;
                    let socket = rustix::net::socket_with(
                        AddressFamily::INET,
                        SocketType::DGRAM,
                        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                        None,
                    )?;
                    // Several programs inside may talk with one address.
                    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
                    rustix::net::bind(&socket, &wish.address)?;
                    Ok(UdpSocket::from(socket))
                })();
                let _ = wish.give.send(made);
            }
        })?;
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let places = descriptors.unwrap_or(u64::MAX) / PART_OF_DESCRIPTORS;
        let places = usize::try_from(places).unwrap_or(usize::MAX).clamp(16, PLACES_MAX);
        let binds_any = std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind")
            .is_ok_and(|text| text.trim() != "0");
        let places = Arc::new(Semaphore::new(places));
        Ok(Arc::new(Context { ranges, plan, places, preferred: AtomicUsize::new(0), maker, binds_any }))
    }

    /// A socket in a namespace, bound to an address there.
    pub(super) async fn socket(&self, namespace: OwnedFd, address: SocketAddrV4) -> io::Result<UdpSocket> {
        let (give, given) = oneshot::channel();
        let gone = |_| io::Error::other("the thread that makes sockets is gone");
        self.maker.send(Wish { namespace, address, give }).map_err(|error| gone(error.to_string()))?;
        given.await.map_err(|error| gone(error.to_string()))?
    }

    /// Whether a sandbox may reach an address: by the ranges, and because it is not this host's own.
    pub(super) fn permit(&self, address: Ipv4Addr) -> bool {
        self.ranges.permit(address) && !is_own(address, self.binds_any)
    }

    /// Whom the host asks for names now, in order; the first is asked first.
    pub(super) fn resolvers(&self) -> Vec<SocketAddr> {
        names::resolvers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }
}

/// Whether an address is this host's own now: it can be bound, and what is sent to it goes out from it. Where programs may bind
/// any address (`binds_any`), only the second says something.
fn is_own(address: Ipv4Addr, binds_any: bool) -> bool {
    let bound = || UdpSocket::bind(SocketAddrV4::new(address, 0)).is_ok();
    let looped = || {
        let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(SocketAddrV4::new(address, 9))?;
        Ok::<_, io::Error>(socket.local_addr()?.ip() == address)
    };
    (!binds_any && bound()) || looped().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_addresses_are_recognised() {
        for binds_any in [false, true] {
            assert!(is_own(Ipv4Addr::LOCALHOST, binds_any));
            assert!(!is_own(Ipv4Addr::new(203, 0, 113, 99), binds_any));
        }
    }
}
