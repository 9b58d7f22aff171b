//! Messages: what they may be, and their checksums.

use crate::{
    Error,
    api::AttributeValue,
    model::{Fifo, Outgoing, Settings},
};
use base::{MessageAttribute, RequestId, Seconds};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Attributes of a message. Source: SQS developer guide, "Message attributes".
const ATTRIBUTES_MAX: usize = 10;
/// Letters of names and types of attributes.
const NAME_MAX: usize = 256;
/// Letters of group ids and deduplication ids.
const TOKEN_MAX: usize = 128;
const DELAY_S: RangeInclusive<i64> = 0..=900;
/// The only system attribute that can be sent.
const TRACE: &str = "AWSTraceHeader";

/// One message of a request.
#[derive(Debug, Default)]
pub struct Given {
    /// `MessageBody`.
    pub body: Option<String>,
    /// `DelaySeconds`.
    pub delay: Option<i64>,
    /// `MessageAttributes`.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// `MessageSystemAttributes`.
    pub system: BTreeMap<String, AttributeValue>,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// `MessageDeduplicationId`.
    pub deduplication: Option<String>,
}

/// Checks a message for a queue.
pub fn outgoing(given: Given, settings: &Settings, sender: &str, id: RequestId) -> Result<Outgoing, Error> {
    let body = given.body.ok_or(Error::Missing("MessageBody"))?;
    if body.is_empty() {
        return Err(Error::Missing("MessageBody"));
    }
    if !is_text(&body) {
        return Err(Error::Contents);
    }
    let attributes = attributes(given.attributes, ATTRIBUTES_MAX, "message attribute")?;
    let system = system(given.system)?;
    let delay = match (given.delay, settings.fifo) {
        (None, _) => settings.delay,
        (Some(delay), _) if !DELAY_S.contains(&delay) => {
            return Err(Error::value(delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900."));
        }
        (Some(0), Some(_)) => settings.delay,
        (Some(delay), Some(_)) => {
            let why = "The request include parameter that is not valid for this queue type";
            return Err(Error::value(delay, "DelaySeconds", why));
        }
        (Some(delay), None) => Seconds(u32::try_from(delay).unwrap_or_default()),
    };
    let (group, deduplication) = match settings.fifo {
        Some(fifo) => order(fifo, given.group, given.deduplication, &body)?,
        None if given.deduplication.is_some() => {
            let why = "The request include parameter that is not valid for this queue type";
            return Err(Error::value(given.deduplication.unwrap_or_default(), "MessageDeduplicationId", why));
        }
        None => {
            if let Some(group) = &given.group {
                token("MessageGroupId", group)?;
            }
            (given.group, None)
        }
    };
    let message = Outgoing {
        id,
        body_md5: hex::encode(Md5::digest(&body)),
        body,
        attributes_md5: checksum(&attributes),
        attributes,
        system_md5: checksum(&system),
        trace: system.into_iter().next().map(|(_, value)| String::from_utf8_lossy(&value.value).into_owned()),
        delay,
        sender: sender.to_owned(),
        group,
        deduplication,
    };
    match message.bytes() {
        got if got > settings.bytes_max => Err(Error::Parameter(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            settings.bytes_max
        ))),
        _ => Ok(message),
    }
}

fn order(
    fifo: Fifo,
    group: Option<String>,
    deduplication: Option<String>,
    body: &str,
) -> Result<(Option<String>, Option<String>), Error> {
    let group = group.ok_or(Error::Missing("MessageGroupId"))?;
    token("MessageGroupId", &group)?;
    let deduplication = match deduplication {
        Some(id) => {
            token("MessageDeduplicationId", &id)?;
            id
        }
        None if fifo.by_content => hex::encode(Sha256::digest(body)),
        None => {
            return Err(Error::Parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly".to_owned(),
            ));
        }
    };
    Ok((Some(group), Some(deduplication)))
}

/// Letters, digits and punctuation. Source: SQS API reference, `SendMessage`.
pub fn token(parameter: &'static str, text: &str) -> Result<(), Error> {
    let fits = (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return Ok(());
    }
    let why = format!(
        "{parameter} can only include alphanumeric and punctuation characters. 1 to {TOKEN_MAX} in length."
    );
    Err(Error::value(text.chars().take(TOKEN_MAX).collect::<String>(), parameter, why))
}

