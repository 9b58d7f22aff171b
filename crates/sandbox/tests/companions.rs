//! Programs that run beside the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in functions that are not tests

mod support;

use sandbox::{Error, Exit, Spec, Template, TemplateFile, TemplateSpec};
use std::time::Duration;
use support::{Lines, node, processes_of, root, shell};

/// A root with these scripts in `/companions`.
fn with(scripts: &[(&str, &str)]) -> TemplateSpec {
    let mut plan = root();
    plan.files.extend(scripts.iter().map(|(name, script)| TemplateFile {
        inside: format!("/companions/{name}").into(),
        content: format!("#!/bin/sh\n{script}\n").into_bytes(),
        executable: *name != "plain",
    }));
    plan
}

fn spec(template: &Template, names: &[&str], script: &str) -> Spec {
    let mut spec = shell(template, script);
    spec.companions = names.iter().map(|name| format!("/companions/{name}").into()).collect();
    spec.companion_env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("WHO".into(), "beside".into())];
    spec
}

#[tokio::test]
async fn companions_run_before_the_program_and_after_it() {
    need_root!();
    let node = node();
    let scripts = [("a", "echo $WHO $0; touch /tmp/a; sleep 0.2; echo later"), ("b", "exit 5")];
    let template = node.template(with(&scripts)).await.unwrap();
    let mut sandbox = node.spawn(spec(&template, &["a", "b"], "ls /tmp; echo ${WHO-alone}")).await.unwrap();
    let (beside, _) = sandbox.take_companion_output().unwrap();
    let mut beside = Lines::new(beside);
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    assert_eq!(beside.next().await, "beside /companions/a");
    assert_eq!(sandbox.companion_exited().await, (1, Exit::Code(5)));
    tokio::select! {
        _ = lines.next() => panic!("the program runs"),
        () = sandbox.companions_gone(&[0]) => {}
    }
    assert_eq!(beside.next().await, "later");
    sandbox.begin().await.unwrap();
    assert_eq!((lines.next().await, lines.next().await), ("a".to_owned(), "alone".to_owned()));
    assert_eq!(sandbox.exited().await.exit, Exit::Code(0));
    sandbox.kill().await;
    assert_eq!(processes_of(sandbox.uid()), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn a_companion_outlives_the_program_until_it_is_killed() {
    need_root!();
    let node = node();
    let template = node.template(with(&[("stays", "trap '' TERM; echo up; sleep 1000")])).await.unwrap();
    let mut sandbox = node
        .spawn(spec(&template, &["stays"], "trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done"))
        .await
        .unwrap();
    let mut beside = Lines::new(sandbox.take_companion_output().unwrap().0);
    let mut lines = Lines::new(sandbox.take_stdout().unwrap());
    sandbox.begin().await.unwrap();
    assert_eq!((beside.next().await, lines.next().await), ("up".to_owned(), "up".to_owned()));
    sandbox.terminate().unwrap();
    assert_eq!(sandbox.exited().await.exit, Exit::Code(4));
    assert!(processes_of(sandbox.uid()) > 0, "the companion was not asked to end");
    assert!(tokio::time::timeout(Duration::from_millis(1), sandbox.companions_gone(&[0])).await.is_err());
    sandbox.kill().await;
    assert_eq!(processes_of(sandbox.uid()), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_named() {
    need_root!();
    let node = node();
    let template = node.template(with(&[("plain", "exit 0"), ("good", "sleep 1000")])).await.unwrap();
    let error = node.spawn(spec(&template, &["good", "plain"], "exit 0")).await.unwrap_err().to_string();
    assert!(error.contains("accompanying program /companions/plain"), "{error}");
    let mut missing = spec(&template, &["good"], "exit 0");
    missing.argv = vec!["/none".into()];
    let sandbox = node.spawn(missing).await.unwrap();
    let error = sandbox.begin().await.unwrap_err();
    assert!(matches!(&error, Error::Step { step, .. } if step.contains("the program /none")), "{error}");
    sandbox.kill().await;
    assert!(matches!(sandbox.begin().await, Err(Error::Ended)));
    node.shutdown().await;
}
