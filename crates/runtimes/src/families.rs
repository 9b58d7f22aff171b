//! The table of runtimes, one file per language family.
//!
//! To add a language: write a file like `provided.rs` (or `node.rs`, with an own boot program), and name it in [`all`].

mod java;
mod node;
mod provided;
mod python;
mod ruby;
mod unavailable;

pub use java::{SOURCES as JAVA_SOURCES, versions as java_versions};

use crate::{host::Prober, libraries::Library, root::Roots};
use base::{MemoryMib, RuntimeRefused, RuntimeSupport};
use sandbox::{Attachment, TemplateLink, TemplateSpec};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One language with its runtime identifiers.
pub(crate) trait Family: Send + Sync {
    /// The identifiers that it answers for.
    fn identifiers(&self) -> &'static [&'static str];
    /// Whether `runtime`, one of the identifiers, runs here on `architecture`.
    fn check(&self, runtime: &str, architecture: &str) -> Result<RuntimeSupport, RuntimeRefused>;
    /// Makes what [`Family::plan`] needs and what takes seconds, beneath `boot`: starts of other runtimes do not wait for it.
    /// Called after [`Family::check`] succeeded. Blocks.
    fn build(&self, runtime: &str, boot: &Path) -> io::Result<()> {
        let _ = (runtime, boot);
        Ok(())
    }
    /// How environments of `runtime` are started. Called after [`Family::check`] succeeded. Blocks.
    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan>;
    /// The libraries that Lambda provides for `runtime`, if any.
    fn library(&self, runtime: &str) -> Option<Library>;
}

/// Every family, with the interpreters found in `search`.
pub(crate) fn all(prober: &mut Prober, search: &[PathBuf]) -> Vec<Box<dyn Family>> {
    vec![
        Box::new(python::Python::find(prober, search)),
        Box::new(node::Node::find(prober, search)),
        Box::new(java::Java::find(search)),
        Box::new(ruby::Ruby::find(prober, search)),
        Box::new(provided::Provided),
        Box::new(unavailable::Unavailable),
    ]
}

/// How environments of one runtime are started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The root.
    pub(crate) template: TemplateSpec,
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    /// An argument after the program that depends on the function's memory.
    pub(crate) memory_argument: Option<fn(MemoryMib) -> OsString>,
    /// How it waits for its function, where it can: see `cells.rs`.
    pub(crate) waiting: Option<Waiting>,
    /// Defaults of environment variables.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Whether our own boot program is started, which speaks frames; else the program uses the HTTP Runtime API.
    pub(crate) frames: bool,
    /// Whether it is a runtime with a name of its own, see [`crate::variables`].
    pub(crate) managed: bool,
    /// Who makes bytecode of packages, where that shortens starts.
    pub(crate) bytecode: Option<crate::bytecode::Compiler>,
    /// How its virtual machine is started, where it is one of Java.
    pub(crate) jvm: Option<crate::jvm::Jvm>,
    /// How its zygote is started, where it can have one.
    pub(crate) forking: Option<crate::zygotes::Forking>,
    /// As logs show it, e.g. `python:3.11.7`.
    pub(crate) version: String,
}

/// What waits for a function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    /// The boot program, started with [`crate::variables::neutral`].
    Booted {
        /// Whether a variable acts when the program starts, by its name: a function that sets it is started normally.
        acts_at_start: fn(&str) -> bool,
    },
    /// A sandbox in which the program is executed once it is the function's.
    Empty,
}

impl Plan {
    /// Program and arguments for a function of that size with these variables.
    pub(crate) fn command(&self, memory: MemoryMib, variables: &BTreeMap<String, String>) -> Vec<OsString> {
        let mut argv = self.argv.clone();
        if let Some(argument) = self.memory_argument {
            argv.insert(1, argument(memory));
        }
        if let Some(jvm) = &self.jvm {
            argv.splice(1..1, jvm.arguments(memory, variables));
        }
        argv
    }
}

/// What families make plans from.
pub(crate) struct Files {
    /// System parts of roots.
    pub(crate) roots: Arc<Roots>,
    /// Where boot programs are written.
    pub(crate) boot: PathBuf,
    /// An empty folder, to hide others with.
    pub(crate) empty: PathBuf,
    /// Where the runtime's libraries are installed, if they are.
    pub(crate) library: Option<PathBuf>,
}

impl Files {
    /// The part of a root that all families share: the host's few programs and libraries, certificates, time zones.
    pub(crate) fn system(&self, name: &str, objects: &[PathBuf]) -> io::Result<TemplateSpec> {
        self.system_with(name, objects, None, &[])
    }

    /// The same, where `objects` bring libraries of their own in a folder that is `shown` to functions as it is, and where
    /// folders can be shown at `places`.
    pub(crate) fn system_with(
        &self,
        name: &str,
        objects: &[PathBuf],
        shown: Option<&Path>,
        places: &[PathBuf],
    ) -> io::Result<TemplateSpec> {
        let root = self.roots.ensure(objects, shown, places)?;
        let mut binds = vec![Attachment::new(root.join("usr"), "/usr")];
        if Path::new(crate::root::ZONES).is_dir() {
            binds.push(Attachment::same(crate::root::ZONES));
        }
        binds.push(Attachment::new(root.join("etc/ssl"), "/etc/ssl"));
        binds.push(Attachment::new(root.join("etc/pki"), "/etc/pki"));
        let link = |inside: &str, target: &str| TemplateLink { inside: inside.into(), target: target.into() };
        Ok(TemplateSpec {
            name: name.to_owned(),
            binds,
            links: vec![
                link("/bin", "usr/bin"),
                link("/sbin", "usr/bin"),
                link("/lib", "usr/lib"),
                link("/lib64", "usr/lib64"),
            ],
            files: Vec::new(),
            // The dynamic linker looks once whether a folder exists, and what waits before it has code.
            folders: vec!["/var/task/lib".into()],
        })
    }

    /// Writes a boot program into a folder named by `name`, with an empty subfolder `inner` for libraries; returns the
    /// folder. Idempotent, also against others that do the same.
    pub(crate) fn write_boot(
        &self,
        name: &str,
        file: &str,
        content: &[u8],
        inner: &str,
    ) -> io::Result<PathBuf> {
        let folder = self.boot.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder.join(inner))?;
        let path = folder.join(file);
        if fs::read(&path).ok().as_deref() != Some(content) {
            let new = folder.join(format!(".{file}.{}", std::process::id()));
            fs::write(&new, content)?;
            fs::rename(new, path)?;
        }
        Ok(folder)
    }
}

/// The refusal of a runtime that this host has no interpreter for.
pub(crate) fn unavailable(runtime: &str, reason: impl Into<String>) -> RuntimeRefused {
    RuntimeRefused::Unavailable { runtime: runtime.to_owned(), reason: reason.into() }
}

/// The warning that another version than the named one serves.
pub(crate) fn newer_serves(runtime: &str, actual: &str) -> String {
    format!("{runtime} is not installed on this host; {actual} serves it")
}
