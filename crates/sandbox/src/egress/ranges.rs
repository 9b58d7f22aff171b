//! Which addresses sandboxes may reach. Pure.

use crate::Error;
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// What sandboxes reach beyond themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The daemon at [`crate::RUNTIME_API`] and [`crate::PLATFORM`], and what these ranges leave.
    Internet(Ranges),
    /// The daemon at [`crate::RUNTIME_API`] and [`crate::PLATFORM`].
    PlatformOnly,
    /// The daemon at [`crate::RUNTIME_API`].
    Nothing,
}

/// Exceptions from "every public address": private ranges that may be reached, public ones that may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    allow: Vec<Range>,
    refuse: Vec<Range>,
}

/// Addresses with a common prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Ipv4Addr,
    /// Bits that are the same.
    pub(crate) prefix: u8,
}

const fn range(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Range {
    Range { first: Ipv4Addr::new(a, b, c, d), prefix }
}

/// Ranges of networks around the host, of which a setting may open parts. Source: RFC 1918, 6598, 3927, 2544.
const PRIVATE: [Range; 6] = [
    range(10, 0, 0, 0, 8),
    range(100, 64, 0, 0, 10),
    range(169, 254, 0, 0, 16),
    range(172, 16, 0, 0, 12),
    range(192, 168, 0, 0, 16),
    range(198, 18, 0, 0, 15),
];

/// Ranges that are never another machine's, or never one machine's. Source: RFC 6890, 5771, 1112.
const NEVER: [Range; 5] = [
    range(0, 0, 0, 0, 8),
    range(127, 0, 0, 0, 8),
    range(192, 0, 0, 0, 24),
    range(224, 0, 0, 0, 4),
    range(240, 0, 0, 0, 4),
];

/// Ranges that one setting can name.
const RANGES_MAX: usize = 64;

impl Ranges {
    /// `allow`: parts of 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 and 198.18.0.0/15.
    /// `refuse`: any ranges, which win over `allow`. At most 64 each, else [`Error::Setting`].
    pub fn new(allow: &[String], refuse: &[String]) -> Result<Ranges, Error> {
        let read = |name: &'static str, texts: &[String]| {
            let wrong = |reason| Error::Setting { name, reason };
            if texts.len() > RANGES_MAX {
                return Err(wrong(format!("{} ranges exceed {RANGES_MAX}", texts.len())));
            }
            texts.iter().map(|text| text.parse().map_err(wrong)).collect::<Result<Vec<Range>, Error>>()
        };
        let (allow, refuse) = (read("network.allow", allow)?, read("network.refuse", refuse)?);
        match allow.iter().find(|one| !PRIVATE.iter().any(|private| private.covers(one))) {
            Some(one) if NEVER.iter().any(|never| never.overlaps(one)) => Err(Error::Setting {
                name: "network.allow",
                reason: format!("{one} has addresses that are this host's own or nobody's"),
            }),
            Some(one) => Err(Error::Setting {
                name: "network.allow",
                reason: format!("{one} is not within one private range; public addresses need no permission"),
            }),
            None => Ok(Ranges { allow, refuse }),
        }
    }

    /// Whether a sandbox may reach an address, if it is not one of this host's.
    pub(crate) fn permit(&self, address: Ipv4Addr) -> bool {
        let among = |ranges: &[Range]| ranges.iter().any(|range| range.contains(address));
        !among(&self.refuse) && !among(&NEVER) && (!among(&PRIVATE) || among(&self.allow))
    }

    /// What the tables inside say: ranges with whether they may be reached; of two the longer prefix counts. All other
    /// addresses may be.
    pub(crate) fn routes(&self) -> Vec<(Range, bool)> {
        let mut routes: Vec<(Range, bool)> = Vec::new();
        let refused = NEVER.iter().chain(&PRIVATE).map(|range| (*range, false));
        let allowed = self.allow.iter().map(|range| (*range, true));
        // Parts of what is refused are refused whatever is allowed within.
        let within = |range: &Range| self.refuse.iter().any(|refuse| refuse.covers(range));
        let refuse = self.refuse.iter().map(|range| (*range, false));
        for (range, may) in refused.chain(allowed.filter(|(range, _)| !within(range))).chain(refuse) {
            match routes.iter_mut().find(|(known, _)| *known == range) {
                Some(known) => known.1 = may,
                None => routes.push((range, may)),
            }
        }
        routes
    }
}

