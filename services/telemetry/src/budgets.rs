//! Budgets: amounts that an account or a function may cost in a month, with alerts, and with a cap where wanted.
//!
//! What is spent is computed from the stored usage whenever usage has been stored, and every minute for what other nodes
//! have stored; nothing else is kept of it. So a cap holds again as soon as a node has restarted, and it begins to hold at most
//! [`crate::Settings::usage_flush`] and a commit after the invocation that spent the amount: what begins until then, and what runs,
//! is not stopped. The invoke path asks [`Caps`], in memory.
//!
//! An alert is told at least once a month and percentage: in the node's log, as an event in the log group `/neap/budgets`, and to the
//! function that is to be notified; only then is it noted as told.

pub(crate) mod data;
mod tasks;

use crate::{
    estimate::ALTERNATIVES,
    meter::{Usage, UsageKey},
    prices::{Book, Line, Usd},
};
use base::{AccountId, Arn, FunctionName, Region, Timestamp, VersionKey};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Mutex, Notify};

/// Budgets of an account.
pub(crate) const BUDGETS_MAX: usize = 100;
/// Percentages of one budget.
pub(crate) const ALERTS_MAX: usize = 10;
/// Largest percentage.
pub(crate) const PERCENT_MAX: u32 = 1_000;
/// Where alerts are logged.
pub(crate) const GROUP: &str = "/neap/budgets";

/// A budget as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Where it was made: where it logs, and where its function is.
    pub(crate) region: Region,
    /// Only this function; `None`: the whole account, all regions.
    pub(crate) function: Option<FunctionName>,
    /// US dollars a month.
    pub(crate) amount: String,
    /// Whose prices.
    pub(crate) book: String,
    /// Whether the free tier is there.
    pub(crate) free_tier: bool,
    /// Percentages at which to tell, ascending.
    pub(crate) alerts: Vec<u32>,
    /// Whether further invocations are refused when the amount is spent.
    pub(crate) cap: bool,
    /// ARN of a function that is invoked with each alert.
    pub(crate) notify: Option<String>,
}

/// A budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) definition: Definition,
}

/// A price book by its name: `aws`, `azure`, `google`, `google-gen1`.
pub(crate) fn book(name: &str) -> Option<Book> {
    ALTERNATIVES.iter().map(|alternative| alternative.book).find(|book| book.name == name)
}

/// The names of the books.
pub(crate) const BOOK_NAMES: [&str; 4] = ["aws", "azure", "google", "google-gen1"];

impl Budget {
    /// What it allows.
    pub(crate) fn amount(&self) -> Usd {
        // It was read before it was stored.
        self.definition.amount.parse().unwrap_or_default()
    }

    /// What of it is spent by a month's usage of its account.
    pub(crate) fn spent(&self, rows: &[(UsageKey, Usage)]) -> Usd {
        let Some(book) = book(&self.definition.book) else { return Usd(0) };
        let book = if self.definition.free_tier { book } else { book.without_free_tier() };
        let lines: Vec<Line> = rows.iter().map(|(key, usage)| key.line(usage)).collect();
        let bill = book.charge(&lines);
        match &self.definition.function {
            None => bill.total(),
            Some(function) => rows
                .iter()
                .zip(&bill.lines)
                .filter(|((key, _), _)| key.function == *function && key.region == self.definition.region)
                .map(|(_, share)| *share)
                .sum(),
        }
    }
}

/// How much of `amount` is `spent`, in whole per cent, rounded down.
pub(crate) fn percent(spent: Usd, amount: Usd) -> u64 {
    let percent = spent.0.saturating_mul(100).checked_div(amount.0).unwrap_or_default();
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// A budget and how far it is spent.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) budget: Budget,
    pub(crate) spent: Usd,
    /// Percentages told this month, with their time.
    pub(crate) told: Vec<(u32, Timestamp)>,
    /// First moment of the next month.
    pub(crate) until: Timestamp,
}

impl Standing {
    /// Whether further invocations are refused.
    pub(crate) fn capped(&self) -> bool {
        self.budget.definition.cap && self.spent >= self.budget.amount()
    }

    /// Percentages that are reached and not told yet.
    pub(crate) fn due(&self) -> Vec<u32> {
        let reached = percent(self.spent, self.budget.amount());
        let told = |percent: &u32| self.told.iter().any(|(told, _)| told == percent);
        let alerts = self.budget.definition.alerts.iter().copied();
        alerts.filter(|percent| u64::from(*percent) <= reached && !told(percent)).collect()
    }

    fn cap(&self) -> Option<Cap> {
        let Definition { region, function, .. } = &self.budget.definition;
        self.capped().then(|| Cap {
            function: function.clone().map(|function| (region.clone(), function)),
            notified: self.budget.definition.notify.as_ref().and_then(|arn| arn.parse().ok()),
            until: self.until,
            text: format!(
                "the budget {} of $ {} a month is spent; it stops further invocations until the month ends or it is \
                 raised or removed",
                self.budget.name,
                self.budget.amount()
            ),
        })
    }
}

/// A budget that is spent.
#[derive(Clone, Debug)]
struct Cap {
    /// `None`: all functions of the account.
    function: Option<(Region, FunctionName)>,
    /// What the budget's alerts invoke: it is not stopped, or nobody would be told.
    notified: Option<Arn>,
    until: Timestamp,
    text: String,
}

