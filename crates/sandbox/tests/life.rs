//! Starting, ending, signalling, limits that are switches, and what is left afterwards.

mod support;

use sandbox::{Exit, Exited};
use support::{finish, node, root, run, shell};

#[tokio::test]
async fn runs_a_program_to_its_end() {
    need_root!();
    let node = node();
    let template = node.template(root()).await.unwrap();
    let ended = run(&node, shell(&template, "echo out; echo err >&2; exit 3")).await;
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(ended.exited, Exited { exit: Exit::Code(3), oom: false });
    node.shutdown().await;
}
