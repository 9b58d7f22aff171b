//! Which traces a filter expression means. Pure.

use super::{
    filter::{Filter, Id, Number, Text, Truth, Value as Wanted},
    summary::{entry, extent, is_flagged},
};
use serde_json::Value;

/// A trace, or one service of it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    documents: &'a [&'a Value],
    account: &'a str,
}

/// Whether a trace of these segments, in the order of their begin, is one of those that are meant.
pub(super) fn matches(filter: &Filter, account: &str, documents: &[Value]) -> bool {
    let documents: Vec<&Value> = documents.iter().collect();
    Subject { documents: &documents, account }.holds(filter)
}

impl<'a> Subject<'a> {
    fn holds(self, filter: &Filter) -> bool {
        match filter {
            Filter::All(all) => all.iter().all(|one| self.holds(one)),
            Filter::Any(all) => all.iter().any(|one| self.holds(one)),
            Filter::Not(one) => !self.holds(one),
            Filter::Truth(truth) => self.truth(*truth),
            Filter::Number(number, compare, right) => {
                self.number(*number).is_some_and(|left| compare.holds(left, *right))
            }
            Filter::Text(text, how, part) => self.texts(*text).into_iter().any(|text| how.holds(text, part)),
            Filter::Annotation(key, wanted) => {
                self.documents.iter().any(|one| annotated(one, key, wanted.as_ref()))
            }
            Filter::Service(id, inside) => self.services().into_iter().any(|service| {
                self.is(id, service)
                    && inside
                        .as_deref()
                        .is_none_or(|filter| Subject { documents: &[service], ..self }.holds(filter))
            }),
        }
    }

    fn truth(self, truth: Truth) -> bool {
        let flagged = |name| self.documents.iter().any(|one| is_flagged(one, name));
        match truth {
            Truth::Error => flagged("error"),
            Truth::Fault => flagged("fault"),
            Truth::Throttle => flagged("throttle"),
            Truth::Partial => flagged("in_progress"),
            Truth::Ok => !["error", "fault", "throttle"].into_iter().any(flagged),
        }
    }

    fn number(self, number: Number) -> Option<f64> {
        match number {
            Number::Duration => extent(self.documents).map(|(begin, end)| end - begin),
            Number::ResponseTime => extent(&[entry(self.documents)?]).map(|(begin, end)| end - begin),
            Number::HttpStatus => http(entry(self.documents)?, "response", "status")?.as_f64(),
        }
    }

    fn texts(self, text: Text) -> Vec<&'a str> {
        let requested = |name| {
            let value = http(entry(self.documents)?, "request", name)?;
            value.as_str()
        };
        let of_each =
            |name: &str| self.documents.iter().filter_map(|one| one.get(name)?.as_str()).collect::<Vec<_>>();
        match text {
            Text::HttpUrl => requested("url").into_iter().collect(),
            Text::HttpMethod => requested("method").into_iter().collect(),
            Text::HttpUserAgent => requested("user_agent").into_iter().collect(),
            Text::HttpClientIp => requested("client_ip").into_iter().collect(),
            Text::User => of_each("user"),
            Text::ResourceArn => of_each("resource_arn"),
            Text::Name => self.services().into_iter().filter_map(|one| one.get("name")?.as_str()).collect(),
        }
    }

    /// Segments, and calls of services that record nothing themselves.
    fn services(self) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for one in self.documents {
            if one.get("type").and_then(Value::as_str) != Some("subsegment") {
                found.push(*one);
            }
            called(one, &mut found);
        }
        found
    }

    fn is(self, id: &Id, service: &Value) -> bool {
        let text = |name: &str| service.get(name).and_then(Value::as_str);
        let fits = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        fits(&id.name, text("name"))
            && fits(&id.kind, text("origin"))
            && fits(&id.account, Some(self.account))
    }
}

/// What is below a segment and calls another service. Documents are at most as deep as their parser allows.
fn called<'a>(one: &'a Value, found: &mut Vec<&'a Value>) {
    let is_call =
        |one: &Value| matches!(one.get("namespace").and_then(Value::as_str), Some("remote" | "aws"));
    if is_call(one) && one.get("type").and_then(Value::as_str) == Some("subsegment") {
        found.push(one);
    }
    for below in one.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
        // One within a document needs no type.
        if is_call(below) && below.get("type").is_none() {
            found.push(below);
        }
        called(below, found);
    }
}

fn http<'a>(one: &'a Value, part: &str, name: &str) -> Option<&'a Value> {
    one.get("http")?.get(part)?.get(name)
}

/// Of a segment or of what is below it.
fn annotated(one: &Value, key: &str, wanted: Option<&Wanted>) -> bool {
    let fits = |found: &Value| match (wanted, found) {
        (None, _) => true,
        (Some(Wanted::Number(compare, right)), Value::Number(left)) => {
            left.as_f64().is_some_and(|left| compare.holds(left, *right))
        }
        (Some(Wanted::Text(how, part)), Value::String(text)) => how.holds(text, part),
        (Some(Wanted::Truth(wanted)), Value::Bool(found)) => wanted == found,
        (Some(Wanted::Number(..) | Wanted::Text(..) | Wanted::Truth(_)), _) => false,
    };
    one.get("annotations").and_then(|all| all.get(key)).is_some_and(fits)
        || one
            .get("subsegments")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|below| annotated(below, key, wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xray::filter::parse;
    use serde_json::json;

    #[test]
    fn traces_are_found_by_what_they_are() {
        let shop = json!({
            "id": "0000000000000001", "name": "shop", "start_time": 1, "end_time": 3, "user": "u", "origin": "AWS::EC2::Instance",
            "http": { "request": { "url": "http://shop/x", "method": "GET" }, "response": { "status": 502 } },
            "annotations": { "tenant": "t1", "items": 3 },
            "subsegments": [{ "id": "0000000000000002", "name": "db", "namespace": "remote", "start_time": 1, "end_time": 2.5,
                "fault": true, "annotations": { "big": true } }],
        });
        let stock = json!({ "id": "0000000000000003", "name": "stock", "parent_id": "0000000000000001",
            "start_time": 2, "end_time": 5 });
        let trace = [shop, stock];
        let found = |text: &str| matches(&parse(text).unwrap(), "000000000000", &trace);
        for yes in [
            "fault",
            "!ok",
            "!error",
            "partial = false",
            "duration = 4",
            "responsetime <= 2 AND duration > 3.5",
            "http.status >= 500",
            r#"http.url BEGINSWITH "http://shop""#,
            r#"http.method != "POST""#,
            r#"user = "u""#,
            "annotation.tenant",
            r#"annotation.tenant = "t1""#,
            "annotation[items] > 2",
            "annotation.big = true",
            r#"service("stock")"#,
            r#"service("stock") { ok }"#,
            r#"service("db") { fault AND responsetime = 1.5 }"#,
            r#"service(id(name: "shop", type: "AWS::EC2::Instance", account.id: "000000000000"))"#,
            "service() { error = false }",
            r#"name = "db" AND (error OR NOT throttle)"#,
        ] {
            assert!(found(yes), "{yes}");
        }
        for no in [
            "ok",
            "error",
            "duration > 4",
            "http.status = 200",
            r#"http.useragent != "x""#,
            "annotation.other",
            r#"annotation.items = "3""#,
            "annotation.big = false",
            r#"annotation.items != 3"#,
            r#"service("other")"#,
            r#"service("stock") { fault }"#,
            r#"id(type: "AWS::Lambda")"#,
            r#"id(account.id: "1")"#,
        ] {
            assert!(!found(no), "{no}");
        }
    }
}
