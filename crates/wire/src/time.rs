//! Points in time as members: a number of seconds in JSON, ISO 8601 in a form and in XML.

use base::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use std::fmt;

/// Milliseconds since 1970 that the protocols of a service may bear: within the years 1 to 9999.
const WITHIN_MS: std::ops::RangeInclusive<f64> = -62_135_596_800_000.0..=253_402_300_799_999.0;

/// A timestamp member of a service that speaks several protocols. Read from a number of seconds (a fraction is allowed, as is
/// its text) or from ISO 8601; written as each protocol has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Time {
    /// By which XML knows it.
    pub(crate) const NAME: &'static str = "wire::Time";

    /// ISO 8601, in UTC.
    pub(crate) fn text(seconds: f64) -> String {
        let ms = (seconds * 1000.0).round();
        match jiff::Timestamp::from_millisecond(ms as i64) {
            Ok(time) => time.to_string(),
            Err(_) => ms.to_string(),
        }
    }

    fn of_seconds<E: Error>(seconds: f64) -> Result<Time, E> {
        let ms = (seconds * 1000.0).round();
        match WITHIN_MS.contains(&ms) {
            true => Ok(Time(Timestamp(ms as i64))),
            false => Err(E::custom(format!("{seconds} is not a time"))),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Time::NAME, &self.0.epoch_seconds())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl Visitor<'_> for Read {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        Time::of_seconds(seconds as f64)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        Time::of_seconds(seconds as f64)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        Time::of_seconds(seconds)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Time(Timestamp(time.as_millisecond())));
        }
        match text.parse() {
            Ok(seconds) => Time::of_seconds(seconds),
            Err(_) => Err(E::custom(format!("{text} is not a time"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_in_each_form() {
        let read = |json: &str| serde_json::from_str::<Time>(json).map(|time| time.0.0).ok();
        assert_eq!(read("1795219200"), Some(1_795_219_200_000));
        assert_eq!(read("1795219200.25"), Some(1_795_219_200_250));
        assert_eq!(read("\"2026-11-21T00:00:00Z\""), Some(1_795_219_200_000));
        assert_eq!(read("\"2026-11-21T01:00:00+01:00\""), Some(1_795_219_200_000));
        assert_eq!(read("\"1795219200\""), Some(1_795_219_200_000));
        for bad in ["\"\"", "\"soon\"", "1e300", "-1e300", "true", "[]", "{}", "\"NaN\""] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Time::text(1_795_219_200.25), "2026-11-21T00:00:00.25Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ms in -62_135_596_800_000_i64..253_402_300_799_999) {
            let time = Time(Timestamp(ms));
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
            let text = serde_json::to_string(&Time::text(Timestamp(ms).epoch_seconds())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), time);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = serde_json::from_value::<Time>(text.into());
        }
    }
}
