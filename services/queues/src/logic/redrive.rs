//! Dead-letter queues: where messages go that were received too often, and who may send them there.

use crate::{Error, model::QueueKey};
use base::Arn;
use serde::Deserialize;

/// `maxReceiveCount`. Source: SQS developer guide, "Dead-letter queues".
const RECEIVES: std::ops::RangeInclusive<u32> = 1..=1_000;
/// `sourceQueueArns`. Source: SQS API reference, `RedriveAllowPolicy`.
const SOURCES_MAX: usize = 10;

/// `RedrivePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// `deadLetterTargetArn`.
    pub target: QueueKey,
    /// `maxReceiveCount`: a message that would be received once more is moved.
    pub receives_max: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    dead_letter_target_arn: Option<String>,
    max_receive_count: Option<serde_json::Value>,
}

impl Redrive {
    /// Reads the policy of the queue `of`, whose dead-letter queue must be of its account, region and kind.
    pub fn parse(text: &str, of: &QueueKey, fifo: bool) -> Result<Redrive, Error> {
        let bad = |why: &str| Error::value(text, "RedrivePolicy", why);
        let Ok(Written { dead_letter_target_arn, max_receive_count }) = serde_json::from_str(text) else {
            return Err(bad("Redrive policy is not a valid JSON map."));
        };
        let arn = dead_letter_target_arn.ok_or_else(|| {
            bad("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        let count = max_receive_count
            .ok_or_else(|| bad("Redrive policy does not contain mandatory attribute: maxReceiveCount."))?;
        let count = match &count {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let receives_max =
            count.and_then(|count| u32::try_from(count).ok()).filter(|count| RECEIVES.contains(count));
        let receives_max = receives_max.ok_or_else(|| {
            bad("Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive.")
        })?;
        let target = arn.parse::<Arn>().ok().and_then(|arn| QueueKey::of(&arn));
        let target = target.ok_or_else(|| bad("Invalid value for deadLetterTargetArn."))?;
        if (target.account, &target.region) != (of.account, &of.region) {
            return Err(bad("Dead-letter target must be in the same account and region."));
        }
        if target.name.ends_with(super::names::FIFO_SUFFIX) != fifo {
            return Err(bad("Dead-letter target must be the same type of queue as the source."));
        }
        Ok(Redrive { target, receives_max })
    }
}

/// `RedriveAllowPolicy`: whose dead-letter queue a queue may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Everybody's. The default.
    #[default]
    All,
    /// Nobody's.
    None,
    /// That of these.
    Of(Vec<Arn>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowWritten {
    redrive_permission: Option<String>,
    source_queue_arns: Option<Vec<String>>,
}

impl Allow {
    /// Reads the policy.
    pub fn parse(text: &str) -> Result<Allow, Error> {
        let bad = |why: &str| Error::value(text, "RedriveAllowPolicy", why);
        let Ok(AllowWritten { redrive_permission, source_queue_arns }) = serde_json::from_str(text) else {
            return Err(bad(
                "Amazon SQS can't create the redrive allow policy. The value is not a valid JSON map.",
            ));
        };
        match (redrive_permission.as_deref(), source_queue_arns) {
            (Some("allowAll"), None) => Ok(Allow::All),
            (Some("denyAll"), None) => Ok(Allow::None),
            (Some("byQueue"), Some(arns)) if (1..=SOURCES_MAX).contains(&arns.len()) => {
                let arns = arns.iter().map(|arn| arn.parse());
                let arns = arns.collect::<Result<_, _>>();
                Ok(Allow::Of(arns.map_err(|_| bad("sourceQueueArns must be ARNs of queues."))?))
            }
            (Some("byQueue"), _) => Err(bad("byQueue needs from 1 to 10 sourceQueueArns.")),
            (Some("allowAll" | "denyAll"), Some(_)) => {
                Err(bad("sourceQueueArns can be given with byQueue only."))
            }
            _ => Err(bad("redrivePermission must be allowAll, denyAll or byQueue.")),
        }
    }

    /// Whether `source` may.
    pub fn allows(&self, source: &Arn) -> bool {
        match self {
            Allow::All => true,
            Allow::None => false,
            Allow::Of(arns) => arns.contains(source),
        }
    }
}
