//! The rules inside each network namespace, and its addresses and routes. Source: linux/netfilter/nf_tables.h,
//! linux/rtnetlink.h.

use super::{
    ARRIVAL, NAMESERVER, OWN, Ranges,
    netlink::{APPEND, Attributes, CREATE, Messages},
};
use std::net::Ipv4Addr;

/// Marks that the daemon puts on the first packet of a connection.
pub(super) const MARK_ADMITTED: u32 = 1;
pub(super) const MARK_REFUSED: u32 = 2;
pub(super) const MARK_UNREACHABLE: u32 = 3;

/// Index of the loopback interface, the first of each namespace.
const LOOPBACK: u32 = 1;

/// The own address, and a route to every address that says whether it may be reached.
pub(super) fn addresses(ranges: &Ranges) -> Messages {
    const NEW_ADDRESS: u16 = 20;
    let mut all = Messages::default();
    let mut header = vec![AF_INET, 32, 0, 0];
    header.extend(LOOPBACK.to_ne_bytes());
    all.add(NEW_ADDRESS, CREATE, &header, |body| {
        body.bytes(1, &OWN.octets()); // IFA_ADDRESS
        body.bytes(2, &OWN.octets()); // IFA_LOCAL
    });
    let mut routes = ranges.routes();
    if !routes.iter().any(|(range, _)| range.prefix == 0) {
        route(&mut all, Ipv4Addr::UNSPECIFIED, 0, true);
    }
    routes.retain(|(range, _)| (range.first, range.prefix) != (NAMESERVER, 32));
    for (range, may) in routes {
        route(&mut all, range.first, range.prefix, may);
    }
    route(&mut all, NAMESERVER, 32, true);
    all
}

/// A route to the loopback interface, or one that refuses.
fn route(all: &mut Messages, first: Ipv4Addr, prefix: u8, may: bool) {
    const NEW_ROUTE: u16 = 24;
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_STATIC: u8 = 4;
    const SCOPE_HOST: u8 = 254;
    let (scope, kind) = if may { (SCOPE_HOST, 2) } else { (0, 8) }; // RTN_LOCAL, RTN_PROHIBIT
    let header = [AF_INET, prefix, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, kind, 0, 0, 0, 0];
    all.add(NEW_ROUTE, CREATE, &header, |body| {
        if prefix > 0 {
            body.bytes(1, &first.octets()); // RTA_DST
        }
        if may {
            body.bytes(4, &LOOPBACK.to_ne_bytes()); // RTA_OIF
            body.bytes(7, &OWN.octets()); // RTA_PREFSRC
        }
    });
}

/// A port at which nobody listens; no program inside may use it.
const NOBODY: u16 = 2;
const AF_INET: u8 = 2;
const TABLE: &str = "neap";
const OUTPUT: &str = "output";
const ARRIVING: &str = "prerouting";
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Data register and verdict register.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const ACCEPT: u32 = 1;

/// How the rules put a packet into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queueing {
    /// By an expression of their own; the usual one.
    Native,
    /// By the older filter's target, which some kernels have instead.
    Compatible,
}

/// The table: what is sent (`output`) is let through, asked about or dropped, what arrives (`prerouting`) is handed to the
/// daemon.
pub(super) fn table(queueing: Queueing) -> Messages {
    let mut all = Messages::default();
    let batch = |all: &mut Messages, kind| {
        // The number of the part that the batch is for, in the network's order.
        all.add_unanswered(kind, 0, &[0, 0, 0, 10], |_| {});
    };
    batch(&mut all, 0x10);
    add(&mut all, 0, CREATE, |body| body.text(1, TABLE)); // NEWTABLE
    chain(&mut all, OUTPUT, 3, 0);
    chain(&mut all, ARRIVING, 0, -150);
    for chain in [OUTPUT, ARRIVING] {
        // Its own conversations.
        rule(&mut all, chain, |rule| rule.destination(Ipv4Addr::LOCALHOST, 8).verdict(ACCEPT));
        rule(&mut all, chain, |rule| rule.destination(OWN, 32).verdict(ACCEPT));
    }
    rule(&mut all, OUTPUT, |rule| rule.mark(MARK_ADMITTED).verdict(ACCEPT));
    rule(&mut all, OUTPUT, |rule| rule.mark(MARK_REFUSED).reset());
    rule(&mut all, OUTPUT, |rule| rule.mark(MARK_UNREACHABLE).unreachable());
    rule(&mut all, OUTPUT, |rule| rule.protocol(TCP).first_of_connection().queue(queueing));
    for protocol in [TCP, UDP] {
        rule(&mut all, OUTPUT, |rule| rule.protocol(protocol).verdict(ACCEPT));
    }
    rule(&mut all, ARRIVING, |rule| {
        rule.protocol(TCP).first_of_connection().hand_over(ARRIVAL).verdict(ACCEPT)
    });
    // Goes to the socket of its connection, or else is dropped and sent again: first data can overtake the packet that makes
    // the connection, since they come from different processors, and would be answered with a reset by the listening socket.
    rule(&mut all, ARRIVING, |rule| rule.protocol(TCP).hand_over(NOBODY).verdict(ACCEPT));
    rule(&mut all, ARRIVING, |rule| rule.protocol(UDP).hand_over(ARRIVAL).verdict(ACCEPT));
    batch(&mut all, 0x11);
    all
}