/// Whether a text has only characters that XML 1.0 can carry. Source: SQS API reference, `SendMessage`.
fn is_text(text: &str) -> bool {
    // Nearly all have neither control characters nor what begins like the two that are forbidden beyond them.
    let rare =
        |byte: u8| (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r') | (byte == 0xef);
    let has_rare = |piece: &[u8]| piece.iter().fold(false, |found, byte| found | rare(*byte));
    if !text.as_bytes().chunks(128).any(has_rare) {
        return true;
    }
    !text.chars().any(
        |c| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'),
    )
}

fn system(given: BTreeMap<String, AttributeValue>) -> Result<Vec<(String, MessageAttribute)>, Error> {
    if let Some(name) = given.keys().find(|name| *name != TRACE) {
        return Err(Error::Parameter(format!("Message system attribute name '{name}' is invalid.")));
    }
    let system = attributes(given, 1, "message system attribute")?;
    match system.iter().find(|(_, value)| value.data_type != "String") {
        Some((name, _)) => {
            Err(Error::Parameter(format!("Message system attribute '{name}' must be of type String.")))
        }
        None => Ok(system),
    }
}

fn attributes(
    given: BTreeMap<String, AttributeValue>,
    max: usize,
    kind: &str,
) -> Result<Vec<(String, MessageAttribute)>, Error> {
    if given.len() > max {
        let text = format!("Number of {kind}s [{}] exceeds the allowed maximum [{max}].", given.len());
        return Err(Error::Parameter(text));
    }
    given.into_iter().map(|(name, value)| attribute(name, value, kind)).collect()
}

fn attribute(name: String, given: AttributeValue, kind: &str) -> Result<(String, MessageAttribute), Error> {
    let refused = |why: String| Err(Error::Parameter(why));
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(letters) {
        return refused(format!(
            "The {kind} name '{name}' must be from 1 to {NAME_MAX} letters, digits, hyphens, underscores and periods."
        ));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return refused(format!(
            "The {kind} name '{name}' must not start or end with a period, nor have two in a row."
        ));
    }
    if kind == "message attribute" && (lower.starts_with("aws.") || lower.starts_with("amazon.")) {
        return refused(format!("The {kind} name '{name}' has a reserved prefix."));
    }
    if given.string_list_values.is_some_and(|list| !list.is_empty())
        || given.binary_list_values.is_some_and(|list| !list.is_empty())
    {
        return refused(format!("{kind} list values in SendMessage operation are not supported."));
    }
    let Some(data_type) = given.data_type.filter(|kind| !kind.is_empty()) else {
        return refused(format!("The {kind} '{name}' must contain a non-empty {kind} type."));
    };
    let base = data_type.split('.').next().unwrap_or_default();
    if data_type.len() > NAME_MAX || !["String", "Number", "Binary"].contains(&base) {
        return refused(format!(
            "The {kind} '{name}' has an invalid {kind} type, the set of supported type prefixes is Binary, Number, and String."
        ));
    }
    let value = match (base, given.string_value, given.binary_value) {
        ("Binary", None, Some(bytes)) => bytes.0,
        ("String" | "Number", Some(text), None) => Bytes::from(text),
        ("Binary", _, _) | (_, _, Some(_)) => {
            return refused(format!(
                "The {kind} '{name}' with type '{base}' must use field '{}'.",
                if base == "Binary" { "Binary" } else { "String" }
            ));
        }
        _ => Bytes::new(),
    };
    if value.is_empty() {
        return refused(format!(
            "The {kind} '{name}' must contain a non-empty {kind} value for {kind} type '{data_type}'."
        ));
    }
    let text = std::str::from_utf8(&value);
    if base == "String" && !text.is_ok_and(is_text) {
        return Err(Error::Contents);
    }
    if base == "Number" && !text.is_ok_and(|text| text.trim().parse::<f64>().is_ok_and(f64::is_finite)) {
        return refused(format!("Can't cast the value of {kind} '{name}' to a number."));
    }
    Ok((name, MessageAttribute { data_type, value }))
}

/// Hexadecimal MD5 of attributes, in the order of their names. Source: SQS developer guide, "Calculating the MD5 message
/// digest for message attributes".
pub fn checksum(attributes: &[(String, MessageAttribute)]) -> Option<String> {
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hash = Md5::new();
    let piece = |hash: &mut Md5, bytes: &[u8]| {
        hash.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(bytes);
    };
    for (name, value) in sorted {
        piece(&mut hash, name.as_bytes());
        piece(&mut hash, value.data_type.as_bytes());
        hash.update([if value.data_type.starts_with("Binary") { 2 } else { 1 }]);
        piece(&mut hash, &value.value);
    }
    (!attributes.is_empty()).then(|| hex::encode(hash.finalize()))
}

/// The attributes that a receive asks for: by name, `All` or `.*` for all, `prefix.*` for those that begin so.
pub fn selected(
    attributes: &[(String, MessageAttribute)],
    wanted: &[String],
) -> Vec<(String, MessageAttribute)> {
    let asked = |name: &str| {
        wanted.iter().any(|wanted| match wanted.as_str() {
            "All" | ".*" => true,
            wanted => {
                wanted == name || wanted.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
            }
        })
    };
    attributes.iter().filter(|(name, _)| asked(name)).cloned().collect()
}

/// `SequenceNumber` of the message at a place: 20 digits that increase.
pub fn sequence(seq: i64) -> String {
    format!("1{:019}", seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::attributes;
    use crate::model::QueueKey;

    fn settings(name: &str, set: &[(&str, &str)]) -> Settings {
        let key = QueueKey {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.into(),
        };
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        attributes::settings(&key, &set).unwrap()
    }

    fn made(given: Given, settings: &Settings) -> Result<Outgoing, String> {
        outgoing(given, settings, "me", "00000000-0000-0000-0000-000000000001".parse().unwrap())
            .map_err(|error| error.to_string())
    }

    fn body(text: &str) -> Given {
        Given { body: Some(text.to_owned()), ..Given::default() }
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue {
            data_type: Some("String".to_owned()),
            string_value: Some(value.to_owned()),
            ..AttributeValue::default()
        }
    }

    #[test]
    fn checksums_are_those_that_sdks_compute() {
        let mut given = body("This is a test message");
        given.attributes.insert(
            "timestamp".to_owned(),
            AttributeValue {
                data_type: Some("Number".to_owned()),
                string_value: Some("1493147359900".to_owned()),
                ..AttributeValue::default()
            },
        );
        let message = made(given, &settings("q", &[])).unwrap();
        assert_eq!(message.body_md5, "fafb00f5732ab283681e124bf8747ed1");
        // Known from a published test of another implementation of the algorithm.
        assert_eq!(message.attributes_md5.as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
    }

    #[test]
    fn messages_are_checked() {
        let (standard, fifo) = (settings("q", &[]), settings("q.fifo", &[("FifoQueue", "true")]));
        let by_content = settings("q.fifo", &[("FifoQueue", "true"), ("ContentBasedDeduplication", "true")]);
        made(body("a\t\n\r\u{20}\u{10ffff}"), &standard).unwrap();
        assert!(made(body("a\u{1}"), &standard).unwrap_err().starts_with("Invalid characters"));
        assert!(made(body(""), &standard).unwrap_err().contains("MessageBody"));
        made(body(&"x".repeat(1_048_576)), &standard).unwrap();
        assert!(made(body(&"x".repeat(1_048_577)), &standard).unwrap_err().contains("shorter than 1048576"));
        let mut with = body(&"x".repeat(1_048_560));
        with.attributes.insert("name".to_owned(), text("0123456789"));
        assert!(made(with, &standard).unwrap_err().contains("shorter than"));
        assert!(made(body("x"), &fifo).unwrap_err().contains("MessageGroupId"));
        let mut grouped = body("x");
        grouped.group = Some("g".to_owned());
        assert!(made(grouped, &fifo).unwrap_err().contains("ContentBasedDeduplication"));
        let mut grouped = body("x");
        grouped.group = Some("g".to_owned());
        let message = made(grouped, &by_content).unwrap();
        assert_eq!(message.deduplication, Some(hex::encode(Sha256::digest("x"))));
        for delay in [-1, 901] {
            let late = Given { delay: Some(delay), ..body("x") };
            assert!(made(late, &standard).unwrap_err().contains("DelaySeconds"));
        }
        for name in ["", "AWS.x", "amazon.x", ".x", "x.", "a..b", "a b", &"x".repeat(257)] {
            let mut given = body("x");
            given.attributes.insert(name.to_owned(), text("v"));
            made(given, &standard).expect_err(name);
        }
        let mut many = body("x");
        many.attributes = (0..11).map(|n| (format!("a{n}"), text("v"))).collect();
        assert!(made(many, &standard).unwrap_err().contains("[11] exceeds"));
    }

    #[test]
    fn attributes_are_selected_by_name_and_prefix() {
        let value = MessageAttribute { data_type: "String".to_owned(), value: Bytes::from("v") };
        let all = [
            ("foo.a".to_owned(), value.clone()),
            ("foo.b".to_owned(), value.clone()),
            ("bar".to_owned(), value),
        ];
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            selected(&all, &wanted).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), Vec::<String>::new());
        assert_eq!(names(&["All"]).len(), 3);
        assert_eq!(names(&[".*"]).len(), 3);
        assert_eq!(names(&["foo.*"]), ["foo.a", "foo.b"]);
        assert_eq!(names(&["bar"]), ["bar"]);
    }
}
