//! What an extension wants to hear, and where: pure. Source: Lambda's references of the Telemetry API and the Logs API.

use serde::Deserialize;
use std::{ops::RangeInclusive, time::Duration};

const ITEMS: RangeInclusive<u64> = 1_000..=10_000;
const BYTES: RangeInclusive<u64> = 262_144..=1_048_576;
const TIMEOUT_MS: RangeInclusive<u64> = 25..=30_000;
/// Defaults of the same.
const DEFAULTS: (u64, u64, u64) = (10_000, 262_144, 1_000);
/// Names under which an environment knows itself.
const HOSTS: [&str; 3] = ["sandbox.localdomain", "sandbox.local", "sandbox"];
/// Longest path of a destination. Neap's own bound.
const PATH_MAX: usize = 1_024;

/// Which API a subscription came by: it decides which events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Version 2022-07-01.
    Telemetry,
    /// Version 2020-08-15; `runtime_done` with its schema 2021-03-18.
    Logs { runtime_done: bool },
}

/// Streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Types {
    pub(crate) platform: bool,
    pub(crate) function: bool,
    pub(crate) extension: bool,
}

impl Types {
    /// As events name them.
    pub(crate) fn words(self) -> Vec<&'static str> {
        [(self.platform, "platform"), (self.function, "function"), (self.extension, "extension")]
            .into_iter()
            .filter_map(|(wanted, word)| wanted.then_some(word))
            .collect()
    }
}

/// Where events go; on the loopback interface of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A JSON array in the body of a request.
    Http { port: u16, authority: String, path: String, put: bool },
    /// A JSON object a line.
    Tcp { port: u16 },
}

/// A subscription that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) dialect: Dialect,
    pub(crate) types: Types,
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
    /// Longest wait of an event for company.
    pub(crate) timeout: Duration,
    pub(crate) destination: Destination,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<String>,
    types: Option<Vec<String>>,
    buffering: Option<Buffering>,
    destination: Option<Wanted>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Buffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Wanted {
    protocol: Option<String>,
    #[serde(rename = "URI")]
    uri: Option<String>,
    port: Option<u16>,
    method: Option<String>,
    encoding: Option<String>,
}

impl Subscription {
    /// Reads a request; the `Err` says what is wrong with it.
    pub(crate) fn parse(body: &[u8], telemetry: bool) -> Result<Subscription, String> {
        let body: Body =
            serde_json::from_slice(body).map_err(|error| format!("not a subscription: {error}"))?;
        let dialect = match (telemetry, body.schema_version.as_deref()) {
            (true, Some("2022-07-01" | "2022-12-13" | "2025-01-29")) => Dialect::Telemetry,
            (false, Some("2020-08-15") | None) => Dialect::Logs { runtime_done: false },
            (false, Some("2021-03-18")) => Dialect::Logs { runtime_done: true },
            (_, version) => {
                return Err(format!("schemaVersion {:?} is not known", shorten(version.unwrap_or_default())));
            }
        };
        let mut types = Types::default();
        for word in body.types.unwrap_or_default() {
            match word.as_str() {
                "platform" => types.platform = true,
                "function" => types.function = true,
                "extension" => types.extension = true,
                _ => {
                    return Err(format!(
                        "types has {:?}; there are platform, function, extension",
                        shorten(&word)
                    ));
                }
            }
        }
        if types == Types::default() {
            return Err("types is empty".to_owned());
        }
        let Buffering { max_items, max_bytes, timeout_ms } = body.buffering.unwrap_or_default();
        let items = bounded("maxItems", max_items.unwrap_or(DEFAULTS.0), &ITEMS)?;
        let bytes = bounded("maxBytes", max_bytes.unwrap_or(DEFAULTS.1), &BYTES)?;
        let timeout = bounded("timeoutMs", timeout_ms.unwrap_or(DEFAULTS.2), &TIMEOUT_MS)?;
        let destination = destination(body.destination.ok_or("destination is missing")?)?;
        Ok(Subscription {
            dialect,
            types,
            items_max: usize::try_from(items).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            timeout: Duration::from_millis(timeout),
            destination,
        })
    }
}

fn bounded(name: &str, value: u64, bounds: &RangeInclusive<u64>) -> Result<u64, String> {
    match bounds.contains(&value) {
        true => Ok(value),
        false => Err(format!("{name} {value} is not within {} and {}", bounds.start(), bounds.end())),
    }
}

