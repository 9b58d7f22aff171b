//! Messages to the kernel's network configuration. Source: netlink(7).

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Message flags.
pub(super) const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;
/// Attribute flag: its value is attributes.
const NESTED: u16 = 0x8000;
/// Kind of an answer that is an error or, with number 0, an acknowledgement.
const ERROR: u16 = 2;
const HEADER: usize = 16;

/// Opens a socket to one of the kernel's parts, in the calling thread's network namespace. Non-blocking.
pub(super) fn open(part: Option<Protocol>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, part)?)
}

/// Messages that are sent together.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Of the messages that the kernel acknowledges.
    waited: u32,
}

impl Messages {
    /// Adds one that the kernel acknowledges. `header`: the part's own, a multiple of four bytes.
    pub(super) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.waited += 1;
        self.add_unanswered(kind, flags | ACKNOWLEDGE, header, body);
    }

    /// Adds one that the kernel says nothing to when it succeeds.
    pub(super) fn add_unanswered(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // Sequence number and sender: the kernel answers on the same socket, in order.
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        body(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Sends them and reads the kernel's answers, which are there when the send returns; the first refusal is the error.
    pub(super) fn exchange(&self, socket: impl AsFd) -> io::Result<()> {
        self.send(&socket)?;
        let mut answers = [0; 16 * 1024];
        let mut left = self.waited;
        while left > 0 {
            let length = match rustix::net::recv(&socket, &mut answers, RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for (kind, body) in messages(answers.get(..length).unwrap_or_default()) {
                match (kind, number(body)) {
                    (ERROR, Some(0)) => left = left.saturating_sub(1),
                    (ERROR, Some(code)) => return Err(io::Error::from_raw_os_error(code.wrapping_neg())),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends them.
    pub(super) fn send(&self, socket: impl AsFd) -> io::Result<()> {
        rustix::net::send(&socket, &self.bytes, SendFlags::empty())?;
        Ok(())
    }
}

/// The attributes of one message.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A text as this kernel interface writes it, with a zero at the end.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A number in the network's order.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let mut inner = Vec::new();
        body(&mut Attributes(&mut inner));
        self.bytes(kind | NESTED, &inner);
    }
}

/// The messages of a received buffer: kind and what follows the header. Ends at the first that is cut off.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    parts(bytes, |header| {
        let [a, b, c, d, kind_low, kind_high, ..] = header else { return None };
        let length = usize::try_from(u32::from_ne_bytes([*a, *b, *c, *d])).ok()?;
        Some((length, u16::from_ne_bytes([*kind_low, *kind_high]), HEADER))
    })
}

/// The attributes of a message: kind without flags, and value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    parts(bytes, |header| {
        let [a, b, kind_low, kind_high, ..] = header else { return None };
        let kind = u16::from_ne_bytes([*kind_low, *kind_high]) & 0x3fff;
        Some((usize::from(u16::from_ne_bytes([*a, *b])), kind, 4))
    })
}

/// Pieces whose header tells (length, kind, length of the header), each begun at a multiple of four.
fn parts(
    mut bytes: &[u8],
    header: impl Fn(&[u8]) -> Option<(usize, u16, usize)>,
) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind, skip) = header(bytes)?;
        let body = bytes.get(skip..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The number at the start.
fn number(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut all = Messages::default();
        all.add(7, CREATE, &[1, 2, 3, 4], |body| {
            body.text(1, "ab");
            body.nest(2, |inner| inner.number(3, 5));
        });
        all.add_unanswered(8, 0, &[], |_| {});
        let read: Vec<_> = messages(&all.bytes).collect();
        assert_eq!(read.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(all.waited, 1);
        let found: Vec<_> = attributes(&read[0].1[4..]).collect();
        assert_eq!(found[0], (1, b"ab\0".as_slice()));
        assert_eq!(found[1].0, 2);
        assert_eq!(attributes(found[1].1).collect::<Vec<_>>(), [(3, [0, 0, 0, 5].as_slice())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes: Vec<u8>) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
