//! A client that signs: one request per connection for setting things up, or ready-made requests for the load
//! generator, so that signing costs it nothing.

use crate::{Error, load};
use base::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use wire::sign::{Payload, Signer};

/// A key pair, as the node keeps it in `credentials.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    /// Access key.
    #[serde(alias = "AccessKeyId", alias = "access_key_id")]
    pub access_key: String,
    /// Secret access key.
    #[serde(alias = "SecretAccessKey", alias = "secret_access_key", alias = "secret_key")]
    pub secret: String,
}

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct Client {
    /// The node.
    pub address: SocketAddr,
    /// As whom.
    pub credentials: Credentials,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The head as sent.
    pub head: String,
    /// The body.
    pub body: Bytes,
}

/// Waiting for an answer longer than this is an error.
const ANSWER_MAX: Duration = Duration::from_secs(120);

impl Client {
    /// A whole signed HTTP/1.1 request for `service`, valid for the signature's five to fifteen minutes.
    pub fn request(
        &self,
        service: &str,
        method: &Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<Bytes, Error> {
        let uri: Uri = format!("http://{}{path}", self.address)
            .parse()
            .map_err(|error| Error::Protocol(format!("{path}: {error}")))?;
        let mut all = HeaderMap::new();
        for &(name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| Error::Protocol(error.to_string()))?;
            all.insert(HeaderName::from_static(name), value);
        }
        let signer = Signer {
            access_key: &self.credentials.access_key,
            secret: &self.credentials.secret,
            token: None,
            region: "us-east-1",
            service,
        };
        signer.sign(method, &uri, &mut all, Payload::Signed(body), now())?;
        let mut text = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &all {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        text.extend_from_slice(body);
        Ok(text.into())
    }

    /// Sends a request and waits for the answer, whatever its status.
    pub fn send(&self, request: &[u8]) -> Result<Response, Error> {
        send(self.address, request)
    }

    /// Calls a Lambda operation with a JSON document; statuses from 300 on are errors.
    pub fn lambda(
        &self,
        method: &Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, Error> {
        let text = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [("content-type", "application/json")];
        let response = self.send(&self.request("lambda", method, path, &headers, &text)?)?;
        if response.status >= 300 {
            return Err(Error::Refused {
                request: format!("{method} {path}"),
                status: response.status,
                body: String::from_utf8_lossy(&response.body).chars().take(500).collect(),
            });
        }
        if response.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&response.body).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// A signed invocation of `function`.
    pub fn invocation(&self, function: &str, event: &[u8]) -> Result<Bytes, Error> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        self.request("lambda", &Method::POST, &path, &[("content-type", "application/json")], event)
    }
}

/// Sends one request over a connection of its own.
pub fn send(address: SocketAddr, request: &[u8]) -> Result<Response, Error> {
    let io = || Error::io(format!("request to {address}"));
    let mut stream = TcpStream::connect(address).map_err(io())?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(io())?;
    stream.write_all(request).map_err(io())?;
    let mut buffer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(answer) = load::parse(&buffer)? {
            let head = String::from_utf8_lossy(&buffer[..answer.body.start]).into_owned();
            let body = &buffer[answer.body];
            let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
            let body = if chunked { joined(body)? } else { Bytes::copy_from_slice(body) };
            return Ok(Response { status: answer.status, head, body });
        }
        let read = stream.read(&mut piece).map_err(io())?;
        if read == 0 {
            return Err(Error::Protocol("the connection ended within an answer".to_owned()));
        }
        buffer.extend_from_slice(&piece[..read]);
    }
}

/// The chunks of a whole body. Source: RFC 9112, section 7.1.
fn joined(mut body: &[u8]) -> Result<Bytes, Error> {
    let bad = || Error::Protocol("a body's chunks have no sizes".to_owned());
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").ok_or_else(bad)?;
        let (size, rest) = (&body[..end], &body[end + 2..]);
        let size = std::str::from_utf8(size).ok().and_then(|size| size.split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()).ok_or_else(bad)?;
        if size == 0 {
            return Ok(whole.into());
        }
        whole.extend_from_slice(rest.get(..size).ok_or_else(bad)?);
        body = rest.get(size + 2..).ok_or_else(bad)?;
    }
}

/// An unsigned GET.
pub fn get(address: SocketAddr, path: &str) -> Result<Response, Error> {
    send(address, format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn chunks_are_joined_or_refused() {
        assert_eq!(joined(b"4\r\n\"ok\"\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n").unwrap(), "\"ok\"0123456789");
        assert_eq!(joined(b"0\r\n\r\n").unwrap(), "");
        for bad in [&b""[..], b"4\r\nok\r\n", b"x\r\n\r\n", b"ffffffffffffffff\r\nok\r\n"] {
            assert!(joined(bad).is_err());
        }
    }
}
