//! StartMessageMoveTask, CancelMessageMoveTask, ListMessageMoveTasks.

use crate::{
    Error, Queues,
    api::{
        CancelMessageMoveTaskResult, ListMessageMoveTasksRequest, ListMessageMoveTasksResult, MoveTaskEntry,
        StartMessageMoveTaskRequest, TaskHandle,
    },
    data,
    model::QueueKey,
    tasks::{MOVE_RATE_MAX, MoveStatus, MoveTask},
};
use base::Arn;
use std::sync::Arc;
use wire::{Context, Flat};

impl Queues {
    pub(crate) async fn start_message_move_task(
        &self,
        context: &Context,
        input: StartMessageMoveTaskRequest,
    ) -> Result<TaskHandle, Error> {
        let rate = match input.max_number_of_messages_per_second {
            None => None,
            Some(rate) if (1..=i64::from(MOVE_RATE_MAX)).contains(&rate) => u32::try_from(rate).ok(),
            Some(rate) => {
                let why = format!("Must be between 1 and {MOVE_RATE_MAX}, if provided.");
                return Err(Error::value(rate, "MaxNumberOfMessagesPerSecond", why));
            }
        };
        let source = self.of_arn(&input.source_arn, "SourceArn").await?;
        self.allowed(&context.principal, "sqs:StartMessageMoveTask", &source)?;
        let fifo = source.settings.fifo.is_some();
        if let Some(target) = &input.destination_arn {
            let target = self.of_arn(target, "DestinationArn").await?;
            if target.id == source.id {
                return Err(Error::Parameter(
                    "Source queue arn and destination queue arn cannot be the same.".into(),
                ));
            }
            if target.settings.fifo.is_some() != fifo {
                return Err(Error::Parameter(
                    "The destination must be the same type of queue as the source.".into(),
                ));
            }
            self.allowed(&context.principal, "sqs:SendMessage", &target)?;
        }
        let task = MoveTask {
            handle: self.fresh_id().to_string(),
            queue: source.id,
            source: input.source_arn,
            target: input.destination_arn,
            rate,
            status: MoveStatus::Running,
            moved: 0,
            total: 0,
            failure: None,
            started: self.now(),
        };
        let (mut added, now) = (task.clone(), self.now());
        self.db
            .write(move |tx| {
                data::check(tx, &source)?;
                if data::sources_of(tx, &source.key, "", 1)?.is_empty() {
                    return Err(Error::Parameter("Source queue must be configured as a Dead Letter Queue.".into()));
                }
                if data::tasks_of(tx, source.id, 1)?.iter().any(|task| task.status == MoveStatus::Running) {
                    return Err(Error::Operation(
                        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.".into(),
                    ));
                }
                added.total = data::depth(tx, source.id, now)?.visible;
                data::insert_task(tx, &added)
            })
            .await?;
        self.work.notify_one();
        Ok(TaskHandle { task_handle: task.handle })
    }

    pub(crate) async fn cancel_message_move_task(
        &self,
        context: &Context,
        input: TaskHandle,
    ) -> Result<CancelMessageMoveTaskResult, Error> {
        let handle = input.task_handle;
        let asked = handle.clone();
        let gone = || Error::NoResource("Task does not exist.".into());
        let task = self.db.read(move |tx| data::task(tx, &asked)).await?.ok_or_else(gone)?;
        let source = self.of_arn(&task.source, "SourceArn").await?;
        self.allowed(&context.principal, "sqs:CancelMessageMoveTask", &source)?;
        let moved = self
            .db
            .write(move |tx| {
                let task = data::task(tx, &handle)?.ok_or_else(gone)?;
                if task.status != MoveStatus::Running {
                    return Err(Error::Operation("Only active tasks can be cancelled.".into()));
                }
                data::set_task(tx, &handle, MoveStatus::Cancelled, None)?;
                Ok(task.moved)
            })
            .await?;
        Ok(CancelMessageMoveTaskResult { approximate_number_of_messages_moved: moved })
    }

    pub(crate) async fn list_message_move_tasks(
        &self,
        context: &Context,
        input: ListMessageMoveTasksRequest,
    ) -> Result<ListMessageMoveTasksResult, Error> {
        let limit = match input.max_results {
            None => 1,
            Some(max) if (1..=data::TASKS_KEPT).contains(&max) => max,
            Some(max) => {
                let why = format!("Must be between 1 and {}, if provided.", data::TASKS_KEPT);
                return Err(Error::value(max, "MaxResults", why));
            }
        };
        let source = self.of_arn(&input.source_arn, "SourceArn").await?;
        self.allowed(&context.principal, "sqs:ListMessageMoveTasks", &source)?;
        let tasks = self.db.read(move |tx| data::tasks_of(tx, source.id, limit)).await?;
        let shown = |task: MoveTask| MoveTaskEntry {
            // A handle is for cancelling: finished tasks have none.
            task_handle: (task.status == MoveStatus::Running).then_some(task.handle),
            status: task.status.as_str(),
            source_arn: task.source,
            destination_arn: task.target,
            max_number_of_messages_per_second: task.rate,
            approximate_number_of_messages_moved: task.moved,
            approximate_number_of_messages_to_move: Some(task.total),
            failure_reason: task.failure,
            started_timestamp: task.started.0,
        };
        let results = Flat("flat:ListMessageMoveTasksResultEntry", tasks.into_iter().map(shown).collect());
        Ok(ListMessageMoveTasksResult { results })
    }

    async fn of_arn(&self, text: &str, parameter: &str) -> Result<Arc<crate::model::Queue>, Error> {
        let key = text.parse::<Arn>().ok().and_then(|arn| QueueKey::of(&arn));
        let key = key.ok_or_else(|| Error::value(text, parameter, "Not the ARN of a queue."))?;
        match self.read_anew(&key).await {
            Err(Error::NoQueue) => Err(Error::NoResource(
                "The resource that you specified for the SourceArn parameter doesn't exist.".into(),
            )),
            other => other,
        }
    }
}
