//! Queries of CloudWatch Logs Insights: a pipeline of commands over log events. Source: user guide, "CloudWatch Logs Insights
//! query syntax"; where it is silent, the choice is stated.
//!
//! Carried out are the commands `fields`, `display`, `filter`, `parse` (glob and regular expression), `stats … by …`, `sort`,
//! `limit` and `dedup`, with the operators and functions of [`expression`]. Everything else is [`Malformed`] with its name.
//!
//! Events come newest first, which is the order of answers without `sort`. Parsing is pure and bounded: [`LENGTH_MAX`] characters,
//! nested [`DEPTH_MAX`] deep, regular expressions in linear time and of bounded size. Running is bounded in rows, groups and bytes
//! ([`pipeline`]), and in time ([`run`]).

pub(crate) mod expression;
mod parser;
pub(crate) mod pipeline;
mod record;
pub(crate) mod run;
mod tokens;

pub use record::Source;

use pipeline::{Finished, Pipeline};

/// Characters in a query. Source: API reference, `QueryString`.
pub const LENGTH_MAX: usize = 10_000;
/// Depth of parentheses and functions; Neap's own bound.
const DEPTH_MAX: usize = 32;
/// Rows of an answer. Source: user guide, "limit".
pub(crate) const ROWS_MAX: usize = 10_000;

/// Why a query is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

fn malformed<T>(reason: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(reason.into()))
}

/// A query, understood.
#[derive(Clone, Debug)]
pub struct Plan {
    commands: Vec<parser::Command>,
}

/// One row of an answer: names and texts, in the order in which they are shown.
pub type Row = Vec<(String, String)>;

impl Plan {
    /// Understands `text`.
    ///
    /// # Errors
    /// [`Malformed`], which names what is not understood.
    pub fn parse(text: &str) -> Result<Plan, Malformed> {
        if text.chars().count() > LENGTH_MAX {
            return malformed(format!("the query is longer than {LENGTH_MAX} characters"));
        }
        Ok(Plan { commands: parser::parse(text)? })
    }

    /// The answer of a query over events, which come newest first. For tests and fuzzing: queries of the API run in steps.
    ///
    /// # Errors
    /// A text that tells which bound was exceeded.
    pub fn answer(&self, events: impl IntoIterator<Item = Source>, limit: usize) -> Result<Vec<Row>, String> {
        let mut pipeline = Pipeline::new(self, limit);
        for event in events {
            if pipeline.push(event)? == Finished::Yes {
                break;
            }
        }
        pipeline.finish()
    }
}

#[cfg(test)]
mod tests;
