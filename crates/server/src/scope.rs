//! Named background tasks with one rule for their end: asked to stop, awaited until a deadline, then aborted.

use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};

/// Owner of the node's background tasks.
pub(crate) struct Scope {
    stop: watch::Sender<bool>,
    tasks: JoinSet<&'static str>,
}

/// Tells a task that it should end.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the scope is being closed.
    pub(crate) async fn asked(mut self) {
        // An error means that the scope is gone, which is the same wish.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl Scope {
    pub(crate) fn new() -> Scope {
        Scope { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Starts `work`, which must end soon after its [`Stop`] resolves.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, work: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = work(Stop(self.stop.subscribe()));
        self.tasks.spawn(async move {
            work.await;
            name
        });
    }

    /// Asks all tasks to end, waits up to `deadline`, aborts what is left.
    pub(crate) async fn close(mut self, deadline: Duration) {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok(name) => tracing::debug!(task = name, "ended"),
                    Err(error) => tracing::error!(%error, "a task failed"),
                }
            }
        };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!("tasks did not end in time and were aborted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closing_asks_then_waits_then_aborts() {
        let mut scope = Scope::new();
        scope.spawn("polite", |stop| stop.asked());
        scope.spawn("stubborn", |_| std::future::pending());
        scope.close(Duration::from_millis(20)).await;
    }
}
