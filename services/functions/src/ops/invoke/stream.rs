//! InvokeWithResponseStream: the answer as events, each sent when the function has written it.

use super::{
    Call, begin,
    request::{self, Kind},
};
use crate::{Error, Functions, answer::Pieces};
use base::{Chunk, FunctionError, Version};
use base64::Engine as _;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use wire::{Body, BoxError, Context, RawRequest, RawResponse, event_stream};

/// The last event.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InvokeComplete {
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_result: Option<String>,
}

impl Functions {
    pub(crate) async fn invoke_with_response_stream(
        &self,
        context: &Context,
        request: RawRequest,
    ) -> Result<RawResponse, Error> {
        let wanted = request::read(context, request, &Kind::STREAMED)?;
        let version = self.admitted(context, &wanted.target).await?;
        let served = self.served(&wanted.target, version).await?;
        served.spec_for(wanted.tenant.as_ref())?;
        if wanted.kind == Kind::DryRun {
            return Ok(executed(version, RawResponse::new(StatusCode::NO_CONTENT, Bytes::new())));
        }
        let call = Call::of(context, wanted, &served).streamed().chained(self, &served)?;
        let executing = begin(self, &served, call).await?;
        let pieces = Pieces::of(executing, self.abandoned_streams.clone());
        let events = futures_util::stream::unfold(pieces, |mut pieces| async {
            let event = event(pieces.next().await?);
            Some((Ok::<_, BoxError>(event), pieces))
        });
        let response = RawResponse::new(StatusCode::OK, Body::stream(events));
        Ok(executed(version, response.header("content-type", event_stream::CONTENT_TYPE)))
    }
}

fn executed(version: Version, response: RawResponse) -> RawResponse {
    response.header("x-amz-executed-version", version.to_string())
}

fn event(chunk: Chunk) -> Bytes {
    match chunk {
        Chunk::Data(piece) => event_stream::event("PayloadChunk", "application/octet-stream", &piece),
        Chunk::End { error, tail } => {
            let encoded = |tail: Bytes| base64::engine::general_purpose::STANDARD.encode(tail);
            let details = |error: &FunctionError| String::from_utf8_lossy(&error.payload).into_owned();
            let complete = InvokeComplete {
                error_code: error.as_ref().map(|error| error.kind.as_str()),
                error_details: error.as_ref().map(details),
                log_result: tail.map(encoded),
            };
            let payload = serde_json::to_vec(&complete).unwrap_or_default();
            event_stream::event("InvokeComplete", "application/json", &payload)
        }
    }
}
