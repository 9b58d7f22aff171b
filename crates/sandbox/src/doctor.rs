//! What this host gives to sandboxes, what is missing and what that costs.

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In order of importance.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether sandboxes can run without accepting any weakness.
    pub fn complete(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Missing)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name, e.g. `memory-limit`.
    pub name: &'static str,
    /// Verdict.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What its state costs; empty when [`Status::Ok`].
    pub consequence: String,
}

/// Verdict of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, with a cost.
    Degraded,
    /// Sandboxes are refused unless the settings accept its absence (or at all, as the consequence says).
    Missing,
}

impl Status {
    /// Lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Degraded => "degraded",
            Status::Missing => "missing",
        }
    }
}

/// Looks at this host. Changes nothing that outlasts the call; takes some milliseconds; blocks.
pub fn doctor() -> Report {
    Report { checks: Vec::new() }
}
