//! What a sandbox reaches beyond itself, and how: nothing leaves its network namespace but what the daemon carries.
//!
//! A namespace has a loopback interface and no other, so no packet of a function ever enters the host's network: there is no
//! bridge, no forwarding, no address translation, nothing of the host's that is changed or has to be put back, and nothing that
//! needs root. Routes inside lead every address that may be reached to that interface; three rules inside hand what arrives
//! there to sockets of the daemon, which opens a connection of its own to the same address and passes the bytes on.
//!
//! - TCP: the first packet of a connection waits in a queue until the daemon's own connection stands, was refused or found
//!   no way; then it is let in, refused or answered as unreachable. So a program inside learns what it would learn without a
//!   relay between.
//! - UDP: each datagram is sent from a socket of the daemon's that belongs to the pair of addresses; answers come back from
//!   the address that was asked.
//! - Names: [`NAMESERVER`] inside is whatever the host asks at that moment.
//!
//! What may not be reached has a route that says so ([`Ranges`]): the program is refused at once. The daemon looks again at
//! every address, and knows what no table can: which addresses are the host's own.

mod context;
mod datagrams;
mod direct;
mod doors;
mod names;
mod netlink;
mod queue;
mod ranges;
mod relay;
mod rules;

pub(crate) use context::Context;
pub use direct::{NotConnected, Place};
pub(crate) use doors::{Doors, Plan, probe};
pub use ranges::{Network, Ranges};
pub(crate) use relay::Relay;

use std::net::Ipv4Addr;

/// The address of every sandbox, of its own namespace only. Source: RFC 7335, addresses for use within one machine.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// Where programs inside ask for names.
pub(crate) const NAMESERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// Of the name service.
const DNS: u16 = 53;
/// Where what is handed to the daemon arrives, at [`NAMESERVER`]: a port that no program inside may use, since it is below
/// 1,024.
const ARRIVAL: u16 = 1;

/// The parsers of bytes that come from sandboxes, for `fuzz/`.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    /// Whether a message asks for one name and does nothing else.
    pub fn is_question(message: &[u8]) -> bool {
        super::names::is_question(message)
    }

    /// How many packets a buffer from the kernel's queue holds, and of how many the addresses can be read.
    pub fn packets(buffer: &[u8]) -> (usize, usize) {
        let all: Vec<_> = super::queue::packets(buffer).collect();
        (all.len(), all.iter().filter(|(_, first)| first.is_some()).count())
    }
}