impl Range {
    const fn mask(self) -> u32 {
        match self.prefix {
            0 => 0,
            prefix => u32::MAX << (32 - prefix),
        }
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.first)
    }

    fn covers(&self, other: &Range) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Range {
    type Err = String;
    /// Grammar: `A.B.C.D` or `A.B.C.D/PREFIX`, without bits behind the prefix.
    fn from_str(text: &str) -> Result<Range, String> {
        let wrong = || format!("{text:?} is no range of IPv4 addresses such as 10.20.0.0/16");
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let first = address.parse().map_err(|_| wrong())?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32 && digits).ok_or_else(wrong)?;
        let range = Range { first, prefix };
        if range.contains(first) {
            Ok(range)
        } else {
            let begins = Ipv4Addr::from(u32::from(first) & range.mask());
            Err(format!("{text:?} does not begin at its first address: did you mean {begins}/{prefix}?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(allow: &[&str], refuse: &[&str]) -> Result<Ranges, String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Ranges::new(&owned(allow), &owned(refuse)).map_err(|error| error.to_string())
    }

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn public_addresses_are_reached_and_private_ones_not() {
        let ranges = Ranges::default();
        for public in
            ["1.1.1.1", "8.8.8.8", "203.0.113.7", "172.15.255.255", "172.32.0.0", "100.128.0.0", "11.0.0.0"]
        {
            assert!(ranges.permit(address(public)), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!ranges.permit(address(private)), "{private}");
        }
    }

    #[test]
    fn exceptions_open_exactly_what_they_name() {
        let ranges = ranges(&["10.20.0.0/16", "192.168.1.5"], &["10.20.9.0/24", "203.0.113.0/24"]).unwrap();
        for (text, may) in [
            ("10.20.0.1", true),
            ("10.20.9.1", false),
            ("10.21.0.1", false),
            ("192.168.1.5", true),
            ("192.168.1.4", false),
            ("203.0.113.9", false),
            ("203.0.112.9", true),
        ] {
            assert_eq!(ranges.permit(address(text)), may, "{text}");
        }
    }

    #[test]
    fn exceptions_that_would_open_the_host_are_refused() {
        for never in [
            "127.0.0.0/8",
            "127.0.0.1",
            "0.0.0.0/0",
            "192.0.0.1",
            "224.0.0.0/8",
            "255.255.255.255",
            "128.0.0.0/1",
        ] {
            assert!(ranges(&[never], &[]).unwrap_err().contains("host's own or nobody's"), "{never}");
        }
        assert!(ranges(&["8.8.8.8"], &[]).unwrap_err().contains("need no permission"));
        assert!(ranges(&["8.0.0.0/6"], &[]).unwrap_err().contains("need no permission"));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "fd00::/8",
            "10.0.0.0/",
            "localhost",
        ] {
            assert!(ranges(&[wrong], &[]).unwrap_err().contains("no range of IPv4"), "{wrong}");
        }
        assert!(ranges(&["10.1.0.0/8"], &[]).unwrap_err().contains("did you mean 10.0.0.0/8"));
        assert!(ranges(&vec!["10.0.0.0/8"; 65], &[]).unwrap_err().contains("65 ranges exceed 64"));
    }

    /// What the longest prefix of the tables says.
    fn routed(routes: &[(Range, bool)], address: Ipv4Addr) -> bool {
        let holding = routes.iter().filter(|(range, _)| range.contains(address));
        holding.max_by_key(|(range, _)| range.prefix).is_none_or(|(_, may)| *may)
    }

    #[test]
    fn the_tables_inside_refuse_nothing_that_is_permitted() {
        let ranges =
            ranges(&["10.0.0.0/8", "192.168.7.0/24", "192.168.7.9"], &["10.1.0.0/16", "192.168.7.0/25"])
                .unwrap();
        let routes = ranges.routes();
        for number in (0..=u32::MAX).step_by(65_521) {
            let address = Ipv4Addr::from(number);
            assert!(!ranges.permit(address) || routed(&routes, address), "{address}");
        }
        for text in ["10.1.0.1", "192.168.7.9", "192.168.7.1", "127.0.0.1", "192.168.8.1"] {
            assert!(!routed(&routes, address(text)), "{text}");
        }
        assert!(routed(&routes, address("192.168.7.200")) && routed(&routes, address("10.2.0.1")));
    }
}
