//! Whom the host asks for names, and what may be asked. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Resolvers used at most. Source: resolv.conf(5).
const RESOLVERS_MAX: usize = 3;

/// From the text of `/etc/resolv.conf`; without any, the host's own. Source: resolv.conf(5).
pub(super) fn resolvers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    let mut all: Vec<SocketAddr> =
        named.take(RESOLVERS_MAX).map(|address| SocketAddr::new(address, super::DNS)).collect();
    if all.is_empty() {
        all.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), super::DNS));
    }
    all
}

/// Whether a message asks for one name and does nothing else: resolvers that trust this host may let it change names or copy
/// whole zones. Source: RFC 1035, section 4; RFC 6895 for the numbers.
pub(crate) fn is_question(message: &[u8]) -> bool {
    const HEADER: usize = 12;
    /// TKEY, TSIG, IXFR, AXFR.
    const NOT_OF_NAMES: std::ops::RangeInclusive<u16> = 249..=252;
    let Some((&[_, _, flags, _, counted_high, counted_low, ..], mut rest)) =
        message.split_first_chunk::<HEADER>()
    else {
        return false;
    };
    // The first bit: an answer. The next four: what is wanted, 0 being a standard query.
    if flags & 0xf8 != 0 || [counted_high, counted_low] != [0, 1] {
        return false;
    }
    loop {
        match rest.split_first() {
            Some((0, after)) => {
                let kind = after.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes));
                return after.len() >= 4 && kind.is_some_and(|kind| !NOT_OF_NAMES.contains(&kind));
            }
            // A label; a question has no pointers.
            Some((&length @ 1..=63, after)) => match after.get(usize::from(length)..) {
                Some(next) => rest = next,
                None => return false,
            },
            Some(_) | None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(flags: u8, count: u8, name: &[u8], kind: u16) -> Vec<u8> {
        let mut all = vec![0x12, 0x34, flags, 0, 0, count, 0, 0, 0, 0, 0, 0];
        all.extend(name);
        all.extend(kind.to_be_bytes());
        all.extend([0, 1]);
        all
    }

    #[test]
    fn only_questions_for_a_name_are_questions() {
        let name = b"\x06public\x04test\x00";
        for kind in [1, 28, 65, 255] {
            assert!(is_question(&message(1, 1, name, kind)), "{kind}");
        }
        assert!(is_question(&message(1, 1, b"\0", 2)), "the root's name servers");
        for (flags, count, name, kind, what) in [
            (0x80, 1, &name[..], 1, "an answer"),
            (0x28, 1, &name[..], 6, "an update"),
            (0x20, 1, &name[..], 6, "a notification"),
            (1, 0, &name[..], 1, "nothing"),
            (1, 2, &name[..], 1, "two"),
            (1, 1, &name[..], 252, "a zone"),
            (1, 1, &name[..], 251, "what is new in a zone"),
            (1, 1, b"\xc0\x0c", 1, "a pointer"),
            (1, 1, b"\x3fx", 1, "a label that is cut off"),
        ] {
            assert!(!is_question(&message(flags, count, name, kind)), "{what}");
        }
        assert!(!is_question(b"GET / HTTP/1.1\r\n\r\n") && !is_question(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_question_or_not(bytes: Vec<u8>, cut in 0usize..64) {
            let _ = is_question(&bytes);
            let mut whole = message(1, 1, b"\x06public\x04test\x00", 1);
            let length = whole.len();
            whole.truncate(cut.min(length));
            prop_assert_eq!(is_question(&whole), cut >= length);
        }
    }

    #[test]
    fn resolvers_are_read_as_the_c_library_does() {
        let text = "# nameserver 1.1.1.1\nsearch example.com\nnameserver 127.0.0.53\nnameserver\t::1 # x\n\
                    nameserver fe80::1%eth0\nnameserver nobody\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n";
        let read: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["127.0.0.53:53", "[::1]:53", "9.9.9.9:53"]);
        assert_eq!(resolvers(""), ["127.0.0.1:53".parse().unwrap()]);
    }
}
