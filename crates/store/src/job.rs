//! A closure on its way to a thread that runs it, and its answer on the way back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::{Commit, Error, Tx};

/// What a closure is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write(Commit),
}

/// A closure whose types are forgotten.
pub(crate) trait Job: Send {
    fn purpose(&self) -> Purpose;
    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    /// Runs the closure and keeps its result; true when its changes are to be kept. Never panics.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Replaces the result.
    fn fail(&mut self, error: Error);
    /// Hands the result to the caller. Never panics.
    fn answer(self: Box<Self>);
}

/// A closure, boxed.
pub(crate) type BoxJob = Box<dyn Job>;

struct Typed<F, T, E> {
    purpose: Purpose,
    closure: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

/// Packs `closure`; its answer arrives at the receiver.
pub(crate) fn pack<F, T, E>(purpose: Purpose, closure: F) -> (BoxJob, oneshot::Receiver<Result<T, E>>)
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Typed { purpose, closure, result: None, reply }), answer)
}

impl<F, T, E> Job for Typed<F, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        // Unwind safety: after a panic the closure is not run again, its transaction is rolled back, and the previous
        // result is replaced.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let returned = (self.closure)(tx);
            match (returned, tx.doomed()) {
                (Ok(_), Some(error)) => Err(E::from(error.clone())),
                (returned, _) => returned,
            }
        }));
        let result =
            outcome.unwrap_or_else(|payload| Err(E::from(Error::Panicked { message: message(&*payload) })));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(E::from(error)));
    }

    fn answer(self: Box<Self>) {
        // Dropping what the closure captured runs the caller's code.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let Typed { closure, result, reply, .. } = *self;
            if let Some(result) = result {
                // The caller may have gone; then nobody wants the answer.
                let _ = reply.send(result);
            }
            drop(closure);
        }));
    }
}

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("no message"))
}
