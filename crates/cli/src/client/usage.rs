//! Neap's own usage API.

use super::{Call, Client, encode, functions::COMPONENT};
use crate::{args::Workload, error::Error};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A month's usage and what it costs; what is not listed here is ignored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Usage {
    pub(crate) account: String,
    /// `YYYY-MM`.
    pub(crate) month: String,
    /// By name, then region.
    pub(crate) functions: Vec<FunctionUsage>,
    /// The account's bill by each provider's prices.
    pub(crate) books: Vec<Bill>,
    /// All of it by every list of prices.
    #[serde(default)]
    pub(crate) alternatives: Vec<Cost>,
    /// Of the present month.
    #[serde(default)]
    pub(crate) budgets: Vec<Budget>,
    /// If asked for.
    #[serde(default)]
    pub(crate) days: Vec<DayUsage>,
    /// What the amounts do not hold.
    #[serde(default)]
    pub(crate) not_included: Vec<String>,
}

/// Sums, with their share of each bill.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Used {
    pub(crate) invocations: u64,
    pub(crate) errors: u64,
    pub(crate) cold_starts: u64,
    pub(crate) billed_ms: u64,
    pub(crate) gb_seconds: f64,
    /// Reserved as provisioned concurrency.
    #[serde(default)]
    pub(crate) reserved_gb_seconds: f64,
    #[serde(default)]
    pub(crate) memory_used_max_bytes: u64,
    /// Book to US dollars, as an exact decimal.
    pub(crate) cost: BTreeMap<String, String>,
}

/// What one function used.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FunctionUsage {
    pub(crate) function: String,
    pub(crate) region: String,
    #[serde(flatten)]
    pub(crate) used: Used,
    #[serde(default)]
    pub(crate) lines: Vec<LineUsage>,
}

/// What one version used with one memory size on one processor kind.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LineUsage {
    pub(crate) version: String,
    pub(crate) memory_mb: u32,
    #[serde(flatten)]
    pub(crate) used: Used,
    pub(crate) advice: Option<Advice>,
}

/// A memory size that would suit better.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Advice {
    pub(crate) memory_mb: u32,
    #[serde(default)]
    pub(crate) saving: BTreeMap<String, String>,
}

/// What one day used.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DayUsage {
    pub(crate) day: String,
    #[serde(flatten)]
    pub(crate) used: Used,
}

/// What the account's month costs by one provider's prices, in US dollars as exact decimals.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Bill {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) requests: u64,
    pub(crate) requests_free: u64,
    pub(crate) requests_cost: String,
    pub(crate) gb_seconds: f64,
    pub(crate) gb_seconds_free: f64,
    pub(crate) duration_cost: String,
    pub(crate) scratch_cost: String,
    /// Run on provisioned concurrency, and reserved as such.
    #[serde(flatten)]
    pub(crate) provisioned: Provisioned,
    pub(crate) total: String,
}

/// Charges of provisioned concurrency.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Provisioned {
    pub(crate) provisioned_gb_seconds: f64,
    pub(crate) provisioned_cost: String,
    pub(crate) reserved_gb_seconds: f64,
    pub(crate) reserved_cost: String,
}

/// What usage costs by one list of prices.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) rounding: String,
    pub(crate) requests_cost: String,
    pub(crate) gb_seconds: f64,
    pub(crate) duration_cost: String,
    pub(crate) processor_cost: String,
    #[serde(flatten)]
    pub(crate) provisioned: Provisioned,
    pub(crate) total: String,
    pub(crate) total_without_free_tier: String,
    pub(crate) break_even: Option<BreakEven>,
}

/// Comparison with a machine that is always on.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BreakEven {
    pub(crate) machine_price: String,
    pub(crate) cheaper: String,
    pub(crate) requests: Option<u64>,
    pub(crate) requests_per_second: f64,
    pub(crate) concurrency: f64,
    pub(crate) memory_mb: f64,
}

/// A budget and how far it is spent this month.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Budget {
    pub(crate) name: String,
    pub(crate) function: Option<String>,
    pub(crate) amount: String,
    pub(crate) book: String,
    pub(crate) alerts: Vec<u32>,
    pub(crate) cap: bool,
    pub(crate) spent: String,
    pub(crate) percent: u64,
    pub(crate) reached: Vec<u32>,
    pub(crate) capped: bool,
}

/// What to ask about a month.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Question<'a> {
    /// `YYYY-MM`; the present one by default.
    pub(crate) month: Option<&'a str>,
    /// Rounding of time in the book of AWS: `1ms` or `100ms`.
    pub(crate) increment: Option<&'a str>,
    /// `day`.
    pub(crate) by: Option<&'a str>,
    /// US dollars a month.
    pub(crate) machine_price: Option<&'a str>,
}

impl Client {
    /// Usage of a month as the node's own JSON.
    pub(crate) async fn usage(&self, question: Question<'_>) -> Result<Value, Error> {
        let Question { month, increment, by, machine_price } = question;
        let named =
            [("month", month), ("increment", increment), ("by", by), ("machine_price", machine_price)];
        let query: Vec<_> = named
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", utf8_percent_encode((*value)?, COMPONENT))))
            .collect();
        let path = match query.is_empty() {
            true => "/_neap/v1/usage".to_owned(),
            false => format!("/_neap/v1/usage?{}", query.join("&")),
        };
        self.json(own("GetUsage", Method::GET, path, Bytes::new())).await
    }

    /// What a month of such invocations would cost, as the node's own JSON.
    pub(crate) async fn estimate(
        &self,
        workloads: &[Workload],
        free_tier: bool,
        machine_price: Option<&str>,
    ) -> Result<Value, Error> {
        #[derive(Serialize)]
        struct Input<'a> {
            workloads: &'a [Workload],
            free_tier: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            machine_price: Option<&'a str>,
        }
        let operation = "EstimateCost";
        let body = encode(operation, &Input { workloads, free_tier, machine_price })?;
        self.json(own(operation, Method::POST, "/_neap/v1/estimate".to_owned(), body)).await
    }
}

impl Client {
    /// Creates or replaces a budget; the node's own JSON.
    pub(crate) async fn put_budget(&self, name: &str, input: &Value) -> Result<Value, Error> {
        let operation = "PutBudget";
        let body = encode(operation, input)?;
        self.json(own(operation, Method::PUT, budget_path(name), body)).await
    }

    /// All budgets; the node's own JSON.
    pub(crate) async fn budgets(&self) -> Result<Value, Error> {
        self.json(own("ListBudgets", Method::GET, "/_neap/v1/budgets".to_owned(), Bytes::new())).await
    }

    /// Removes a budget.
    pub(crate) async fn delete_budget(&self, name: &str) -> Result<(), Error> {
        self.call(own("DeleteBudget", Method::DELETE, budget_path(name), Bytes::new())).await.map(drop)
    }
}

fn budget_path(name: &str) -> String {
    format!("/_neap/v1/budgets/{}", utf8_percent_encode(name, COMPONENT))
}

/// A call of Neap's own API.
fn own(operation: &'static str, method: Method, path: String, body: Bytes) -> Call<'static> {
    let headers = match body.is_empty() {
        true => Vec::new(),
        false => vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
    };
    Call { service: "neap", operation, method, path, headers, body }
}
