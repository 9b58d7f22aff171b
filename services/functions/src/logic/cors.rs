//! Cross-origin rules of a function URL: what may be set, and the headers that follow from it.

use crate::Error;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use wire::Violations;

/// Methods that can be allowed. Source: Lambda API reference, `AllowMethods`.
const METHODS: [&str; 7] = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"];
/// Seconds. Source: Lambda API reference, `MaxAge`.
const MAX_AGE: std::ops::RangeInclusive<i64> = 0..=86_400;

/// `Cors`: rules as they were set; `None` where nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    /// Whether cookies and credentials may be sent. Default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Headers that requests may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// Methods that requests may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Origins that may ask; `*` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// Headers of the answer that a page may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// Seconds for which a browser may keep the answer to a preflight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
}

impl Cors {
    /// Refuses what the API's model does not allow.
    pub fn check(&self) -> Result<(), Error> {
        let mut violations = Violations::default();
        let lists = [
            ("cors.allowHeaders", &self.allow_headers, 100, 0..=1024),
            ("cors.exposeHeaders", &self.expose_headers, 100, 0..=1024),
            ("cors.allowOrigins", &self.allow_origins, 100, 1..=253),
            ("cors.allowMethods", &self.allow_methods, 6, 0..=6),
        ];
        for (member, list, entries_max, length) in lists {
            let list = list.as_deref().unwrap_or_default();
            if list.len() > entries_max {
                let constraint = format!("Member must have length less than or equal to {entries_max}");
                violations.add(format_args!("[{}]", list.join(", ")), member, &constraint);
            }
            for word in list {
                violations.length(member, word, length.clone());
                let visible = HeaderValue::from_str(word).is_ok();
                violations.pattern(member, word, ".*", visible);
            }
        }
        for method in self.allow_methods.as_deref().unwrap_or_default() {
            violations.one_of("cors.allowMethods", method, &METHODS);
        }
        if let Some(seconds) = self.max_age {
            violations.range("cors.maxAge", seconds, MAX_AGE);
        }
        if violations.is_empty() { Ok(()) } else { Err(Error::Constraints(violations.to_string())) }
    }

    /// Whether a request asks for permission only: it is answered without the function.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Headers of the answer to a preflight; only those about origins where the origin is not allowed.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.answer(asked, &mut headers) {
            let mut list = |name: HeaderName, words: &Option<Vec<String>>| {
                if let Some(words) = words.as_deref().filter(|words| !words.is_empty()) {
                    set(&mut headers, name, &words.join(","));
                }
            };
            list(header::ACCESS_CONTROL_ALLOW_METHODS, &self.allow_methods);
            list(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.allow_headers);
            if let Some(seconds) = self.max_age {
                set(&mut headers, header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
            }
        }
        headers
    }

    /// Replaces what an answer says about origins; whether the request's origin is allowed.
    pub fn answer(&self, asked: &HeaderMap, headers: &mut HeaderMap) -> bool {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
        let Some(origin) = asked.get(header::ORIGIN) else { return false };
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let origins = self.allow_origins.as_deref().unwrap_or_default();
        let everyone = origins.iter().any(|allowed| allowed == "*");
        if !everyone && !origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            return false;
        }
        let credentials = self.allow_credentials == Some(true);
        // Browsers take `*` only where no credentials are sent.
        let shown = if everyone && !credentials { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, shown);
        if credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(words) = self.expose_headers.as_deref().filter(|words| !words.is_empty()) {
            set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &words.join(","));
        }
        true
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers
    }

    #[test]
    fn only_listed_origins_are_answered() {
        let cors = Cors {
            allow_origins: words(&["https://a.example", "https://b.example"]),
            allow_methods: words(&["GET", "POST"]),
            allow_headers: words(&["x-one"]),
            expose_headers: words(&["x-seen"]),
            max_age: Some(60),
            allow_credentials: Some(true),
        };
        cors.check().unwrap();
        let answered = cors.preflight(&from("https://b.example"));
        let value = |name: &str| answered.get(name).unwrap().to_str().unwrap();
        assert_eq!(value("access-control-allow-origin"), "https://b.example");
        assert_eq!(value("access-control-allow-methods"), "GET,POST");
        assert_eq!(value("access-control-allow-headers"), "x-one");
        assert_eq!(value("access-control-expose-headers"), "x-seen");
        assert_eq!(value("access-control-max-age"), "60");
        assert_eq!(value("access-control-allow-credentials"), "true");
        assert_eq!(value("vary"), "Origin");
        let refused = cors.preflight(&from("https://c.example"));
        assert_eq!(refused.keys().collect::<Vec<_>>(), ["vary"]);
    }

    #[test]
    fn everyone_is_a_star_unless_credentials_are_sent() {
        let mut cors = Cors { allow_origins: words(&["*"]), ..Cors::default() };
        let mut headers = from("x");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, "own".parse().unwrap());
        cors.answer(&from("https://a"), &mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        cors.allow_credentials = Some(true);
        cors.answer(&from("https://a"), &mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a");
        // Asked from the same origin: what the function says about origins goes all the same.
        cors.answer(&HeaderMap::new(), &mut headers);
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn rules_outside_of_the_model_are_refused() {
        for bad in [
            Cors { max_age: Some(86_401), ..Cors::default() },
            Cors { max_age: Some(-1), ..Cors::default() },
            Cors { allow_methods: words(&["OPTIONS"]), ..Cors::default() },
            Cors { allow_methods: words(&["FETCH"]), ..Cors::default() },
            Cors { allow_origins: words(&[""]), ..Cors::default() },
            Cors { allow_headers: words(&["a\r\nb"]), ..Cors::default() },
            Cors { allow_origins: words(&["x"; 101]), ..Cors::default() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
