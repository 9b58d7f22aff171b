//! Calls InvokeWithResponseStream by the AWS SDK for Rust and prints what comes when it comes, a line for each event: its kind
//! and its parts in hexadecimal digits.
//!
//! `rust-stream ENDPOINT ACCESS_KEY SECRET_KEY FUNCTION PAYLOAD [wait]`; with `wait`, nothing is read after the first chunk until a
//! line comes on standard input.

use aws_sdk_lambda::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::Blob,
    types::InvokeWithResponseStreamResponseEvent as Event,
};
use std::{
    error::Error,
    io::{Write, stdin, stdout},
};

fn tell(kind: &str, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut line = kind.to_owned();
    for part in parts {
        line.push(' ');
        part.iter().for_each(|byte| line.push_str(&format!("{byte:02x}")));
    }
    let mut out = stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, access, secret, function, payload, options @ ..] = &arguments[..] else {
        return Err("ENDPOINT ACCESS_KEY SECRET_KEY FUNCTION PAYLOAD [wait]".into());
    };
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(access, secret, None, None, "arguments"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let request = Client::from_conf(config).invoke_with_response_stream().function_name(function);
    let answered = request.payload(Blob::new(payload.as_bytes())).send().await;
    let mut answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            let error = error.into_service_error();
            let (code, text) = (error.meta().code(), error.meta().message());
            tell("refused", &[code.unwrap_or_default().as_bytes(), text.unwrap_or_default().as_bytes()])?;
            return Ok(());
        }
    };
    let mut wait = options.iter().any(|option| option == "wait");
    loop {
        match answer.event_stream.recv().await {
            Ok(Some(Event::PayloadChunk(chunk))) => {
                tell("chunk", &[chunk.payload().map_or(&[][..], |payload| payload.as_ref())])?;
                if std::mem::take(&mut wait) {
                    stdin().read_line(&mut String::new())?;
                }
            }
            Ok(Some(Event::InvokeComplete(end))) => {
                let (code, details) = (end.error_code(), end.error_details());
                tell(
                    "complete",
                    &[code.unwrap_or_default().as_bytes(), details.unwrap_or_default().as_bytes()],
                )?;
            }
            Ok(Some(_)) => tell("unknown", &[])?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let text = aws_sdk_lambda::error::DisplayErrorContext(&error).to_string();
                return tell("broken", &[text.as_bytes()]).map_err(Into::into);
            }
        }
    }
}
