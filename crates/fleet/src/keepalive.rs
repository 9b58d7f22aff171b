//! How long an idle environment is kept, and when one is started ahead of the call that is expected: learned from each
//! function's own calls.
//!
//! The question is the one of Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020): nearly half of all functions are
//! called less than once an hour, so that a fixed window either wastes memory or meets them cold. That paper keeps a
//! histogram of idle times with bins of a minute, starts an environment at the 5th percentile and ends it at the 99th.
//! Here the histogram decides bin by bin instead, which has three consequences: rare calls long after the last do not
//! stretch the window across everything before them, a function with several habits has several windows, and one number
//! ([`Terms::cold_worth_us`]) says how much idle memory a cold start is worth.
//!
//! **What is observed.** The *gap* of concurrency level `k` is the time from the moment at which fewer than `k` calls
//! were in progress to the moment at which `k` are again. Environments are taken most recently used first, so the gap of
//! level `k` is what the idle environment at place `k` waits for. Level 1 has a histogram of its own, all higher ones
//! share another ([`histogram::Histogram`]: quarter octaves from 32 ms to 4.6 hours, and what is longer). Both forget by
//! halves. The [`rhythm::Rhythm`] of a function is the list of its last intervals between *bursts*, which are calls
//! nearer to each other than [`Terms::pause_us`]: exact to the millisecond, where bins are a fifth of an interval wide,
//! and long enough for a daily timer.
//!
//! **What is decided** for an environment that has been idle for some time ([`History::advise`]):
//! 1. A function of which fewer than [`OBSERVATIONS_MIN`] gaps are known keeps the fixed window ([`Terms::window_us`]).
//! 2. A function with a rhythm is released, and an environment is started just before the next call; it is there for
//!    the width of the rhythm's own inaccuracy, and once more one period later.
//! 3. Otherwise a bin is worth keeping an environment through if the chance that the call comes in it, given that it has
//!    not come before, times the worth of a cold start exceeds the bin's width. The run of such bins that begins now says
//!    how long to keep, the next run when to start again. The counts are joined by one imagined gap of unknown length
//!    (equally likely in each bin), so that little evidence means a window of minutes and not nothing, and smoothed over
//!    neighbouring bins, which is the margin. A function whose gaps are all beyond the histogram has no such bin and is
//!    released soon after each call.
//! 4. A pause shorter than [`Terms::pause_us`], or than twenty times the function's start, is bridged: starting costs too.
//!
//! A wrong prediction costs at most its window: what nobody has used by then ends, and nothing more is predicted from the
//! same call but the second period of a rhythm or the next run of bins, which are few and fixed. Starts ahead of calls
//! that fail are left out ever longer ([`History::start_failed`]).
//!
//! Everything here is pure and of fixed size: [`History`] takes less than [`HISTORY_BYTES_MAX`] bytes whatever happens. It can
//! be written down and read again by a later life of the node ([`History::write`]), which is why moments are those of a wall clock.

mod histogram;
mod record;
mod rhythm;

use crate::planner::Tick;
use histogram::Histogram;
use rhythm::Rhythm;

/// Gaps that must be known before a function's own habits count.
pub const OBSERVATIONS_MIN: u32 = 4;
/// No environment is kept idle, and none is started ahead for longer, than this: 4.6 hours.
pub const KEEP_US_MAX: u64 = histogram::BEYOND_MS * 1_000;
/// Bound of a function's history.
pub const HISTORY_BYTES_MAX: usize = 512;
/// Most environments started ahead for one expected call: as many as the last bursts needed together.
pub const AHEAD_MAX: u32 = 8;

/// Levels of concurrency whose last use is remembered; higher ones are not learned from.
const LEVELS: usize = 8;
/// A run of bins is no reason to start an environment unless the call comes in it with this chance.
const START_CHANCE_MIN: f64 = 0.1;
/// Longer starts count as this: a minute.
const START_US_MAX: u64 = 60_000_000;
/// Starts ahead of calls that failed in a row count up to this.
const FAILURES_MAX: u8 = 6;
/// A pause is worth a release if it is so many times longer than the start that follows.
const PAUSE_PER_START: u64 = 20;

/// What a policy weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long to keep while too little is known, in microseconds.
    pub window_us: u64,
    /// A cold start is worth so many microseconds of keeping an idle environment.
    pub cold_worth_us: u64,
    /// Pauses up to this are bridged, in microseconds.
    pub pause_us: u64,
}

