//! Connections for code that the daemon runs itself: judged, counted and made as those of sandboxes.

use super::relay;
use crate::Sandboxes;
use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

/// One of the node's places for connections; free again when dropped.
#[derive(Debug)]
pub struct Place {
    _held: OwnedSemaphorePermit,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// [`crate::Settings::network`] does not let sandboxes reach it.
    #[error("sandboxes do not reach this address")]
    Denied,
    /// All descriptors for connections of functions are in use.
    #[error("all descriptors for connections are in use")]
    Full,
    /// The network says so; `TimedOut` after 60 s.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Sandboxes {
    /// Whether sandboxes reach [`crate::PLATFORM`].
    pub fn reach_platform(&self) -> bool {
        self.node.platform
    }

    /// Whether sandboxes reach anything but the daemon.
    pub fn reach_internet(&self) -> bool {
        self.node.egress.is_some()
    }

    /// Connects to an address as for a sandbox. Must be called in the host's network namespace. Cancel-safe.
    pub async fn connect(&self, to: SocketAddrV4) -> Result<(TcpStream, Place), NotConnected> {
        let context = self.node.egress.as_ref().filter(|context| context.permit(*to.ip()));
        let context = context.ok_or(NotConnected::Denied)?;
        let held = Arc::clone(&context.places).try_acquire_owned().map_err(|_| NotConnected::Full)?;
        Ok((relay::connect(&[SocketAddr::V4(to)]).await?, Place { _held: held }))
    }
}
