//! When an alarm is in which state. Pure. Source: user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat
//! missing data", whose tables are tests here.

use serde::{Deserialize, Serialize};

/// State of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum State {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "ALARM")]
    Alarm,
    #[serde(rename = "INSUFFICIENT_DATA")]
    Insufficient,
}

impl State {
    pub(crate) const NAMES: &'static [&'static str] = &["OK", "ALARM", "INSUFFICIENT_DATA"];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Alarm => "ALARM",
            State::Insufficient => "INSUFFICIENT_DATA",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<State> {
        [State::Ok, State::Alarm, State::Insufficient].into_iter().find(|state| state.as_str() == text)
    }
}

/// How a value compares with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    AtLeast,
    Above,
    Below,
    AtMost,
}

impl Comparison {
    pub(crate) fn parse(text: &str) -> Option<Comparison> {
        Some(match text {
            "GreaterThanOrEqualToThreshold" => Comparison::AtLeast,
            "GreaterThanThreshold" => Comparison::Above,
            "LessThanThreshold" => Comparison::Below,
            "LessThanOrEqualToThreshold" => Comparison::AtMost,
            _ => return None,
        })
    }

    fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::AtLeast => value >= threshold,
            Comparison::Above => value > threshold,
            Comparison::Below => value < threshold,
            Comparison::AtMost => value <= threshold,
        }
    }

    /// As it is told in reasons.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Comparison::AtLeast => "greater than or equal to",
            Comparison::Above => "greater than",
            Comparison::Below => "less than",
            Comparison::AtMost => "less than or equal to",
        }
    }
}

/// What a period without data counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// As nothing.
    Nothing,
    /// As a reason to stay in the state.
    Ignore,
    Breaching,
    NotBreaching,
}

impl Missing {
    pub(crate) fn parse(text: &str) -> Option<Missing> {
        Some(match text {
            "missing" => Missing::Nothing,
            "ignore" => Missing::Ignore,
            "breaching" => Missing::Breaching,
            "notBreaching" => Missing::NotBreaching,
            _ => return None,
        })
    }
}

/// What an alarm asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) comparison: Comparison,
    pub(crate) threshold: f64,
    /// Periods looked at: N.
    pub(crate) periods: usize,
    /// Of these, how many must breach: M, from 1 to N.
    pub(crate) to_alarm: usize,
    pub(crate) missing: Missing,
}

/// Periods that are looked at before the last N, in case some of those have no data.
const EARLIER: usize = 2;

impl Rule {
    /// How many periods must be read.
    pub(crate) fn range(&self) -> usize {
        self.periods + EARLIER
    }

