//! The vocabulary of Neap and the ports by which its parts meet.
//!
//! Owns: identifiers, ARNs, units, the clock, limits, the error trait, and the ports
//! ([`Launch`], [`Execute`], [`Habits`], [`InvokeLater`], [`Authorize`], [`Credentials`], [`Sessions`], [`Meter`], [`LogSink`], [`Spending`], [`Packages`],
//! [`RuntimeCatalog`], [`Deliver`], [`QueueSource`], [`Scale`], [`Utilization`], [`Clock`], [`Timer`], [`Entropy`]).
//! Must never know: an asynchronous runtime, HTTP, SQL, or any service.
//!
//! `bytes` and `futures-core` are here besides serde and thiserror because a port that streams payloads needs a
//! reference-counted slice and the `Stream` trait; both are free of any runtime.

mod arn;
mod authorize;
mod clock;
mod deliver;
mod detached;
mod error;
mod execute;
mod function;
mod habits;
mod ids;
mod invoke;
mod launch;
pub mod limits;
mod logs;
mod meter;
mod packages;
mod queues;
mod scale;
mod spending;
mod trace;
mod units;

pub use arn::{Arn, BadArn};
pub use authorize::{
    Authorize, Credential, CredentialError, Credentials, Denied, Principal, SessionCredentials, Sessions,
};
pub use clock::{Clock, Entropy, Timer, Timestamp};
pub use deliver::{Deliver, Delivery, NotDelivered, Sender};
pub use detached::Detached;
pub use error::{Fault, Retry, ServiceError};
pub use execute::{Execute, ExecuteError, PrepareError, Pressure, Provisioned, ThrottleReason};
pub use function::{ApplicationLogLevel, FunctionSpec, LogFormat, LogSettings, SystemLogLevel, VersionKey};
pub use habits::{HABIT_AGE_MAX, HABIT_BYTES_MAX, Habit, HabitKey, Habits};
pub use ids::{
    AccountId, BadAccountId, BadFunctionName, BadRegion, BadRequestId, BadTenantId, BadVersion, CodeSha256,
    EnvironmentId, FunctionName, Region, RequestId, TenantId, Version,
};
pub use invoke::{InvokeLater, NotInvoked, ServiceCaller};
pub use launch::{
    After, Answer, ArrivingBody, BodyStream, Chunk, ChunkStream, Environment, Executed, Exit, FunctionError,
    FunctionErrorKind, Initialization, Invocation, Launch, LaunchError, Phases, Release,
};
pub use logs::{LogEvent, LogSink, Within};
pub use meter::{
    InvocationRecord, InvocationTimes, MessageStep, Meter, MeteredQueue, Outcome, ProvisionedCall,
    QueueDepth, QueueStep, QueuedEvent, QuietDepth, RequestEnd, Reserved, TracedRequest,
};
pub use packages::{PackageError, Packages, RuntimeCatalog, RuntimeRefused, RuntimeSupport, Unpacked};
pub use queues::{MessageAttribute, QueueFacts, QueueMessage, QueueSource, SourceError};
pub use scale::{NotScaled, Scale, Scaled, Utilization};
pub use spending::Spending;
pub use trace::{Attempt, InvocationSpan, SpanId, TraceHeader, TraceId};
pub use units::{ByteCount, MemoryMib, Micros, Millis, Seconds};

/// A boxed future, the return type of asynchronous ports.
pub type Future<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
