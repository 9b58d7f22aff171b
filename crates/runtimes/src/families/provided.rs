//! `provided.*`: the package brings an executable named `bootstrap` that uses the HTTP Runtime API.

use super::{Family, Files, Plan, Waiting};
use crate::libraries::Library;
use base::{RuntimeRefused, RuntimeSupport};
use std::io;

pub(super) struct Provided;

impl Family for Provided {
    fn identifiers(&self) -> &'static [&'static str] {
        &["provided.al2", "provided.al2023"]
    }

    fn check(&self, runtime: &str, architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let host = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        if architecture != host {
            let reason = "its bootstrap is native code for another processor than this host's";
            return Err(RuntimeRefused::Architecture {
                architecture: architecture.to_owned(),
                runtime: runtime.to_owned(),
                reason,
            });
        }
        Ok(RuntimeSupport { warning: None, actual: "the package's own bootstrap".to_owned() })
    }

    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan> {
        let mut template = files.system("provided", &[])?;
        template.folders.push("/var/runtime".into());
        Ok(Plan {
            template,
            argv: vec!["/var/task/bootstrap".into()],
            memory_argument: None,
            waiting: Some(Waiting::Empty),
            variables: Vec::new(),
            frames: false,
            bytecode: None,
            jvm: None,
            managed: false,
            forking: None,
            version: runtime.replacen('.', ":", 1),
        })
    }

    fn library(&self, _runtime: &str) -> Option<Library> {
        None
    }
}
