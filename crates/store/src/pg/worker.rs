//! A thread with a connection that runs closures one after the other.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Shared;
use super::session::{Session, Trouble};
use crate::job::{BoxJob, Purpose};
use crate::queue::{Queue, Queued};
use crate::{Commit, Error, Tx};

/// Conflicts after which a closure runs alone among those of this node.
const CONFLICTS_SHARED_MAX: u32 = 4;

/// The worker.
pub(super) struct Worker {
    shared: Arc<Shared>,
    session: Option<Session>,
}

/// How one run of a closure ended.
enum Attempt {
    /// Its result stands.
    Done,
    /// This is its result.
    Failed(Error),
    /// Nothing was committed; again, because of this.
    Again(Error),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, session: Option<Session>) -> Worker {
        Worker { shared, session }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, jobs: &Queue<BoxJob>) {
        let _guard = jobs.guard();
        while let Some(Queued { item: mut job, .. }) = jobs.pop() {
            if !job.abandoned() {
                if let Err(error) = self.perform(&mut job) {
                    job.fail(error);
                }
                job.answer();
            }
        }
    }

    /// Runs a closure until its result stands or the attempts are used up.
    fn perform(&mut self, job: &mut BoxJob) -> Result<(), Error> {
        let limits = self.shared.limits;
        let mut backoff = Backoff::new(limits.backoff_first, limits.backoff_max);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt(job, attempts)? {
                Attempt::Done => return Ok(()),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again(error) if attempts >= limits.attempts_max => {
                    return Err(match error {
                        Error::Unavailable { source } => Error::Contention { attempts, source },
                        other => other,
                    });
                }
                Attempt::Again(_) => {
                    self.shared.retries.fetch_add(1, Ordering::Relaxed);
                    backoff.wait();
                }
            }
        }
    }

    fn attempt(&mut self, job: &mut BoxJob, attempts: u32) -> Result<Attempt, Error> {
        self.connect()?;
        let shared = Arc::clone(&self.shared);
        let Some(session) = &mut self.session else { return Err(Error::Closed) };
        let (attempt, trouble) = if attempts > CONFLICTS_SHARED_MAX {
            let _alone = shared.lane.write().unwrap_or_else(PoisonError::into_inner);
            transact(session, job, &shared)
        } else {
            let _together = shared.lane.read().unwrap_or_else(PoisonError::into_inner);
            transact(session, job, &shared)
        };
        if trouble == Some(Trouble::Lost) {
            self.session = None;
        }
        Ok(attempt)
    }

    /// Makes sure that there is a connection.
    fn connect(&mut self) -> Result<(), Error> {
        if self.session.is_some() {
            return Ok(());
        }
        let Shared { config, schema, limits, .. } = &*self.shared;
        let mut backoff = Backoff::new(limits.backoff_first * 10, limits.backoff_max);
        let mut connects = 1;
        self.session = Some(loop {
            match Session::connect(config, schema, limits) {
                Ok(session) => break session,
                Err(error) if connects >= limits.connects_max => return Err(error),
                Err(_) => backoff.wait(),
            }
            connects += 1;
        });
        Ok(())
    }
}

/// Runs a closure once, in a transaction of its own.
fn transact(session: &mut Session, job: &mut BoxJob, shared: &Shared) -> (Attempt, Option<Trouble>) {
    session.take_trouble();
    let attempt = match session.control(begin(job.purpose())) {
        Err(error) => match session.take_trouble() {
            Some(trouble) => return (Attempt::Again(error), Some(trouble)),
            None => Attempt::Failed(error),
        },
        Ok(()) => {
            let keep = job.run(&mut Tx::postgres(session));
            match session.take_trouble() {
                Some(trouble) => {
                    let cause = Error::Unavailable { source: crate::Cause::new(Disturbed(trouble)) };
                    return (Attempt::Again(cause), finish(session, Some(trouble)));
                }
                None if keep => return commit(session, job.purpose(), shared),
                None => Attempt::Done,
            }
        }
    };
    (attempt, finish(session, None))
}

fn begin(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Read => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        Purpose::Write(Commit::Durable) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        Purpose::Write(Commit::Written) => {
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL synchronous_commit TO off"
        }
    }
}

fn commit(session: &mut Session, purpose: Purpose, shared: &Shared) -> (Attempt, Option<Trouble>) {
    let Err(error) = session.control("COMMIT") else {
        if let Purpose::Write(level) = purpose {
            shared.committed.fetch_add(1, Ordering::Relaxed);
            shared.commits.fetch_add(1, Ordering::Relaxed);
            shared.durable_commits.fetch_add(u64::from(level == Commit::Durable), Ordering::Relaxed);
        }
        return (Attempt::Done, None);
    };
    let trouble = session.take_trouble();
    let attempt = match (trouble, purpose, error) {
        (Some(Trouble::Conflict), _, error) => Attempt::Again(error),
        // A snapshot needs no commit to be true.
        (Some(Trouble::Lost), Purpose::Read, _) => Attempt::Done,
        (Some(Trouble::Lost), Purpose::Write(_), Error::Unavailable { source }) => {
            Attempt::Failed(Error::OutcomeUnknown { source })
        }
        (_, _, error) => Attempt::Failed(error),
    };
    // A commit that fails has ended the transaction.
    (attempt, trouble)
}

/// Rolls back what is left of a transaction; a connection on which that fails is lost.
fn finish(session: &mut Session, trouble: Option<Trouble>) -> Option<Trouble> {
    if trouble == Some(Trouble::Lost) || session.control("ROLLBACK").is_err() {
        return Some(Trouble::Lost);
    }
    trouble
}

#[derive(Debug, thiserror::Error)]
#[error("{}", match .0 { Trouble::Conflict => "concurrent changes of the same rows", Trouble::Lost => "connection lost" })]
struct Disturbed(Trouble);

/// Waits that double, each between half and the whole of its length.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { next: first, max }
    }

    fn wait(&mut self) {
        // The hasher's keys are random: enough to keep two nodes from meeting again and again.
        let random = RandomState::new().hash_one(self.next) % 1024;
        let jitter = self.next.mul_f64(0.5 + random as f64 / 2048.0);
        std::thread::sleep(jitter);
        self.next = (self.next * 2).min(self.max);
    }
}
