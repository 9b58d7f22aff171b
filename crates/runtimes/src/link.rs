//! How the daemon talks to a runtime, whichever way it speaks: what is said, not how.

use crate::{
    api::ApiLink,
    frames::{Event, Frames},
};
use bytes::Bytes;
use std::io;

/// A runtime's account of a failure.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Lambda's error type, e.g. `Runtime.ImportModuleError`; may be empty.
    pub(crate) kind: String,
    /// The JSON for the caller.
    pub(crate) payload: Bytes,
}

/// What a runtime says.
#[derive(Debug)]
pub(crate) enum Said {
    /// It has booted and waits to be told what for.
    Waiting,
    /// User code is about to be loaded.
    Booted,
    /// It takes events.
    Ready,
    /// It will not take events.
    InitError(Report),
    /// The answer.
    Response(Bytes),
    /// The answer was longer than allowed.
    TooLarge,
    /// The function failed; `last`: and the runtime ends.
    Error { report: Report, last: bool },
    /// The answer comes in pieces.
    StreamStart { content_type: Option<String> },
    /// One of them.
    StreamData(Bytes),
    /// There are no more.
    StreamEnd,
    /// There would have been more.
    StreamError(Report),
    /// It has been restored: its hooks are done.
    Restored,
    /// One of them failed; it ends.
    RestoreError(Report),
}

/// What comes from a runtime.
#[derive(Debug)]
pub(crate) enum Signal {
    /// Something said.
    Said(Said),
    /// It closed the channel: it is about to end, or has.
    Closed,
    /// It broke the protocol.
    Broken(&'static str),
}

/// The daemon's end.
pub(crate) enum Link {
    /// Our own boot program.
    Frames(Frames),
    /// A program that uses the HTTP Runtime API.
    Api(ApiLink),
    /// Not known before it speaks: our boot program was started through the user's wrapper, which may run something else.
    Either(Frames, ApiLink),
}

impl Link {
    /// Hands over an event.
    pub(crate) async fn send(&mut self, event: &Event<'_>) -> io::Result<()> {
        match self {
            Link::Frames(frames) | Link::Either(frames, _) => frames.send(event).await,
            Link::Api(api) => {
                api.send(event);
                Ok(())
            }
        }
    }

    /// Tells a boot program that it is restored; false for other programs, which have no hooks.
    pub(crate) async fn restore(&mut self) -> io::Result<bool> {
        match self {
            Link::Frames(frames) | Link::Either(frames, _) => frames.restore().await.map(|()| true),
            Link::Api(_) => Ok(false),
        }
    }

    /// Whether the reactor knows of all that the runtime had written elsewhere before what came last. It learns of writes in their
    /// order, so that it does when it told of this one, and no part of it was there before it was waited for.
    pub(crate) fn told_in_order(&self) -> bool {
        match self {
            Link::Frames(frames) => frames.told_in_order(),
            Link::Api(_) | Link::Either(..) => false,
        }
    }

    /// The next thing that comes. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        match self {
            Link::Frames(frames) => frames.next().await,
            Link::Api(api) => api.next().await,
            Link::Either(frames, api) => {
                let first = tokio::select! {
                    biased;
                    signal = api.next() => Ok(signal),
                    signal = frames.next() => Err(signal),
                };
                match first {
                    Ok(signal) => {
                        if let Link::Either(_, api) = std::mem::replace(self, Link::Api(ApiLink::closed())) {
                            *self = Link::Api(api);
                        }
                        signal
                    }
                    // The wrapper's program has dropped descriptor 3, or never knew it: it uses HTTP.
                    Err(Signal::Closed) => {
                        if let Link::Either(_, api) = std::mem::replace(self, Link::Api(ApiLink::closed())) {
                            *self = Link::Api(api);
                        }
                        Box::pin(self.next()).await
                    }
                    Err(signal) => {
                        if let Link::Either(frames, _) = std::mem::replace(self, Link::Api(ApiLink::closed()))
                        {
                            *self = Link::Frames(frames);
                        }
                        signal
                    }
                }
            }
        }
    }
}
