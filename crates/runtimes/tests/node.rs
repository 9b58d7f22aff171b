//! Node.js functions in real sandboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod support;

use base::{After, Answer, ApplicationLogLevel, Chunk, Exit, LogFormat, MemoryMib, SystemLogLevel};
use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{Done, Node};

#[tokio::test]
async fn handlers_of_each_style_and_module_kind_answer() {
    need_root!();
    let node = Node::start();
    let asynchronous = "exports.handler = async (event, context) => ({ event, id: context.awsRequestId });";
    let module = "export const handler = async (event, context) => ({ event, id: context.awsRequestId });";
    let callback = "exports.handler = (event, context, done) => { setTimeout(() => done(null, { event, id: context.awsRequestId }), 5); };";
    let old = "exports.handler = (event, context) => context.succeed({ event, id: context.awsRequestId });";
    let nested = "exports.handler = { inner: (event, context, done) => done(null, { event, id: context.awsRequestId }) };";
    for (files, handler) in [
        (vec![("app.js", asynchronous)], "app.handler"),
        (vec![("app.mjs", module)], "app.handler"),
        (vec![("app.cjs", asynchronous)], "app.handler"),
        (vec![("app.js", module), ("package.json", r#"{"type":"module"}"#)], "app.handler"),
        (vec![("app.js", callback)], "app.handler"),
        (vec![("app.js", old)], "app.handler"),
        (vec![("deep/er/app.js", nested)], "deep/er/app.handler.inner"),
    ] {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let function = node.function("nodejs20.x", &files, |spec| spec.handler = handler.into()).await;
        let running = function.launch().await;
        for _ in 0..2 {
            let done = running.call(r#"{"x":"ü"}"#).await;
            assert_eq!(done.ok(), json!({"event": {"x": "ü"}, "id": done.id.to_string()}), "{files:?}");
            assert!(matches!(done.after, After::Reusable));
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn the_context_and_the_event_loop_are_lambdas() {
    need_root!();
    let node = Node::start();
    let source = "
exports.handler = (event, context, done) => {
  if (event === 'context') {
    const { functionName, functionVersion, memoryLimitInMB, invokedFunctionArn, logGroupName, clientContext } = context;
    return done(null, { functionName, functionVersion, memoryLimitInMB, invokedFunctionArn, logGroupName, clientContext,
      left: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID, cwd: process.cwd() });
  }
  if (event === 'waits') { setTimeout(() => console.log('first'), 100); return done(null, 'after'); }
  if (event === 'quick') { context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); return done(null, 'now'); }
  if (event === 'never') return undefined;
  if (event === 'undefined') return done();
};";
    let running = node.javascript(source).await.launch().await;
    let body = running.call("\"context\"").await.ok();
    assert_eq!(body["functionName"], "f");
    assert_eq!(body["memoryLimitInMB"], "128");
    assert_eq!(body["invokedFunctionArn"], "arn:function:f");
    assert_eq!(body["clientContext"], json!({"custom": {"k": "v"}}));
    assert_eq!(body["cwd"], "/var/task");
    assert!((9_000..=10_000).contains(&body["left"].as_i64().unwrap()));
    assert!(body["trace"].as_str().unwrap().starts_with("Root=1-"));
    let done = running.call("\"waits\"").await;
    assert_eq!(done.ok(), "after");
    assert!(done.tail().contains("\tINFO\tfirst\n"), "{}", done.tail());
    assert_eq!(running.call("\"never\"").await.ok(), Value::Null);
    assert_eq!(running.call("\"undefined\"").await.ok(), Value::Null);
    assert_eq!(running.call("\"quick\"").await.ok(), "now");
    node.stop().await;
}

#[tokio::test]
async fn errors_have_lambdas_shape() {
    need_root!();
    let node = Node::start();
    let source = "
exports.handler = (event, context, done) => {
  switch (event) {
    case 'throw': throw new TypeError('no way');
    case 'reject': return Promise.reject(new RangeError('rejected'));
    case 'text': return done('just text');
    case 'circular': { const a = {}; a.a = a; return done(null, a); }
    case 'uncaught': setTimeout(() => { throw new Error('later'); }, 5); return;
    case 'unhandled': Promise.reject(new Error('lost')); return new Promise(() => setTimeout(() => {}, 5000));
    case 'exit': process.exit(4);
  }
};";
    let function = node.javascript(source).await;
    let running = function.launch().await;
    let error = running.call("\"throw\"").await.error();
    assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!("TypeError"), &json!("no way")));
    assert_eq!(error["trace"][0], "TypeError: no way");
    assert!(error["trace"][1].as_str().unwrap().contains("/var/task/app.js:4"), "{error}");
    assert_eq!(running.call("\"reject\"").await.error()["errorType"], "RangeError");
    let text = running.call("\"text\"").await;
    assert_eq!(text.error(), json!({"errorType": "string", "errorMessage": "just text", "trace": []}));
    assert!(text.tail().contains("\tERROR\tInvoke Error \t{\"errorType\":\"Error\""), "{}", text.tail());
    assert_eq!(
        running.call("\"circular\"").await.error()["errorMessage"],
        "Unable to stringify response body"
    );
    for (event, kind, message) in [
        ("\"uncaught\"", "Error", "later"),
        ("\"unhandled\"", "Runtime.UnhandledPromiseRejection", "Error: lost"),
    ] {
        let done = function.launch().await.call(event).await;
        let error = done.error();
        assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!(kind), &json!(message)));
        assert!(matches!(done.after, After::Gone(Exit::Crashed)), "{:?}", done.after);
    }
    let exit = function.launch().await.call("\"exit\"").await.error();
    assert_eq!(exit["errorType"], "Runtime.ExitError");
    assert!(exit["errorMessage"].as_str().unwrap().ends_with("Runtime exited with error: exit status 4"));
    node.stop().await;
}

#[tokio::test]
async fn initialisation_errors_are_named_as_on_lambda() {
    need_root!();
    let node = Node::start();
    for (source, handler, kind, message) in [
        (
            "require('nonexistent');",
            "app.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nonexistent'",
        ),
        (
            "exports.x = 1;",
            "app.handler",
            "Runtime.HandlerNotFound",
            "app.handler is undefined or not exported",
        ),
        ("exports.handler = 1;", "app.handler", "Runtime.HandlerNotFound", "app.handler is not a function"),
        ("exports.handler = (", "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ("x", "other.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'other'"),
        (
            "x",
            "../app.handler",
            "Runtime.MalformedHandlerName",
            "'../app.handler' is not a valid handler name",
        ),
        ("throw new RangeError('at load');", "app.handler", "RangeError", "at load"),
    ] {
        let function = node
            .function("nodejs20.x", &[("app.js", source.as_bytes())], |spec| spec.handler = handler.into())
            .await;
        let done = function.launch().await.call("1").await;
        let error = done.error();
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(error["errorMessage"].as_str().unwrap().starts_with(message), "{error}");
        assert!(matches!(done.after, After::Gone(Exit::InitFailed)), "{:?}", done.after);
        assert!(done.tail().contains("\tERROR\tUncaught Exception \t"), "{}", done.tail());
    }
    node.stop().await;
}

#[tokio::test]
async fn consoles_have_lambdas_formats() {
    need_root!();
    let node = Node::start();
    let source = "exports.handler = async () => {
  console.log('one\\ntwo', { a: 1 });
  console.warn('warned');
  console.debug('fine');
  process.stdout.write('raw\\n');
  console.error(new Error('e'));
};";
    let done = node.javascript(source).await.launch().await.call("1").await;
    done.ok();
    let tail = done.tail();
    let id = done.id;
    for expected in [
        format!("Z\t{id}\tINFO\tone\ntwo {{ a: 1 }}\n"),
        format!("Z\t{id}\tWARN\twarned\n"),
        format!("Z\t{id}\tDEBUG\tfine\nraw\n"),
    ] {
        assert!(tail.contains(&expected), "{expected:?} in {tail}");
    }
    node.world.log.lock().unwrap().clear();
    let function = node
        .function("nodejs20.x", &[("app.js", source.as_bytes())], |spec| {
            spec.logs.format =
                LogFormat::Json { application: ApplicationLogLevel::Warn, system: SystemLogLevel::Warn };
        })
        .await;
    let done = function.launch().await.call("1").await;
    done.ok();
    let lines = node.log();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let warned: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&warned["level"], &warned["message"], &warned["requestId"]),
        (&json!("WARN"), &json!("warned"), &json!(done.id.to_string()))
    );
    assert_eq!(lines[1], "raw");
    let error: Value = serde_json::from_str(&lines[2]).unwrap();
    assert_eq!(error["message"]["errorMessage"], "e");
    node.stop().await;
}

