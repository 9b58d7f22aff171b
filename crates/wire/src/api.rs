//! The operation table: what a service offers, declared once with [`api!`](crate::api!).

use crate::{Context, Error, Future, Output, RawRequest, RawResponse, Violations, protocol::Protocol};
use base::ServiceError;
use http::Method;
use std::sync::Arc;

/// A service that the gateway can serve. Implemented by [`api!`](crate::api!), never by hand.
pub trait Service: Send + Sync + 'static {
    /// Its table.
    fn api(&self) -> &'static Api;

    /// Runs one operation; `operation` is an index into [`Api::operations`]. An error of the service itself is
    /// already rendered into the response; `Err` is the wire's own refusal, rendered by the gateway.
    fn call(self: Arc<Self>, operation: usize, call: Call) -> Future<'static, Result<RawResponse, Error>>;
}

/// One service's table.
#[derive(Debug)]
pub struct Api {
    /// The doc comment of the table.
    pub doc: &'static str,
    /// Signing name: the service in the credential scope, e.g. `lambda`.
    pub name: &'static str,
    /// In order of preference; the request tells which one it uses.
    pub protocols: &'static [Protocol],
    /// Code of the error that lists [`Violations`].
    pub invalid: &'static str,
    /// Code of the error for a body that is not the protocol's format.
    pub unreadable: &'static str,
    /// REST-JSON errors whose text is in `Message` instead of `message`.
    pub message_capital: &'static [&'static str],
    /// What works.
    pub operations: &'static [Operation],
    /// What the service is known to have and Neap does not: answered with an error that names it.
    pub missing: &'static [Missing],
}

/// One operation that works.
#[derive(Debug)]
pub struct Operation {
    /// Wire name, e.g. `CreateFunction`.
    pub name: &'static str,
    /// First line or lines of its documentation; may be empty.
    pub doc: &'static str,
    /// Route under REST-JSON.
    pub http: Option<Route>,
    /// Largest request body in bytes; beyond it the gateway answers 413 without reading on.
    pub body_max: usize,
    /// What that refusal says.
    pub too_large: TooLarge,
    /// Whether the call is dropped when its client leaves before the answer. Otherwise it runs to its end: a change is
    /// then wholly made, with what follows from it in memory.
    pub abandon: bool,
    /// IAM name of the permission, e.g. `lambda:CreateFunction`; `None`: everyone whose signature is valid.
    pub permission: Option<&'static str>,
    /// Codes of the errors that the service declares.
    pub errors: &'static [&'static str],
}

/// How a request with a body beyond [`Operation::body_max`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Code of the error; `None` for the protocol's own.
    pub code: Option<&'static str>,
    /// What the text calls the operation, which need not be its wire name.
    pub operation: &'static str,
}

/// An operation that does not work yet.
#[derive(Debug)]
pub struct Missing {
    /// Wire name.
    pub name: &'static str,
    /// Where REST-JSON clients would send it.
    pub http: Option<Route>,
}

/// Where a REST operation lives and how its input is spread over the request.
#[derive(Debug)]
pub struct Route {
    /// Request method.
    pub method: Method,
    /// Path with labels: `/2015-03-31/functions/{FunctionName}`, `/tags/{Resource+}` (greedy, last). May end with a query
    /// parameter that tells the operation from others of the path: `/2018-10-31/layers?find=LayerVersion`.
    pub path: &'static str,
    /// Status of success.
    pub status: u16,
    /// Query parameter → member. Parameters not listed are ignored.
    pub query: &'static [(&'static str, &'static str)],
    /// Header → member. Lower-case header names.
    pub headers: &'static [(&'static str, &'static str)],
}

/// Body bound of an operation that names none: 1 MiB.
pub const BODY_MAX_DEFAULT: usize = 1024 * 1024;

/// One request on its way through an operation.
pub struct Call {
    /// Who, where, which, when.
    pub context: Context,
    /// The request with its body.
    pub request: RawRequest,
}

