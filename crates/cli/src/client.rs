//! A small client of the AWS protocols: signs with the node's own signature code, one connection per request.

pub(crate) mod functions;
pub(crate) mod logs;
pub(crate) mod usage;

use crate::{
    error::Error,
    settings::{Endpoint, Settings},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{io, time::Duration};
use tokio::net::TcpStream;
use wire::sign::{Payload, Signer};

/// Time to establish a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time for a whole exchange: the longest invocation (900 s) and its initialisation, with room to spare.
const EXCHANGE_MAX: Duration = Duration::from_secs(960);

/// A client of one node, region and identity.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    settings: Settings,
}

/// One operation to call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Signing name: `lambda`, `logs`, `sts`, `neap`.
    pub(crate) service: &'static str,
    /// Name for messages.
    pub(crate) operation: &'a str,
    /// HTTP method.
    pub(crate) method: Method,
    /// Path with escapes and query string.
    pub(crate) path: String,
    /// Headers besides those of signature and length.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub(crate) body: Bytes,
}

impl Client {
    /// A client with these settings.
    pub(crate) fn new(settings: Settings) -> Client {
        Client { settings }
    }

    /// The same client in another region.
    pub(crate) fn in_region(&self, region: base::Region) -> Client {
        Client { settings: Settings { region, ..self.settings.clone() } }
    }

    /// Where it goes.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Sends a call and returns the answer, whatever its status. Cancel-safe in that dropping it closes the connection.
    async fn exchange(&self, call: Call<'_>) -> Result<Response<Bytes>, Error> {
        let request = self.signed(call)?;
        let answer = tokio::time::timeout(EXCHANGE_MAX, self.send(request)).await;
        answer.unwrap_or_else(|_| Err(self.broken(format!("no answer within {} s", EXCHANGE_MAX.as_secs()))))
    }

    /// Sends a call; an answer outside of 2xx is an error.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Response<Bytes>, Error> {
        let operation = call.operation.to_owned();
        let answer = self.exchange(call).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(service_error(operation, &answer)) }
    }

    /// Sends a call and reads the JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let operation = call.operation.to_owned();
        let answer = self.call(call).await?;
        serde_json::from_slice(answer.body())
            .map_err(|error| Error::Answer { operation, reason: error.to_string() })
    }

    /// Calls an operation of a JSON 1.1 service.
    pub(crate) async fn json11<I: Serialize, O: DeserializeOwned>(
        &self,
        service: &'static str,
        prefix: &str,
        operation: &str,
        input: &I,
    ) -> Result<O, Error> {
        self.json(json11(service, prefix, operation, input)?).await
    }

    /// The same for an operation whose answer is empty.
    pub(crate) async fn json11_bare<I: Serialize>(
        &self,
        service: &'static str,
        prefix: &str,
        operation: &str,
        input: &I,
    ) -> Result<(), Error> {
        self.call(json11(service, prefix, operation, input)?).await.map(drop)
    }

    /// The account that our credentials belong to.
    pub(crate) async fn account(&self) -> Result<String, Error> {
        let operation = "GetCallerIdentity";
        let answer = self
            .call(Call {
                service: "sts",
                operation,
                method: Method::POST,
                path: "/".to_owned(),
                headers: vec![(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                )],
                body: Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"),
            })
            .await?;
        let text = String::from_utf8_lossy(answer.body());
        element(&text, "Account").map(str::to_owned).ok_or_else(|| Error::Answer {
            operation: operation.to_owned(),
            reason: "it names no account".to_owned(),
        })
    }

    /// Fetches a URL of the node that carries its own signature.
    pub(crate) async fn fetch(&self, url: &str) -> Result<Bytes, Error> {
        let operation = "download";
        let unusable = |reason: String| Error::Answer { operation: operation.to_owned(), reason };
        let uri: http::Uri = url.parse().map_err(|_| unusable("its link is no URL".to_owned()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder()
            .uri(path)
            .header(header::HOST, &self.settings.endpoint.authority)
            .body(Full::new(Bytes::new()))
            .map_err(|error| unusable(error.to_string()))?;
        let answer = tokio::time::timeout(EXCHANGE_MAX, self.send(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(self.broken("the download did not end".to_owned())))?;
        match answer.status().is_success() {
            true => Ok(answer.into_body()),
            false => Err(service_error(operation.to_owned(), &answer)),
        }
    }

    fn signed(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let unusable = |reason: String| Error::Answer { operation: call.operation.to_owned(), reason };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, &self.settings.endpoint.authority)
            .body(())
            .map_err(|error| unusable(error.to_string()))?;
        request.headers_mut().extend(call.headers.iter().cloned());
        let Settings { region, keys, .. } = &self.settings;
        let signer = Signer {
            access_key: &keys.access_key,
            secret: &keys.secret,
            token: keys.token.as_deref(),
            region: region.as_str(),
            service: call.service,
        };
        let uri = request.uri().clone();
        signer
            .sign(&call.method, &uri, request.headers_mut(), Payload::Signed(&call.body), now())
            .map_err(|error| unusable(error.to_string()))?;
        let (parts, ()) = request.into_parts();
        Ok(Request::from_parts(parts, Full::new(call.body)))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error.to_string()))?;
        let exchange = async move {
            let answer = sender.send_request(request).await?;
            let (parts, body) = answer.into_parts();
            Ok::<_, hyper::Error>(Response::from_parts(parts, body.collect().await?.to_bytes()))
        };
        let (answer, _) = tokio::join!(exchange, connection);
        answer.map_err(|error| self.broken(error.to_string()))
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let Endpoint { host, port, .. } = &self.settings.endpoint;
        let attempt = tokio::time::timeout(CONNECT_MAX, TcpStream::connect((host.as_str(), *port))).await;
        let unreachable = |source| Error::Unreachable { endpoint: self.endpoint().to_string(), source };
        let stream = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    fn broken(&self, reason: String) -> Error {
        Error::Exchange { endpoint: self.endpoint().to_string(), reason }
    }
}

