//! Which messages a mapping wants. Source: Lambda developer guide, "Control which events Lambda sends to your function", and its
//! page on queues, whose table says what a body must be for a pattern.

use super::event;
use crate::Error;
use base::{Arn, QueueMessage};
use pattern::Pattern;
use serde_json::Value;

/// What a pattern takes the body for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    /// A JSON document.
    Json,
    /// Text that is none.
    Text,
    /// It does not ask for the body.
    Any,
}

/// A pattern, ready to be asked.
#[derive(Clone, Debug)]
pub struct Filter {
    pattern: Pattern,
    body: Body,
}

impl Filter {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Filter, Error> {
        let wrong = |_| Error::invalid("Invalid filter pattern definition.");
        let value: Value = serde_json::from_str(text).map_err(|_| wrong(()))?;
        let pattern = Pattern::of(&value).map_err(|_| wrong(()))?;
        let body = match value.get("body") {
            Some(Value::Object(_)) => Body::Json,
            Some(_) => Body::Text,
            None => Body::Any,
        };
        Ok(Filter { pattern, body })
    }
}

/// Whether any of the filters wants the message; without filters all are wanted.
pub fn wanted(filters: &[Filter], message: &QueueMessage, source: &Arn) -> bool {
    if filters.is_empty() {
        return true;
    }
    let Ok(mut record) = serde_json::to_value(event::shown(message, source)) else { return false };
    let document = serde_json::from_str(&message.body).ok().filter(|body: &Value| body.is_object());
    let is_json = document.is_some();
    if let (Some(document), Some(body)) = (document, record.get_mut("body")) {
        *body = document;
    }
    filters.iter().any(|filter| {
        let fits = match filter.body {
            Body::Json => is_json,
            Body::Text => !is_json,
            Body::Any => true,
        };
        fits && filter.pattern.matches(&record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::mappings::event::tests::{message, queue};

    fn wants(patterns: &[&str], body: &str) -> bool {
        let filters: Vec<Filter> = patterns.iter().map(|text| Filter::parse(text).unwrap()).collect();
        wanted(&filters, &message(body), &queue())
    }

    #[test]
    fn a_body_is_compared_as_what_the_pattern_takes_it_for() {
        let json = r#"{"body":{"code":["BBBB"]}}"#;
        assert!(wants(&[json], r#"{"code":"BBBB","n":1}"#));
        assert!(!wants(&[json], r#"{"code":"AAAA"}"#));
        assert!(!wants(&[json], "BBBB"));
        assert!(!wants(&[r#"{"body":{"code":[{"exists":false}]}}"#], "plain"));
        assert!(wants(&[r#"{"body":["plain"]}"#], "plain"));
        assert!(!wants(&[r#"{"body":[{"exists":false}]}"#], r#"{"code":"x"}"#));
    }

    #[test]
    fn any_of_the_filters_is_enough_and_none_wants_all() {
        assert!(wants(&[], "x"));
        assert!(wants(&[r#"{"body":["a"]}"#, r#"{"body":[{"prefix":"b"}]}"#], "bc"));
        assert!(wants(&[r#"{"attributes":{"ApproximateReceiveCount":["1"]}}"#], "x"));
        assert!(wants(&[r#"{"attributes":{"ApproximateReceiveCount":["1"]}}"#], r#"{"x":1}"#));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "x", "[]", r#"{"body":"x"}"#, r#"{"body":[]}"#, r#"{"body":[{"like":"x"}]}"#] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