/// What the invoke path asks.
#[derive(Debug, Default)]
pub(crate) struct Caps(RwLock<HashMap<AccountId, Vec<Cap>>>);

impl Caps {
    /// Why an invocation may not begin.
    pub(crate) fn refusal(&self, key: &VersionKey, now: impl FnOnce() -> Timestamp) -> Option<String> {
        let caps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let caps = caps.get(&key.account)?;
        let now = now();
        let holds = |cap: &&Cap| {
            now < cap.until
                && !cap.notified.as_ref().is_some_and(|arn| is_function(arn, key))
                && cap
                    .function
                    .as_ref()
                    .is_none_or(|(region, name)| *region == key.region && *name == key.name)
        };
        caps.iter().find(holds).map(|cap| cap.text.clone())
    }

    fn set(&self, standings: &[Standing]) {
        let mut caps: HashMap<AccountId, Vec<Cap>> = HashMap::new();
        for standing in standings {
            if let Some(cap) = standing.cap() {
                caps.entry(standing.budget.account).or_default().push(cap);
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = caps;
    }
}

/// Whether the ARN, with or without a qualifier, is that of a function.
fn is_function(arn: &Arn, key: &VersionKey) -> bool {
    let name = arn.resource.strip_prefix("function:").and_then(|rest| rest.split(':').next());
    arn.region.as_ref() == Some(&key.region) && name == Some(key.name.as_str())
}

/// What telemetry keeps of budgets in memory.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    pub(crate) caps: Caps,
    /// Whether there was a budget at the last look.
    any: AtomicBool,
    /// Usage was stored.
    stored: Notify,
    /// Held while budgets are looked at: who looks last sets the caps.
    turn: Mutex<()>,
}

impl Keeping {
    /// Usage was stored: budgets are looked at, if there are any.
    pub(crate) fn usage_stored(&self) {
        if self.any.load(Ordering::Relaxed) {
            self.stored.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::Meters;
    use base::{Micros, RequestId, Version};

    fn budget(function: Option<&str>, amount: &str, free_tier: bool) -> Budget {
        Budget {
            account: AccountId::DEFAULT,
            name: "b".into(),
            definition: Definition {
                region: "us-east-1".parse().unwrap(),
                function: function.map(|name| name.parse().unwrap()),
                amount: amount.into(),
                book: "aws".into(),
                free_tier,
                alerts: vec![50, 100, 200],
                cap: true,
                notify: None,
            },
        }
    }

    fn row(function: &str, count: u64) -> (UsageKey, Usage) {
        let key = UsageKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            function: function.parse().unwrap(),
            version: Version::Latest,
            memory_mib: 1024,
            processor: crate::prices::Processor::X86,
            day: 0,
        };
        let mut meters = Meters::default();
        (0..count).for_each(|_| meters.add(&Meters::one(Micros(1_000_000), 512)));
        (key, Usage { meters, ..Usage::default() })
    }

    fn key(name: &str) -> VersionKey {
        VersionKey {
            account: AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([1; 16]),
            tenant: None,
        }
    }

    #[test]
    fn a_function_spends_its_share_and_the_account_the_whole() {
        // 0.0000168667 a call without free tier.
        let rows = [row("f", 1), row("g", 3)];
        assert_eq!(budget(None, "1", false).spent(&rows).to_string(), "0.0000674668");
        assert_eq!(budget(Some("f"), "1", false).spent(&rows).to_string(), "0.0000168667");
        assert_eq!(budget(Some("h"), "1", false).spent(&rows), Usd(0));
        assert_eq!(budget(None, "1", true).spent(&rows), Usd(0));
        for name in BOOK_NAMES {
            assert!(book(name).is_some(), "{name}");
        }
        assert!(book("ibm").is_none());
    }

    #[test]
    fn a_cap_holds_for_its_functions_until_the_month_ends() {
        let rows = [row("f", 1)];
        let standing = |function, amount| {
            let budget = budget(function, amount, false);
            Standing {
                spent: budget.spent(&rows),
                budget,
                told: vec![(50, Timestamp(1))],
                until: Timestamp(100),
            }
        };
        let spent = standing(Some("f"), "0.0000168667");
        assert_eq!((spent.capped(), spent.due()), (true, vec![100]));
        let left = standing(Some("f"), "0.0000168668");
        assert_eq!((left.capped(), left.due()), (false, vec![]));
        assert_eq!(standing(None, "0.000001").due(), [100, 200]);
        let caps = Caps::default();
        caps.set(&[spent]);
        assert!(
            caps.refusal(&key("f"), || Timestamp(99)).unwrap().contains("the budget b of $ 0.0000168667")
        );
        assert_eq!(caps.refusal(&key("g"), || Timestamp(99)), None);
        assert_eq!(caps.refusal(&key("f"), || Timestamp(100)), None);
        caps.set(&[standing(None, "0.000001")]);
        assert!(caps.refusal(&key("g"), || Timestamp(0)).is_some());
        let mut notifying = standing(None, "0.000001");
        notifying.budget.definition.notify =
            Some("arn:aws:lambda:us-east-1:000000000000:function:teller:live".into());
        caps.set(&[notifying]);
        assert!(caps.refusal(&key("g"), || Timestamp(0)).is_some());
        assert_eq!(caps.refusal(&key("teller"), || Timestamp(0)), None);
        caps.set(&[left]);
        assert_eq!(caps.refusal(&key("f"), || Timestamp(0)), None);
    }
}
