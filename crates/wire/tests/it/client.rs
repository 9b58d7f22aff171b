//! Requests to a gateway without a socket, signed or not.

use crate::toy::{KEY, NOW, SECRET, Toy};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use wire::{
    Connection,
    sign::{Payload, Signer},
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error, wherever the protocol puts it.
    pub fn error(&self) -> (u16, String) {
        let code = match self.header("content-type") {
            "text/xml" => {
                let text = self.text();
                let from = text.find("<Code>").unwrap() + 6;
                text[from..text.find("</Code>").unwrap()].to_owned()
            }
            "application/json" => self.header("x-amzn-errortype").to_owned(),
            _ => self.json()["__type"].as_str().unwrap().to_owned(),
        };
        (self.status.as_u16(), code)
    }
}

pub const SIGNER: Signer<'static> =
    Signer { access_key: KEY, secret: SECRET, token: None, region: "eu-west-1", service: "things" };

/// A request being made.
pub struct Ask {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub fn ask(method: &str, path: &str) -> Ask {
    let uri = format!("http://localhost:4566{path}").parse().unwrap();
    Ask { method: method.parse().unwrap(), uri, headers: HeaderMap::new(), body: Bytes::new() }
}

impl Ask {
    pub fn body(mut self, body: impl Into<Bytes>) -> Ask {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Ask {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// A form of the query protocol.
    pub fn form(self, form: &str) -> Ask {
        self.body(form.to_owned()).header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    }

    /// A JSON request to a target.
    pub fn target(self, target: &str, body: &str) -> Ask {
        self.body(body.to_owned())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
    }

    pub fn signed(self) -> Ask {
        self.signed_by(&SIGNER)
    }

    pub fn signed_for(self, service: &'static str) -> Ask {
        self.signed_by(&Signer { service, ..SIGNER })
    }

    pub fn signed_by(mut self, signer: &Signer<'_>) -> Ask {
        signer.sign(&self.method, &self.uri, &mut self.headers, Payload::Signed(&self.body), NOW).unwrap();
        self
    }

    pub fn presigned(mut self, seconds: u32) -> Ask {
        let body = self.body.clone();
        self.uri = SIGNER
            .presign(&self.method, &self.uri, &self.headers, Payload::Signed(&body), seconds, NOW)
            .unwrap();
        self
    }

    pub fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }

    pub async fn to(self, toy: &Toy) -> Answer {
        let response = toy.gateway.handle(self.request(), Connection::default()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
