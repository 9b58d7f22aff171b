//! Ports whose two sides are both known only here.

use base::{FunctionSpec, Future};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;

/// What functions reach at their `AWS_ENDPOINT_URL`: this node's own gateway. Set once the gateway exists, which is
/// before the first function can run.
#[derive(Default)]
pub(crate) struct OwnGateway(OnceLock<Arc<wire::Gateway>>);

impl OwnGateway {
    pub(crate) fn set(&self, gateway: Arc<wire::Gateway>) {
        // Set by the one caller in `node`; a second call would change nothing.
        let _ = self.0.set(gateway);
    }
}

impl runtimes::Platform for OwnGateway {
    fn serve(&self, connection: TcpStream, _: Arc<FunctionSpec>) -> Future<'static, ()> {
        let gateway = self.0.get().cloned();
        Box::pin(async move {
            let Some(gateway) = gateway else { return };
            let limits = wire::Limits::default();
            // Ends with the connection, or when the environment ends and this future is dropped.
            wire::serve_connection(
                connection,
                gateway,
                wire::Connection::default(),
                &limits,
                std::future::pending(),
            )
            .await;
        })
    }
}
