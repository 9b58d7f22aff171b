//! Neap's own usage API.

use super::{Call, Client};
use crate::error::Error;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A month's usage and what it costs; what is not listed here is ignored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Usage {
    /// `YYYY-MM`.
    pub(crate) month: String,
    /// By name, then region.
    pub(crate) functions: Vec<FunctionUsage>,
    /// The account's bill by each provider's prices.
    pub(crate) books: Vec<Bill>,
}

/// What one function used.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FunctionUsage {
    pub(crate) function: String,
    pub(crate) invocations: u64,
    pub(crate) errors: u64,
    pub(crate) cold_starts: u64,
    pub(crate) billed_ms: u64,
    pub(crate) gb_seconds: f64,
    /// Book to US dollars, as an exact decimal.
    pub(crate) cost: BTreeMap<String, String>,
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
    pub(crate) total: String,
}

impl Client {
    /// Usage of a month, the present one by default, as the node's own JSON. `increment` is the rounding of time in
    /// the book of AWS: `1ms` or `100ms`.
    pub(crate) async fn usage(
        &self,
        month: Option<&str>,
        increment: Option<&str>,
    ) -> Result<serde_json::Value, Error> {
        let named = [("month", month), ("increment", increment)];
        let query: Vec<_> =
            named.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?))).collect();
        self.json(Call {
            service: "neap",
            operation: "GetUsage",
            method: Method::GET,
            path: match query.is_empty() {
                true => "/_neap/v1/usage".to_owned(),
                false => format!("/_neap/v1/usage?{}", query.join("&")),
            },
            headers: Vec::new(),
            body: Bytes::new(),
        })
        .await
    }
}