async fn read(done: Done) -> (Option<String>, Vec<u8>, Option<Value>, String, After) {
    let Done { executed, after, .. } = done;
    match executed.answer {
        Answer::Streamed { content_type, chunks } => {
            let mut body = Vec::new();
            let mut end = (None, String::new());
            for chunk in chunks.collect::<Vec<_>>().await {
                match chunk {
                    Chunk::Data(data) => body.extend(data),
                    Chunk::End { error, tail } => {
                        let error = error.map(|error| serde_json::from_slice(&error.payload).unwrap());
                        end = (error, String::from_utf8(tail.unwrap().to_vec()).unwrap());
                    }
                }
            }
            (content_type, body, end.0, end.1, after)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streamed_answers_arrive_with_prelude_end_and_errors() {
    need_root!();
    let node = Node::start();
    let source = "
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event === 'http') {
    stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
    stream.write('body');
    return stream.end();
  }
  if (event === 'early') throw new RangeError('before');
  stream.setContentType('text/plain');
  stream.write('a');
  if (event === 'error') throw new TypeError('midway');
  if (event === 'big') { for (let i = 0; i < 100; i++) { if (!stream.write('x'.repeat(65536))) await new Promise((r) => stream.once('drain', r)); } }
  console.log(context.awsRequestId);
  stream.end('b');
  await new Promise((resolve) => stream.on('finish', resolve));
});";
    let running = node.javascript(source).await.launch().await;
    for _ in 0..2 {
        let (kind, body, error, tail, after) = read(running.call("1").await).await;
        assert_eq!((kind.as_deref(), body.as_slice(), error), (Some("text/plain"), &b"ab"[..], None));
        assert!(tail.contains("REPORT") && matches!(after, After::Reusable), "{tail} {after:?}");
    }
    let (kind, body, error, _, _) = read(running.call("\"http\"").await).await;
    assert_eq!(kind.as_deref(), Some("application/vnd.awslambda.http-integration-response"));
    assert_eq!((body.as_slice(), error), (&b"{\"statusCode\":201}\0\0\0\0\0\0\0\0body"[..], None));
    let (_, body, error, tail, _) = read(running.call("\"error\"").await).await;
    assert_eq!((body.as_slice(), error.unwrap()["errorType"].clone()), (&b"a"[..], json!("TypeError")));
    assert!(tail.contains("Invoke Error"), "{tail}");
    assert_eq!(running.call("\"early\"").await.error()["errorType"], "RangeError");
    // More than pipes and queues hold: read while it is written.
    let (_, executed, after) = running.begin("\"big\"").await;
    let Answer::Streamed { mut chunks, .. } = executed.answer else { panic!("not streamed") };
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Chunk::Data(data) => length += data.len(),
            Chunk::End { error, .. } => assert_eq!(error, None),
        }
    }
    assert_eq!(length, 2 + 100 * 65536);
    assert!(matches!(after.await, Ok(After::Reusable)));
    node.stop().await;
}

