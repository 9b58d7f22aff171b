//! Ports whose two sides are both known only here.

use base::{
    AccountId, Arn, Authorize, Deliver, Delivery, FunctionName, FunctionSpec, Future, InvocationRecord,
    InvokeLater as _, LogEvent, LogSink, MessageStep, Meter, MeteredQueue, NotDelivered, NotInvoked,
    ProvisionedCall, QueueDepth, QueueStep, QueuedEvent, Region, Reserved, Sender, TracedRequest, VersionKey,
    Within,
};
use functions::Functions;
use queues::Queues;
use std::sync::{Arc, OnceLock, Weak};
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

/// Where events go, by the service in the ARN of their target.
pub(crate) struct Targets {
    pub(crate) queues: Arc<Queues>,
    /// Functions hand events in themselves.
    pub(crate) functions: Weak<Functions>,
    pub(crate) authorize: Arc<dyn Authorize>,
}

impl Targets {
    fn function(&self, sender: &Sender, target: &Arn) -> Result<Arc<Functions>, NotDelivered> {
        if let Sender::Principal(who) = sender {
            let allowed = self.authorize.authorize(who, "lambda:InvokeFunction", &target.to_string());
            allowed.map_err(|denied| NotDelivered::Denied(denied.to_string()))?;
        }
        self.functions.upgrade().ok_or_else(|| NotDelivered::NotNow("the node is shutting down".to_owned()))
    }
}

impl Deliver for Targets {
    fn accepts(&self, sender: Sender, target: Arn) -> Future<'_, Result<(), NotDelivered>> {
        match &*target.service {
            "sqs" => self.queues.accepts(sender, target),
            "lambda" => Box::pin(async move {
                let functions = self.function(&sender, &target)?;
                let there = functions.takes_events(&target).await;
                there.map_err(|_| NotDelivered::Missing(target))
            }),
            _ => Box::pin(std::future::ready(Err(NotDelivered::Unsupported(target)))),
        }
    }

    fn deliver(&self, sender: Sender, target: Arn, event: Delivery) -> Future<'_, Result<(), NotDelivered>> {
        match &*target.service {
            "sqs" => self.queues.deliver(sender, target, event),
            "lambda" => Box::pin(async move {
                let functions = self.function(&sender, &target)?;
                let caller = match sender {
                    Sender::Principal(_) => None,
                    Sender::Service(caller) => Some(caller),
                };
                let id = functions::logic::destinations::next_id(event.id, &target);
                functions.invoke_later(caller, target, id, event.body, event.trace).await.map_err(|error| {
                    match error {
                        NotInvoked::Never(why) => NotDelivered::Refused(why),
                        NotInvoked::NotNow(why) => NotDelivered::NotNow(why),
                    }
                })
            }),
            _ => Box::pin(std::future::ready(Err(NotDelivered::Unsupported(target)))),
        }
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

    fn messages(&self, queue: MeteredQueue<'_>, what: MessageStep<'_>) {
        self.telemetry.messages(queue, what);
    }

    fn depth(&self, queue: MeteredQueue<'_>, depth: QueueDepth) {
        self.telemetry.depth(queue, depth);
    }

    fn deleted(&self, account: AccountId, region: &Region, name: &FunctionName) {
        self.telemetry.deleted(account, region, name);
    }

    fn answered(&self, request: TracedRequest<'_>) {
        self.exporter.answered(request);
        self.telemetry.answered(request);
    }
}
