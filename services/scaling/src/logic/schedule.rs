//! When scheduled actions run: `at(…)`, `rate(…)` and `cron(…)`.
//!
//! ```text
//! at(yyyy-mm-ddThh:mm:ss)                      once, in the time zone
//! rate(N minute|minutes|hour|hours|day|days)   every so long from its beginning on
//! cron(minutes hours day-of-month month day-of-week year), in the time zone
//!   minutes 0-59   hours 0-23   month 1-12 or JAN-DEC   year 1970-2199
//!   day-of-month 1-31, L (the last), NW (the weekday nearest to N), LW (the last weekday)
//!   day-of-week 1-7 or SUN-SAT, L (7), NL (the last N of the month), N#K (the K-th)
//!   each: * , - /; one of day-of-month and day-of-week is ?
//! ```
//! Source: Application Auto Scaling user guide, "Schedule expressions". A time that clocks skip in the zone is so much later; one that
//! they show twice is the first.

use base::Timestamp;
use jiff::{
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};

/// Longest expression. Source: API model.
pub const LENGTH_MAX: usize = 1_600;
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;
/// A rate is at most so many milliseconds: a hundred years.
const RATE_MS_MAX: i64 = 100 * 366 * 86_400_000;

/// A schedule expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Once.
    At(DateTime),
    /// Every so many milliseconds.
    Rate(i64),
    /// At the times of the calendar that fit.
    Cron(Box<Cron>),
}

/// The fields of a `cron` expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Cron {
    /// Bits of 0 to 59.
    minutes: u64,
    /// Bits of 0 to 23.
    hours: u64,
    days: Days,
    /// Bits of 1 to 12.
    months: u64,
    years: Vec<i16>,
}

/// Which days of a month.
#[derive(Clone, Debug, PartialEq)]
enum Days {
    /// Bits of 1 to 31.
    OfMonth(u64),
    /// `L`.
    Last,
    /// `LW`.
    LastWeekday,
    /// `NW`.
    Nearest(i8),
    /// Bits of 1 (Sunday) to 7.
    OfWeek(u64),
    /// `NL`.
    LastOfWeek(i8),
    /// `N#K`.
    NthOfWeek(i8, i8),
}

/// The text is not a schedule expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// None of the three forms.
    #[error("it is neither at(yyyy-mm-ddThh:mm:ss), rate(value unit) nor cron(fields)")]
    Form,
    /// Not the time of `at`.
    #[error("at(…) takes a time like 2030-01-31T08:30:00")]
    At,
    /// Not a rate.
    #[error(
        "rate(…) takes a positive number and minute, minutes, hour, hours, day or days; the singular for 1 only"
    )]
    Rate,
    /// Not six fields.
    #[error("cron(…) takes six fields: minutes hours day-of-month month day-of-week year")]
    Fields,
    /// A field.
    #[error("the field {field} of cron(…) cannot be {text}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// Both or none of the days' fields are `?`.
    #[error("one of day-of-month and day-of-week of cron(…) must be ?, and not both")]
    Days,
}

impl std::str::FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Schedule, BadSchedule> {
        let inner = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if text.len() > LENGTH_MAX {
            return Err(BadSchedule::Form);
        }
        if let Some(time) = inner("at") {
            return at(time).map(Schedule::At).ok_or(BadSchedule::At);
        }
        if let Some(every) = inner("rate") {
            return rate(every).map(Schedule::Rate).ok_or(BadSchedule::Rate);
        }
        match inner("cron") {
            Some(fields) => cron(fields).map(|cron| Schedule::Cron(Box::new(cron))),
            None => Err(BadSchedule::Form),
        }
    }
}

impl Schedule {
    /// Whether it is in a time zone.
    pub const fn is_zoned(&self) -> bool {
        match self {
            Schedule::At(_) | Schedule::Cron(_) => true,
            Schedule::Rate(_) => false,
        }
    }

    /// The first time later than `after`; `None`: never. A rate counts from `begun` on, which is a time of its own if `with_begin`.
    pub fn next(&self, zone: &TimeZone, begun: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::At(time) => instant(*time, zone).filter(|at| *at > after),
            Schedule::Rate(every) => {
                let past = after.0.checked_sub(begun.0)?;
                if past < 0 {
                    return Some(begun);
                }
                let periods = past / every + 1;
                Some(Timestamp(begun.0.checked_add(periods.checked_mul(*every)?)?))
            }
            Schedule::Cron(cron) => cron.next(zone, after),
        }
    }
}

