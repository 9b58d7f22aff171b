//! One invocation of an instance: where it computes, what it says, and why it failed.

use crate::{
    engine::Elsewhere,
    program::told,
    share::Shared,
    state::{State, Watch},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use runtimes::HostedError;
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView as _,
    p2::{
        bindings::{
            Proxy, ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

/// A component's instance.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    proxy: Proxy,
}

/// What a component sets.
type Set = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Work of an instance: it is polled where it was begun as long as it is short, so that no thread has to be woken for it; work
/// that computes for longer goes on where it is in nobody's way, and so does work that follows on other work at once, since the
/// threads that serve requests are few.
pub(crate) struct Work<T> {
    place: Place<T>,
    watch: Arc<Watch>,
    elsewhere: Option<Elsewhere>,
}

enum Place<T> {
    Here(Shared<T>),
    There(JoinHandle<T>),
    Over,
}

impl<T: Send + 'static> Work<T> {
    pub(crate) fn new(
        work: impl Future<Output = T> + Send + 'static,
        watch: Arc<Watch>,
        elsewhere: Option<Elsewhere>,
    ) -> Work<T> {
        let work = Box::pin(work);
        let place = match &elsewhere {
            Some(elsewhere) if elsewhere.pace.is_quick() => Place::There(elsewhere.spawn(work)),
            _ => Place::Here(work),
        };
        Work { place, watch, elsewhere }
    }

    fn over(&mut self) {
        self.place = Place::Over;
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.pace.ended();
        }
    }
}

impl<T: Send + 'static> Future for Work<T> {
    /// `None`: it panicked, or is over.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Place::Here(work) = &mut self.place {
            let polled = work.as_mut().poll(cx);
            if let Poll::Ready(done) = polled {
                self.over();
                return Poll::Ready(Some(done));
            }
            if !self.watch.long.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            let Some(elsewhere) = self.elsewhere.clone() else { return Poll::Pending };
            if let Place::Here(work) = std::mem::replace(&mut self.place, Place::Over) {
                self.place = Place::There(elsewhere.spawn(work));
            }
        }
        match &mut self.place {
            Place::There(work) => {
                let done = std::task::ready!(Pin::new(work).poll(cx));
                self.over();
                Poll::Ready(done.ok())
            }
            Place::Here(_) | Place::Over => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        if let Place::There(work) = &self.place {
            work.abort();
        }
    }
}

/// Has an instance yield at each tick, and tells who polls it that it computes.
pub(crate) fn share_time<T: 'static>(store: &mut Store<T>, watch: &Arc<Watch>) {
    store.set_epoch_deadline(1);
    let watch = watch.clone();
    store.epoch_deadline_callback(move |_| {
        watch.long.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    });
}

