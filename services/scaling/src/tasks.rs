//! Background work: scheduled actions that are due, capacities outside of their bounds, target tracking once a minute.
//!
//! Each step is on disk before the next: an action changes a target's bounds and its own next time in one transaction, and marks the
//! target as unsettled; settling brings the capacity between the bounds and clears the mark with the activity. Whatever is interrupted is
//! done again, which changes nothing where it was done. Of several nodes on one database one works, by a lease.

use crate::{
    Error, Scaling, data,
    logic::tracking::{self, IN_MINUTES, MINUTE_MS, Measured, Wish},
    model::{Action, Activity, Policy, Target},
};
use base::{Millis, NotScaled, Timestamp};
use std::{pin::pin, time::Duration};
use store::{Commit, leases};

/// How long activities are kept: six weeks, as AWS has it.
const KEPT_MS: i64 = 42 * 86_400_000;
/// The right to do the work, on a database that several nodes share.
const LEASE: &str = "scaling";
const LEASE_TTL: Millis = Millis(30_000);
/// Where other nodes may have set something, or may have died: how long to wait before looking.
const SHARED_MS: i64 = 10_000;
/// When functions could not be asked.
const AGAIN_MS: i64 = 5_000;
/// After an error of the store.
const RETRY: Duration = Duration::from_secs(1);

/// A reason to look again, sooner or later.
type Next = Option<Timestamp>;

