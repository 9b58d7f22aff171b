//! Instants as signatures write them: `YYYYMMDDTHHMMSSZ`.

use base::Timestamp;

/// The compact form of an instant.
pub(crate) fn compact(at: Timestamp) -> String {
    let (seconds, days) = (at.0.div_euclid(1000), at.0.div_euclid(86_400_000));
    let (year, month, day) = date_of(days);
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Reads the compact form.
pub(crate) fn parse_compact(text: &str) -> Option<Timestamp> {
    let raw = text.as_bytes();
    if raw.len() != 16 || raw.get(8) != Some(&b'T') || raw.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        raw.get(from..to)?
            .iter()
            .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp(seconds * 1000))
}

/// Reads `Date` as HTTP writes it (`Sun, 06 Nov 1994 08:49:37 GMT`) or in the compact form.
pub(crate) fn parse_date_header(text: &str) -> Option<Timestamp> {
    parse_compact(text).or_else(|| {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Timestamp(zoned.timestamp().as_millisecond()))
    })
}

/// Days since 1970-01-01 of a civil date. Source: H. Hinnant, "chrono-compatible low-level date algorithms".
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The civil date of a day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_as_they_were_read() {
        for text in ["19700101T000000Z", "20150830T123600Z", "20000229T235959Z", "21000301T000001Z"] {
            assert_eq!(compact(parse_compact(text).unwrap()), text);
        }
        assert_eq!(parse_compact("20150830T123600Z"), Some(Timestamp(1_440_938_160_000)));
        for bad in [
            "",
            "20150830T123600",
            "20151330T123600Z",
            "2015083aT123600Z",
            "20150830T250000Z",
            "20150830 123600Z",
        ] {
            assert_eq!(parse_compact(bad), None, "{bad}");
        }
        assert_eq!(parse_date_header("Sun, 30 Aug 2015 12:36:00 GMT"), parse_compact("20150830T123600Z"));
        assert_eq!(parse_date_header("yesterday"), None);
    }
}
