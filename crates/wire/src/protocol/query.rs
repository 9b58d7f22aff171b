//! Query: flattened form members in, XML out.

pub(crate) mod flat;
mod xml;

use crate::{Context, Error, RawRequest, RawResponse, error::Rendered, protocol::rest_json};
use base::RequestId;
use flat::Node;
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn decode<T: DeserializeOwned>(context: &Context, request: &RawRequest) -> Result<T, Error> {
    let query = request.uri.query().unwrap_or_default();
    let form: &[u8] = if request.method == Method::POST && !request.body.is_empty() {
        &request.body
    } else {
        query.as_bytes()
    };
    let node = Node::read(form).map_err(|error| Error::Serialization(error.to_string()))?;
    T::deserialize(node).map_err(|failure| rest_json::refuse(context, failure))
}

pub(crate) fn encode<T: Serialize>(
    context: &Context,
    namespace: &str,
    value: &T,
) -> Result<RawResponse, Error> {
    let operation = context.operation.name;
    let mut out = format!("<{operation}Response xmlns=\"");
    xml::escape(namespace, &mut out);
    out.push_str("\">");
    xml::element(&format!("{operation}Result"), value, &mut out)
        .map_err(|error| Error::Internal(error.into()))?;
    out.push_str("<ResponseMetadata><RequestId>");
    out.push_str(&context.request_id.to_string());
    out.push_str("</RequestId></ResponseMetadata></");
    out.push_str(operation);
    out.push_str("Response>\n");
    Ok(RawResponse::new(StatusCode::OK, out).header("content-type", context.protocol.content_type()))
}

pub(crate) fn render_error(error: &Rendered<'_>, namespace: &str, request_id: RequestId) -> RawResponse {
    let mut out = String::from("<ErrorResponse");
    if !namespace.is_empty() {
        out.push_str(" xmlns=\"");
        xml::escape(namespace, &mut out);
        out.push('"');
    }
    out.push_str("><Error>");
    let mut add = |name: &str, text: &str| {
        out.push_str(&format!("<{name}>"));
        xml::escape(text, &mut out);
        out.push_str(&format!("</{name}>"));
    };
    add("Type", if error.ours { "Receiver" } else { "Sender" });
    add("Code", error.code);
    add("Message", &error.message);
    for (name, value) in &error.members {
        add(name, value);
    }
    out.push_str(&format!("</Error><RequestId>{request_id}</RequestId></ErrorResponse>\n"));
    RawResponse::new(error.status, out)
}