fn json11<'a, I: Serialize>(
    service: &'static str,
    prefix: &str,
    operation: &'a str,
    input: &I,
) -> Result<Call<'a>, Error> {
    let target = HeaderValue::try_from(format!("{prefix}.{operation}"))
        .map_err(|error| Error::Answer { operation: operation.to_owned(), reason: error.to_string() })?;
    Ok(Call {
        service,
        operation,
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1")),
            (HeaderName::from_static("x-amz-target"), target),
        ],
        body: encode(operation, input)?,
    })
}

/// The present instant.
pub(crate) fn now() -> base::Timestamp {
    base::Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Serialises the input of an operation.
pub(crate) fn encode<T: Serialize>(operation: &str, input: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(input)
        .map(Bytes::from)
        .map_err(|error| Error::Answer { operation: operation.to_owned(), reason: error.to_string() })
}

/// A header of an answer as text.
pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads code and message of an error in any of the protocols: header `x-amzn-errortype`, members `__type`, `code`,
/// `message`, `Message`, or elements `Code`, `Message`.
fn service_error(operation: String, answer: &Response<Bytes>) -> Error {
    let text = String::from_utf8_lossy(answer.body());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let member = |names: &[&str]| names.iter().find_map(|name| json.get(name)?.as_str().map(str::to_owned));
    let code = header_text(answer.headers(), "x-amzn-errortype")
        .map(str::to_owned)
        .or_else(|| member(&["__type", "code", "Code"]))
        .or_else(|| element(&text, "Code").map(str::to_owned));
    let message = member(&["message", "Message", "errorMessage"])
        .or_else(|| element(&text, "Message").map(str::to_owned));
    let status = answer.status();
    Error::Service {
        operation,
        code: code.as_deref().map(bare_code).map_or_else(|| reason(status), str::to_owned),
        message: message.unwrap_or_else(|| if text.is_empty() { reason(status) } else { shortened(&text) }),
        status: status.as_u16(),
    }
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Unknown").to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// `prefix#Code:url` without prefix and suffix.
fn bare_code(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or(code);
    code.split(':').next().unwrap_or(code)
}

/// The text of the first element `name` of an XML document that has no attributes on it.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once("</")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        answer.body(Bytes::from(body.to_owned())).unwrap()
    }

    fn read(answer: Response<Bytes>) -> (String, String, u16) {
        match service_error("Op".into(), &answer) {
            Error::Service { code, message, status, .. } => (code, message, status),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn errors_of_every_protocol_are_read() {
        let rest = answer(
            404,
            &[("x-amzn-errortype", "ResourceNotFoundException:http://x/")],
            r#"{"Type":"User","Message":"gone"}"#,
        );
        assert_eq!(read(rest), ("ResourceNotFoundException".into(), "gone".into(), 404));
        let json =
            answer(400, &[], r#"{"__type":"com.amazonaws.x#InvalidParameterException","message":"bad"}"#);
        assert_eq!(read(json), ("InvalidParameterException".into(), "bad".into(), 400));
        let query = answer(
            403,
            &[],
            "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>",
        );
        assert_eq!(read(query), ("InvalidClientTokenId".into(), "no".into(), 403));
        assert_eq!(read(answer(502, &[], "")), ("Bad Gateway".into(), "Bad Gateway".into(), 502));
    }

    #[test]
    fn elements_are_found() {
        assert_eq!(element("<a><Account>000000000000</Account></a>", "Account"), Some("000000000000"));
        assert_eq!(element("<a/>", "Account"), None);
    }

    use crate::settings::Keys;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn client(address: std::net::SocketAddr) -> Client {
        Client::new(Settings {
            endpoint: Endpoint::parse(&format!("http://{address}")).unwrap(),
            region: "eu-west-1".parse().unwrap(),
            keys: Keys { access_key: "AKIAX".into(), secret: "s".into(), token: Some("t".into()) },
        })
    }

    /// Answers one request with `answer` and returns what was asked.
    async fn answering(answer: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 16 * 1024];
            let read = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..read]).into_owned()
        });
        (address, asked)
    }

    #[tokio::test]
    async fn requests_are_signed_for_their_service_and_region() {
        let (address, asked) =
            answering("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"FunctionName\": \"hello\"}").await;
        let function = client(address).function("hello").await;
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /2015-03-31/functions/hello/configuration HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("Credential=AKIAX/") && asked.contains("/eu-west-1/lambda/aws4_request"),
            "{asked}"
        );
        assert!(asked.contains("x-amz-security-token: t\r\n"), "{asked}");
        assert_eq!(function.unwrap().function_name, "hello");
    }

    #[tokio::test]
    async fn a_missing_node_is_told_apart_from_a_broken_exchange() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = client(free).function("x").await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.hint().unwrap().contains("neap dev"));
        let (address, _asked) = answering("nonsense\r\n\r\n").await;
        assert!(matches!(client(address).function("x").await, Err(Error::Exchange { .. })));
    }
}
