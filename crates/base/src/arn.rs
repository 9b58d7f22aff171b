//! Amazon Resource Names.

use crate::{AccountId, Region};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`; region and account may be empty for global resources.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Arn {
    /// `lambda`, `iam`, …
    pub service: Box<str>,
    /// `None` for global services.
    pub region: Option<Region>,
    /// `None` where the ARN names none.
    pub account: Option<AccountId>,
    /// Everything after the fifth colon, e.g. `function:hello:1`.
    pub resource: Box<str>,
}

/// The text is not an ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ARN has the form arn:aws:service:region:account:resource")]
pub struct BadArn;

impl Arn {
    /// An ARN in the partition `aws`.
    pub fn new(service: &str, region: Option<&Region>, account: AccountId, resource: &str) -> Arn {
        Arn {
            service: service.into(),
            region: region.cloned(),
            account: Some(account),
            resource: resource.into(),
        }
    }
}

impl FromStr for Arn {
    type Err = BadArn;
    fn from_str(text: &str) -> Result<Self, BadArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(BadArn);
        if next()? != "arn" || next()? != "aws" {
            return Err(BadArn);
        }
        let service = next()?;
        let region = match next()? {
            "" => None,
            region => Some(region.parse().map_err(|_| BadArn)?),
        };
        let account = match next()? {
            "" => None,
            account => Some(account.parse().map_err(|_| BadArn)?),
        };
        let resource = next()?;
        if service.is_empty() || resource.is_empty() {
            return Err(BadArn);
        }
        Ok(Arn { service: service.into(), region, account, resource: resource.into() })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.as_ref().map_or("", Region::as_str);
        let account = self.account.as_ref().map_or("", AccountId::as_str);
        write!(f, "arn:aws:{}:{region}:{account}:{}", self.service, self.resource)
    }
}

impl Serialize for Arn {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arn {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_print_as_they_were_read() {
        for text in [
            "arn:aws:lambda:us-east-1:000000000000:function:hello:1",
            "arn:aws:iam::123456789012:role/service-role/x",
            "arn:aws:s3:::bucket/a:b",
        ] {
            assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
        }
        for bad in ["", "arn", "arn:aws:lambda:us-east-1:0:x", "arn:aws:::", "arn:aws::::x"] {
            assert_eq!(bad.parse::<Arn>(), Err(BadArn), "{bad}");
        }
    }
}
