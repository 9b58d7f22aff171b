//! Neap's own usage API.

use super::{Call, Client};
use crate::error::Error;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

/// A month's usage and what it costs.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Usage {
    /// `YYYY-MM`.
    pub(crate) month: String,
}

impl Client {
    /// Usage of a month (the present one by default) by the prices of `book`.
    pub(crate) async fn usage(&self, month: Option<&str>, book: &str) -> Result<Usage, Error> {
        let month = month.map_or(String::new(), |month| format!("&month={month}"));
        self.json(Call {
            service: "neap",
            operation: "GetUsage",
            method: Method::GET,
            path: format!("/_neap/v1/usage?book={book}{month}"),
            headers: Vec::new(),
            body: Bytes::new(),
        })
        .await
    }
}
