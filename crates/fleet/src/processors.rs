//! What the processors have done.

use std::time::Duration;

/// Time since the host's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct ProcessorTime {
    /// In all.
    pub passed: Duration,
    /// For which processors had nothing to do, of all of them together.
    pub idle: Duration,
}

impl ProcessorTime {
    /// What the kernel counts, to 10 ms; `None` where it does not tell. Takes some microseconds.
    pub fn of_host() -> Option<ProcessorTime> {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let mut seconds =
            text.split_whitespace().map(|word| Duration::try_from_secs_f64(word.parse().ok()?).ok());
        Some(ProcessorTime { passed: seconds.next()??, idle: seconds.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_idle_it_is() {
        let (then, now) = (ProcessorTime::of_host(), ProcessorTime::of_host());
        assert!(then.is_some_and(|then| then.passed > Duration::ZERO && then.idle > Duration::ZERO));
        assert!(now >= then);
    }
}
