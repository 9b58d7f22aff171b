//! Work that takes time by the size of a request, beside which other requests go on.

use std::{future::poll_fn, pin::pin, task::Poll};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Bodies above this are dealt with aside, in bytes: to hash so many takes some tenths of a millisecond, and to read them as JSON
/// several times that.
const LARGE: usize = 256 * 1024;

/// Does `work` on so many bytes; while they are many, another thread serves what this one served.
pub(crate) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let threads =
        || Handle::try_current().is_ok_and(|own| own.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > LARGE && threads() { block_in_place(work) } else { work() }
}

/// The same for what `called` does before it first waits.
pub(crate) async fn begun_aside<F: Future>(bytes: usize, called: F) -> F::Output {
    let mut called = pin!(called);
    if bytes > LARGE {
        let begun = poll_fn(|context| Poll::Ready(aside(bytes, || called.as_mut().poll(context)))).await;
        if let Poll::Ready(done) = begun {
            return done;
        }
    }
    called.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};
    use tokio::runtime::Builder;

    /// Whether another task runs while a request of so many bytes keeps the only thread busy.
    fn others_run(bytes: usize) -> bool {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (other, ran) = mpsc::channel();
        let busy = async move {
            tokio::spawn(async move { other.send(()) });
            ran.recv_timeout(Duration::from_millis(500)).is_ok()
        };
        runtime.block_on(async { tokio::spawn(begun_aside(bytes, busy)).await.unwrap() })
    }

    #[test]
    fn large_requests_do_not_stop_others() {
        assert!(others_run(LARGE + 1));
        assert!(!others_run(LARGE));
    }

    #[test]
    fn it_works_without_other_threads() {
        let alone = Builder::new_current_thread().build().unwrap();
        assert_eq!(alone.block_on(begun_aside(LARGE + 1, async { 7 })), 7);
        assert_eq!(aside(LARGE + 1, || 7), 7);
    }

    #[test]
    fn what_waits_after_its_beginning_goes_on() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let twice = async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(runtime.block_on(async { tokio::spawn(begun_aside(LARGE + 1, twice)).await.unwrap() }), 7);
    }
}
