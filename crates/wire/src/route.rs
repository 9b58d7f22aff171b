//! Recognising which service and operation a request is for.

use crate::{Api, HostRoute, Route, names, protocol::Protocol};
use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;

/// Path segments looked at; longer paths match greedy labels only.
const SEGMENTS_MAX: usize = 24;

/// Services whose clients read errors as XML, so that even their absence can be told to them.
const XML_SERVICES: [&str; 4] = ["cloudfront", "route53", "s3", "s3-control"];

/// What of a request's head tells its service.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) host: &'a HostRoute,
    /// Service in the credential scope.
    pub(crate) scope: Option<&'a str>,
}

/// What a request is for.
#[derive(Debug, PartialEq)]
pub(crate) enum Recognised {
    /// An operation of a service: index of the service, index of the operation.
    Operation {
        service: usize,
        operation: usize,
        protocol: &'static Protocol,
        labels: Vec<(&'static str, String)>,
    },
    /// Query protocol: `Action` is in the body still to be read; the service may be known.
    Form { service: Option<usize> },
    /// An operation that the service is known to have and Neap does not.
    Missing { service: usize, operation: &'static str, protocol: &'static Protocol },
    /// A service of ours without such an operation.
    NoOperation { service: usize, operation: String, protocol: &'static Protocol },
    /// No service of ours.
    NoService { service: Option<String>, operation: String, protocol: &'static Protocol },
}

/// The services' tables, prepared for matching.
#[derive(Default)]
pub(crate) struct Router {
    services: Vec<Prepared>,
}

struct Prepared {
    api: &'static Api,
    /// Most literal segments first, so that `/functions/special` wins over `/functions/{Name}`.
    routes: Vec<Pattern>,
}

struct Pattern {
    method: &'static Method,
    segments: Vec<Segment>,
    greedy: bool,
    literals: usize,
    /// A query parameter that the request must have: `find=LayerVersion`.
    query: Option<(&'static str, &'static str)>,
    /// Index into operations, or into missing.
    hit: Result<usize, usize>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
}

pub(crate) static REST_JSON: Protocol = Protocol::RestJson;
static JSON10: Protocol = crate::protocol::json10("", "");
static JSON11: Protocol = crate::protocol::json11("");
pub(crate) static QUERY: Protocol = crate::protocol::query("", "");

impl Router {
    pub(crate) fn add(&mut self, api: &'static Api) {
        let works = api.operations.iter().enumerate().map(|(i, op)| (op.http.as_ref(), Ok(i)));
        let missing = api.missing.iter().enumerate().map(|(i, op)| (op.http.as_ref(), Err(i)));
        let mut routes: Vec<Pattern> =
            works.chain(missing).filter_map(|(route, hit)| Some(Pattern::new(route?, hit))).collect();
        routes.sort_by_key(|route| (std::cmp::Reverse(route.literals), route.greedy));
        self.services.push(Prepared { api, routes });
    }

    fn api(&self, service: usize) -> Option<&'static Api> {
        Some(self.services.get(service)?.api)
    }

    /// Recognises by, in this order: `X-Amz-Target`; the service in the credential scope; that in the host name;
    /// where nothing is signed, a path of any REST service; `Action`.
    pub(crate) fn recognise(&self, head: &Head<'_>) -> Recognised {
        if let Some(target) = head.headers.get(&names::X_AMZ_TARGET) {
            return self.by_target(&String::from_utf8_lossy(target.as_bytes()), head);
        }
        let host_service = head.host.service;
        // The scope first: it is what was signed.
        for name in head.scope.into_iter().chain(host_service) {
            let mut found = None;
            for (index, service) in self.services.iter().enumerate().filter(|(_, s)| s.api.name == name) {
                match self.within(index, service, head) {
                    no @ Recognised::NoOperation { .. } => found = found.or(Some(no)),
                    hit => return hit,
                }
            }
            if let Some(no) = found {
                return no;
            }
        }
        // A resource's own host name (a function URL, a bucket) is no endpoint: its paths mean something else.
        if host_service.is_some() && head.host.resource.is_some() {
            return Recognised::NoService {
                service: host_service.map(shorten),
                operation: format!("{} {}", head.method, shorten(head.path)),
                protocol: &REST_JSON,
            };
        }
        // What is signed for a service that is not ours is not for any other, whatever its path.
        if head.scope.is_none() {
            let segments = Segments::of(head.path, head.query);
            let mut services = self.services.iter().enumerate();
            if let Some(hit) = services.find_map(|(index, s)| s.by_path(index, head.method, &segments)) {
                return hit;
            }
        }
        match self.by_action(None, head) {
            Some(hit) => hit,
            None => {
                let service = head.scope.or(host_service);
                let xml = service.is_some_and(|service| XML_SERVICES.contains(&service));
                Recognised::NoService {
                    service: service.map(shorten),
                    operation: format!("{} {}", head.method, shorten(head.path)),
                    protocol: if xml { &QUERY } else { &REST_JSON },
                }
            }
        }
    }

    fn within(&self, index: usize, service: &Prepared, head: &Head<'_>) -> Recognised {
        for protocol in service.api.protocols {
            let hit = match protocol {
                Protocol::RestJson => {
                    service.by_path(index, head.method, &Segments::of(head.path, head.query))
                }
                Protocol::Query { .. } => self.by_action(Some(index), head),
                Protocol::Json10 { .. } | Protocol::Json11 { .. } => None,
            };
            if let Some(hit) = hit {
                return hit;
            }
        }
        Recognised::NoOperation {
            service: index,
            operation: format!("{} {}", head.method, shorten(head.path)),
            protocol: service.api.protocols.first().unwrap_or(&REST_JSON),
        }
    }

    fn by_target(&self, target: &str, head: &Head<'_>) -> Recognised {
        let (prefix, operation) = split_target(target);
        for (service, prepared) in self.services.iter().enumerate() {
            let Some(protocol) = prepared.api.protocols.iter().find(|p| p.target() == Some(prefix)) else {
                continue;
            };
            return prepared.named(service, operation, protocol);
        }
        let json10 = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-json-1.0"));
        Recognised::NoService {
            service: head.scope.map(shorten),
            operation: shorten(target),
            protocol: if json10 { &JSON10 } else { &JSON11 },
        }
    }

    fn by_action(&self, service: Option<usize>, head: &Head<'_>) -> Option<Recognised> {
        let pairs = || form_urlencoded::parse(head.query.as_bytes());
        if let Some((_, action)) = pairs().find(|(key, _)| key == "Action") {
            let version = pairs().find(|(key, _)| key == "Version").map(|(_, version)| version);
            return Some(self.action(service, &action, version.as_deref(), head.scope));
        }
        let form = head.method == Method::POST
            && head
                .headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        (form || service.is_some()).then_some(Recognised::Form { service })
    }

    /// The operation of an `Action`, of `service` or of whichever has it in that version.
    /// `scope` is the service that was signed for.
    pub(crate) fn action(
        &self,
        service: Option<usize>,
        action: &str,
        version: Option<&str>,
        scope: Option<&str>,
    ) -> Recognised {
        let mut near = None;
        for (index, prepared) in self.services.iter().enumerate() {
            if service.is_some_and(|service| service != index) {
                continue;
            }
            for protocol in prepared.api.protocols {
                let Protocol::Query { version: ours, .. } = protocol else { continue };
                match prepared.named(index, action, protocol) {
                    no @ Recognised::NoOperation { .. } => {
                        if service.is_some() || version == Some(ours) {
                            near = near.or(Some(no));
                        }
                    }
                    hit if service.is_some() || version.is_none_or(|version| version == *ours) => return hit,
                    hit => near = near.or(Some(hit)),
                }
            }
        }
        near.unwrap_or_else(|| Recognised::NoService {
            service: service.and_then(|service| self.api(service)).map(|api| api.name).or(scope).map(shorten),
            operation: shorten(action),
            protocol: &QUERY,
        })
    }
}

impl Prepared {
    fn named(&self, service: usize, name: &str, protocol: &'static Protocol) -> Recognised {
        if let Some(operation) = self.api.operations.iter().position(|op| op.name == name) {
            return Recognised::Operation { service, operation, protocol, labels: Vec::new() };
        }
        match self.api.missing.iter().find(|missing| missing.name == name) {
            Some(missing) => Recognised::Missing { service, operation: missing.name, protocol },
            None => Recognised::NoOperation { service, operation: shorten(name), protocol },
        }
    }

    fn by_path(&self, service: usize, method: &Method, segments: &Segments<'_>) -> Option<Recognised> {
        let protocol = self.api.protocols.iter().find(|protocol| **protocol == Protocol::RestJson)?;
        let pattern = self.routes.iter().find(|route| route.method == method && route.matches(segments))?;
        Some(match pattern.hit {
            Ok(operation) => {
                Recognised::Operation { service, operation, protocol, labels: pattern.labels(segments) }
            }
            Err(missing) => {
                let operation = self.api.missing.get(missing)?.name;
                Recognised::Missing { service, operation, protocol }
            }
        })
    }
}

impl Pattern {
    fn new(route: &'static Route, hit: Result<usize, usize>) -> Pattern {
        let mut greedy = false;
        let (path, query) = match route.path.split_once('?') {
            Some((path, query)) => (path, query.split_once('=')),
            None => (route.path, None),
        };
        let segments: Vec<Segment> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| match segment.strip_prefix('{').and_then(|label| label.strip_suffix('}')) {
                None => Segment::Literal(segment),
                Some(label) => {
                    greedy |= label.ends_with('+');
                    Segment::Label(label.trim_end_matches('+'))
                }
            })
            .collect();
        let literals = segments.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
            + usize::from(query.is_some());
        Pattern { method: &route.method, segments, greedy, literals, query, hit }
    }

    fn matches(&self, path: &Segments<'_>) -> bool {
        let fits = match self.greedy {
            true => path.count >= self.segments.len(),
            false => path.count == self.segments.len() && !path.cut,
        };
        let last = self.segments.len().saturating_sub(1);
        let asked = |(name, value)| {
            form_urlencoded::parse(path.query.as_bytes()).any(|(key, given)| key == name && given == value)
        };
        fits && self.query.is_none_or(asked)
            && self.segments.iter().zip(path.all()).enumerate().all(|(at, (segment, given))| match segment {
                Segment::Literal(literal) => literal == given,
                Segment::Label(_) if self.greedy && at == last => !path.from(at).is_empty(),
                Segment::Label(_) => !given.is_empty(),
            })
    }

    fn labels(&self, path: &Segments<'_>) -> Vec<(&'static str, String)> {
        let last = self.segments.len().saturating_sub(1);
        self.segments
            .iter()
            .enumerate()
            .filter_map(|(at, segment)| match segment {
                Segment::Literal(_) => None,
                Segment::Label(name) => {
                    let raw = if self.greedy && at == last { path.from(at) } else { path.at(at) };
                    Some((*name, percent_decode_str(raw).decode_utf8_lossy().into_owned()))
                }
            })
            .collect()
    }
}

/// A path cut at its slashes; the leading one and trailing ones are left out.
struct Segments<'a> {
    /// Without the leading slash; greedy labels keep trailing ones.
    path: &'a str,
    parts: [&'a str; SEGMENTS_MAX],
    count: usize,
    /// There are more.
    cut: bool,
    /// What follows the path.
    query: &'a str,
}

impl<'a> Segments<'a> {
    fn of(path: &'a str, query: &'a str) -> Segments<'a> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut segments = Segments { path, parts: [""; SEGMENTS_MAX], count: 0, cut: false, query };
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() {
            return segments;
        }
        for part in trimmed.split('/') {
            match segments.parts.get_mut(segments.count) {
                Some(slot) => *slot = part,
                None => {
                    segments.cut = true;
                    break;
                }
            }
            segments.count += 1;
        }
        segments
    }

    fn all(&self) -> impl Iterator<Item = &&'a str> {
        self.parts.iter().take(self.count)
    }

    fn at(&self, index: usize) -> &'a str {
        self.parts.get(index).copied().unwrap_or_default()
    }

    /// Everything from a segment on.
    fn from(&self, index: usize) -> &'a str {
        let before: usize = self.all().take(index).map(|part| part.len() + 1).sum();
        self.path.get(before..).unwrap_or_default()
    }
}

/// `Prefix.Operation`; the prefix may contain dots.
pub(crate) fn split_target(target: &str) -> (&str, &str) {
    target.rsplit_once('.').unwrap_or(("", target))
}

/// Outside text that goes into messages, bounded.
fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}
