//! The node inside this process: all that this crate knows of the server.

use crate::{args, error::Error, settings};
use std::net::SocketAddr;

pub(crate) use server::Mode;

/// A node whose sandboxes' spawner runs; nothing else does yet.
pub(crate) struct Prepared(server::Prepared);

/// First thing in `main`, before any thread exists: the spawner is a copy of this process.
pub(crate) fn prepare(arguments: &args::Node, mode: Mode) -> Result<Prepared, Error> {
    let options = server::Options {
        mode,
        listen: arguments.listen,
        data: settings::data_folder(arguments.data.as_deref(), &settings::Process),
        config: arguments.config.clone(),
    };
    Ok(Prepared(server::prepare(options)?))
}

impl Prepared {
    /// Threads that it is to run on.
    pub(crate) fn workers(&self) -> usize {
        self.0.workers()
    }

    /// Starts the node; it answers requests when this returns.
    pub(crate) async fn start(self) -> Result<Running, Error> {
        Ok(Running(self.0.start().await?))
    }
}

/// A node that answers requests.
pub(crate) struct Running(server::Node);

impl Running {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Waits until the node is asked to stop and has ended.
    pub(crate) async fn ended(self) -> Result<(), Error> {
        Ok(self.0.run().await?)
    }
}