/// Why an environment is kept so long, or started then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A setting says so.
    Setting {
        /// Microseconds for which it may be idle.
        keep_us: u64,
    },
    /// Too little is known of the function.
    Unlearned {
        /// Gaps seen.
        seen: u32,
        /// Microseconds for which it may be idle.
        keep_us: u64,
    },
    /// It is called at regular intervals.
    Rhythm {
        /// The interval, in microseconds.
        period_us: u64,
    },
    /// Its calls come after gaps like these.
    Gaps {
        /// Gaps seen; old ones count less.
        seen: u32,
        /// Chance in percent that the next call comes within the time named.
        percent: u32,
    },
    /// A schedule was given.
    Schedule,
}

/// A time in which a call is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// When an environment must be begun.
    pub from: Tick,
    /// Until when it is kept without the call.
    pub until: Tick,
    /// Why then.
    pub why: Why,
}

/// What to do with an idle environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// It ends then if no call has come; not later than [`KEEP_US_MAX`] from now, or [`Terms::window_us`] after it
    /// became idle.
    pub keep_until: Tick,
    /// Why so long.
    pub why: Why,
    /// When to have one again after that.
    pub next: Option<Expected>,
}

/// What is remembered of one function version.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of level 1, and of all higher ones.
    gaps: [Histogram; 2],
    /// When each level was last in use.
    left: [Option<Tick>; LEVELS],
    rhythm: Rhythm,
    /// Highest levels of the last bursts, the present one first.
    peaks: [u8; 4],
    /// Microseconds that a start takes: the longest of late.
    start_us: u32,
    calls: u32,
    /// Starts ahead of calls that failed in a row, and how many predictions are left out for it.
    failures: u8,
    skip: u8,
}

impl History {
    /// A call has come; with it so many are in progress.
    pub fn arrived(&mut self, level: u32, now: Tick, terms: &Terms) {
        self.calls = self.calls.wrapping_add(1);
        let level = level.max(1) as usize;
        let left = self.left.get(level - 1).copied().flatten();
        if let Some(left) = left {
            self.gaps[usize::from(level > 1)].add(now.since(left) / 1_000);
        }
        if level == 1 && left.is_none_or(|left| now.since(left) > terms.pause_us) {
            self.rhythm.burst(now);
            self.peaks.rotate_right(1);
            self.peaks[0] = 0;
        }
        self.peaks[0] = self.peaks[0].max(u8::try_from(level).unwrap_or(u8::MAX));
    }

    /// A call is over, or was given up; with it so many were in progress.
    pub fn left(&mut self, level: u32, now: Tick) {
        if let Some(left) = self.left.get_mut((level.max(1) - 1) as usize) {
            *left = Some(now);
        }
    }

    /// A start took so long.
    pub fn started(&mut self, took_us: u64) {
        let took = u32::try_from(took_us.min(START_US_MAX)).unwrap_or(u32::MAX);
        self.start_us = took.max(self.start_us - self.start_us / 4);
    }

    /// A start ahead of calls has failed: the next predictions are left out, one, three, seven … of them.
    pub fn start_failed(&mut self) {
        self.failures = self.failures.saturating_add(1).min(FAILURES_MAX);
        self.skip = (1 << self.failures) - 1;
    }

    /// A start ahead of calls has succeeded.
    pub fn start_succeeded(&mut self) {
        (self.failures, self.skip) = (0, 0);
    }

    /// Whether the prediction that is due is left out, since starts have failed.
    pub fn skips(&mut self) -> bool {
        let skipped = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        skipped
    }

    /// Calls seen, modulo 2³².
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// When the function was last called or a call of it ended.
    pub fn last_used(&self) -> Tick {
        let left = self.left.iter().copied().flatten().max();
        left.max(self.rhythm.last()).unwrap_or_default()
    }

    /// When a level was last in use.
    pub fn last_left(&self, level: u32) -> Option<Tick> {
        self.left.get((level.max(1) - 1) as usize).copied().flatten()
    }

    /// Environments that the next burst needs at once: what each of the last needed, at most [`AHEAD_MAX`].
    pub fn ahead(&self) -> u32 {
        let seen = self.peaks.iter().filter(|&&peak| peak > 0).min();
        u32::from(seen.copied().unwrap_or(1)).clamp(1, AHEAD_MAX)
    }