    /// The state that follows, given the values of the periods of [`Rule::range`], the newest first, `None` without data.
    pub(crate) fn state(&self, newest_first: &[Option<f64>], now: State) -> State {
        let breach = |value: f64| self.comparison.breaches(value, self.threshold);
        // (age from 0, whether it breaches) of those that there are.
        let real: Vec<(usize, bool)> = newest_first
            .iter()
            .take(self.range())
            .enumerate()
            .filter_map(|(age, value)| Some((age, breach((*value)?))))
            .collect();
        let breaching = |count: usize| real.iter().take(count).filter(|(_, breach)| *breach).count();
        let decided = |alarm: bool| if alarm { State::Alarm } else { State::Ok };
        if real.len() >= self.periods {
            return decided(breaching(self.periods) >= self.to_alarm);
        }
        let filled = self.periods - real.len();
        let breaches = breaching(real.len());
        match self.missing {
            Missing::Breaching => decided(breaches + filled >= self.to_alarm),
            Missing::NotBreaching => decided(breaches >= self.to_alarm),
            Missing::Nothing | Missing::Ignore if breaches >= self.to_alarm => State::Alarm,
            Missing::Nothing | Missing::Ignore if breaches < real.len() => State::Ok,
            Missing::Ignore => now,
            Missing::Nothing if real.is_empty() => State::Insufficient,
            // All that there is breaches: it is taken for an alarm once it began long enough ago.
            Missing::Nothing => match real.last() {
                Some((age, _)) if age + 1 >= self.to_alarm => State::Alarm,
                Some(_) | None => now,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(to_alarm: usize, missing: Missing) -> Rule {
        Rule { comparison: Comparison::Above, threshold: 1.0, periods: 3, to_alarm, missing }
    }

    /// `0`, `X` and `-` as in the guide, the oldest first.
    fn points(text: &str) -> Vec<Option<f64>> {
        text.chars()
            .rev()
            .map(|point| match point {
                '0' => Some(0.0),
                'X' => Some(2.0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn missing_data_are_treated_as_in_the_guide() {
        use State::{Alarm, Insufficient, Ok};
        // What stands for "keeps its state" is told apart by trying every state.
        const KEEP: Option<State> = None;
        for (to_alarm, text, missing, ignore, breaching, not_breaching) in [
            (3, "0-X-X", Some(Ok), Some(Ok), Some(Ok), Some(Ok)),
            (3, "0----", Some(Ok), Some(Ok), Some(Ok), Some(Ok)),
            (3, "-----", Some(Insufficient), KEEP, Some(Alarm), Some(Ok)),
            (3, "0XX-X", Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)),
            (3, "--X--", Some(Alarm), KEEP, Some(Alarm), Some(Ok)),
            (2, "0-X-X", Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)),
            (2, "00X0X", Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)),
            (2, "0-X--", Some(Ok), Some(Ok), Some(Alarm), Some(Ok)),
            (2, "----0", Some(Ok), Some(Ok), Some(Alarm), Some(Ok)),
            (2, "---X-", Some(Alarm), KEEP, Some(Alarm), Some(Ok)),
        ] {
            for (treatment, wanted) in [
                (Missing::Nothing, missing),
                (Missing::Ignore, ignore),
                (Missing::Breaching, breaching),
                (Missing::NotBreaching, not_breaching),
            ] {
                for now in [Ok, Alarm, Insufficient] {
                    let state = rule(to_alarm, treatment).state(&points(text), now);
                    assert_eq!(
                        state,
                        wanted.unwrap_or(now),
                        "{to_alarm} of 3, {text}, {treatment:?}, {now:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_breach_is_not_yet_an_alarm_of_three() {
        let state = rule(3, Missing::Nothing).state(&points("----X"), State::Insufficient);
        assert_eq!(state, State::Insufficient);
    }

    fn any_points() -> impl Strategy<Value = Vec<Option<f64>>> {
        prop::collection::vec(prop::option::of(0.0..4.0_f64), 0..12)
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let comparisons = [Comparison::AtLeast, Comparison::Above, Comparison::Below, Comparison::AtMost];
        let treatments = [Missing::Nothing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];
        let to_alarm = (1..6_usize).prop_flat_map(|periods| (Just(periods), 1..=periods));
        (to_alarm, prop::sample::select(comparisons.to_vec()), prop::sample::select(treatments.to_vec()))
            .prop_map(|((periods, to_alarm), comparison, missing)| Rule {
                comparison,
                threshold: 2.0,
                periods,
                to_alarm,
                missing,
            })
    }

    proptest! {
        #[test]
        fn with_all_data_the_last_periods_decide(rule in any_rule(), values in prop::collection::vec(0.0..4.0_f64, 8)) {
            let points: Vec<_> = values.iter().copied().map(Some).collect();
            let breaches = values.iter().take(rule.periods).filter(|value| rule.comparison.breaches(**value, 2.0)).count();
            let wanted = if breaches >= rule.to_alarm { State::Alarm } else { State::Ok };
            for now in [State::Ok, State::Alarm, State::Insufficient] {
                prop_assert_eq!(rule.state(&points, now), wanted);
            }
        }

        #[test]
        fn evaluating_again_changes_nothing(rule in any_rule(), points in any_points()) {
            for now in [State::Ok, State::Alarm, State::Insufficient] {
                let once = rule.state(&points, now);
                prop_assert_eq!(rule.state(&points, once), once);
            }
        }

        #[test]
        fn an_alarm_needs_a_breach_unless_missing_data_breach(rule in any_rule(), points in any_points()) {
            let any = points.iter().flatten().any(|value| rule.comparison.breaches(*value, 2.0));
            if !any && rule.missing != Missing::Breaching {
                prop_assert_ne!(rule.state(&points, State::Ok), State::Alarm);
            }
        }

        #[test]
        fn more_breaches_never_end_an_alarm(rule in any_rule(), points in any_points(), at in 0..12_usize) {
            let breach = match rule.comparison { Comparison::AtLeast | Comparison::Above => 3.0, Comparison::Below | Comparison::AtMost => 1.0 };
            let mut worse = points.clone();
            if let Some(Some(point)) = worse.get_mut(at) {
                *point = breach;
            }
            if rule.state(&points, State::Ok) == State::Alarm {
                prop_assert_eq!(rule.state(&worse, State::Ok), State::Alarm);
            }
        }
    }
}
