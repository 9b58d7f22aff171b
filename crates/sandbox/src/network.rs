//! Network namespaces: a loopback interface, the daemon's listeners, and what `egress` puts behind it.

use crate::{
    PLATFORM, RUNTIME_API, TRACES,
    egress::{self, Context, Doors},
    sys,
};
use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketType},
    thread::LinkNameSpaceType,
};
use std::{
    io,
    net::{SocketAddrV4, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
};

/// A network namespace with the listeners bound inside. Vanishes with its last process, socket and descriptor.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) namespace: Arc<OwnedFd>,
    pub(crate) runtime_api: TcpListener,
    /// Unless sandboxes reach nothing at all.
    pub(crate) platform: Option<TcpListener>,
    /// There if `platform` is.
    pub(crate) traces: Option<UdpSocket>,
    doors: Ways,
}

/// Where sandboxes reach the internet: its ways out.
#[derive(Debug)]
enum Ways {
    None,
    Here(Doors),
    /// A relay has them; if it does not give them back, the namespace has no further use.
    Lent,
}

/// What every namespace of a node has besides the Runtime API.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Internet(Arc<Context>),
    PlatformOnly,
    Nothing,
}

/// The network namespace of the calling thread.
pub(crate) fn current() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())?)
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(namespace: &OwnedFd) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// A network namespace without use of its own, from which the others are made: those have small tables of sockets of
/// their own then, instead of a part of the machine's. Looking through the machine's takes milliseconds.
#[derive(Debug)]
pub(crate) struct Nursery(OwnedFd);

impl Nursery {
    /// Makes it and leaves the calling thread in it.
    pub(crate) fn make() -> io::Result<Nursery> {
        sys::unshare(libc::CLONE_NEWNET)?;
        // Absent before Linux 6.1 and 6.2: then cleaning just takes longer.
        let _ = std::fs::write("/proc/sys/net/ipv4/tcp_child_ehash_entries", "256");
        let _ = std::fs::write("/proc/sys/net/ipv4/udp_child_hash_entries", "128");
        Ok(Nursery(current()?))
    }
}

impl Network {
    /// Makes one and leaves the calling thread in it: for a thread that does nothing else.
    pub(crate) fn make(nursery: &Nursery, kind: &Kind) -> io::Result<Network> {
        enter(&nursery.0)?;
        sys::unshare(libc::CLONE_NEWNET)?;
        raise_loopback()?;
        let listen = |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        let (platform, doors) = match kind {
            Kind::Internet(context) => (Some(listen(PLATFORM)?), Ways::Here(Doors::make(&context.plan)?)),
            Kind::PlatformOnly => (Some(listen(PLATFORM)?), Ways::None),
            Kind::Nothing => (None, Ways::None),
        };
        let traces = match kind {
            Kind::Internet(_) | Kind::PlatformOnly => {
                let socket = UdpSocket::bind(TRACES)?;
                socket.set_nonblocking(true)?;
                Some(socket)
            }
            Kind::Nothing => None,
        };
        let namespace = Arc::new(current()?);
        Ok(Network { namespace, runtime_api: listen(RUNTIME_API)?, platform, traces, doors })
    }

    /// Its ways out, for a relay. `None` where there are none, and the second time.
    pub(crate) fn lend_doors(&mut self) -> Option<Doors> {
        match std::mem::replace(&mut self.doors, Ways::Lent) {
            Ways::Here(doors) => Some(doors),
            other @ (Ways::None | Ways::Lent) => {
                self.doors = other;
                None
            }
        }
    }

    /// The ways out that were lent.
    pub(crate) fn take_back(&mut self, doors: Doors) {
        self.doors = Ways::Here(doors);
    }

    /// Whether nothing of an earlier sandbox is left in it, so that the next one can have it: no socket but the daemon's
    /// own, nothing waiting on them. Moves the calling thread into it.
    pub(crate) fn is_clean(&mut self) -> io::Result<bool> {
        for listener in [Some(&self.runtime_api), self.platform.as_ref()].into_iter().flatten() {
            refuse_waiting(listener)?;
        }
        enter(&self.namespace)?;
        let mut own = 1 + usize::from(self.platform.is_some()) + usize::from(self.traces.is_some());
        if let Some(traces) = &self.traces {
            forget_waiting(traces)?;
        }
        match &mut self.doors {
            Ways::None => {}
            Ways::Here(doors) => {
                doors.clear()?;
                own += Doors::SOCKETS;
            }
            Ways::Lent => return Ok(false),
        }
        let mut sockets = 0;
        for table in ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "packet", "unix"] {
            let text = match std::fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            sockets += text.lines().skip(1).filter(|line| table != "tcp" || !is_over(line)).count();
        }
        Ok(sockets == own)
    }
}

/// Brings the loopback interface of the calling thread's namespace up.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sys::loopback_up(socket.as_fd())
}

/// Closes the connections that wait to be accepted.
pub(crate) fn refuse_waiting(listener: &TcpListener) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether a line of `/proc/net/tcp` is of a connection that has ended and only keeps its port, which is none that the next
/// sandbox may want: of one with the daemon, or with somebody outside. Source: proc(5), `TCP_TIME_WAIT` is 6.
fn is_over(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (Some(local), Some(remote), Some("06")) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Some(local), Some(remote)) = (address(local), address(remote)) else { return false };
    let daemon = |end: SocketAddrV4| [RUNTIME_API.port(), PLATFORM.port()].contains(&end.port());
    let inside = |end: SocketAddrV4| end.ip().is_loopback() || *end.ip() == egress::OWN;
    daemon(local) || daemon(remote) || !inside(local) || !inside(remote)
}

/// As the kernel prints it: the address as a number of this machine, the port, both hexadecimal.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    Some(SocketAddrV4::new(ip.into(), u16::from_str_radix(port, 16).ok()?))
}

/// Throws away the datagrams that nobody took.
pub(crate) fn forget_waiting(socket: &UdpSocket) -> io::Result<()> {
    loop {
        match socket.recv_from(&mut [0]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ended_connections_from_live_ones_and_from_those_that_keep_a_port() {
        let line = |local: &str, remote: &str, state: &str| {
            format!(
                "   1: {local} {remote} {state} 00000000:00000000 03:00001770 00000000     0        0 0 3"
            )
        };
        let loopback = |local: &str, remote: &str, state: &str| {
            let hex = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
            line(&format!("{hex}:{local}"), &format!("{hex}:{remote}"), state)
        };
        assert!(is_over(&loopback("2329", "A2B4", "06")));
        assert!(is_over(&loopback("A2B4", "11D6", "06")));
        assert!(!is_over(&loopback("2329", "A2B4", "08")));
        assert!(!is_over(&loopback("1F90", "A2B4", "06")));
        let (own, outside) =
            [egress::OWN.octets(), [8, 8, 8, 8]].map(|ip| format!("{:08X}", u32::from_ne_bytes(ip))).into();
        assert!(is_over(&line(&format!("{own}:A2B4"), &format!("{outside}:01BB"), "06")));
        assert!(!is_over(&line(&format!("{own}:A2B4"), &format!("{own}:1F90"), "06")));
        assert!(!is_over("") && !is_over("  sl  local_address rem_address   st"));
    }
}