impl Scaling {
    /// Does the background work until `stop` resolves. Abort-safe.
    pub async fn run(self: std::sync::Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        let holder = self.fresh_id();
        let mut held = None;
        loop {
            let round = async {
                match self.turn(&holder, &mut held).await {
                    Ok(next) => {
                        let due = async {
                            match next {
                                Some(at) => self.clock.sleep_until(at).await,
                                None => std::future::pending().await,
                            }
                        };
                        tokio::select! { () = due => {}, () = self.work.notified() => {} }
                    }
                    Err(error) => {
                        tracing::error!(%error, "scaling waits for the store");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                () = &mut stop => break,
                () = round => {}
            }
        }
        if let Some(lease) = held {
            // Another node need not wait for its end.
            let released =
                self.db.write_at(Commit::Written, move |tx| Ok::<_, Error>(leases::release(tx, &lease)?));
            if let Err(error) = released.await {
                tracing::warn!(%error, "the right to scale could not be given back");
            }
        }
    }

    /// Does what there is to do, if it is this node's turn; when to look again.
    async fn turn(&self, holder: &str, held: &mut Option<leases::Lease>) -> Result<Next, Error> {
        if !self.settings.shared {
            return self.round().await;
        }
        let (now, known, holder) = (self.now(), held.take(), holder.to_owned());
        *held = self
            .db
            .write_at(Commit::Written, move |tx| {
                if let Some(lease) = &known {
                    match leases::renew(tx, lease, now, LEASE_TTL) {
                        Ok(lease) => return Ok(Some(lease)),
                        Err(store::Error::LeaseLost { .. }) => {}
                        Err(error) => return Err(Error::Store(error)),
                    }
                }
                Ok::<_, Error>(leases::acquire(tx, LEASE, &holder, now, LEASE_TTL)?)
            })
            .await?;
        let shared = now.plus_ms(SHARED_MS);
        match held {
            Some(_) => Ok(earliest([self.round().await?, Some(shared)])),
            None => Ok(Some(shared)),
        }
    }

    async fn round(&self) -> Result<Next, Error> {
        let due = self.run_due().await?;
        let settled = self.settle_all().await?;
        let tracked = self.track_all().await?;
        Ok(earliest([due, settled, tracked]))
    }

    /// Carries out the actions that are due, in their order; when the next one is.
    async fn run_due(&self) -> Result<Next, Error> {
        loop {
            let Some(action) = self.db.read(data::next_action).await? else { return Ok(None) };
            let now = self.now();
            if action.next.is_some_and(|at| at > now) {
                return Ok(action.next);
            }
            let (set, refused) = (self.fresh_id(), self.fresh_id());
            self.db
                .write(move |tx| {
                    // It may have been changed or deleted since.
                    if data::action(tx, &action.of, &action.name)?.as_ref() != Some(&action) {
                        return Ok(());
                    }
                    let next = action.plan.next(now);
                    data::put_action(tx, &Action { next, ..action.clone() })?;
                    let Some(target) = data::target(tx, &action.of)? else { return Ok(()) };
                    if target.bounds.suspended.scheduled_scaling_suspended {
                        return Ok(());
                    }
                    run_action(tx, &action, target, now, (&set, &refused))
                })
                .await?;
        }
    }

    /// Brings capacities between their bounds; when to try those again that could not be.
    async fn settle_all(&self) -> Result<Next, Error> {
        let mut again = None;
        for target in self.db.read(data::unsettled).await? {
            let (min, max) = (target.bounds.min, target.bounds.max);
            let outcome = match self.scale.capacity(target.of.clone()).await {
                Ok(now) if (min..=max).contains(&now) => Ok(None),
                Ok(now) => {
                    let (wanted, cause) = match now < min {
                        true => (min, format!("minimum capacity was set to {min}")),
                        false => (max, format!("maximum capacity was set to {max}")),
                    };
                    self.change(&target, wanted, cause).await.map(Some)
                }
                Err(NotScaled::NotNow(why)) => Err(why),
                Err(NotScaled::Missing(why) | NotScaled::Refused(why)) => {
                    let description =
                        format!("Setting provisioned concurrency to at least {min} and at most {max}.");
                    Ok(Some(self.activity(description, "its bounds were set".to_owned(), Some(why))))
                }
            };
            match outcome {
                Ok(activity) => self.settled(&target, activity).await?,
                Err(why) => {
                    tracing::warn!(function = %target.of.name, qualifier = target.of.qualifier, why, "not scaled yet");
                    again = Some(self.now().plus_ms(AGAIN_MS));
                }
            }
        }
        Ok(again)
    }

    /// Notes what became of a target, unless its bounds have changed meanwhile: then it stays unsettled.
    async fn settled(&self, target: &Target, activity: Option<Activity>) -> Result<(), Error> {
        let (seen, now) = (target.clone(), self.now());
        self.db
            .write(move |tx| {
                let Some(target) = data::target(tx, &seen.of)? else { return Ok(()) };
                let unsettled = target.unsettled && target.bounds != seen.bounds;
                let changed = if activity.is_some() { now } else { target.changed };
                data::put_target(tx, &Target { unsettled, changed, ..target })?;
                data::forget_activities(tx, now.plus_ms(-KEPT_MS))?;
                activity.iter().try_for_each(|activity| data::add_activity(tx, &seen.of, activity))
            })
            .await
    }

    /// Asks for a capacity; what is to be noted of it. `Err`: not now.
    async fn change(&self, target: &Target, wanted: u32, cause: String) -> Result<Activity, String> {
        let description = format!("Setting provisioned concurrency to {wanted}.");
        let failure = match self.scale.scale(target.of.clone(), wanted).await {
            Ok(()) => None,
            Err(NotScaled::NotNow(why)) => return Err(why),
            Err(NotScaled::Missing(why) | NotScaled::Refused(why)) => Some(why),
        };
        Ok(self.activity(description, cause, failure))
    }

    fn activity(&self, description: String, cause: String, failure: Option<String>) -> Activity {
        activity((self.fresh_id(), self.now()), description, cause, failure)
    }

    /// Looks at what is tracked; when to look again.
    async fn track_all(&self) -> Result<Next, Error> {
        let policies = self.db.read(data::all_policies).await?;
        if policies.is_empty() {
            return Ok(None);
        }
        let minute = Timestamp(self.now().0.div_euclid(MINUTE_MS) * MINUTE_MS);
        for policies in policies.chunk_by(|one, other| one.of == other.of) {
            if let Err(why) = self.track(policies, minute).await? {
                let name = policies.first().map(|policy| policy.of.name.to_string());
                tracing::warn!(function = name, why, "not tracked this minute");
            }
        }
        Ok(Some(minute.plus_ms(MINUTE_MS)))
    }

    /// Follows the policies of one target. The inner error: not now.
    async fn track(&self, policies: &[Policy], minute: Timestamp) -> Result<Result<(), String>, Error> {
        let Some(of) = policies.first().map(|policy| policy.of.clone()) else { return Ok(Ok(())) };
        let asked = of.clone();
        let Some(target) = self.db.read(move |tx| data::target(tx, &asked)).await? else { return Ok(Ok(())) };
        if target.unsettled {
            return Ok(Ok(()));
        }
        let from = minute.plus_ms(-IN_MINUTES * MINUTE_MS);
        let measured = match self.utilization.utilization(of.clone(), from, minute).await {
            Ok(means) => self.scale.capacity(of).await.map(|capacity| (means, capacity)),
            Err(why) => return Ok(Err(why)),
        };
        let (means, capacity) = match measured {
            Ok(measured) => measured,
            // Whoever deletes a version leaves its target behind until that is deregistered.
            Err(NotScaled::Missing(_) | NotScaled::Refused(_)) => return Ok(Ok(())),
            Err(NotScaled::NotNow(why)) => return Ok(Err(why)),
        };
        let now = self.now();
        let wishes: Vec<Wish> = (policies.iter())
            .map(|policy| {
                let since = target.changed.max(policy.rule.modified);
                policy.rule.tracking.wish(&Measured { minute, since, means: &means, capacity }, now)
            })
            .collect();
        let (bounds, suspended) = (target.bounds, target.bounds.suspended);
        let (wanted, why) = match tracking::together(&wishes) {
            Wish::Out(count) if !suspended.dynamic_scaling_out_suspended => {
                (count, "was above its target for 3 minutes")
            }
            Wish::In(count) if !suspended.dynamic_scaling_in_suspended => {
                (count, "was below its target for 15 minutes")
            }
            Wish::Out(_) | Wish::In(_) | Wish::Stay => return Ok(Ok(())),
        };
        let wanted = wanted.clamp(bounds.min, bounds.max);
        if wanted == capacity {
            return Ok(Ok(()));
        }
        let deciding: Vec<&str> = (policies.iter().zip(&wishes))
            .filter(|(_, wish)| !matches!(wish, Wish::Stay))
            .map(|(policy, _)| policy.name.as_str())
            .collect();
        let cause = format!("utilization {why}: policy {}", deciding.join(", "));
        match self.change(&target, wanted, cause).await {
            Ok(activity) => self.settled(&target, Some(activity)).await.map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }
}

/// Sets what an action sets.
fn run_action(
    tx: &mut store::Tx<'_>,
    action: &Action,
    target: Target,
    now: Timestamp,
    (set, refused): (&str, &str),
) -> Result<(), Error> {
    let mut bounds = target.bounds;
    bounds.min = action.plan.min.unwrap_or(bounds.min);
    bounds.max = action.plan.max.unwrap_or(bounds.max);
    let description = format!("Setting min capacity to {} and max capacity to {}", bounds.min, bounds.max);
    let cause = format!("scheduled action name {} was triggered", action.name);
    if bounds.min > bounds.max {
        let failure = Some("the minimum would exceed the maximum".to_owned());
        return data::add_activity(
            tx,
            &target.of,
            &activity((refused.to_owned(), now), description, cause, failure),
        );
    }
    data::add_activity(tx, &target.of, &activity((set.to_owned(), now), description, cause, None))?;
    data::put_target(tx, &Target { bounds, unsettled: true, ..target })
}

fn activity(
    (id, now): (String, Timestamp),
    description: String,
    cause: String,
    failure: Option<String>,
) -> Activity {
    let message = match description.strip_prefix("Setting ") {
        Some(what) => format!("Successfully set {what}"),
        None => description.clone(),
    };
    Activity { id, description, cause, started: now, ended: now, failure, message }
}

fn earliest<const N: usize>(all: [Next; N]) -> Next {
    all.into_iter().flatten().min()
}
