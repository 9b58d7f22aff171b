//! Ports whose two sides are both known only here.

use base::{
    AccountId, FunctionSpec, Future, InvocationRecord, LogEvent, LogSink, Meter, ProvisionedCall, QueueStep,
    QueuedEvent, Region, Reserved, TracedRequest, VersionKey, Within,
};
use std::sync::{Arc, OnceLock};
use telemetry::{Telemetry, otlp::Exporter};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};

/// What functions reach at their `AWS_ENDPOINT_URL`: this node's own gateway. Set once the gateway exists, which is
/// before the first function can run.
pub(crate) struct OwnGateway {
    gateway: OnceLock<Arc<wire::Gateway>>,
    telemetry: Telemetry,
}

impl OwnGateway {
    pub(crate) fn new(telemetry: Telemetry) -> OwnGateway {
        OwnGateway { gateway: OnceLock::new(), telemetry }
    }

    pub(crate) fn set(&self, gateway: Arc<wire::Gateway>) {
        // Set by the one caller in `node`; a second call would change nothing.
        let _ = self.gateway.set(gateway);
    }

    /// Ends with the connection, or when the environment ends and the future is dropped.
    fn serve_any<C: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        connection: C,
    ) -> impl std::future::Future<Output = ()> + Send + use<C> {
        let gateway = self.gateway.get().cloned();
        async move {
            let Some(gateway) = gateway else { return };
            let (about, limits) = (wire::Connection::default(), wire::Limits::default());
            wire::serve_connection(connection, gateway, about, &limits, std::future::pending()).await;
        }
    }
}

impl runtimes::Platform for OwnGateway {
    fn serve(&self, connection: TcpStream, _: Arc<FunctionSpec>) -> Future<'static, ()> {
        Box::pin(self.serve_any(connection))
    }

    fn serve_pipe(&self, connection: DuplexStream, _: Arc<FunctionSpec>) -> Future<'static, ()> {
        Box::pin(self.serve_any(connection))
    }

    fn trace(&self, datagram: &[u8], spec: &FunctionSpec) {
        self.telemetry.trace_datagram(&spec.key, datagram);
    }
}

/// Tells telemetry what functions do, and an exporter too.
pub(crate) struct Exported {
    pub(crate) telemetry: Telemetry,
    pub(crate) exporter: Arc<Exporter>,
}

impl LogSink for Exported {
    fn append(&self, account: AccountId, region: &Region, group: &str, stream: &str, events: Vec<LogEvent>) {
        self.append_within(account, region, group, stream, events, &[]);
    }

    fn append_within(
        &self,
        account: AccountId,
        region: &Region,
        group: &str,
        stream: &str,
        events: Vec<LogEvent>,
        within: &[Option<Within>],
    ) {
        self.exporter.append(account, region, group, stream, &events, within);
        self.telemetry.append(account, region, group, stream, events);
    }
}

impl Meter for Exported {
    fn record(&self, record: InvocationRecord) {
        self.exporter.record(&record);
        self.telemetry.record(record);
    }

    fn throttled(&self, key: &VersionKey, invoked_arn: &str) {
        self.telemetry.throttled(key, invoked_arn);
    }

    fn began(&self, key: &VersionKey, reserved: bool) {
        self.telemetry.began(key, reserved);
    }

    fn ended(&self, key: &VersionKey, reserved: bool) {
        self.telemetry.ended(key, reserved);
    }

    fn provisioned(&self, call: ProvisionedCall<'_>) {
        self.telemetry.provisioned(call);
    }

    fn reserved(&self, all: Vec<Reserved>) -> Future<'static, ()> {
        self.telemetry.reserved(all)
    }

    fn queued(&self, event: QueuedEvent<'_>, what: QueueStep) {
        self.telemetry.queued(event, what);
    }

    fn answered(&self, request: TracedRequest<'_>) {
        self.exporter.answered(request);
        self.telemetry.answered(request);
    }
}