/// `yyyy-mm-ddThh:mm:ss` and nothing else.
fn at(text: &str) -> Option<DateTime> {
    let shape = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    };
    let fits = text.len() == 19 && text.bytes().enumerate().all(shape);
    // A leap second is none of POSIX's.
    if !fits || text.ends_with(":60") {
        return None;
    }
    text.parse().ok()
}

fn rate(text: &str) -> Option<i64> {
    let (count, unit) = text.split_once(' ')?;
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: i64 = count.parse().ok().filter(|count| *count > 0)?;
    let ms = match unit {
        "minute" | "minutes" => 60_000,
        "hour" | "hours" => 3_600_000,
        "day" | "days" => 86_400_000,
        _ => return None,
    };
    let plural = unit.ends_with('s');
    let every = count.checked_mul(ms)?;
    (plural == (count != 1) && every <= RATE_MS_MAX).then_some(every)
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field's name, bounds and names for its numbers.
struct Field {
    name: &'static str,
    min: i16,
    max: i16,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minutes", min: 0, max: 59, names: &[] };
const HOURS: Field = Field { name: "hours", min: 0, max: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day-of-month", min: 1, max: 31, names: &[] };
const MONTH: Field = Field { name: "month", min: 1, max: 12, names: &MONTHS };
const DAY_OF_WEEK: Field = Field { name: "day-of-week", min: 1, max: 7, names: &WEEKDAYS };
const YEAR: Field = Field { name: "year", min: *YEARS.start(), max: *YEARS.end(), names: &[] };

fn cron(text: &str) -> Result<Cron, BadSchedule> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let &[minutes, hours, day, month, weekday, year] = fields.as_slice() else {
        return Err(BadSchedule::Fields);
    };
    let days = match (day, weekday) {
        ("?", "?") => return Err(BadSchedule::Days),
        (_, "?") => days_of_month(day)?,
        ("?", _) => days_of_week(weekday)?,
        // As EventBridge and its relatives have it: one of them must be `?`.
        (_, _) => return Err(BadSchedule::Days),
    };
    Ok(Cron {
        minutes: MINUTES.bits(minutes)?,
        hours: HOURS.bits(hours)?,
        days,
        months: MONTH.bits(month)?,
        years: YEAR.values(year)?,
    })
}

impl Field {
    fn bad(&self, text: &str) -> BadSchedule {
        BadSchedule::Field { field: self.name, text: text.to_owned() }
    }

    fn number(&self, text: &str) -> Option<i16> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(place) = named {
            return i16::try_from(place + 1).ok();
        }
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (self.min..=self.max).contains(number))
    }

    fn bits(&self, text: &str) -> Result<u64, BadSchedule> {
        Ok(self.values(text)?.into_iter().fold(0, |bits, value| bits | 1 << value))
    }

    /// The numbers that a list means, in their order.
    fn values(&self, text: &str) -> Result<Vec<i16>, BadSchedule> {
        let mut found = std::collections::BTreeSet::new();
        for part in text.split(',') {
            found.extend(self.part(part).ok_or_else(|| self.bad(text))?);
        }
        Ok(found.into_iter().collect())
    }

    /// `*`, `N`, `N-M`, each perhaps with `/STEP`.
    fn part(&self, text: &str) -> Option<Vec<i16>> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => {
                let digits = step.len() <= 4 && step.bytes().all(|byte| byte.is_ascii_digit());
                (range, Some(step.parse::<i16>().ok().filter(|step| digits && *step > 0)?))
            }
            None => (text, None),
        };
        let (from, until) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, until)) => (self.number(from)?, self.number(until)?),
            None => {
                let one = self.number(range)?;
                (one, if step.is_some() { self.max } else { one })
            }
        };
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        if from <= until {
            return Some((from..=until).step_by(step).collect());
        }
        // FRI-MON, NOV-FEB.
        if self.names.is_empty() {
            return None;
        }
        Some((from..=self.max).chain(self.min..=until).step_by(step).collect())
    }
}

