//! Whom the host asks for names. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_does() {
        let text = "# nameserver 1.1.1.1\nsearch example.com\nnameserver 127.0.0.53\nnameserver\t::1 # x\n\
                    nameserver fe80::1%eth0\nnameserver nobody\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n";
        let read: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["127.0.0.53:53", "[::1]:53", "9.9.9.9:53"]);
        assert_eq!(resolvers(""), ["127.0.0.1:53".parse().unwrap()]);
    }
}
