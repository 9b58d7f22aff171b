//! The queue in which first packets of connections wait for the daemon. Source: linux/netfilter/nfnetlink_queue.h.

use super::netlink::{self, Messages};
use rustix::net::netlink::NETFILTER;
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
};

const PART: u16 = 3 << 8;
const PACKET: u16 = PART;
const VERDICT: u16 = PART | 1;
const CONFIGURE: u16 = PART | 2;
/// Headers of the packet that are looked at; the longest that there can be.
const COPIED: u32 = 120;
/// Packets that wait at most; more are dropped, and sent again by the kernel inside.
const WAITING_MAX: u32 = 512;
/// The family `ip` and, for the queue's own messages, its number 0.
const HEADER: [u8; 4] = [2, 0, 0, 0];

/// Opens the queue of the calling thread's network namespace. What waited in an earlier one is dropped.
pub(super) fn open() -> io::Result<OwnedFd> {
    let socket = netlink::open(Some(NETFILTER))?;
    let mut all = Messages::default();
    all.add(CONFIGURE, 0, &HEADER, |body| body.bytes(1, &[1, 0, 0, 2])); // bind
    let [a, b, c, d] = COPIED.to_be_bytes();
    all.add(CONFIGURE, 0, &HEADER, |body| {
        body.bytes(2, &[a, b, c, d, 2]); // copy packets
        body.number(3, WAITING_MAX);
    });
    all.exchange(&socket)?;
    Ok(socket)
}

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// Its number in the queue.
    pub(super) number: u32,
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
}

/// What becomes of a waiting packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Goes through the rules again with this mark.
    Marked(u32),
    Dropped,
}

/// What a buffer from the queue holds: numbers of packets, with their addresses where they are readable.
pub(super) fn packets(bytes: &[u8]) -> impl Iterator<Item = (u32, Option<First>)> {
    netlink::messages(bytes).filter(|(kind, _)| *kind == PACKET).filter_map(|(_, body)| {
        let (mut number, mut packet) = (None, None);
        for (kind, value) in netlink::attributes(body.get(HEADER.len()..)?) {
            match kind {
                1 => number = value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)),
                10 => packet = addresses(value),
                _ => {}
            }
        }
        let number = number?;
        Some((number, packet.map(|(from, to)| First { number, from, to })))
    })
}

/// Sender and receiver of a TCP packet. Source: RFC 791, RFC 9293.
fn addresses(packet: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != 6 {
        return None;
    }
    let address = |at: usize| packet.get(at..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes));
    let port = |at: usize| packet.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes));
    let from = SocketAddrV4::new(address(12)?, port(header)?);
    Some((from, SocketAddrV4::new(address(16)?, port(header + 2)?)))
}

/// Tells the kernel what becomes of a packet.
pub(super) fn decide(queue: impl AsFd, number: u32, fate: Fate) -> io::Result<()> {
    const DROP: u32 = 0;
    const REPEAT: u32 = 4;
    let mut all = Messages::default();
    all.add_unanswered(VERDICT, 0, &HEADER, |body| {
        let (verdict, mark) = match fate {
            Fate::Marked(mark) => (REPEAT, Some(mark)),
            Fate::Dropped => (DROP, None),
        };
        let mut value = verdict.to_be_bytes().to_vec();
        value.extend(number.to_be_bytes());
        body.bytes(2, &value);
        if let Some(mark) = mark {
            body.number(3, mark);
        }
    });
    all.send(queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn syn(options: usize) -> Vec<u8> {
        let words = 5 + u8::try_from(options).unwrap();
        let mut packet = vec![0x40 | words, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 0, 2, 203, 0, 113, 7];
        packet.extend(vec![0; options * 4]);
        packet.extend([0x9c, 0x40, 0x01, 0xbb]);
        packet.extend([0; 16]);
        packet
    }

    #[test]
    fn addresses_of_a_packet_are_read() {
        for options in [0, 3] {
            let (from, to) = addresses(&syn(options)).unwrap();
            assert_eq!(
                (from.to_string(), to.to_string()),
                ("192.0.0.2:40000".into(), "203.0.113.7:443".into())
            );
        }
        let mut other = syn(0);
        other[9] = 17;
        assert_eq!(addresses(&other), None, "UDP");
        assert_eq!(addresses(&syn(0)[..22]), None, "cut off");
    }

    #[test]
    fn a_packet_that_cannot_be_read_still_has_its_number() {
        let mut all = Messages::default();
        all.add_unanswered(PACKET, 0, &HEADER, |body| {
            body.bytes(1, &[0, 0, 0, 9, 8, 0, 3]);
            body.bytes(10, &[0x60]);
        });
        all.add_unanswered(PACKET, 0, &HEADER, |body| {
            body.bytes(1, &[0, 0, 0, 10, 8, 0, 3]);
            body.bytes(10, &syn(0));
        });
        let bytes = all.bytes();
        let read: Vec<_> = packets(bytes).map(|(number, first)| (number, first.is_some())).collect();
        assert_eq!(read, [(9, false), (10, true)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_packets_or_not(bytes: Vec<u8>) {
            let _ = packets(&bytes).count();
            let _ = addresses(&bytes);
        }
    }
}
