//! `neap rm`: deletes functions.

use super::{Ending, client};
use crate::{args, error::Error, output::Output};

/// Runs the command: each name in turn, stopping at the first that cannot be deleted.
pub(crate) async fn run(arguments: args::Remove, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    for name in &arguments.names {
        client.delete_function(name).await?;
        if !output.json {
            output.line(&format!("deleted {name}"));
        }
    }
    if output.json {
        output.json_document(&serde_json::json!({ "deleted": arguments.names }));
    }
    Ok(Ending::Success)
}
