//! `neap cost`: what the functions used in a month, and what that costs by a provider's prices.

use super::{Ending, client};
use crate::{args, error::Error, output::Output};

/// Runs the command.
pub(crate) async fn run(arguments: args::Cost, output: Output) -> Result<Ending, Error> {
    let usage =
        client(&arguments.connection)?.usage(arguments.month.as_deref(), arguments.book.as_str()).await?;
    output.json_document(&usage);
    Ok(Ending::Success)
}