#[tokio::test]
async fn heap_and_memory_limits_end_the_environment() {
    need_root!();
    let node = Node::start();
    let source = "exports.handler = async (event) => { const keep = []; for (;;) keep.push(Buffer.alloc(8 << 20, 1)); };";
    let function = node
        .function("nodejs20.x", &[("app.js", source.as_bytes())], |spec| spec.memory = MemoryMib(160))
        .await;
    let done = function.launch().await.call("1").await;
    assert_eq!(done.error()["errorType"], "Runtime.OutOfMemory");
    assert!(matches!(done.after, After::Gone(Exit::OutOfMemory)), "{:?}", done.after);
    node.stop().await;
}

#[tokio::test]
async fn large_events_and_answers_pass() {
    need_root!();
    let node = Node::start();
    let source =
        "exports.handler = async (event) => typeof event === 'number' ? 'x'.repeat(event) : event.length;";
    let function = node
        .function("nodejs20.x", &[("app.js", source.as_bytes())], |spec| spec.memory = MemoryMib(512))
        .await;
    let running = function.launch().await;
    assert_eq!(running.call(&format!("\"{}\"", "é".repeat(3_000_000))).await.ok(), 3_000_000);
    assert_eq!(running.call("6000000").await.ok().as_str().unwrap().len(), 6_000_000);
    assert_eq!(running.call("7000000").await.error()["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(running.call("1").await.ok(), "x");
    node.stop().await;
}

#[tokio::test]
async fn a_waiting_interpreter_becomes_the_function() {
    need_root!();
    let node = Node::start();
    let runtimes = node.runtimes.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let cells = tokio::spawn(async move {
        runtimes.run_cells(async { drop(stopped.await) }).await;
    });
    let source = |answer: &str| {
        format!(
            "const first = [process.env.WHO, process.cwd(), '{answer}']; exports.handler = async () => first;"
        )
    };
    let function = async |who: &str| {
        let source = source(who);
        let shape = |spec: &mut base::FunctionSpec| {
            spec.variables.insert("WHO".into(), who.into());
        };
        node.function("nodejs20.x", &[("app.js", source.as_bytes())], shape).await
    };
    assert_eq!(node.runtimes.cells().kinds.len(), 0);
    let running = function("one").await.launch().await;
    assert_eq!(running.call("1").await.ok(), json!(["one", "/var/task", "one"]));
    let first = async || {
        for _ in 0..2_000 {
            if node.runtimes.cells().kinds.iter().any(|kind| kind.ready > 0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no cell became ready: {:?}", node.runtimes.cells());
    };
    first().await;
    assert_eq!((node.runtimes.cells().used, node.runtimes.cells().missed), (0, 1));
    let running = function("two").await.launch().await;
    let done = running.call("1").await;
    assert_eq!(done.ok(), json!(["two", "/var/task", "two"]));
    assert!(done.tail().contains("Init Duration: "), "{}", done.tail());
    assert_eq!((node.runtimes.cells().used, node.runtimes.cells().missed), (1, 1));
    // Another size has another command line, and so other cells.
    let other = node
        .function("nodejs20.x", &[("app.js", source("large").as_bytes())], |spec| {
            spec.memory = MemoryMib(256)
        })
        .await;
    assert_eq!(other.launch().await.call("1").await.ok(), json!([null, "/var/task", "large"]));
    assert_eq!((node.runtimes.cells().used, node.runtimes.cells().missed), (1, 2));
    stop.send(()).unwrap();
    cells.await.unwrap();
    assert!(node.runtimes.cells().kinds.is_empty());
    assert_eq!(
        function("three").await.launch().await.call("1").await.ok(),
        json!(["three", "/var/task", "three"])
    );
    node.stop().await;
}