fn destination(wanted: Wanted) -> Result<Destination, String> {
    if let Some(encoding) = wanted.encoding.filter(|encoding| encoding != "JSON") {
        return Err(format!("encoding {:?} is not known; there is JSON", shorten(&encoding)));
    }
    match wanted.protocol.as_deref() {
        Some("TCP") => {
            let port = wanted.port.ok_or("destination.port is missing")?;
            Ok(Destination::Tcp { port: usable(port)? })
        }
        Some("HTTP") => {
            let put = match wanted.method.as_deref() {
                None | Some("POST") => false,
                Some("PUT") => true,
                Some(other) => {
                    return Err(format!("method {:?} is not known; there are POST, PUT", shorten(other)));
                }
            };
            let text = wanted.uri.ok_or("destination.URI is missing")?;
            let uri: http::Uri = text.parse().map_err(|_| "destination.URI is not a URI".to_owned())?;
            let host = uri.host().unwrap_or_default();
            if uri.scheme_str() != Some("http") || !HOSTS.contains(&host) {
                return Err("destination.URI is not of the form http://sandbox.localdomain:PORT".to_owned());
            }
            let port = usable(uri.port_u16().unwrap_or(80))?;
            let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            if path.len() > PATH_MAX {
                return Err("destination.URI is too long".to_owned());
            }
            Ok(Destination::Http { port, authority: format!("{host}:{port}"), path, put })
        }
        Some(other) => Err(format!("protocol {:?} is not known; there are HTTP, TCP", shorten(other))),
        None => Err("destination.protocol is missing".to_owned()),
    }
}

/// Refuses the daemon's own.
fn usable(port: u16) -> Result<u16, String> {
    match port {
        0 => Err("destination has port 0".to_owned()),
        taken if [sandbox::RUNTIME_API.port(), sandbox::PLATFORM.port()].contains(&taken) => {
            Err(format!("port {taken} is the platform's own"))
        }
        port => Ok(port),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "schemaVersion": "2022-12-13", "types": ["platform", "function"],
            "destination": { "protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in?x=1" },
        })
    }

    fn parse(body: &Value, telemetry: bool) -> Result<Subscription, String> {
        Subscription::parse(body.to_string().as_bytes(), telemetry)
    }

    #[test]
    fn subscriptions_have_lambdas_defaults_and_bounds() {
        let found = parse(&good(), true).unwrap();
        assert_eq!(
            (found.items_max, found.bytes_max, found.timeout),
            (10_000, 262_144, Duration::from_secs(1))
        );
        assert_eq!(found.types.words(), ["platform", "function"]);
        let path = "/in?x=1".to_owned();
        let authority = "sandbox.localdomain:8080".to_owned();
        assert_eq!(found.destination, Destination::Http { port: 8080, authority, path, put: false });
        for (name, low, high) in
            [("maxItems", 999, 10_001), ("maxBytes", 262_143, 1_048_577), ("timeoutMs", 24, 30_001)]
        {
            for (value, fits) in [(low, false), (low + 1, true), (high - 1, true), (high, false)] {
                let mut body = good();
                body["buffering"] = json!({ name: value });
                assert_eq!(parse(&body, true).is_ok(), fits, "{name} {value}");
            }
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_named() {
        for (change, named) in [
            (json!({ "schemaVersion": "2020-08-15" }), "schemaVersion"),
            (json!({ "schemaVersion": null }), "schemaVersion"),
            (json!({ "types": [] }), "types"),
            (json!({ "types": ["everything"] }), "types"),
            (json!({ "destination": null }), "destination"),
            (json!({ "destination": { "protocol": "UDP" } }), "protocol"),
            (json!({ "destination": { "protocol": "HTTP" } }), "URI"),
            (json!({ "destination": { "protocol": "HTTP", "URI": "http://example.com:80" } }), "URI"),
            (
                json!({ "destination": { "protocol": "HTTP", "URI": "https://sandbox.localdomain:80" } }),
                "URI",
            ),
            (
                json!({ "destination": { "protocol": "HTTP", "URI": "http://sandbox.localdomain:9001" } }),
                "9001",
            ),
            (
                json!({ "destination": { "protocol": "HTTP", "URI": "http://sandbox:1", "method": "GET" } }),
                "method",
            ),
            (json!({ "destination": { "protocol": "TCP" } }), "port"),
            (json!({ "destination": { "protocol": "TCP", "port": 0 } }), "port 0"),
        ] {
            let mut body = good();
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let told = parse(&body, true).unwrap_err();
            assert!(told.contains(named), "{told}");
        }
        let mut logs = good();
        logs["schemaVersion"] = json!("2021-03-18");
        assert_eq!(parse(&logs, false).unwrap().dialect, Dialect::Logs { runtime_done: true });
        assert!(parse(&logs, true).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in ".{0,200}", uri in ".{0,60}", number in any::<u64>()) {
            let _ = Subscription::parse(text.as_bytes(), true);
            let mut body = good();
            body["destination"]["URI"] = json!(uri);
            body["buffering"] = json!({ "maxItems": number });
            if let Ok(found) = parse(&body, true) {
                prop_assert!((1_000..=10_000).contains(&found.items_max));
            }
        }
    }
}
