//! Network namespaces: a loopback interface, the daemon's listeners, nothing else.

use crate::{PLATFORM, RUNTIME_API, sys};
use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketType},
    thread::LinkNameSpaceType,
};
use std::{io, net::TcpListener, os::fd::OwnedFd};

/// A network namespace with the listeners bound inside. Vanishes with its last process, socket and descriptor.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) namespace: OwnedFd,
    pub(crate) runtime_api: TcpListener,
    pub(crate) platform: TcpListener,
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
    pub(crate) fn make(nursery: &Nursery) -> io::Result<Network> {
        enter(&nursery.0)?;
        sys::unshare(libc::CLONE_NEWNET)?;
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        sys::loopback_up(socket.as_fd())?;
        let listen = |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        Ok(Network { namespace: current()?, runtime_api: listen(RUNTIME_API)?, platform: listen(PLATFORM)? })
    }

    /// Whether nothing of an earlier sandbox is left in it, so that the next one can have it: no socket but the two
    /// listeners, no connection waiting on them. Moves the calling thread into it.
    pub(crate) fn is_clean(&self) -> io::Result<bool> {
        for listener in [&self.runtime_api, &self.platform] {
            loop {
                match listener.accept() {
                    Ok(_) => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        enter(&self.namespace)?;
        let mut sockets = 0;
        for table in ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "packet", "unix"] {
            let text = match std::fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            sockets += text.lines().skip(1).filter(|line| table != "tcp" || !is_time_wait(line)).count();
        }
        Ok(sockets == 2)
    }
}

/// Whether a line of `/proc/net/tcp` is of a connection that has ended and only keeps its port. Source: proc(5),
/// `TCP_TIME_WAIT` is 6.
fn is_time_wait(line: &str) -> bool {
    line.split_whitespace().nth(3) == Some("06")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ended_connections_from_live_ones() {
        let line = |state: &str| {
            format!(
                "   1: 0100007F:2329 0100007F:A2B4 {state} 00000000:00000000 03:00001770 00000000     0        0 0 3"
            )
        };
        assert!(is_time_wait(&line("06")));
        assert!(!is_time_wait(&line("08")));
    }
}
