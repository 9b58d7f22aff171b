//! `neap completions`: scripts for shells, derived from the definition of the arguments.

use super::Ending;
use crate::args::{Arguments, Completions, Shell};
use clap::CommandFactory;
use clap_complete::shells;

/// Runs the command.
pub(crate) fn run(arguments: &Completions) -> Ending {
    let mut definition = Arguments::command();
    let mut script = Vec::new();
    match arguments.shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut definition, "neap", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut definition, "neap", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut definition, "neap", &mut script),
    }
    // A closed pipe is not an error.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), &script);
    Ending::Success
}
