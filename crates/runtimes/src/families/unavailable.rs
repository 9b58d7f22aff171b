//! Runtimes that Lambda has or had and that Neap does not run: refused by name, so that the message can say what to do.

use super::{Family, Files, Plan, unavailable};
use crate::libraries::Library;
use base::{RuntimeRefused, RuntimeSupport};
use std::io;

pub(super) struct Unavailable;

impl Family for Unavailable {
    fn identifiers(&self) -> &'static [&'static str] {
        &[
            "java8",
            "java8.al2",
            "java11",
            "ruby2.7",
            "dotnet6",
            "dotnet8",
            "dotnet10",
            "dotnetcore3.1",
            "go1.x",
            "provided",
            "python2.7",
            "python3.6",
            "python3.7",
            "nodejs12.x",
            "nodejs14.x",
            "nodejs16.x",
        ]
    }

    fn check(&self, runtime: &str, _architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let reason = if runtime.starts_with("go") || runtime == "provided" {
            "Lambda has retired it; use provided.al2023 with an executable named bootstrap"
        } else if ["python", "nodejs", "ruby"].iter().any(|language| runtime.starts_with(language)) {
            "Lambda has retired it; use a newer version of the language"
        } else if runtime.starts_with("java") {
            "Neap runs Java 17 and newer; use java17, which runs classes of older versions too"
        } else {
            "Neap does not run this language yet; provided.al2023 with an executable named bootstrap works"
        };
        Err(unavailable(runtime, reason))
    }

    fn plan(&self, _runtime: &str, _files: &Files) -> io::Result<Plan> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn library(&self, _runtime: &str) -> Option<Library> {
        None
    }
}