/// Adds a message to the part `nf_tables`, for the family `ip`.
fn add(all: &mut Messages, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) {
    const PART: u16 = 10;
    all.add(PART << 8 | kind, flags, &[AF_INET, 0, 0, 0], body);
}

fn chain(all: &mut Messages, name: &str, hook: u32, priority: i32) {
    const DROP: u32 = 0;
    add(all, 3, CREATE, |body| {
        body.text(1, TABLE);
        body.text(3, name);
        body.nest(4, |place| {
            place.number(1, hook);
            place.number(2, priority.cast_unsigned());
        });
        body.number(5, DROP);
        body.text(7, "filter");
    });
}

fn rule(all: &mut Messages, chain: &str, expressions: impl FnOnce(Rule) -> Rule) {
    let rule = expressions(Rule::default());
    add(all, 6, CREATE | APPEND, |body| {
        body.text(1, TABLE);
        body.text(2, chain);
        body.nest(4, |list| {
            for (name, data) in &rule.0 {
                list.nest(1, |expression| {
                    expression.text(1, name);
                    data(expression);
                });
            }
        });
    });
}

/// Writes one expression's data.
type Data = Box<dyn Fn(&mut Attributes<'_>)>;

/// The expressions of one rule: conditions in order, then what is done.
#[derive(Default)]
struct Rule(Vec<(&'static str, Data)>);

impl Rule {
    fn with(mut self, name: &'static str, data: impl Fn(&mut Attributes<'_>) + 'static) -> Rule {
        self.0.push((name, Box::new(move |expression| expression.nest(2, &data))));
        self
    }

    fn load(self, header: u32, offset: u32, length: u32) -> Rule {
        self.with("payload", move |data| {
            data.number(1, REGISTER);
            data.number(2, header);
            data.number(3, offset);
            data.number(4, length);
        })
    }

    fn masked(self, mask: &'static [u8]) -> Rule {
        self.with("bitwise", move |data| {
            data.number(1, REGISTER);
            data.number(2, REGISTER);
            data.number(3, u32::try_from(mask.len()).unwrap_or(0));
            data.nest(4, |value| value.bytes(1, mask));
            data.nest(5, |value| value.bytes(1, &vec![0; mask.len()]));
        })
    }

    fn equals(self, value: impl Into<Vec<u8>>) -> Rule {
        let value = value.into();
        self.with("cmp", move |data| {
            data.number(1, REGISTER);
            data.number(2, 0);
            data.nest(3, |inner| inner.bytes(1, &value));
        })
    }

    fn meta(self, key: u32) -> Rule {
        self.with("meta", move |data| {
            data.number(1, REGISTER);
            data.number(2, key);
        })
    }

    /// The packet's destination is in a range of 8 or 32 bits.
    fn destination(self, first: Ipv4Addr, prefix: u32) -> Rule {
        let bytes: Vec<u8> = first.octets().into_iter().take(prefix as usize / 8).collect();
        self.load(1, 16, prefix / 8).equals(bytes)
    }

    fn protocol(self, number: u8) -> Rule {
        self.meta(16).equals([number])
    }

    fn mark(self, mark: u32) -> Rule {
        self.meta(3).equals(mark.to_ne_bytes())
    }

    /// SYN without ACK, FIN or RST.
    fn first_of_connection(self) -> Rule {
        self.load(2, 13, 1).masked(&[0x17]).equals([0x02])
    }

    fn verdict(self, code: u32) -> Rule {
        self.with("immediate", move |data| {
            data.number(1, VERDICT);
            data.nest(2, |value| value.nest(2, |verdict| verdict.number(1, code)));
        })
    }

    /// Lets the packet wait in queue 0.
    fn queue(self, queueing: Queueing) -> Rule {
        match queueing {
            Queueing::Native => self.with("queue", |data| {
                data.bytes(1, &[0, 0]); // first queue
                data.bytes(2, &[0, 1]); // how many
            }),
            Queueing::Compatible => self.with("target", |data| {
                data.text(1, "NFQUEUE");
                data.number(2, 0); // revision
                data.bytes(3, &[0; 8]);
            }),
        }
    }

    /// Answers as a machine on which nobody listens.
    fn reset(self) -> Rule {
        self.with("reject", |data| data.number(1, 1))
    }

    /// Answers as a network that knows no way.
    fn unreachable(self) -> Rule {
        self.with("reject", |data| {
            data.number(1, 0);
            data.bytes(2, &[1]); // host unreachable
        })
    }

    /// Gives the packet to the socket of its connection, else to the daemon's at that port of [`NAMESERVER`]; ends the rule
    /// where there is neither.
    fn hand_over(self, port: u16) -> Rule {
        const ADDRESS: u32 = 2;
        let set = |rule: Rule, register: u32, bytes: Vec<u8>| {
            rule.with("immediate", move |data| {
                data.number(1, register);
                data.nest(2, |value| value.bytes(1, &bytes));
            })
        };
        set(set(self, REGISTER, port.to_be_bytes().into()), ADDRESS, NAMESERVER.octets().into()).with(
            "tproxy",
            |data| {
                data.number(1, AF_INET.into());
                data.number(2, ADDRESS);
                data.number(3, REGISTER);
            },
        )
    }
}
