//! The AWS protocol families, signatures, and the operation table.
//!
//! Owns: which service and operation a request is for, its authentication (Signature Version 4), its authorisation,
//! decoding of inputs, encoding of outputs and errors for REST-JSON, JSON 1.0/1.1 and query; the listener.
//! Must never know: store, or any service.
//!
//! # Writing a service
//!
//! A service is a type with one `async fn` for each operation, an error enum that implements [`base::ServiceError`],
//! and one table:
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! use base::{Fault, ServiceError};
//! use wire::{Context, RawRequest, RawResponse, Violations};
//!
//! pub struct Things { /* store, ports */ }
//!
//! #[derive(Debug, thiserror::Error)]
//! pub enum Error {
//!     #[error("Thing not found: {name}")]
//!     NoSuchThing { name: String },
//! }
//!
//! impl ServiceError for Error {
//!     fn code(&self) -> &str { match self { Error::NoSuchThing { .. } => "ResourceNotFoundException" } }
//!     fn fault(&self) -> Fault { match self { Error::NoSuchThing { .. } => Fault::NotFound } }
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "PascalCase")]
//! pub struct GetThingRequest {
//!     name: String,                 // label {Name}; a missing member becomes a validation error by itself
//!     max_items: Option<u32>,       // query parameter, parsed
//!     if_revision: Option<String>,  // header
//! }
//!
//! impl GetThingRequest {
//!     fn check(&self, found: &mut Violations) { found.length("name", &self.name, 1..=64); }
//! }
//!
//! #[derive(Serialize)]
//! #[serde(rename_all = "PascalCase")]
//! pub struct Thing { name: String }
//!
//! wire::api! {
//!     /// Keeps things.
//!     impl Things;
//!     name: "things";                         // signing name
//!     protocol: rest_json;                    // or json11("Things_20250101"), json10("Prefix", "com.amazonaws.things"),
//!                                             // query("2025-01-01", "https://…/"); several: json10(…), query(…)
//!     invalid: "ValidationException";         // code for violated constraints (optional, this is the default)
//!     message_capital: [ServiceException];    // optional: REST-JSON errors that say `Message`, not `message`
//!
//!     operations {
//!         /// Tells about one thing.
//!         GetThing => get_thing(GetThingRequest) -> Thing {
//!             http: GET "/2025-01-01/things/{Name}" 200,
//!             query: ["MaxItems" => MaxItems],
//!             headers: ["x-amz-if-revision" => IfRevision],
//!             check: GetThingRequest::check,
//!             allow: "things:GetThing" on thing_arn,
//!             errors: [ResourceNotFoundException],
//!         }
//!         /// Runs a thing.
//!         RunThing => run_thing(RawRequest) -> RawResponse {
//!             http: POST "/2025-01-01/things/{Name}/runs" 200,
//!             body_max: 6 * 1024 * 1024,
//!             too_large: RequestTooLargeException of "RunThing", // optional
//!             abandon: true,                // optional: dropped when the client leaves; by default finished
//!             allow: "things:RunThing" on "*",
//!             errors: [ResourceNotFoundException],
//!         }
//!     }
//!     missing: [DeleteThing: DELETE "/2025-01-01/things/{Name}"];
//! }
//!
//! impl Things {
//!     fn thing_arn(&self, context: &Context, input: &GetThingRequest) -> String {
//!         context.arn("things", &format!("thing:{}", input.name))
//!     }
//!     async fn get_thing(&self, _: &Context, input: GetThingRequest) -> Result<Thing, Error> {
//!         Err(Error::NoSuchThing { name: input.name })
//!     }
//!     async fn run_thing(&self, _: &Context, request: RawRequest) -> Result<RawResponse, Error> {
//!         let _name = request.label("Name");
//!         Ok(RawResponse::new(http::StatusCode::OK, request.body).header("x-thing", "yes"))
//!     }
//! }
//! # assert_eq!(wire::operations(wire::Service::api(&Things {})).len(), 3);
//! ```
//!
//! - The input is any `Deserialize` type ([`RawRequest`] to decode oneself), the output any `Serialize` type (`()` for an
//!   empty body), [`Reply`] for own headers or status, or [`RawResponse`] whose body may stream.
//! - Under REST-JSON the members come from labels, listed query parameters, listed headers and the JSON body, in that
//!   order of precedence, all under the member's name. A repeated query parameter fills a list. Under query the
//!   flattened `A.member.1.B` (or `A.1.B`, `A.entry.1.key`) fill lists, structures and maps.
//! - Unknown members are ignored, as AWS does; a wrong type is `SerializationException`; a missing required member is a
//!   violation. Timestamps are the service's: [`base::Timestamp::epoch_seconds`] is the JSON form, [`Time`] the one of each
//!   protocol for a service that has several.
//! - `allow:` cannot be left out. Further permissions: [`Context::authorize`]; its `Denied` becomes a service error of
//!   the service's own enum.
//! - The future of each method must be `Send`, and the method's error may be any type that implements
//!   [`base::ServiceError`].
//! - A JSON member that is `null` counts as absent. Sizes: a body beyond `body_max` is refused with 413 by the gateway.
//! - An operation in `missing:` answers `UnknownOperationException` (404 under REST-JSON, 400 under JSON), or `InvalidAction`
//!   under query, with a text that names it. `Type::API` is the table; [`operations`] and [`operations_page`] publish it.
//! - In tests, without sockets: [`Gateway::handle`] with `http::Request<http_body_util::Full<Bytes>>`.
//!
//! # Serving
//!
//! [`Gateway::new`] takes the ports and [`Settings`]; then [`Gateway::service`] for each service, [`Gateway::mount`] for paths
//! beside them (not authenticated), [`Gateway::mount_host`] for resources with host names of their own (function URLs),
//! [`Gateway::observe`] for metrics. [`serve`] takes a listener, [`serve_connection`] one connection that was accepted
//! elsewhere, with [`Connection::extra`] telling operations whose it is.
//!
//! A request's way: mounted handler, else recognition (`X-Amz-Target`; service in the credential scope; host name; path;
//! `Action`), claim, credential and scope, body within bounds, signature, decoding, check, permission, operation. Nobody
//! unknown makes the gateway read a body, unless signatures are not verified. A body with `Content-Encoding: gzip` is
//! unpacked within the same bound, once the signature of what was sent is proved; the operation does not notice. Other
//! compressions are refused by name. Mounted handlers get bodies as they were sent.
//!
//! # Statuses and errors
//!
//! [`status`] is the one place: REST-JSON has a status for each [`base::Fault`]; JSON says 400 for whatever the caller can
//! mend, identity included; query the same, with 403 for identity. 413, 500, 502 and 503 are the same everywhere.
//! Refusals of the wire itself are [`Error`], whose names differ by protocol as they do in AWS
//! (`UnrecognizedClientException`, `InvalidClientTokenId`).
//!
//! [`sign`] signs requests as a client, with the verifier's canonical form.

mod api;
mod aside;
mod auth;
mod body;
mod coding;
mod context;
mod error;
pub mod event_stream;
mod flat;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod host;
mod listing;
mod names;
pub mod protocol;
mod request;
mod response;
mod route;
mod serve;
pub mod sign;
mod sigv4;
mod time;
mod verifier;
mod violations;

pub use api::{Api, BODY_MAX_DEFAULT, Call, Missing, Operation, Route, Service, TooLarge};
pub use body::{Arriving, Whole};
pub use context::{Connection, Context};
pub use error::{Error, Lack, status};
pub use flat::Flat;
pub use gateway::{ArrivingHandler, Finished, Gateway, Handler, Observe, Ports, Settings};
pub use host::HostRoute;
pub use listing::{Listed, operations, operations_page};
pub use request::{Input, RawRequest};
pub use response::{Body, BoxError, Output, RawResponse, Reply};
pub use serve::{Limits, serve, serve_connection};
pub use time::Time;
pub use verifier::{Caller, Verifier};
pub use violations::Violations;

/// For [`api!`].
#[doc(hidden)]
pub use http;

/// A boxed future.
pub type Future<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
