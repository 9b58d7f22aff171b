//! Synchronous invocation.

use crate::support::{Act, World, hash};
use base64::Engine as _;
use serde_json::json;

#[tokio::test]
async fn payloads_go_in_and_out_untouched() {
    let world = World::new();
    world.create("hello").await.ok();
    let reply = world.invoke("hello", &[], r#"{ "a" :  1 }"#).await;
    assert_eq!((reply.status, reply.body.as_ref()), (200, br#"{ "a" :  1 }"#.as_ref()));
    assert_eq!(reply.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(reply.header("x-amz-function-error"), None);
    assert_eq!(reply.header("x-amz-log-result"), None);
    let calls = world.execute.calls.lock().unwrap();
    assert_eq!(calls[0].1.request_id.to_string(), reply.header("x-amzn-requestid").unwrap());
    assert_eq!(&*calls[0].1.invoked_arn, "arn:aws:lambda:us-east-1:000000000000:function:hello");
    assert!(calls[0].1.trace.as_ref().unwrap().starts_with("Root=1-"));
}

#[tokio::test]
async fn tails_contexts_and_traces_are_passed() {
    let world = World::new();
    world.create_with("hello", json!({ "Publish": true })).await.ok();
    let context = base64::engine::general_purpose::STANDARD.encode(r#"{"custom":{"k":"v"}}"#);
    let root = "Root=1-67890abc-0123456789abcdef01234567";
    let trace = &format!("{root};Sampled=1");
    let headers =
        [("x-amz-log-type", "Tail"), ("x-amz-client-context", &context), ("x-amzn-trace-id", trace)];
    let reply = world.invoke("hello:1", &headers, "").await;
    assert_eq!(reply.body, "{}", "nothing stands for an empty object");
    assert_eq!(reply.header("x-amz-executed-version"), Some("1"));
    assert_eq!(reply.header("x-amz-log-result"), Some("UkVQT1JU"));
    let calls = world.execute.calls.lock().unwrap();
    assert_eq!(calls[0].1.client_context.as_deref(), Some(r#"{"custom":{"k":"v"}}"#));
    let span = calls[0].1.span.unwrap();
    let chain = calls[0].1.trace.as_deref().unwrap();
    let expected = format!("{root};Parent={};Sampled=1;Lineage=1:", span.run());
    assert!(span.shown && span.parent.is_none() && chain.starts_with(&expected), "{chain}");
    assert_eq!(&*calls[0].1.invoked_arn, "arn:aws:lambda:us-east-1:000000000000:function:hello:1");
}

#[tokio::test]
async fn function_errors_are_successes_of_the_call() {
    let world = World::new();
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Fail);
    let reply = world.invoke("hello", &[], "{}").await;
    assert_eq!(reply.header("x-amz-function-error"), Some("Unhandled"));
    assert_eq!(reply.ok(), json!({ "errorMessage": "boom", "errorType": "Error" }));
}

#[tokio::test]
async fn bad_invocations_are_refused_before_they_run() {
    let world = World::new();
    world.create("hello").await.ok();
    let (status, code, text) = world.invoke("hello", &[], "{oops").await.error();
    assert_eq!((status, code.as_str()), (400, "InvalidRequestContentException"));
    assert!(text.starts_with("Could not parse request body into json: "), "{text}");
    world.invoke("hello", &[], &format!("\"{}\"", "x".repeat(6 * 1024 * 1024))).await.refused(
        413,
        "RequestTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    );
    let event = [("x-amz-invocation-type", "Event")];
    world.invoke("hello", &event, &format!("\"{}\"", "x".repeat(1024 * 1024))).await.refused(
        413,
        "RequestTooLargeException",
        "Request must be smaller than 1048576 bytes for the InvokeFunction operation",
    );
    world.invoke("hello", &[("x-amz-invocation-type", "Maybe")], "{}").await.refused(
        400,
        "ValidationException",
        "1 validation error detected: Value 'Maybe' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
    );
    let (_, code, _) = world.invoke("hello", &[("x-amz-client-context", "x")], "{}").await.error();
    assert_eq!(code, "InvalidRequestContentException");
    let (_, code, text) = world.invoke("hello", &[("x-amz-tenant-id", "x")], "{}").await.error();
    assert_eq!(
        (code.as_str(), text.as_str()),
        (
            "InvalidParameterValueException",
            "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again."
        )
    );
    assert_eq!(world.invoke("hello", &[("x-amz-invocation-type", "DryRun")], "{}").await.status, 204);
    assert_eq!(world.invoke("nobody", &[("x-amz-invocation-type", "DryRun")], "{}").await.status, 404);
    assert_eq!(world.execute.count("hello"), 0);
}

#[tokio::test]
async fn refusals_of_the_platform_have_lambdas_names() {
    let world = World::new();
    world.create("hello").await.ok();
    world.execute.script(|_, _| Act::Throttle);
    let reply = world.invoke("hello", &[], "{}").await;
    reply.refused(429, "TooManyRequestsException", "Rate Exceeded.");
    assert_eq!(reply.json()["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded");
    assert_eq!(reply.json()["Type"], "User");
    assert!(reply.header("retry-after").is_some());
    world.execute.script(|_, _| Act::NodeFull);
    assert_eq!(world.invoke("hello", &[], "{}").await.status, 429);
    world.execute.script(|_, _| Act::RuntimeMissing);
    let (status, code, _) = world.invoke("hello", &[], "{}").await.error();
    assert_eq!((status, code.as_str()), (502, "InvalidRuntimeException"));
}

#[tokio::test]
async fn a_package_missing_on_this_node_is_fetched_once() {
    let world = World::new();
    world.create("hello").await.ok();
    world.packages.unpacked.lock().unwrap().clear();
    let mut first = true;
    world.execute.script(move |_, _| if std::mem::take(&mut first) { Act::CodeMissing } else { Act::Echo });
    world.invoke("hello", &[], "1").await.ok();
    assert!(world.packages.unpacked.lock().unwrap().contains(&hash("one")));
    world.execute.script(|_, _| Act::CodeMissing);
    let (status, code, _) = world.invoke("hello", &[], "1").await.error();
    assert_eq!((status, code.as_str()), (502, "ResourceNotReadyException"));
}
