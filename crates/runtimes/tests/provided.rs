//! Programs that use the HTTP Runtime API: executables, and the stock client started by a wrapper; and the managed libraries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod support;

use base::{After, Exit, MemoryMib, RuntimeCatalog, RuntimeRefused, Seconds};
use serde_json::json;
use std::process::Command;
use support::Node;

/// A runtime in C: answers each event with itself, fails when asked to, and probes what it must not do.
const SOURCE: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
static char buffer[1 << 20];
static int exchange(const char *request, size_t length, char **body, size_t *size) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9001)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (void *)&to, sizeof to)) exit(3);
    if (write(s, request, length) != (ssize_t)length) exit(4);
    size_t got = 0;
    for (ssize_t n; (n = read(s, buffer + got, sizeof buffer - got - 1)) > 0; got += n) {
        buffer[got + n] = 0;
        char *end = strstr(buffer, "\r\n\r\n"), *header = strcasestr(buffer, "content-length:");
        if (end && header && got + n >= (size_t)(end + 4 - buffer) + atoi(header + 15)) { got += n; break; }
    }
    close(s);
    *body = strstr(buffer, "\r\n\r\n") + 4;
    *size = got - (*body - buffer);
    return atoi(buffer + 9);
}
static int post(const char *path, const char *headers, const char *content) {
    static char request[1 << 20];
    char *body; size_t size;
    int n = sprintf(request, "POST /2018-06-01/runtime/%s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n%s", path, headers, strlen(content), content);
    return exchange(request, n, &body, &size);
}
int main(void) {
    if (getenv("FAIL_INIT")) {
        post("init/error", "Lambda-Runtime-Function-Error-Type: Own.Init\r\n", "{\"errorMessage\":\"asked\",\"errorType\":\"Own.Init\"}");
        return 1;
    }
    fprintf(stderr, "starting\n");
    for (;;) {
        char *event, id[64] = "", path[256], copy[1 << 16];
        size_t size;
        const char *next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n";
        if (exchange(next, strlen(next), &event, &size) != 200) return 5;
        if (!strcasestr(buffer, "lambda-runtime-deadline-ms:") || !strcasestr(buffer, "lambda-runtime-trace-id:")) return 6;
        if (!strcasestr(buffer, "lambda-runtime-invoked-function-arn: arn:function:f")) return 7;
        sscanf(strcasestr(buffer, "lambda-runtime-aws-request-id:") + 30, " %63[0-9a-f-]", id);
        memcpy(copy, event, size); copy[size] = 0;
        if (strstr(copy, "exit")) return 9;
        if (strstr(copy, "sleep")) sleep(60);
        if (strstr(copy, "error")) {
            sprintf(path, "invocation/%s/error", id);
            post(path, "", "{\"errorMessage\":\"asked\",\"errorType\":\"Asked\"}");
        } else if (strstr(copy, "refusals")) {
            int wrong = post("invocation/00000000-0000-4000-8000-000000000000/response", "", "1");
            sprintf(path, "invocation/%s/response", id);
            char answer[64];
            sprintf(answer, "[%d,%d]", wrong, post("nowhere", "", ""));
            int good = post(path, "", answer), twice = post(path, "", "2");
            printf("good %d twice %d\n", good, twice);
            fflush(stdout);
        } else {
            sprintf(path, "invocation/%s/response", id);
            post(path, "", copy);
        }
    }
}
"#;

