//! Names and URLs of queues.

use crate::{Error, model::QueueKey};
use base::{AccountId, Region};
use wire::{Context, HostRoute};

/// Letters of a queue's name. Source: SQS API reference, `CreateQueue`.
pub const NAME_MAX: usize = 80;
/// How the name of a FIFO queue ends.
pub const FIFO_SUFFIX: &str = ".fifo";

/// Checks the name of a new queue.
pub fn new_queue(name: &str) -> Result<(), Error> {
    let (stem, fifo) = match name.strip_suffix(FIFO_SUFFIX) {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let letters = stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if letters && !stem.is_empty() && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Error::Parameter(match fifo {
        true => "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        false => "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    }.to_owned()))
}

/// The URL of a queue, at the address that the client asked.
pub fn url(authority: &str, key: &QueueKey) -> String {
    format!("http://{authority}/{}/{}", key.account, key.name)
}

/// The queue that a request names by its URL; one that names none has it in its path, as queues' own endpoints do.
pub fn by_url(context: &Context, url: Option<&str>) -> Result<QueueKey, Error> {
    match url.filter(|url| !url.is_empty()) {
        Some(url) => parse(url, &context.region).ok_or_else(|| Error::Address(url.to_owned())),
        None => {
            let url = format!("http://{}{}", context.authority, context.path);
            parse(&url, &context.region).ok_or(Error::Missing("QueueUrl"))
        }
    }
}

/// ```text
/// url    = ["http://" | "https://"] host "/" ["queue/" region "/"] account "/" name
/// host   = any; region labels of `sqs.REGION.` and `REGION.queue.` names count
/// ```
/// What names no region is in `here`, the region that the request is signed for.
fn parse(url: &str, here: &Region) -> Option<QueueKey> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
    let (host, path) = rest.split_once('/')?;
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (region, account, name) = match parts.as_slice() {
        [account, name] => (HostRoute::parse(host).region, account, name),
        ["queue", region, account, name] => (Some(region.parse().ok()?), account, name),
        _ => return None,
    };
    let account: AccountId = account.parse().ok()?;
    (!name.is_empty()).then(|| QueueKey {
        account,
        region: region.unwrap_or_else(|| here.clone()),
        name: (*name).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_in_the_forms_of_sdks_and_local_tools() {
        let here: Region = "us-east-1".parse().unwrap();
        for (url, region) in [
            ("http://localhost:4566/000000000000/q", "us-east-1"),
            ("http://127.0.0.1:4566/000000000000/q/", "us-east-1"),
            ("localhost:4566/000000000000/q", "us-east-1"),
            ("http://localhost:4566/queue/eu-west-1/000000000000/q", "eu-west-1"),
            ("http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/q", "eu-west-1"),
            ("http://eu-west-1.queue.localhost.localstack.cloud:4566/000000000000/q", "eu-west-1"),
            ("https://sqs.eu-west-1.amazonaws.com/000000000000/q", "eu-west-1"),
        ] {
            let key = parse(url, &here).unwrap_or_else(|| panic!("{url}"));
            assert_eq!((key.region.as_str(), &*key.name), (region, "q"), "{url}");
        }
        for bad in ["", "q", "http://localhost/q", "http://localhost/1/q", "http://localhost/a/b/c/d/e"] {
            assert_eq!(parse(bad, &here), None, "{bad}");
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "A-b_9", "a.fifo", &"x".repeat(80)] {
            new_queue(good).unwrap();
        }
        for bad in ["", ".fifo", "a.b", "a b", "ä", &"x".repeat(81), &format!("{}.fifo", "x".repeat(76))] {
            new_queue(bad).unwrap_err();
        }
    }
}
