//! Sees what other nodes change, and forgets what this one knows of it.

use crate::{Error, Functions, data};
use base::Millis;
use std::{pin::pin, sync::Arc};

/// Looks every `every` until `stop` resolves.
pub(super) async fn run(functions: Arc<Functions>, every: Millis, stop: impl Future<Output = ()> + Send) {
    let mut stop = pin!(stop);
    let look = async {
        // What was read before the first look may be older than it.
        let mut seen = None;
        loop {
            match functions.see_changes(seen).await {
                Ok(last) => seen = Some(last),
                Err(error) => tracing::warn!(%error, "changes of other nodes cannot be seen, tried again"),
            }
            tokio::time::sleep(every.duration()).await;
        }
    };
    tokio::select! {
        () = &mut stop => {}
        () = look => {}
    }
}

impl Functions {
    /// Forgets what has changed after the change `seen`, or everything; the number of the last change.
    async fn see_changes(&self, seen: Option<i64>) -> Result<i64, Error> {
        let (last, changed) = self
            .db
            .read(move |tx| {
                let last = data::last_change(tx)?;
                let changed = match seen {
                    Some(seen) if seen == last => Some(Vec::new()),
                    Some(seen) if last - seen <= data::CHANGES_MAX => Some(data::changed_after(tx, seen)?),
                    Some(_) | None => None,
                };
                Ok::<_, Error>((last, changed))
            })
            .await?;
        match changed {
            Some(changed) if changed.is_empty() => return Ok(last),
            Some(changed) => {
                for id in &changed {
                    self.specs.invalidate(id);
                }
            }
            None => self.specs.clear(),
        }
        self.tell_reservations().await?;
        self.tell_prepared().await?;
        Ok(last)
    }
}