    /// What to do now with the idle environment that is the first choice for the call that makes `level` in progress, and
    /// has waited for it since `idle`.
    pub fn advise(&self, level: u32, idle: Tick, now: Tick, terms: &Terms) -> Advice {
        let gaps = &self.gaps[usize::from(level > 1)];
        if gaps.seen() < OBSERVATIONS_MIN {
            let why = Why::Unlearned { seen: gaps.seen(), keep_us: terms.window_us };
            return Advice { keep_until: idle.plus(terms.window_us), why, next: None };
        }
        if level <= 1
            && let Some(advice) = self.by_rhythm(idle, now, terms)
        {
            return advice;
        }
        self.by_gaps(gaps, idle, now, terms)
    }

    /// Pauses up to this are bridged.
    fn bridge_us(&self, terms: &Terms) -> u64 {
        terms.pause_us.max((u64::from(self.start_us) * PAUSE_PER_START).min(terms.window_us))
    }

    /// How long before a call a start begins.
    fn lead_us(&self) -> u64 {
        u64::from(self.start_us) * 2 + 20_000
    }

    fn by_rhythm(&self, idle: Tick, now: Tick, terms: &Terms) -> Option<Advice> {
        let beat = self.rhythm.beat()?;
        let why = Why::Rhythm { period_us: beat.period_us };
        let slack_us = (beat.spread_us * 2).max(beat.period_us / 64).clamp(250_000, KEEP_US_MAX / 8);
        let mut windows = (1..=2).map(|periods| {
            let at = self.rhythm.last().unwrap_or_default().plus(beat.period_us * periods);
            let from = Tick(at.0.saturating_sub(slack_us + self.lead_us()));
            Expected { from, until: at.plus(slack_us), why }
        });
        let first = windows.clone().find(|window| window.until > now);
        // Calls that follow each other quickly belong to the burst.
        let follow = self.gaps[0].share_below(terms.pause_us / 1_000) >= 0.05;
        let burst_until = if follow { idle.plus(terms.pause_us) } else { now };
        let reached = burst_until.max(now).plus(self.bridge_us(terms));
        Some(match first {
            Some(window) if window.from <= reached => Advice {
                keep_until: window.until,
                why,
                next: windows.find(|other| other.from > window.until),
            },
            next => Advice { keep_until: burst_until, why, next },
        })
    }

    fn by_gaps(&self, gaps: &Histogram, idle: Tick, now: Tick, terms: &Terms) -> Advice {
        let age_ms = now.since(idle) / 1_000;
        let runs = gaps.runs(age_ms, terms.cold_worth_us / 1_000);
        let bridge_ms = self.bridge_us(terms) / 1_000;
        let why = |chance: f64| {
            let percent = (chance * 100.0).round() as u32;
            Why::Gaps { seen: gaps.seen(), percent: percent.min(100) }
        };
        let mut keep_until = now;
        let mut chance = 0.0;
        let mut next = None;
        for run in runs {
            let from = idle.plus(run.from_ms * 1_000);
            let until = idle.plus(run.until_ms * 1_000);
            if run.from_ms <= age_ms || from.since(keep_until) <= bridge_ms * 1_000 {
                (keep_until, chance) = (until, chance + run.chance);
            } else if run.chance >= START_CHANCE_MIN {
                let from = Tick(from.0.saturating_sub(self.lead_us()));
                next = Some(Expected { from, until, why: why(run.chance) });
                break;
            }
        }
        Advice { keep_until, why: why(chance), next }
    }

    /// Calls expected per microsecond, of the level for which an environment has been idle since `idle`.
    ///
    /// While little is known, whoever has waited longer will wait longer.
    pub fn rate(&self, level: u32, idle: Tick, now: Tick) -> f64 {
        let gaps = &self.gaps[usize::from(level > 1)];
        if gaps.seen() < OBSERVATIONS_MIN {
            return 1.0 / (now.since(idle) + 1) as f64;
        }
        if level <= 1
            && let Some(beat) = self.rhythm.beat()
        {
            let due = self.rhythm.last().unwrap_or_default().plus(beat.period_us);
            return 1.0 / (due.since(now) + beat.period_us / 64 + 1) as f64;
        }
        gaps.rate_per_ms(now.since(idle) / 1_000) / 1_000.0
    }
}

#[cfg(test)]
mod tests;
