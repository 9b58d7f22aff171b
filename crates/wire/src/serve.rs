//! Listening: HTTP/1.1 and HTTP/2 (prior knowledge) on one port, with bounds and graceful shutdown.

mod heads;

use crate::{Connection, Gateway};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use heads::Heads;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Largest head of an HTTP/1 request, and of an HTTP/2 header list, in bytes.
const HEAD_MAX: u32 = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Pause after the system refused a connection (descriptors used up), before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's backlog. Default 10,000.
    pub connections_max: usize,
    /// From accepting, or from the previous response, to the end of the next request's head: idle connections end
    /// here. Default 60 s. HTTP/2 connections are asked for a sign of life at this interval instead.
    pub header_read_max: Duration,
    /// From the shutdown signal until connections still busy are dropped. Default 30 s.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            header_read_max: Duration::from_secs(60),
            drain_max: Duration::from_secs(30),
        }
    }
}

/// Serves `listener` until `shutdown` resolves, then lets requests in flight finish within
/// [`Limits::drain_max`]. Returns once every connection is gone.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let (stop, stopped) = watch::channel(false);
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let limits = Arc::new(limits);
    loop {
        let accepted = async {
            // Only closed semaphores fail, and this one never is.
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (permit, stream, peer))
        };
        let (permit, stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Small answers must not wait for more; a socket that refuses this is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let (gateway, limits, mut stopped) = (Arc::clone(&gateway), Arc::clone(&limits), stopped.clone());
        connections.spawn(async move {
            let connection = Connection { peer: Some(peer), extra: None };
            let stop = async move {
                // An error means that the listener is gone: stop as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            serve_connection(stream, gateway, connection, &limits, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain_max, drained).await.is_err() {
        let left = connections.len();
        tracing::warn!(left, "connections still busy at the end of the drain are dropped");
        connections.shutdown().await;
    }
    Ok(())
}

/// Serves one accepted connection until it ends, or until `shutdown` has resolved and its requests in flight are
/// answered. Dropping the future drops the connection.
pub async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    gateway: Arc<Gateway>,
    connection: Connection,
    limits: &Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let begun = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let begun = Arc::clone(&begun);
        move |request| {
            begun.store(true, Ordering::Relaxed);
            let (gateway, connection) = (Arc::clone(&gateway), connection.clone());
            async move { Ok::<_, Infallible>(gateway.handle(request, connection).await) }
        }
    });
    let heads = Heads::default();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(heads.clone())
        .header_read_timeout(limits.header_read_max)
        .max_buf_size(HEAD_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX)
        .keep_alive_interval(limits.header_read_max)
        .adaptive_window(true);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    // What is rare is polled only when it has been woken: the connection itself is polled several times a request.
    let mut rare = FuturesUnordered::new();
    rare.push(shutdown.map(|()| Rare::Stop).boxed());
    rare.push(heads.late(limits.header_read_max).map(|()| Rare::Late).boxed());
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            match rare.poll_next_unpin(cx) {
                Poll::Ready(Some(Rare::Stop)) => serving.as_mut().graceful_shutdown(),
                // The builder waits without bound for the first bytes, which tell the protocol.
                Poll::Ready(Some(Rare::Late)) if !heads.are_awaited() && !begun.load(Ordering::Relaxed) => {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Rare::Late)) => {
                    rare.push(heads.late(limits.header_read_max).map(|()| Rare::Late).boxed());
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if let Some(Err(error)) = ended {
        // The peer's doing: resets, timeouts, what is not HTTP.
        tracing::debug!(%error, "connection ended");
    }
}

/// What is to be done beside a connection's requests.
enum Rare {
    /// No further requests are served.
    Stop,
    /// A head has been waited for long enough, or nothing is waited for.
    Late,
}
