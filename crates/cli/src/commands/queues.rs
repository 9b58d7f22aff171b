//! `neap queues`: what is in queues; looking at messages, moving dead letters back, purging.

use super::{Ending, client};
use crate::{
    args::{self, QueuesCommand},
    client::{Call, Client},
    error::Error,
    output::{Output, table},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Letters of a body that a table shows.
const BODY_SHOWN: usize = 80;

#[derive(Debug, Serialize, Deserialize)]
struct Queues {
    queues: Vec<Queue>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Queue {
    name: String,
    fifo: bool,
    visible: u64,
    in_flight: u64,
    delayed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_queue: Option<String>,
    is_dead_letter_queue: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Messages {
    messages: Vec<Message>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    id: String,
    body: String,
    state: String,
    age_s: u64,
    receive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(arguments: args::Queues, output: Output) -> Result<Ending, Error> {
    match arguments.command {
        None => list(&arguments.list, output).await,
        Some(QueuesCommand::Ls(arguments)) => list(&arguments, output).await,
        Some(QueuesCommand::Peek(arguments)) => peek(&arguments, output).await,
        Some(QueuesCommand::Redrive(arguments)) => redrive(&arguments, output).await,
        Some(QueuesCommand::Purge(arguments)) => purge(&arguments, output).await,
    }
}

async fn list(arguments: &args::List, output: Output) -> Result<Ending, Error> {
    let found: Queues =
        own(&client(&arguments.connection)?, "DescribeQueues", "/_neap/v1/queues".to_owned()).await?;
    if output.json {
        output.json_document(&found);
        return Ok(Ending::Success);
    }
    if found.queues.is_empty() {
        output.note("no queues");
        return Ok(Ending::Success);
    }
    let rows = found.queues.into_iter().map(|queue| {
        let dead = match (&queue.dead_letter_queue, queue.is_dead_letter_queue) {
            (Some(name), _) => name.clone(),
            (None, true) => "is one".to_owned(),
            (None, false) => String::new(),
        };
        vec![
            queue.name,
            queue.visible.to_string(),
            queue.in_flight.to_string(),
            queue.delayed.to_string(),
            queue.oldest_age_s.map(age).unwrap_or_default(),
            dead,
        ]
    });
    let header = ["QUEUE", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST", "DEAD LETTERS"];
    output.line(&table(&header, &[1, 2, 3, 4], rows.collect()));
    Ok(Ending::Success)
}

async fn peek(arguments: &args::Peek, output: Output) -> Result<Ending, Error> {
    let name = utf8_percent_encode(&arguments.name, NON_ALPHANUMERIC);
    let path = format!("/_neap/v1/queues/{name}/messages?max={}", arguments.max);
    let found: Messages = own(&client(&arguments.connection)?, "PeekMessages", path).await?;
    if output.json {
        output.json_document(&found);
        return Ok(Ending::Success);
    }
    if found.messages.is_empty() {
        output.note("no messages");
        return Ok(Ending::Success);
    }
    let rows = found.messages.into_iter().map(|message| {
        let line: String = message.body.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = line.chars().take(BODY_SHOWN).collect();
        let cut = if shown.len() < line.len() { "…" } else { "" };
        vec![
            message.id,
            age(message.age_s),
            message.state,
            message.receive_count.to_string(),
            message.group.unwrap_or_default(),
            format!("{shown}{cut}"),
        ]
    });
    output.line(&table(&["MESSAGE", "AGE", "STATE", "RECEIVED", "GROUP", "BODY"], &[1, 3], rows.collect()));
    Ok(Ending::Success)
}

async fn redrive(arguments: &args::Redrive, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let source = arn(&client, &arguments.name).await?;
    let mut input = json!({ "SourceArn": source });
    if let Some(to) = &arguments.to {
        input["DestinationArn"] = arn(&client, to).await?.into();
    }
    let answer: Value = sqs(&client, "StartMessageMoveTask", &input).await?;
    if output.json {
        output.json_document(&answer);
    } else {
        let to = arguments.to.as_deref().unwrap_or("the queues that they came from");
        output.line(&format!("moving the messages of {} to {to}", arguments.name));
    }
    Ok(Ending::Success)
}

async fn purge(arguments: &args::Remove, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    for name in &arguments.names {
        let url = url(&client, name).await?;
        let _: Value = sqs(&client, "PurgeQueue", &json!({ "QueueUrl": url })).await?;
        if !output.json {
            output.line(&format!("purged {name}"));
        }
    }
    if output.json {
        output.json_document(&json!({ "purged": arguments.names }));
    }
    Ok(Ending::Success)
}

async fn url(client: &Client, name: &str) -> Result<String, Error> {
    let answer: Value = sqs(client, "GetQueueUrl", &json!({ "QueueName": name })).await?;
    Ok(answer["QueueUrl"].as_str().unwrap_or_default().to_owned())
}

async fn arn(client: &Client, name: &str) -> Result<String, Error> {
    let input = json!({ "QueueUrl": url(client, name).await?, "AttributeNames": ["QueueArn"] });
    let answer: Value = sqs(client, "GetQueueAttributes", &input).await?;
    Ok(answer["Attributes"]["QueueArn"].as_str().unwrap_or_default().to_owned())
}

/// A call of Neap's own API.
async fn own<T: DeserializeOwned>(
    client: &Client,
    operation: &'static str,
    path: String,
) -> Result<T, Error> {
    let call = Call {
        service: "neap-queues",
        operation,
        method: Method::GET,
        path,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    client.json(call).await
}

/// A call of SQS; answers without a body are null.
async fn sqs(client: &Client, operation: &'static str, input: &Value) -> Result<Value, Error> {
    let target = HeaderValue::try_from(format!("AmazonSQS.{operation}"));
    let call = Call {
        service: "sqs",
        operation,
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0")),
            (
                HeaderName::from_static("x-amz-target"),
                target.unwrap_or(HeaderValue::from_static("AmazonSQS")),
            ),
        ],
        body: Bytes::from(input.to_string()),
    };
    let answer = client.call(call).await?;
    if answer.body().is_empty() {
        return Ok(Value::Null);
    }
    let read = serde_json::from_slice(answer.body());
    read.map_err(|error| Error::Answer { operation: operation.to_owned(), reason: error.to_string() })
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