/// Why an instance stopped.
pub(crate) fn failure(error: &wasmtime::Error, watch: &Watch) -> HostedError {
    if watch.out_of_memory.load(Ordering::Relaxed) {
        return HostedError::OutOfMemory;
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return HostedError::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return HostedError::Trapped(trap.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        let limit = "this node has no place for another WebAssembly instance (wasm.instances)";
        return HostedError::Unrunnable(limit.to_owned());
    }
    HostedError::Trapped(told(error))
}

/// A component that handles a request.
pub(crate) struct Conversation {
    work: Work<wasmtime::Result<Instance>>,
    /// How the work ended.
    over: Option<Result<Instance, HostedError>>,
    head: oneshot::Receiver<Set>,
    head_lost: bool,
    deadline: Instant,
    stop: watch::Receiver<bool>,
    watch: Arc<Watch>,
}

/// Either a new instance, or one that is used again.
pub(crate) enum Origin {
    New(Box<Store<State>>, ProxyPre<State>),
    Kept(Box<Instance>),
}

impl Conversation {
    pub(crate) fn begin(
        origin: Origin,
        request: Request<WasiBody>,
        watch: Arc<Watch>,
        deadline: Instant,
        stop: watch::Receiver<bool>,
        elsewhere: Option<Elsewhere>,
    ) -> Conversation {
        let (sender, head) = oneshot::channel();
        let seen = watch.clone();
        let work = async move {
            let mut instance = match origin {
                Origin::Kept(instance) => *instance,
                Origin::New(store, pre) => {
                    let mut store = *store;
                    store.limiter(|state| &mut state.bounds);
                    share_time(&mut store, &seen);
                    let proxy = pre.instantiate_async(&mut store).await?;
                    Instance { store, proxy }
                }
            };
            let Instance { store, proxy } = &mut instance;
            store.data_mut().bounds.watched_by(seen.clone());
            share_time(store, &seen);
            let secure = request.uri().scheme_str() == Some("https");
            let scheme = if secure { Scheme::Https } else { Scheme::Http };
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(scheme, request)?;
            let response = http.new_response_outparam(sender)?;
            proxy.wasi_http_incoming_handler().call_handle(store, request, response).await?;
            Ok(instance)
        };
        let work = Work::new(work, watch.clone(), elsewhere);
        Conversation { work, over: None, head, head_lost: false, deadline, stop, watch }
    }

    /// Status and headers. Cancel-safe.
    pub(crate) async fn head(&mut self) -> Result<Response<HyperOutgoingBody>, HostedError> {
        loop {
            let set = tokio::select! {
                biased;
                over = &mut self.work, if self.over.is_none() => {
                    self.note(over)?;
                    self.head.try_recv().ok()
                }
                set = &mut self.head, if !self.head_lost => {
                    self.head_lost = set.is_err();
                    match set {
                        Ok(set) => Some(set),
                        // How the work ends tells why.
                        Err(_) => continue,
                    }
                }
                failure = late(self.deadline, &mut self.stop) => return Err(failure),
            };
            return match set {
                Some(Ok(response)) => Ok(response),
                Some(Err(code)) => Err(HostedError::reported(
                    "Function.HttpError",
                    &format!("the handler answered {code:?}"),
                )),
                None => {
                    Err(HostedError::Trapped("the handler returned without setting a response".to_owned()))
                }
            };
        }
    }

    /// The next piece of the body; `None` at its end. Cancel-safe.
    pub(crate) async fn piece(&mut self, body: &mut HyperOutgoingBody) -> Option<Result<Bytes, HostedError>> {
        loop {
            tokio::select! {
                biased;
                frame = body.frame() => match frame {
                    // Trailers have no place in a function's answer.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => return Some(Ok(data)),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => {
                        let how = format!("the handler did not finish the response: {error}");
                        return Some(Err(HostedError::Trapped(how)));
                    }
                    None => return None,
                },
                over = &mut self.work, if self.over.is_none() => {
                    if let Err(failure) = self.note(over) {
                        return Some(Err(failure));
                    }
                }
                failure = late(self.deadline, &mut self.stop) => return Some(Err(failure)),
            }
        }
    }

    /// What the handler does after its answer, to its end; the instance, for another invocation.
    pub(crate) async fn end(mut self) -> Result<Instance, HostedError> {
        if self.over.is_none() {
            tokio::select! {
                biased;
                over = &mut self.work => self.note(over)?,
                failure = late(self.deadline, &mut self.stop) => return Err(failure),
            }
        }
        self.over.take().unwrap_or_else(|| Err(panicked()))
    }

    /// Notes that the work is over; an error if it failed.
    fn note(&mut self, over: Option<wasmtime::Result<Instance>>) -> Result<(), HostedError> {
        let over = match over {
            Some(Ok(instance)) => Ok(instance),
            Some(Err(error)) => Err(failure(&error, &self.watch)),
            None => Err(panicked()),
        };
        let told = over.as_ref().map(|_| ()).map_err(Clone::clone);
        self.over = Some(over);
        told
    }
}

/// A defect of ours, told as such; the node goes on.
pub(crate) fn panicked() -> HostedError {
    HostedError::Trapped("the host failed while it ran the function".to_owned())
}

/// Resolves when an invocation must not go on, to why.
pub(crate) async fn late(deadline: Instant, stop: &mut watch::Receiver<bool>) -> HostedError {
    tokio::select! {
        () = tokio::time::sleep_until(deadline) => HostedError::TimedOut,
        // A sender that is gone is an environment that is gone.
        _ = stop.wait_for(|stop| *stop) => HostedError::Trapped("the environment was stopped".to_owned()),
    }
}
