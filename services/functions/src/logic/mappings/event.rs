//! Messages as a function gets them. Source: Lambda developer guide, "Using Lambda with Amazon SQS", example event.

use crate::Error;
use base::{Arn, QueueMessage};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// What surrounds the records of an event.
const ENVELOPE: (&str, &str) = (r#"{"Records":["#, "]}");

/// A message, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// `messageId`.
    pub id: String,
    /// What it is deleted by.
    pub receipt: String,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// Whether it must not be overtaken by others of its group: on FIFO queues.
    pub ordered: bool,
    /// `AWSTraceHeader`.
    pub trace: Option<String>,
    /// Itself as JSON.
    pub json: String,
}

impl Record {
    /// Bytes that it adds to an event, with its comma.
    pub fn size(&self) -> usize {
        self.json.len() + 1
    }
}

/// The JSON form.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    pub(super) body: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    message_attributes: BTreeMap<&'a str, Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<&'a str>,
    md5_of_body: &'a str,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
    aws_region: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attribute<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    /// SQS has no lists.
    string_list_values: [(); 0],
    binary_list_values: [(); 0],
    data_type: &'a str,
}

pub(super) fn shown<'a>(message: &'a QueueMessage, source: &'a Arn) -> Shown<'a> {
    let attribute = |attribute: &'a base::MessageAttribute| {
        let binary = attribute.data_type.split('.').next() == Some("Binary");
        Attribute {
            string_value: (!binary).then(|| String::from_utf8_lossy(&attribute.value)),
            binary_value: binary.then(|| STANDARD.encode(&attribute.value)),
            string_list_values: [],
            binary_list_values: [],
            data_type: &attribute.data_type,
        }
    };
    Shown {
        message_id: &message.id,
        receipt_handle: &message.receipt,
        body: &message.body,
        attributes: message.system.iter().map(|(name, value)| (*name, value.as_str())).collect(),
        message_attributes: message
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), attribute(value)))
            .collect(),
        md5_of_message_attributes: message.attributes_md5.as_deref(),
        md5_of_body: &message.body_md5,
        event_source: "aws:sqs",
        event_source_arn: source.to_string(),
        aws_region: source.region.as_ref().map_or("", base::Region::as_str),
    }
}

/// Whether a queue is a FIFO queue: their names say so.
pub fn is_fifo(source: &Arn) -> bool {
    source.resource.ends_with(".fifo")
}

/// A message as a record.
pub fn record(message: &QueueMessage, source: &Arn) -> Result<Record, Error> {
    let json =
        serde_json::to_string(&shown(message, source)).map_err(|_| Error::Corrupt { what: "message" })?;
    Ok(Record {
        id: message.id.clone(),
        receipt: message.receipt.clone(),
        group: message.system("MessageGroupId").map(str::to_owned),
        ordered: is_fifo(source),
        trace: message.system("AWSTraceHeader").map(str::to_owned),
        json,
    })
}

/// Bytes of an event without records.
pub const fn envelope_size() -> usize {
    ENVELOPE.0.len() + ENVELOPE.1.len()
}

/// An event of these records.
pub fn event(records: &[Record]) -> Bytes {
    let size = envelope_size() + records.iter().map(Record::size).sum::<usize>();
    let mut text = String::with_capacity(size);
    text.push_str(ENVELOPE.0);
    for (place, record) in records.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&record.json);
    }
    text.push_str(ENVELOPE.1);
    Bytes::from(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base::MessageAttribute;
    use serde_json::{Value, json};

    pub(crate) fn message(body: &str) -> QueueMessage {
        QueueMessage {
            id: "059f36b4-87a3-44ab-83d2-661975830a7d".to_owned(),
            receipt: "handle".to_owned(),
            body: body.to_owned(),
            body_md5: "e4e68fb7bd0e697a0ae8f1bb342846b3".to_owned(),
            attributes_md5: None,
            system: vec![("SentTimestamp", "1".to_owned()), ("ApproximateReceiveCount", "1".to_owned())],
            attributes: Vec::new(),
        }
    }

    pub(crate) fn queue() -> Arn {
        "arn:aws:sqs:us-east-1:000000000000:q".parse().unwrap()
    }

    #[test]
    fn the_event_has_the_documented_form() {
        let mut told = message("hi \"there\"");
        told.attributes_md5 = Some("00484c68".to_owned());
        let value = |data_type: &str, value: &'static str| MessageAttribute {
            data_type: data_type.to_owned(),
            value: value.into(),
        };
        told.attributes = vec![
            ("n".to_owned(), value("Number.int", "7")),
            ("b".to_owned(), value("Binary.png", "\u{0}\u{1}")),
        ];
        let records = [record(&told, &queue()).unwrap(), record(&message("x"), &queue()).unwrap()];
        let event = event(&records);
        assert_eq!(event.len() + 1, envelope_size() + records.iter().map(Record::size).sum::<usize>());
        let event: Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(
            event["Records"][0],
            json!({
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "handle",
                "body": "hi \"there\"",
                "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1" },
                "messageAttributes": {
                    "n": { "stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number.int" },
                    "b": { "binaryValue": "AAE=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary.png" },
                },
                "md5OfMessageAttributes": "00484c68",
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q",
                "awsRegion": "us-east-1",
            })
        );
        assert_eq!(event["Records"][1].get("md5OfMessageAttributes"), None);
    }
}