/// The program, built once per test process; `None` where the host has no C compiler.
fn bootstrap() -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
    std::fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc")
        .args(["-D_GNU_SOURCE", "-O1", "-static", "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    built.is_ok_and(|status| status.success()).then(|| std::fs::read(program).unwrap())
}

macro_rules! need {
    ($what:expr, $reason:literal) => {
        match $what {
            Some(it) => it,
            None => {
                eprintln!("SKIPPED: {}", $reason);
                return;
            }
        }
    };
}

#[tokio::test]
async fn a_static_bootstrap_serves_over_the_runtime_api() {
    need_root!();
    let program = need!(bootstrap(), "no C compiler with static libraries");
    let node = Node::start();
    let function =
        node.function("provided.al2023", &[("bootstrap", &program)], |spec| spec.timeout = Seconds(2)).await;
    let running = function.launch().await;
    assert_eq!(running.call(r#"{"n":1}"#).await.ok(), json!({"n": 1}));
    assert_eq!(running.call(r#"{"n":2}"#).await.ok(), json!({"n": 2}));
    assert_eq!(
        running.call("\"error\"").await.error(),
        json!({"errorMessage": "asked", "errorType": "Asked"})
    );
    assert_eq!(running.call("\"refusals\"").await.ok(), json!([400, 404]));
    let done = running.call("1").await;
    assert!(node.log().contains(&"good 202 twice 403".to_owned()), "{:?}", node.log());
    assert!(matches!(done.after, After::Reusable));
    let exit = running.call("\"exit\"").await;
    assert!(exit.error()["errorMessage"].as_str().unwrap().ends_with("exit status 9"));
    assert!(matches!(exit.after, After::Gone(Exit::Crashed)));
    let slow = function.launch().await.call("\"sleep\"").await;
    assert_eq!(slow.error()["errorType"], "Sandbox.Timedout");
    assert!(node.log().contains(&"starting".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn initialisation_errors_and_missing_programs_are_told() {
    need_root!();
    let program = need!(bootstrap(), "no C compiler with static libraries");
    let node = Node::start();
    let function = node
        .function("provided.al2", &[("bootstrap", &program)], |spec| {
            spec.variables.insert("FAIL_INIT".into(), "1".into());
        })
        .await;
    let done = function.launch().await.call("1").await;
    assert_eq!(done.error(), json!({"errorMessage": "asked", "errorType": "Own.Init"}));
    assert!(matches!(done.after, After::Gone(Exit::InitFailed)));
    for (files, words) in [
        (
            ("other", &b"x"[..]),
            "Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        ),
        (("bootstrap", &b"\0no program"[..]), "Error: fork/exec /var/task/bootstrap: exec format error"),
    ] {
        let done = node.function("provided.al2023", &[files], |_| {}).await.launch().await.call("1").await;
        let error = done.error();
        assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint", "{error}");
        assert!(error["errorMessage"].as_str().unwrap().ends_with(words), "{error}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_shell_script_with_curl_is_a_bootstrap() {
    need_root!();
    need!(["/usr/bin/curl", "/bin/curl"].iter().find(|path| std::path::Path::new(path).exists()), "no curl");
    let node = Node::start();
    let script = r#"#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  headers="$(mktemp)"
  event="$(curl -sS -D "$headers" "$api/invocation/next")"
  id="$(grep -i lambda-runtime-aws-request-id "$headers" | tr -d '[:space:]' | cut -d: -f2)"
  echo "serving $id"
  curl -sS -X POST "$api/invocation/$id/response" -d "{\"got\": $event}" > /dev/null
done
"#;
    let function = node.function("provided.al2023", &[("bootstrap", script.as_bytes())], |_| {}).await;
    let running = function.launch().await;
    let done = running.call("[1]").await;
    assert_eq!(done.ok(), json!({"got": [1]}));
    assert!(done.tail().contains(&format!("serving {}\n", done.id)), "{}", done.tail());
    node.stop().await;
}

#[tokio::test]
async fn a_wrapper_starts_the_boot_program_or_something_else() {
    need_root!();
    let node = Node::start();
    let plain: &[u8] = b"#!/bin/sh\necho wrapping \"$2\"\nexport WRAPPED=1\nexec \"$@\"\n";
    let source: &[u8] = b"import os\ndef handler(e, c): return os.environ['WRAPPED']";
    let function = node
        .function("python3.11", &[("wrap.sh", plain), ("app.py", source)], |spec| {
            spec.variables.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap.sh".into());
        })
        .await;
    assert_eq!(function.launch().await.call("1").await.ok(), "1");
    assert!(node.log().contains(&"wrapping -S".to_owned()), "{:?}", node.log());

    // A runtime of its own that speaks HTTP, in the interpreter that the wrapper was given.
    let other: &[u8] = b"#!/bin/sh\nexec \"$1\" /var/task/own.py\n";
    let own: &[u8] = b"import os, urllib.request
api = 'http://%s/2018-06-01/runtime/invocation/' % os.environ['AWS_LAMBDA_RUNTIME_API']
while True:
    event = urllib.request.urlopen(api + 'next')
    id = event.headers['Lambda-Runtime-Aws-Request-Id']
    urllib.request.urlopen(api + id + '/response', data=b'\"own\"').read()
";
    let function = node
        .function("python3.11", &[("wrap.sh", other), ("own.py", own)], |spec| {
            spec.variables.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap.sh".into());
        })
        .await;
    let running = function.launch().await;
    assert_eq!(running.call("1").await.ok(), "own");
    assert_eq!(running.call("1").await.ok(), "own");
    let function = node
        .function("python3.11", &[("app.py", source)], |spec| {
            spec.variables.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/missing".into());
        })
        .await;
    assert_eq!(function.launch().await.call("1").await.error()["errorType"], "Runtime.InvalidEntrypoint");
    node.stop().await;
}

/// Files of the stock client, installed from the package registry; `None` without network.
fn stock_client() -> Option<Vec<(String, Vec<u8>)>> {
    let folder = tempfile::tempdir().unwrap();
    let installed = Command::new("python3.11")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary=:all:",
            "--target",
        ])
        .arg(folder.path())
        .arg("awslambdaric==4.2.2")
        .stderr(std::process::Stdio::null())
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut files = Vec::new();
    let mut todo = vec![folder.path().to_path_buf()];
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    Some(files)
}

#[tokio::test]
async fn the_stock_python_client_serves() {
    need_root!();
    let stock = need!(stock_client(), "the stock client cannot be installed here");
    let node = Node::start();
    let wrapper: &[u8] =
        b"#!/bin/sh\nexport PYTHONPATH=/var/task\nexec \"$1\" -m awslambdaric \"$_HANDLER\"\n";
    let source: &[u8] = b"import logging
logging.getLogger().setLevel('INFO')
def handler(event, context):
    logging.info('two\\nlines')
    if event == 'fail': raise KeyError('k')
    return [event, context.aws_request_id]
";
    let mut files: Vec<(&str, &[u8])> = vec![("wrap.sh", wrapper), ("app.py", source)];
    files.extend(stock.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
    let function = node
        .function("python3.11", &files, |spec| {
            spec.memory = MemoryMib(256);
            spec.variables.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap.sh".into());
        })
        .await;
    let running = function.launch().await;
    for _ in 0..3 {
        let done = running.call(r#"{"x":"ü"}"#).await;
        assert_eq!(done.ok(), json!([{"x": "ü"}, done.id.to_string()]));
        assert!(done.tail().contains("\ttwo\nlines\n"), "{}", done.tail());
        assert!(matches!(done.after, After::Reusable));
    }
    let done = running.call("\"fail\"").await;
    assert_eq!(done.error()["errorType"], "KeyError");
    assert_eq!(done.error()["requestId"], done.id.to_string());
    // One record, although it has lines.
    assert!(
        node.log().iter().any(|line| line.starts_with("[ERROR] KeyError") && line.contains('\n')),
        "{:?}",
        node.log()
    );
    node.stop().await;
}

#[tokio::test]
async fn managed_runtimes_bring_the_sdks() {
    need_root!();
    let node = Node::start();
    node.runtimes.install().await;
    let support = node.runtimes.check("python3.11", "x86_64", "app.handler").unwrap();
    if support.warning.is_some_and(|warning| warning.contains("could not be installed")) {
        eprintln!("SKIPPED: the libraries cannot be installed here");
        return;
    }
    let source: &[u8] = b"import boto3
def handler(event, context):
    client = boto3.client('sts')
    return [boto3.__file__, client.meta.endpoint_url, client.meta.region_name]
";
    let function =
        node.function("python3.11", &[("app.py", source)], |spec| spec.memory = MemoryMib(512)).await;
    assert_eq!(
        function.launch().await.call("1").await.ok(),
        json!(["/var/runtime/site-packages/boto3/__init__.py", "http://127.0.0.1:4566", "us-east-1"])
    );
    let source: &[u8] = b"import { S3Client } from '@aws-sdk/client-s3';
import { createRequire } from 'node:module';
const { DynamoDBDocumentClient } = createRequire(import.meta.url)('@aws-sdk/lib-dynamodb');
export const handler = async () => [typeof DynamoDBDocumentClient.from, await new S3Client({}).config.region()];
";
    let function =
        node.function("nodejs20.x", &[("app.mjs", source)], |spec| spec.memory = MemoryMib(512)).await;
    assert_eq!(function.launch().await.call("1").await.ok(), json!(["function", "us-east-1"]));
    node.stop().await;
}

#[tokio::test]
async fn the_catalog_knows_what_runs_here() {
    need_root!();
    let node = Node::start();
    let check = |runtime: &str, architecture: &str| node.runtimes.check(runtime, architecture, "app.handler");
    assert!(check("python3.11", "x86_64").unwrap().actual.starts_with("Python 3.1"));
    assert!(check("python3.11", "arm64").is_ok());
    let (own, other) = if cfg!(target_arch = "aarch64") { ("arm64", "x86_64") } else { ("x86_64", "arm64") };
    assert!(check("provided.al2023", own).is_ok());
    assert!(matches!(check("provided.al2023", other), Err(RuntimeRefused::Architecture { .. })));
    assert!(matches!(check("java8.al2", own), Err(RuntimeRefused::Unavailable { .. })));
    match check("cobol85", own) {
        Err(RuntimeRefused::Unknown { known, .. }) => {
            assert!(known.contains("python3.12") && known.contains("ruby3.3"))
        }
        other => panic!("{other:?}"),
    }
    let bare = Node::with(|settings| settings.search = Vec::new());
    match bare.runtimes.check("nodejs20.x", own, "app.handler") {
        Err(error) => assert_eq!(
            error.to_string(),
            "runtime nodejs20.x is not available on this host: no Node.js was found; install this version or a newer one and restart"
        ),
        Ok(support) => panic!("{support:?}"),
    }
    bare.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn a_java_without_a_compiler_is_named_as_such() {
    need_root!();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap();
    for (name, text) in [
        ("bin/java", ""),
        ("lib/server/libjvm.so", ""),
        ("release", "JAVA_VERSION=\"21.0.4\"\nMODULES=\"java.base java.logging\"\n"),
    ] {
        std::fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
        std::fs::write(home.join(name), text).unwrap();
    }
    let node = Node::with(|settings| settings.search = vec![home.join("bin")]);
    let refused = |runtime| node.runtimes.check(runtime, "x86_64", "a.B").unwrap_err().to_string();
    assert_eq!(
        refused("java21"),
        format!(
            "runtime java21 is not available on this host: Java 21.0.4 in {} has no compiler (the module jdk.compiler); \
             install a JDK of this version or a newer one and restart",
            home.display()
        )
    );
    assert!(refused("java25").contains("the newest Java found is 21.0.4"), "{}", refused("java25"));
    node.stop().await;
}
