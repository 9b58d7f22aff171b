//! The task of one environment, from the order to start it until nothing of it is left.

use super::Shared;
use crate::{Settings, planner::Event};
use base::{EnvironmentId, FunctionSpec, Initialization, Launch, LaunchError, Micros, limits};
use std::sync::{Arc, Weak};
use tokio::{sync::oneshot, time::timeout};

/// What to start.
pub(super) struct Order {
    pub(super) id: EnvironmentId,
    pub(super) spec: Arc<FunctionSpec>,
    pub(super) how: Initialization,
    pub(super) queued: Micros,
    /// Resolves when it is to end; also when the fleet is gone.
    pub(super) stopped: oneshot::Receiver<()>,
}

/// A start that hung.
#[derive(Debug, thiserror::Error)]
#[error("the start took more than {max:?} and was given up")]
struct TooSlow {
    max: std::time::Duration,
}

/// Starts, watches and ends one environment.
pub(super) fn keep(
    shared: Weak<Shared>,
    order: Order,
    launch: &Arc<dyn Launch>,
    settings: &Settings,
) -> impl Future<Output = ()> + Send + 'static {
    let (launch, settings) = (Arc::clone(launch), settings.clone());
    let Order { id, spec, how, queued, mut stopped } = order;
    async move {
        // What is allowed for a start is beside its initialisation, which the runtimes bound.
        let launch_max = match spec.snap_start {
            true => settings.launch_max + limits::SNAPSTART_INIT_MAX.max(spec.timeout.millis()).duration(),
            false => settings.launch_max,
        };
        let mut task = Task { shared, id, over: false };
        let launched = tokio::select! {
            biased;
            _ = &mut stopped => None,
            launched = timeout(launch_max, launch.launch(Arc::clone(&spec), how, queued)) =>
                Some(launched),
        };
        let environment = match launched {
            None => return task.ended(),
            Some(Ok(Ok(environment))) => environment,
            Some(Ok(Err(error))) => return task.failed(&spec, error),
            Some(Err(_elapsed)) => {
                let max = launch_max;
                return task.failed(&spec, LaunchError::Sandbox(Box::new(TooSlow { max })));
            }
        };
        let key = &spec.key;
        let phases = environment.phases();
        tracing::debug!(account = %key.account, function = %key.name, version = %key.version, environment = id.0,
            queue_us = phases.queue.0, sandbox_us = phases.sandbox.0, boot_us = phases.boot.0,
            init_us = phases.init.0, "environment is ready");
        if let Some(shared) = task.shared.upgrade() {
            shared.ready(id, Arc::clone(&environment));
        }
        tokio::select! {
            biased;
            _ = &mut stopped => {}
            exit = environment.ended() => {
                tracing::debug!(function = %key.name, environment = id.0, ?exit, "environment ended by itself");
                if let Some(shared) = task.shared.upgrade() {
                    shared.report(Event::Broken(id));
                }
                // While a call runs on it, its release comes first.
                let _ = stopped.await;
            }
        }
        if timeout(settings.stop_max, environment.stop()).await.is_err() {
            tracing::error!(function = %key.name, environment = id.0, max = ?settings.stop_max,
                "environment could not be ended in time; parts of it may be left");
        }
        task.ended();
    }
}

/// Reports on one environment; if its task ends early, it is reported as lost.
struct Task {
    shared: Weak<Shared>,
    id: EnvironmentId,
    over: bool,
}

impl Task {
    fn ended(&mut self) {
        self.over = true;
        if let Some(shared) = self.shared.upgrade() {
            shared.ended(self.id);
        }
    }

    fn failed(&mut self, spec: &FunctionSpec, error: LaunchError) {
        self.over = true;
        tracing::warn!(account = %spec.key.account, function = %spec.key.name, environment = self.id.0, %error,
            "environment could not be started");
        if let Some(shared) = self.shared.upgrade() {
            shared.launch_failed(self.id, error);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.over
            && let Some(shared) = self.shared.upgrade()
        {
            shared.lost(self.id);
        }
    }
}
