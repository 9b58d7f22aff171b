//! `neap serve`: a node, until it is asked to stop.

use super::Ending;
use crate::{
    error::Error,
    node::{Prepared, Running},
    output::Output,
};

/// Runs the command.
pub(crate) async fn run(prepared: Prepared, output: Output) -> Result<Ending, Error> {
    let node = prepared.start().await?;
    announce(&node, output);
    if !output.json {
        output.note(
            &output.paint_err().dim("credentials: eval \"$(neap credentials --export)\"    stop: Ctrl-C"),
        );
    }
    node.ended().await?;
    Ok(Ending::Success)
}

/// One line on standard output when requests are answered: scripts wait for it and take the address from it.
pub(crate) fn announce(node: &Running, output: Output) {
    let endpoint = format!("http://{}", node.address());
    if output.json {
        // On one line, so that a reader of lines has it whole.
        output.line(&serde_json::json!({ "ready": true, "endpoint": endpoint }).to_string());
    } else {
        output.line(&format!("neap is ready at {}", output.paint().bold(&endpoint)));
    }
}