impl Call {
    /// Decodes the input. Used by [`api!`](crate::api!).
    pub fn decode<I: crate::Input>(&mut self) -> Result<I, Error> {
        I::decode(&self.context, &mut self.request)
    }

    /// Runs a check hook. Used by [`api!`](crate::api!).
    pub fn check<I>(&self, input: &I, check: fn(&I, &mut Violations)) -> Result<(), Error> {
        let mut violations = Violations::default();
        check(input, &mut violations);
        violations.into_result(self.context.api.invalid)
    }

    /// Asks whether the caller may. Used by [`api!`](crate::api!).
    pub fn permit(&self, action: &str, resource: impl AsRef<str>) -> Result<(), Error> {
        Ok(self.context.authorize(action, resource.as_ref())?)
    }

    /// Renders the outcome. Used by [`api!`](crate::api!).
    pub fn reply<O: Output, E: ServiceError>(&self, outcome: Result<O, E>) -> Result<RawResponse, Error> {
        match outcome {
            Ok(output) => output.encode(&self.context),
            Err(error) => Ok(crate::error::render_service(&self.context, &error)),
        }
    }
}

/// Declares a service's table and implements [`Service`] for its type. See the crate's documentation for a whole
/// example.
///
/// The head, in this order, those in brackets optional:
/// ```text
/// /// Documentation.
/// impl Type;
/// name: "signing-name";
/// protocol: rest_json;              | json10("TargetPrefix", "error.namespace") | json11("TargetPrefix")
///                                   | query("Version", "xml namespace"); several separated by commas
/// [invalid: "Code";]                error for violated constraints and missing members; ValidationException
/// [unreadable: "Code";]             error for a body that is not JSON; SerializationException
/// [message_capital: [Code, …];]     REST-JSON errors whose text is in `Message` instead of `message`
/// operations { entries }
/// [missing: [Name, Name: METHOD "/path", …];]
/// ```
/// The parts of an entry, in this order, those in brackets optional:
/// ```text
/// /// Documentation.
/// Name => method(Input) -> Output {
///     [http: METHOD "/path/{Label}/{Greedy+}" STATUS,]     REST-JSON only
///     [query: ["param" => Member, …],]                     REST-JSON only
///     [headers: ["lower-case-header" => Member, …],]       REST-JSON only
///     [body_max: BYTES,]                                   default 1 MiB
///     [too_large: Code of "Name",]                         error for larger bodies and what it calls the operation
///     [abandon: true,]                                     drop the call when its client leaves; default: finish it
///     [check: path_to_fn,]                                 fn(&Input, &mut wire::Violations)
///     allow: "service:Action" on "arn or *",               or `on method` with fn method(&self, &Context, &Input) -> String
///     |  allow: everyone,                                  any valid signature suffices
///     errors: [CodeOne, CodeTwo],
/// }
/// ```
#[macro_export]
macro_rules! api {
    (
        $(#[doc = $doc:literal])*
        impl $service:ty;
        name: $name:literal;
        protocol: $($protocol:ident $(($($argument:expr),* $(,)?))?),+;
        $(invalid: $invalid:literal;)?
        $(unreadable: $unreadable:literal;)?
        $(message_capital: [$($capital:ident),* $(,)?];)?
        operations {$(
            $(#[doc = $op_doc:literal])*
            $op:ident => $method:ident($input:ty) -> $output:ty {
                $(http: $verb:ident $path:literal $status:literal,)?
                $(query: [$($param:literal => $param_member:ident),* $(,)?],)?
                $(headers: [$($header:literal => $header_member:ident),* $(,)?],)?
                $(body_max: $body_max:expr,)?
                $(too_large: $too_large:ident of $called:literal,)?
                $(abandon: $abandon:literal,)?
                $(check: $check:path,)?
                allow: $action:tt $(on $resource:tt)?,
                errors: [$($error:ident),* $(,)?] $(,)?
            }
        )*}
        $(missing: [$($missing:ident $(: $missing_verb:ident $missing_path:literal)?),* $(,)?];)?
    ) => {
        const _: () = {
            #[allow(clippy::enum_variant_names)]
            enum Index { $($op),* }

            static API: $crate::Api = $crate::Api {
                doc: concat!($($doc, "\n"),*),
                name: $name,
                protocols: &[$($crate::protocol::$protocol($($($argument),*)?)),+],
                invalid: $crate::__or!($($invalid)?, "ValidationException"),
                unreadable: $crate::__or!($($unreadable)?, "SerializationException"),
                message_capital: &[$($(stringify!($capital)),*)?],
                operations: &[$($crate::Operation {
                    name: stringify!($op),
                    doc: concat!($($op_doc, "\n"),*),
                    http: $crate::__route!(
                        $($verb $path $status)?;
                        &[$($(($param, stringify!($param_member))),*)?];
                        &[$($(($header, stringify!($header_member))),*)?]
                    ),
                    body_max: $crate::__or!($($body_max)?, $crate::BODY_MAX_DEFAULT),
                    too_large: $crate::TooLarge {
                        code: $crate::__or!($(Some(stringify!($too_large)))?, None),
                        operation: $crate::__or!($($called)?, stringify!($op)),
                    },
                    abandon: $crate::__or!($($abandon)?, false),
                    permission: $crate::__permission!($action),
                    errors: &[$(stringify!($error)),*],
                }),*],
                missing: &[$($($crate::Missing {
                    name: stringify!($missing),
                    http: $crate::__route!($($missing_verb $missing_path 200)?; &[]; &[]),
                }),*)?],
            };

            impl $service {
                /// The table of operations.
                #[allow(dead_code, unreachable_pub)] // For whoever lists operations; not every service is listed.
                pub const API: &'static $crate::Api = &API;
            }

            impl $crate::Service for $service {
                fn api(&self) -> &'static $crate::Api {
                    &API
                }

                fn call(
                    self: ::std::sync::Arc<Self>,
                    operation: usize,
                    mut call: $crate::Call,
                ) -> $crate::Future<'static, ::std::result::Result<$crate::RawResponse, $crate::Error>> {
                    $(
                        if operation == Index::$op as usize {
                            return ::std::boxed::Box::pin(async move {
                                let input: $input = call.decode()?;
                                $(call.check(&input, $check)?;)?
                                $crate::__permit!(self, call, input, $action $(, $resource)?);
                                let outcome: ::std::result::Result<$output, _> =
                                    self.$method(&call.context, input).await;
                                call.reply(outcome)
                            });
                        }
                    )*
                    let _ = &mut call;
                    ::std::boxed::Box::pin(async move { Err($crate::Error::unknown_operation(&API, operation)) })
                }
            }
        };
    };
}

/// The first if given, else the second.
#[doc(hidden)]
#[macro_export]
macro_rules! __or {
    (, $default:expr) => {
        $default
    };
    ($given:expr, $default:expr) => {
        $given
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __route {
    (; $query:expr; $headers:expr) => {
        None
    };
    ($verb:ident $path:literal $status:literal; $query:expr; $headers:expr) => {
        Some($crate::Route {
            method: $crate::http::Method::$verb,
            path: $path,
            status: $status,
            query: $query,
            headers: $headers,
        })
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __permission {
    (everyone) => {
        None
    };
    ($action:literal) => {
        Some($action)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __permit {
    ($this:ident, $call:ident, $input:ident, everyone) => {};
    ($this:ident, $call:ident, $input:ident, $action:literal, $resource:literal) => {
        $call.permit($action, $resource)?;
    };
    ($this:ident, $call:ident, $input:ident, $action:literal, $resource:ident) => {
        $call.permit($action, $this.$resource(&$call.context, &$input))?;
    };
}
