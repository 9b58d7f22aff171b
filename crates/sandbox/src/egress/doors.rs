//! A network namespace's ways out: its addresses and rules, and the daemon's sockets behind them.

use super::{
    ARRIVAL, DNS, NAMESERVER, Ranges, netlink,
    netlink::Messages,
    queue,
    rules::{self, Queueing},
};
use crate::{network, sys};
use rustix::net::netlink::NETFILTER;
use std::{
    io,
    net::{SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd},
};

/// What is told to the kernel for each new namespace; made once.
#[derive(Debug)]
pub(crate) struct Plan {
    addresses: Messages,
    table: Messages,
}

impl Plan {
    fn new(ranges: &Ranges, queueing: Queueing) -> Plan {
        Plan { addresses: rules::addresses(ranges), table: rules::table(queueing) }
    }
}

/// The sockets of one namespace, all non-blocking.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Connections arrive here; each has the address that was asked for as its local one.
    pub(super) connections: TcpListener,
    /// Datagrams arrive here.
    pub(super) datagrams: UdpSocket,
    /// What answers to questions for names are sent from.
    pub(super) names: UdpSocket,
    /// First packets of connections wait here.
    pub(super) queue: OwnedFd,
}

impl Doors {
    /// Sockets of the internet families that it keeps in its namespace.
    pub(crate) const SOCKETS: usize = 3;

    /// Makes them in the calling thread's network namespace, whose loopback interface is up.
    pub(crate) fn make(plan: &Plan) -> io::Result<Doors> {
        let at = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        plan.addresses.exchange(netlink::open(None)?).map_err(at("addresses and routes"))?;
        plan.table
            .exchange(netlink::open(Some(NETFILTER))?)
            .map_err(at("packet filter rules (nf_tables with tproxy and reject)"))?;
        let arrival = SocketAddrV4::new(NAMESERVER, ARRIVAL);
        let connections = TcpListener::bind(arrival)?;
        connections.set_nonblocking(true)?;
        sys::enable_ip_option(connections.as_fd(), libc::IP_TRANSPARENT)
            .map_err(at("transparent sockets"))?;
        let datagrams = UdpSocket::bind(arrival)?;
        datagrams.set_nonblocking(true)?;
        for option in [libc::IP_TRANSPARENT, libc::IP_RECVORIGDSTADDR] {
            sys::enable_ip_option(datagrams.as_fd(), option).map_err(at("transparent sockets"))?;
        }
        let names = UdpSocket::bind(SocketAddrV4::new(NAMESERVER, DNS))?;
        names.set_nonblocking(true)?;
        let queue = queue::open().map_err(at("a queue of packets (nfnetlink_queue)"))?;
        Ok(Doors { connections, datagrams, names, queue })
    }

    /// Throws away what an earlier sandbox sent and nobody took. The calling thread is in the namespace.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        network::refuse_waiting(&self.connections)?;
        let mut byte = [0];
        for socket in [&self.datagrams, &self.names] {
            loop {
                match socket.recv_from(&mut byte) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        // Closed first: a namespace has one queue of a number.
        self.queue = netlink::open(None)?;
        self.queue = queue::open()?;
        Ok(())
    }
}

/// The plan that works on this kernel for this process, or what is lacking: tries it in a namespace that is thrown away. Leaves
/// the calling thread in one.
pub(crate) fn probe(ranges: &Ranges) -> io::Result<Plan> {
    let attempt = |queueing| {
        sys::unshare(libc::CLONE_NEWNET)?;
        network::raise_loopback()?;
        let plan = Plan::new(ranges, queueing);
        Doors::make(&plan).map(|_| plan)
    };
    attempt(Queueing::Native).or_else(|_| attempt(Queueing::Compatible))
}
