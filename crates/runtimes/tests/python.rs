//! Python functions in real sandboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod support;

use base::{
    After, ApplicationLogLevel, Exit, LogFormat, MemoryMib, Millis, Outcome, Seconds, SystemLogLevel,
};
use serde_json::{Value, json};
use support::Node;

#[tokio::test]
async fn answers_with_event_and_context() {
    need_root!();
    let node = Node::start();
    let function = node
        .python(
            "import os
n = 0
def handler(event, context):
    global n
    n += 1
    return {'event': event, 'n': n, 'name': context.function_name, 'version': context.function_version,
            'memory': context.memory_limit_in_mb, 'arn': context.invoked_function_arn, 'id': context.aws_request_id,
            'group': context.log_group_name, 'stream': context.log_stream_name,
            'left': context.get_remaining_time_in_millis(), 'client': context.client_context.custom,
            'identity': context.identity.cognito_identity_id}
",
        )
        .await;
    let running = function.launch().await;
    let done = running.call(r#"{"a":[1,"ü"]}"#).await;
    let body = done.ok();
    assert_eq!(body["event"], json!({"a": [1, "ü"]}));
    assert_eq!(body["name"], "f");
    assert_eq!(body["version"], "$LATEST");
    assert_eq!(body["memory"], "128");
    assert_eq!(body["arn"], "arn:function:f");
    assert_eq!(body["id"], done.id.to_string());
    assert_eq!(body["group"], "/aws/lambda/f");
    assert_eq!(body["client"], json!({"k": "v"}));
    assert_eq!(body["identity"], Value::Null);
    assert_eq!(body["stream"].as_str().unwrap(), node.world.log.lock().unwrap()[0].1);
    let left = body["left"].as_i64().unwrap();
    assert!((9_000..=10_000).contains(&left), "{left}");
    assert_eq!(running.call("1").await.ok()["n"], 2);
    assert!(matches!(done.after, After::Reusable));

    let phases = running.environment.phases();
    assert!(phases.sandbox.0 > 0 && phases.boot.0 > 0 && phases.init.0 > 0, "{phases:?}");
    assert!(running.environment.memory_bytes() > 1_000_000);
    running.environment.clone().stop().await;
    node.stop().await;
}

#[tokio::test]
async fn the_tail_has_lambdas_lines_and_the_record_its_figures() {
    need_root!();
    let node = Node::start();
    let source = "print('loading')
def handler(event, context):
    print('héllo', event)
    import sys, os
    print('to stderr', file=sys.stderr)
    os.system('echo from a child')
    print('last', end='')
    return 1
";
    let running = node.python(source).await.launch().await;
    let done = running.call("7").await;
    done.ok();
    let tail = done.tail();
    let lines: Vec<&str> = tail.lines().collect();
    let id = done.id;
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    assert_eq!(lines[1..4], ["héllo 7", "to stderr", "from a child"]);
    let end = lines.iter().position(|line| *line == format!("END RequestId: {id}")).unwrap();
    let report = lines[end + 1];
    assert!(report.starts_with(&format!("REPORT RequestId: {id}\tDuration: ")), "{report}");
    assert!(
        report.contains("\tMemory Size: 128 MB\tMax Memory Used: ") && report.contains("\tInit Duration: ")
    );
    assert!(report.contains("\tStart Phases: queue 0.00 ms, sandbox "), "{report}");
    let warm = running.call("8").await.tail();
    assert!(!warm.contains("Init Duration") && !warm.contains("loading"), "{warm}");

    let log = node.log();
    assert!(log[0].starts_with("INIT_START Runtime Version: python:3."), "{log:?}");
    assert_eq!(log[1], "loading");
    assert_eq!(log.iter().filter(|line| line.starts_with("REPORT ")).count(), 2);
    let records = node.world.records.lock().unwrap().clone();
    assert_eq!(records.len(), 2);
    let cold = records[0].cold.unwrap();
    assert_eq!(records[0].init, cold.boot + cold.init);
    assert_eq!(records[0].billed, (records[0].init + records[0].run).ceil_ms());
    assert!(records[0].memory_used_bytes > 1_000_000);
    assert!(records[1].cold.is_none() && records[1].init.0 == 0);
    assert_eq!(records[1].outcome, Outcome::Success);
    node.stop().await;
}

#[tokio::test]
async fn errors_have_lambdas_shape_and_text() {
    need_root!();
    let node = Node::start();
    let source = "class Odd(Exception):
    pass
def inner():
    raise Odd('no way')
def handler(event, context):
    if event == 'set': return {1, 2}
    if event == 'decimal':
        from decimal import Decimal
        return {'d': [Decimal('1.10'), Decimal(3)]}
    inner()
";
    let running = node.python(source).await.launch().await;
    let done = running.call("1").await;
    let error = done.error();
    assert_eq!(error["errorMessage"], "no way");
    assert_eq!(error["errorType"], "Odd");
    assert_eq!(error["requestId"], done.id.to_string());
    let stack = error["stackTrace"].as_array().unwrap();
    assert_eq!(stack.len(), 2, "{stack:?}");
    assert_eq!(stack[0], "  File \"/var/task/app.py\", line 10, in handler\n    inner()\n");
    assert!(
        done.tail().contains("[ERROR] Odd: no way\nTraceback (most recent call last):\n"),
        "{}",
        done.tail()
    );
    assert!(matches!(done.after, After::Reusable));
    let marshal = running.call("\"set\"").await.error();
    assert_eq!(marshal["errorType"], "Runtime.MarshalError");
    assert_eq!(
        marshal["errorMessage"],
        "Unable to marshal response: Object of type set is not JSON serializable"
    );
    let done = running.call("\"decimal\"").await;
    match &done.executed.answer {
        base::Answer::Buffered(body) => assert_eq!(body, r#"{"d": [1.10, 3]}"#),
        other => panic!("{other:?}"),
    }
    let records = node.world.records.lock().unwrap().clone();
    assert_eq!(records[0].outcome, Outcome::Error);
    node.stop().await;
}

#[tokio::test]
async fn failed_initialisation_is_repeated_inside_the_invocation_and_told() {
    need_root!();
    let node = Node::start();
    for (source, handler, kind, message) in [
        (
            "import nonexistent_module",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nonexistent_module'",
        ),
        ("x = 1", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "def handler(:",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (app.py, line 1)",
        ),
        (
            "x = 1",
            "other.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
        (
            "x = 1",
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        ("raise ValueError('at load')", "app.handler", "ValueError", "at load"),
    ] {
        let function = node
            .function("python3.11", &[("app.py", source.as_bytes())], |spec| spec.handler = handler.into())
            .await;
        let running = function.launch().await;
        let done = running.call("1").await;
        let error = done.error();
        assert_eq!(error["errorType"], kind, "{error}");
        assert_eq!(error["errorMessage"], message);
        assert_eq!(error["requestId"], done.id.to_string());
        assert!(matches!(done.after, After::Gone(Exit::InitFailed)), "{:?}", done.after);
        assert!(done.tail().contains("[ERROR]") && done.tail().contains("INIT_REPORT"), "{}", done.tail());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_slow_initialisation_is_repeated_with_the_functions_timeout() {
    need_root!();
    let node = Node::with(|settings| settings.init_max = Millis(300));
    let source = "import time\ntime.sleep(0.7)\ndef handler(e, c): return 'late'";
    let running = node.python(source).await.launch().await;
    let done = running.call("1").await;
    assert_eq!(done.ok(), "late");
    assert!(matches!(done.after, After::Reusable));
    assert!(
        node.log().iter().any(|line| line.starts_with("INIT_REPORT Init Duration: ")
            && line.ends_with("Phase: init\tStatus: timeout")),
        "{:?}",
        node.log()
    );
    let function = node
        .function("python3.11", &[("app.py", b"import time\ntime.sleep(60)")], |spec| {
            spec.timeout = Seconds(1)
        })
        .await;
    let done = function.launch().await.call("1").await;
    assert_eq!(done.error()["errorType"], "Sandbox.Timedout");
    node.stop().await;
}

#[tokio::test]
async fn a_timeout_is_reported_as_on_lambda_and_ends_the_environment() {
    need_root!();
    let node = Node::start();
    let source = b"import time\ndef handler(e, c):\n    print('before')\n    time.sleep(60)";
    let function = node.function("python3.11", &[("app.py", source)], |spec| spec.timeout = Seconds(1)).await;
    let running = function.launch().await;
    let ended = running.environment.ended();
    let done = running.call("1").await;
    let error = done.error();
    let id = done.id;
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert_eq!(error["errorMessage"], format!("RequestId: {id} Error: Task timed out after 1.00 seconds"));
    let tail = done.tail();
    assert!(
        tail.contains("before\n") && tail.contains(&format!("Z {id} Task timed out after 1.00 seconds\n")),
        "{tail}"
    );
    assert!(tail.contains("Duration: 1000.00 ms\t") && tail.contains("\tStatus: timeout"), "{tail}");
    assert!(matches!(done.after, After::Gone(Exit::TimedOut)));
    assert_eq!(ended.await, Exit::TimedOut);
    assert_eq!(node.world.records.lock().unwrap()[0].outcome, Outcome::Timeout);
    node.stop().await;
}

#[tokio::test]
async fn exits_crashes_and_exhausted_memory_have_lambdas_words() {
    need_root!();
    let node = Node::start();
    let source = "import os, sys
def handler(event, context):
    if event == 'exit': sys.exit(3)
    if event == 'quiet': os._exit(0)
    if event == 'kill': os.kill(os.getpid(), 11)
    keep = []
    while True: keep.append(bytearray(8 * 1024 * 1024))
";
    let function = node
        .function("python3.11", &[("app.py", source.as_bytes())], |spec| spec.memory = MemoryMib(128))
        .await;
    for (event, kind, words, exit) in [
        ("\"exit\"", "Runtime.ExitError", "Runtime exited with error: exit status 3", Exit::Crashed),
        ("\"quiet\"", "Runtime.ExitError", "Runtime exited without providing a reason", Exit::Crashed),
        (
            "\"kill\"",
            "Runtime.ExitError",
            "Runtime exited with error: signal: segmentation fault",
            Exit::Crashed,
        ),
        ("\"memory\"", "Runtime.OutOfMemory", "Runtime exited with error: signal: killed", Exit::OutOfMemory),
    ] {
        let running = function.launch().await;
        let done = running.call(event).await;
        let error = done.error();
        if event == "\"memory\"" && error["errorType"] == "MemoryError" {
            continue; // the allocator was refused before the kernel killed
        }
        assert_eq!(error["errorType"], kind, "{event}: {error}");
        assert_eq!(error["errorMessage"], format!("RequestId: {} Error: {words}", done.id));
        assert!(matches!(done.after, After::Gone(gone) if gone == exit), "{:?}", done.after);
        assert!(done.tail().contains("\tStatus: error\tError Type: "), "{}", done.tail());
    }
    node.stop().await;
}

#[tokio::test]
async fn the_environment_is_lambdas() {
    need_root!();
    let node = Node::start();
    let source = "import os, sys, subprocess
def handler(event, context):
    return {'env': dict(os.environ), 'path': sys.path, 'cwd': os.getcwd(), 'fds': sorted(os.listdir('/proc/self/fd')),
            'shell': subprocess.run('echo $((6*7))', shell=True, capture_output=True, text=True).stdout,
            'root': sorted(os.listdir('/'))}
";
    let function = node
        .function("python3.11", &[("app.py", source.as_bytes())], |spec| {
            spec.variables.insert("MINE".into(), "1".into());
            spec.variables.insert("AWS_REGION".into(), "elsewhere".into());
            spec.variables.insert("TZ".into(), "Europe/Rome".into());
        })
        .await;
    let body = function.launch().await.call("1").await.ok();
    let env = &body["env"];
    for (name, value) in [
        ("_HANDLER", "app.handler"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("AWS_ACCESS_KEY_ID", "ASIATEST"),
        ("AWS_SESSION_TOKEN", "arn:aws:iam::000000000000:role/r/f"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("TZ", "Europe/Rome"),
        ("MINE", "1"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(env["_X_AMZN_TRACE_ID"].as_str().unwrap().starts_with("Root=1-"));
    assert_eq!(body["path"][0], "/var/task");
    assert_eq!(body["cwd"], "/var/task");
    assert_eq!(body["shell"], "42\n");
    assert_eq!(
        body["root"],
        json!(["bin", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sbin", "tmp", "usr", "var"])
    );
    node.stop().await;
}

#[tokio::test]
async fn logging_has_lambdas_formats() {
    need_root!();
    let node = Node::start();
    let source = "import logging
logging.getLogger().setLevel('INFO')
def handler(event, context):
    logging.info('two\\nlines')
    logging.debug('hidden')
    try: 1/0
    except Exception: logging.exception('caught')
";
    let done = node.python(source).await.launch().await.call("1").await;
    done.ok();
    let log = node.log();
    let info = log.iter().find(|line| line.starts_with("[INFO]")).unwrap();
    let parts: Vec<&str> = info.split('\t').collect();
    assert_eq!((parts.len(), parts[2], parts[3]), (4, done.id.to_string().as_str(), "two\nlines"));
    assert!(parts[1].ends_with('Z') && parts[1].len() == 24, "{info}");
    assert!(
        log.iter().any(|line| line.contains("caught\nTraceback") && line.contains("ZeroDivisionError")),
        "{log:?}"
    );
    assert!(!log.iter().any(|line| line.contains("hidden")));
    node.world.log.lock().unwrap().clear();

    let json_source = "import logging\ndef handler(e, c):\n    logging.info('dropped')\n    logging.warning('kept', extra={'a': 1})\n    print('plain')\n    raise ValueError('x')";
    let function = node
        .function("python3.11", &[("app.py", json_source.as_bytes())], |spec| {
            spec.logs.format =
                LogFormat::Json { application: ApplicationLogLevel::Warn, system: SystemLogLevel::Info };
        })
        .await;
    let done = function.launch().await.call("1").await;
    assert_eq!(done.error()["errorType"], "ValueError");
    let log = node.log();
    let parsed: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let types: Vec<&str> = parsed.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(types, ["platform.initStart", "platform.start", "platform.runtimeDone", "platform.report"]);
    let kept = parsed.iter().find(|line| line["level"] == "WARNING").unwrap();
    assert_eq!(
        (&kept["message"], &kept["a"], &kept["requestId"]),
        (&json!("kept"), &json!(1), &json!(done.id.to_string()))
    );
    assert!(parsed.iter().any(|line| line["level"] == "ERROR" && line["errorMessage"] == "x"));
    assert!(log.contains(&"plain".to_owned()) && !log.iter().any(|line| line.contains("dropped")));
    node.stop().await;
}

#[tokio::test]
async fn answers_above_the_limit_are_refused_and_the_environment_lives() {
    need_root!();
    let node = Node::start();
    let function = node
        .function("python3.11", &[("app.py", b"def handler(e, c): return 'x' * e")], |spec| {
            spec.memory = MemoryMib(512)
        })
        .await;
    let running = function.launch().await;
    let largest = 6 * 1024 * 1024 + 100 - 2;
    assert_eq!(running.call(&largest.to_string()).await.ok().as_str().unwrap().len(), largest);
    let done = running.call(&(largest + 1).to_string()).await;
    assert_eq!(
        done.error(),
        json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes)."})
    );
    assert!(matches!(done.after, After::Reusable));
    assert_eq!(running.call("1").await.ok(), "x");
    let big = format!("\"{}\"", "y".repeat(6 * 1024 * 1024 - 2));
    let echo = node
        .function("python3.11", &[("app.py", b"def handler(e, c): return len(e)")], |spec| {
            spec.memory = MemoryMib(512)
        })
        .await;
    assert_eq!(echo.launch().await.call(&big).await.ok(), 6 * 1024 * 1024 - 2);
    node.stop().await;
}

#[tokio::test]
async fn idle_environments_are_frozen_and_their_late_output_belongs_to_the_next_call() {
    need_root!();
    let node = Node::with(|settings| settings.freeze_after = Millis(20));
    let source = "import threading, time
ticks = 0
def run():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.005)
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    if event: threading.Timer(0.06, lambda: print('late')).start()
    else: time.sleep(0.1)
    return ticks
";
    let running = node.python(source).await.launch().await;
    let first = running.call("1").await.ok().as_u64().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    let done = running.call("0").await;
    let second = done.ok().as_u64().unwrap();
    assert!(second - first < 80, "it ran while idle: {first} {second}");
    let tail = done.tail();
    assert!(tail.starts_with("START") && tail.contains("late\n"), "{tail}");
    node.stop().await;
}

#[tokio::test]
async fn functions_reach_the_platform_and_nothing_else() {
    need_root!();
    let node = Node::start();
    let source = "import urllib.request, socket
def handler(event, context):
    name = urllib.request.urlopen('http://127.0.0.1:4566/x').read().decode()
    try:
        socket.create_connection(('127.0.0.1', 22), 1)
        other = 'reached'
    except OSError as error:
        other = type(error).__name__
    return [name, other]
";
    let body = node.python(source).await.launch().await.call("1").await.ok();
    assert_eq!(body, json!(["f", "ConnectionRefusedError"]));
    node.stop().await;
}

#[tokio::test]
async fn an_environment_that_dies_while_idle_says_so() {
    need_root!();
    let node = Node::with(|settings| settings.freeze_after = Millis(60_000));
    let source = "import threading, os
def handler(event, context):
    threading.Timer(0.05, lambda: os._exit(1)).start()
";
    let running = node.python(source).await.launch().await;
    let ended = running.environment.ended();
    running.call("1").await.ok();
    assert_eq!(ended.await, Exit::Crashed);
    node.stop().await;
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_the_invocation() {
    need_root!();
    let node = Node::start();
    let source =
        "import time\nn = 0\ndef handler(e, c):\n    global n\n    time.sleep(0.3)\n    n += 1\n    return n";
    let running = node.python(source).await.launch().await;
    let left = tokio::time::timeout(std::time::Duration::from_millis(50), running.call("1")).await;
    assert!(left.is_err());
    // The record comes when it has ended.
    for _ in 0..100 {
        if !node.world.records.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(running.call("1").await.ok(), 2);
    node.stop().await;
}

#[tokio::test]
async fn a_package_is_compiled_for_its_later_starts() {
    need_root!();
    let node = Node::start();
    let files: [(&str, &[u8]); 2] = [
        ("app.py", b"import lib.deep\ndef handler(e, c): return [lib.deep.__cached__]"),
        ("lib/deep.py", b"x = 1"),
    ];
    let function = node.function("python3.11", &files, |_| {}).await;
    function.launch().await.call("1").await.ok();
    let folder = node.code(&function.spec.code);
    let compiled = folder.join("lib/__pycache__/deep.cpython-311.pyc");
    for _ in 0..200 {
        if compiled.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(compiled.exists());
    let body = function.launch().await.call("1").await.ok();
    assert_eq!(body[0], "/var/task/lib/__pycache__/deep.cpython-311.pyc");
    base::Packages::remove(&*node.runtimes, &function.spec.code).await;
    assert!(!folder.exists());
    node.stop().await;
}

#[tokio::test]
async fn an_environment_that_is_let_go_ends() {
    need_root!();
    let node = Node::start();
    let running = node.python("def handler(e, c): return 1").await.launch().await;
    running.call("1").await.ok();
    let ended = running.environment.ended();
    drop(running);
    let exit = tokio::time::timeout(std::time::Duration::from_secs(5), ended).await;
    assert_eq!(exit.unwrap(), Exit::Stopped);
    assert!(node.log().iter().any(|line| line.starts_with("REPORT")), "what it wrote is not lost");
    node.stop().await;
}
