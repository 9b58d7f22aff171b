//! Attributes of queues: their names, their bounds, what they mean.

use super::{names::FIFO_SUFFIX, policy::Policy, redrive};
use crate::{
    Error,
    model::{Fifo, QueueKey, Settings},
};
use base::Seconds;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Numbers, with their bounds and defaults. Source: SQS API reference, `SetQueueAttributes`.
const NUMBERS: [(&str, RangeInclusive<u32>, u32); 5] = [
    (VISIBILITY, 0..=43_200, 30),
    (RETENTION, 60..=1_209_600, 345_600),
    (DELAY, 0..=900, 0),
    (BYTES, 1_024..=1_048_576, 1_048_576),
    (WAIT, 0..=20, 0),
];
const VISIBILITY: &str = "VisibilityTimeout";
const RETENTION: &str = "MessageRetentionPeriod";
const DELAY: &str = "DelaySeconds";
const BYTES: &str = "MaximumMessageSize";
const WAIT: &str = "ReceiveMessageWaitTimeSeconds";

/// Documents; an empty one is none.
pub const POLICY: &str = "Policy";
const REDRIVE: &str = "RedrivePolicy";
const ALLOW: &str = "RedriveAllowPolicy";

const FIFO: &str = "FifoQueue";
const BY_CONTENT: &str = "ContentBasedDeduplication";
const SCOPE: &str = "DeduplicationScope";
const THROUGHPUT: &str = "FifoThroughputLimit";

/// What cannot be set; all that `GetQueueAttributes` can be asked for besides the others.
pub const TOLD: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];
const SSE: &str = "SqsManagedSseEnabled";

/// Whether a queue can be asked for it.
pub fn is_known(name: &str) -> bool {
    let own = [POLICY, REDRIVE, ALLOW, FIFO, BY_CONTENT, SCOPE, THROUGHPUT, SSE, "KmsMasterKeyId"];
    own.contains(&name)
        || name == "KmsDataKeyReusePeriodSeconds"
        || TOLD.contains(&name)
        || NUMBERS.iter().any(|(known, _, _)| *known == name)
}

/// `before` with what a request sets. `new`: the queue is being made.
pub fn merged(
    key: &QueueKey,
    before: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    new: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let fifo = key.name.ends_with(FIFO_SUFFIX);
    let mut after = before.clone();
    for (name, value) in wanted {
        match name.as_str() {
            FIFO if !fifo => return Err(Error::AttributeName(FIFO.to_owned())),
            FIFO if value != "true" || !new && before.get(FIFO) != Some(value) => {
                return Err(Error::attribute(
                    FIFO,
                    if new { "" } else { "Modifying queue type is not supported." },
                ));
            }
            BY_CONTENT | SCOPE | THROUGHPUT if !fifo => {
                return Err(Error::AttributeName(name.clone()));
            }
            "KmsMasterKeyId" if value.is_empty() => continue,
            "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => {
                return Err(Error::Unsupported {
                    what: "Encryption by a KMS key",
                    instead: "leave out KmsMasterKeyId and KmsDataKeyReusePeriodSeconds",
                });
            }
            SSE if value == "false" => continue,
            SSE => {
                return Err(Error::Unsupported {
                    what: "SqsManagedSseEnabled",
                    instead: "messages lie in the node's database as they were sent; encrypt its disk and leave this out",
                });
            }
            told if TOLD.contains(&told) || !is_known(told) => {
                return Err(Error::AttributeName(told.to_owned()));
            }
            _ => {}
        }
        if value.is_empty() && [POLICY, REDRIVE, ALLOW].contains(&name.as_str()) {
            after.remove(name);
        } else {
            after.insert(name.clone(), value.clone());
        }
    }
    if fifo && after.get(FIFO).map(String::as_str) != Some("true") {
        return Err(Error::Parameter(
            "The name of a standard queue can only include alphanumeric characters, hyphens, or underscores; a name that ends with .fifo needs the attribute FifoQueue.".to_owned(),
        ));
    }
    settings(key, &after)?;
    Ok(after)
}

/// What attributes mean.
pub fn settings(key: &QueueKey, attributes: &BTreeMap<String, String>) -> Result<Settings, Error> {
    let number = |wanted: &str| -> Result<u32, Error> {
        let (bounds, default) = NUMBERS
            .iter()
            .find_map(|(name, bounds, default)| (*name == wanted).then_some((bounds, *default)))
            .unwrap_or((&(0..=0), 0));
        match attributes.get(wanted) {
            None => Ok(default),
            Some(text) => {
                let number = text.trim().parse().ok().filter(|number| bounds.contains(number));
                number.ok_or_else(|| Error::attribute(wanted, ""))
            }
        }
    };
    let truth = |name: &str| match attributes.get(name).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::attribute(name, "")),
    };
    let choice = |name: &str, off: &str, on: &str| match attributes.get(name).map(String::as_str) {
        None => Ok(false),
        Some(word) if word == off => Ok(false),
        Some(word) if word == on => Ok(true),
        Some(_) => Err(Error::attribute(name, "")),
    };
    let is_fifo = key.name.ends_with(FIFO_SUFFIX);
    let fifo = match is_fifo {
        false => None,
        true => {
            let fifo = Fifo {
                by_content: truth(BY_CONTENT)?,
                scope_group: choice(SCOPE, "queue", "messageGroup")?,
                high_throughput: choice(THROUGHPUT, "perQueue", "perMessageGroupId")?,
            };
            if fifo.high_throughput && !fifo.scope_group {
                return Err(Error::attribute(
                    THROUGHPUT,
                    "perMessageGroupId is allowed only when the value for DeduplicationScope is messageGroup.",
                ));
            }
            Some(fifo)
        }
    };
    let document = |name: &str| attributes.get(name).map(String::as_str);
    Ok(Settings {
        fifo,
        visibility: Seconds(number(VISIBILITY)?),
        retention: Seconds(number(RETENTION)?),
        delay: Seconds(number(DELAY)?),
        bytes_max: number(BYTES)? as usize,
        wait: Seconds(number(WAIT)?),
        policy: document(POLICY).map(Policy::parse).transpose()?,
        redrive: document(REDRIVE).map(|text| redrive::Redrive::parse(text, key, is_fifo)).transpose()?,
        allow: document(ALLOW).map(redrive::Allow::parse).transpose()?.unwrap_or_default(),
    })
}

/// Everything that a queue tells of itself, the changing numbers apart.
pub fn shown(key: &QueueKey, attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> =
        NUMBERS.iter().map(|(name, _, default)| ((*name).to_owned(), default.to_string())).collect();
    shown.insert(SSE.to_owned(), "false".to_owned());
    if key.name.ends_with(FIFO_SUFFIX) {
        for (name, default) in [(BY_CONTENT, "false"), (SCOPE, "queue"), (THROUGHPUT, "perQueue")] {
            shown.insert(name.to_owned(), default.to_owned());
        }
    }
    shown.extend(attributes.clone());
    shown.insert("QueueArn".to_owned(), key.arn().to_string());
    shown
}
