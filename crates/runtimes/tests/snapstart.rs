//! SnapStart in real sandboxes: which versions may have it is the functions service's matter, how many wait is the fleet's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod support;

use base::{
    After, Answer, Environment, Exit, FunctionErrorKind, FunctionSpec, Initialization, Launch, LaunchError,
    Micros, Version,
};
use serde_json::json;
use std::sync::Arc;
use support::{Function, Node};

const WHO: &str = "
import os, random, snapshot_restore_py as hooks
steps, number = ['init'], random.random()
@hooks.register_before_snapshot
def first(): steps.append('before 1')
hooks.register_before_snapshot(lambda word, more: steps.append(word + more), 'before', more=' 2')
@hooks.register_after_restore
def third(): steps.append('after 1')
hooks.register_after_restore(lambda: steps.append('after 2'))
def handler(event, context):
    return {'steps': steps, 'number': number, 'kind': os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']}
";

async fn version<'a>(node: &'a Node, source: &str) -> Function<'a> {
    let shape = |spec: &mut FunctionSpec| {
        (spec.snap_start, spec.key.version) = (true, Version::Published(1));
    };
    node.function("python3.11", &[("app.py", source.as_bytes())], shape).await
}

async fn ahead(node: &Node, function: &Function<'_>) -> Result<Arc<dyn Environment>, LaunchError> {
    node.runtimes.launch(function.spec.clone(), Initialization::SnapStart, Micros(0)).await
}

#[tokio::test]
async fn what_was_initialised_ahead_is_restored_by_its_first_call() {
    need_root!();
    let node = Node::start();
    let function = version(&node, WHO).await;
    let running = function.running(ahead(&node, &function).await.unwrap());
    let before = node.log();
    assert!(before.iter().any(|line| line.starts_with("INIT_REPORT Init Duration: ")), "{before:?}");
    assert!(!before.iter().any(|line| line.starts_with("RESTORE_START")), "{before:?}");

    let first = running.call("1").await;
    let body = first.ok();
    assert_eq!(body["kind"], "snap-start");
    assert_eq!(body["steps"], json!(["init", "before 2", "before 1", "after 1", "after 2"]));
    assert_eq!(running.call("1").await.ok(), body);
    let report = first.tail();
    assert!(
        report.contains("\tRestore Duration: ") && report.contains("\tBilled Restore Duration: "),
        "{report}"
    );
    assert!(!report.contains("Init Duration"), "{report}");

    // One that a call had to wait for is initialised for it, and restored as well.
    let other = function.launch().await.call("1").await;
    assert_eq!((&other.ok()["steps"], &other.ok()["kind"]), (&body["steps"], &body["kind"]));
    assert_ne!(other.ok()["number"], body["number"]);
    let report = other.tail();
    assert!(report.contains("\tInit Duration: ") && report.contains("\tRestore Duration: "), "{report}");
    node.stop().await;
}

#[tokio::test]
async fn failures_before_it_waits_are_told() {
    need_root!();
    let node = Node::start();
    for (source, told) in [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        (
            "import snapshot_restore_py as h\n@h.register_before_snapshot\ndef f(): raise KeyError('gone')\n\
             def handler(e, c): pass",
            "Runtime.BeforeSnapshotError: 'gone'",
        ),
        ("import os\nos._exit(3)", "Runtime.ExitError: "),
    ] {
        let function = version(&node, source).await;
        match ahead(&node, &function).await.map(drop) {
            Err(LaunchError::Initialisation { reason, timed_out: false }) => {
                assert!(reason.starts_with(told), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn a_hook_that_fails_after_the_restore_fails_the_call_and_ends_the_environment() {
    need_root!();
    let node = Node::start();
    let source = "import snapshot_restore_py as h\n@h.register_after_restore\ndef f(): raise KeyError('gone')\n\
                  def handler(e, c): pass";
    let function = version(&node, source).await;
    let done = function.running(ahead(&node, &function).await.unwrap()).call("1").await;
    assert_eq!(done.error()["errorType"], "KeyError");
    let Answer::Failed(error) = &done.executed.answer else { panic!("{done:?}") };
    assert_eq!(error.kind, FunctionErrorKind::Restore { timed_out: false });
    assert_eq!(done.after, After::Gone(Exit::Crashed));
    let log = node.log();
    assert!(
        log.iter().any(|line| line.starts_with("RESTORE_REPORT") && line.contains("AfterRestoreError")),
        "{log:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn one_that_waits_can_be_ended_and_tells_when_it_ends_by_itself() {
    need_root!();
    let node = Node::start();
    let function = version(&node, WHO).await;
    let waiting = ahead(&node, &function).await.unwrap();
    assert!(waiting.memory_bytes() > 0);
    let ended = waiting.ended();
    waiting.stop().await;
    assert_eq!(ended.await, Exit::Stopped);
    node.stop().await;
}