fn days_of_month(text: &str) -> Result<Days, BadSchedule> {
    match text {
        "L" => return Ok(Days::Last),
        "LW" | "WL" => return Ok(Days::LastWeekday),
        _ => {}
    }
    match text.strip_suffix('W') {
        Some(day) => {
            let day = DAY_OF_MONTH.number(day).and_then(|day| i8::try_from(day).ok());
            day.map(Days::Nearest).ok_or_else(|| DAY_OF_MONTH.bad(text))
        }
        None => DAY_OF_MONTH.bits(text).map(Days::OfMonth),
    }
}

fn days_of_week(text: &str) -> Result<Days, BadSchedule> {
    let bad = || DAY_OF_WEEK.bad(text);
    let number = |text: &str| DAY_OF_WEEK.number(text).and_then(|day| i8::try_from(day).ok());
    if text == "L" {
        return Ok(Days::OfWeek(1 << 7));
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth = nth.parse::<i8>().ok().filter(|nth| (1..=5).contains(nth)).ok_or_else(bad)?;
        return number(day).map(|day| Days::NthOfWeek(day, nth)).ok_or_else(bad);
    }
    match text.strip_suffix('L') {
        Some(day) => number(day).map(Days::LastOfWeek).ok_or_else(bad),
        None => DAY_OF_WEEK.bits(text).map(Days::OfWeek),
    }
}

/// 1 (Sunday) to 7.
fn weekday(date: Date) -> i8 {
    date.weekday().to_sunday_one_offset()
}

fn is_working(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

impl Days {
    fn fits(&self, date: Date) -> bool {
        let (day, last) = (date.day(), date.days_in_month());
        match *self {
            Days::OfMonth(bits) => bits & (1 << day) != 0,
            Days::Last => day == last,
            Days::LastWeekday => {
                let later = (day + 1..=last).filter_map(|day| on(date, day));
                is_working(date) && !later.into_iter().any(is_working)
            }
            Days::Nearest(wanted) => on(date, wanted).and_then(|wanted| nearest(wanted, last)) == Some(date),
            Days::OfWeek(bits) => bits & (1 << weekday(date)) != 0,
            Days::LastOfWeek(wanted) => weekday(date) == wanted && day + 7 > last,
            Days::NthOfWeek(wanted, nth) => weekday(date) == wanted && (day - 1) / 7 + 1 == nth,
        }
    }
}

fn on(date: Date, day: i8) -> Option<Date> {
    Date::new(date.year(), date.month(), day).ok()
}

/// The working day nearest to one of a month, within that month.
fn nearest(date: Date, last: i8) -> Option<Date> {
    let moved = match date.weekday() {
        Weekday::Saturday if date.day() == 1 => 2,
        Weekday::Saturday => -1,
        Weekday::Sunday if date.day() == last => -2,
        Weekday::Sunday => 1,
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => 0,
    };
    on(date, date.day() + moved)
}

/// When clocks in a zone show a time; `None` beyond what can be told.
fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let at = zone.to_ambiguous_zoned(time).compatible().ok()?;
    Some(Timestamp(at.timestamp().as_millisecond()))
}

impl Cron {
    fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let now = jiff::Timestamp::from_millisecond(after.0).ok()?;
        // Where clocks were set back, what they show now they have shown before: at most a day.
        let local = zone.to_datetime(now);
        let mut date = local.date().yesterday().ok()?;
        loop {
            let year = *self.years.iter().find(|year| **year >= date.year())?;
            if year > date.year() {
                date = Date::new(year, 1, 1).ok()?;
            }
            if self.months & (1 << date.month()) == 0 {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.days.fits(date)
                && let Some(at) =
                    self.times(date).filter_map(|time| instant(time, zone)).find(|at| *at > after)
            {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
    }

    fn times(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let set = |bits: u64, max: i8| (0..=max).filter(move |bit| bits & (1 << bit) != 0);
        let minutes = self.minutes;
        set(self.hours, 23)
            .flat_map(move |hour| set(minutes, 59).map(move |minute| date.at(hour, minute, 0, 0)))
    }
}

#[cfg(test)]
mod tests;
