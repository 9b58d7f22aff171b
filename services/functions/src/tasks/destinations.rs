//! Tells destinations and dead-letter queues what became of asynchronous invocations.
//!
//! What is to be told is noted in the event's row first: whatever happens then, it is handed in, and the function is not run again.

use crate::{
    Error, Functions,
    cache::Served,
    data,
    logic::{
        destinations::{self, Last},
        event_config,
        retry::Fate,
    },
    model::{Event, FunctionId, Outcome, Parcel, Target},
};
use base::{Arn, Delivery, FunctionError, NotDelivered, Principal, QueueStep, RequestId, Sender, Timestamp};
use bytes::Bytes;
use store::Commit;

/// What is to be told of an event's end, if anything is.
pub(super) fn outcome(
    event: &Event,
    served: &Served,
    fate: Fate,
    answer: Option<&Result<Bytes, FunctionError>>,
    now: Timestamp,
) -> Option<Outcome> {
    let config = served.policies.get(event_config::qualifier(&event.invoked_arn));
    let last = match answer {
        Some(Ok(body)) => Last::Answered(body),
        Some(Err(error)) => Last::Failed(error),
        None => Last::NotRun,
    };
    let parcels = destinations::parcels(event, config, served.dead_letters.as_deref(), fate, last, now);
    let dropped = matches!(fate, Fate::Drop(_));
    (!parcels.is_empty()).then(|| Outcome { dropped, role: served.spec.role.clone(), parcels, attempts: 0 })
}

/// Notes it.
pub(super) async fn keep(functions: &Functions, event: RequestId, outcome: &Outcome) -> Result<(), Error> {
    let (holder, outcome) = (functions.events.holder.clone(), outcome.clone());
    let noted = move |tx: &mut store::Tx<'_>| data::set_outcome(tx, event, &holder, &outcome, None);
    functions.db.write_at(Commit::Written, noted).await.map(drop)
}

/// Hands in what is to be told and removes the event; what could not be handed in now is tried again when this says.
pub(super) async fn hand_in(functions: &Functions, event: &Event, mut outcome: Outcome) -> Option<Timestamp> {
    let sender = as_role(&outcome.role, &event.id);
    let mut left = Vec::new();
    for parcel in std::mem::take(&mut outcome.parcels) {
        match hand_over(functions, event, &sender, &parcel).await {
            Ok(()) => {}
            Err(NotDelivered::NotNow(why)) => {
                tracing::warn!(target = parcel.target, %why, "what became of an invocation is told later");
                left.push(parcel);
            }
            Err(error) => {
                tracing::warn!(target = parcel.target, %error, "what became of an invocation cannot be told");
                let step = if parcel.dead_letter { QueueStep::NotBuried } else { QueueStep::NotTold };
                functions.meter(&event.id, &event.invoked_arn, step);
            }
        }
    }
    let holder = functions.events.holder.clone();
    let request_id = event.request_id;
    if left.is_empty() {
        let removed = functions
            .db
            .write_at(Commit::Written, move |tx| data::delete_event(tx, request_id, &holder))
            .await;
        match removed {
            Ok(true) => functions.events.left(1),
            Ok(false) => {}
            // It keeps its lease, and is told once more after it.
            Err(error) => {
                tracing::error!(%request_id, %error, "the end of an invocation could not be written")
            }
        }
        return None;
    }
    outcome.parcels = left;
    outcome.attempts = outcome.attempts.saturating_add(1);
    let wait = functions.settings.events.waits.refusal(outcome.attempts);
    let due = functions.now().plus_ms(i64::try_from(wait.0).unwrap_or(i64::MAX));
    let noted = move |tx: &mut store::Tx<'_>| data::set_outcome(tx, request_id, &holder, &outcome, Some(due));
    match functions.db.write_at(Commit::Written, noted).await {
        Ok(_) => Some(due),
        Err(error) => {
            tracing::error!(%request_id, %error, "the end of an invocation could not be written");
            None
        }
    }
}

async fn hand_over(
    functions: &Functions,
    event: &Event,
    sender: &Sender,
    parcel: &Parcel,
) -> Result<(), NotDelivered> {
    let target: Arn = parcel.target.parse().map_err(|_| NotDelivered::Refused(parcel.target.clone()))?;
    let Some(deliver) = functions.deliver.get() else { return Err(NotDelivered::Unsupported(target)) };
    let delivery = Delivery {
        id: event.request_id,
        body: Bytes::from(parcel.body.clone()),
        attributes: parcel.attributes.clone(),
        trace: parcel.trace.clone(),
    };
    deliver.deliver(sender.clone(), target, delivery).await
}

/// The role of a function, whose permissions count.
fn as_role(role: &str, of: &FunctionId) -> Sender {
    let role = role.split_once(":role/").map_or(role, |(_, name)| name).to_owned();
    Sender::Principal(Principal::Session { account: of.account, role, session: of.name.to_string() })
}

impl Functions {
    /// Refuses a target that is not there or does not let the function's role hand anything in.
    pub(crate) async fn check_target(&self, role: &str, of: &FunctionId, arn: &str) -> Result<(), Error> {
        let target: Arn = arn.parse().map_err(|_| Error::invalid(format!("{arn} is no ARN.")))?;
        let Some(deliver) = self.deliver.get() else {
            return Err(Error::Unsupported {
                member: "A destination",
                reason: "this node has none; leave it out",
            });
        };
        let action = if &*target.service == "lambda" { "Invoke" } else { "SendMessage" };
        match deliver.accepts(as_role(role, of), target).await {
            Ok(()) => Ok(()),
            Err(NotDelivered::Denied(_)) => Err(Error::invalid(format!(
                "The function's execution role {role} does not have permissions to call {action} on {arn}"
            ))),
            Err(error) => Err(Error::invalid(format!("The destination {arn} takes no events: {error}"))),
        }
    }

    /// The same for the destination of a function, version or alias.
    pub(crate) async fn check_destination(&self, target: &Target, arn: &str) -> Result<(), Error> {
        let named = target.clone();
        let role = self
            .db
            .read(move |tx| {
                Ok::<_, Error>(
                    data::version_named(tx, &named)?.map(|record| record.deployment.configuration.role),
                )
            })
            .await?
            .ok_or(Error::NoFunction)?;
        self.check_target(&role, &target.id, arn).await
    }
}
