//! Greets whom the event names: an executable that speaks the Lambda Runtime API by the `lambda_runtime` crate.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Event {
    #[serde(default = "world")]
    name: String,
}

fn world() -> String {
    "world".to_owned()
}

#[derive(Serialize)]
struct Greeting {
    message: String,
    language: &'static str,
}

async fn handler(event: LambdaEvent<Event>) -> Result<Greeting, Error> {
    let name = event.payload.name;
    println!("greeting {name}");
    Ok(Greeting { message: format!("Hello, {name}!"), language: "rust" })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}
