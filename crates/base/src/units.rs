//! Quantities with their unit in the type.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty), $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}", $suffix), self.0)
            }
        }
    };
}

quantity!(
    /// Bytes of payload, memory or disk.
    ByteCount(u64), " bytes"
);
quantity!(
    /// Mebibytes: what Lambda's API calls MB for memory and scratch space.
    MemoryMib(u32), " MB"
);
quantity!(
    /// Whole seconds.
    Seconds(u32), " s"
);
quantity!(
    /// Milliseconds.
    Millis(u64), " ms"
);
quantity!(
    /// Microseconds: the unit of every measured phase.
    Micros(u64), " µs"
);

impl MemoryMib {
    /// The same amount in bytes.
    pub const fn bytes(self) -> ByteCount {
        ByteCount(self.0 as u64 * 1024 * 1024)
    }
}

impl Seconds {
    /// The same span in milliseconds.
    pub const fn millis(self) -> Millis {
        Millis(self.0 as u64 * 1000)
    }
}

impl Millis {
    /// As a standard duration.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Micros {
    /// From a standard duration, saturating.
    pub fn of(span: std::time::Duration) -> Micros {
        Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    /// In milliseconds with fraction, as JSON has it.
    pub fn as_ms(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// In milliseconds with two decimals, half of the last up, as log lines print it.
    pub fn in_ms(self) -> impl std::fmt::Display {
        struct InMs(u64);
        impl std::fmt::Display for InMs {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
            }
        }
        InMs(self.0.saturating_add(5) / 10)
    }

    /// Rounded up to whole milliseconds: what billing counts.
    pub const fn ceil_ms(self) -> Millis {
        Millis(self.0.div_ceil(1000))
    }
}

impl std::ops::Add for Micros {
    type Output = Micros;
    fn add(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billing_rounds_up_to_the_next_millisecond() {
        assert_eq!(Micros(0).ceil_ms(), Millis(0));
        assert_eq!(Micros(1).ceil_ms(), Millis(1));
        assert_eq!(Micros(1000).ceil_ms(), Millis(1));
        assert_eq!(Micros(1001).ceil_ms(), Millis(2));
    }

    #[test]
    fn log_lines_have_two_decimals() {
        for (us, text) in [(0, "0.00"), (4, "0.00"), (5, "0.01"), (1_234, "1.23"), (59_999, "60.00")] {
            assert_eq!(Micros(us).in_ms().to_string(), text);
        }
    }
}
