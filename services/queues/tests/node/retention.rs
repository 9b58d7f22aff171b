//! Messages that nobody receives, over a long time.

use crate::harness::Node;
use serde_json::json;

#[test]
fn messages_are_removed_at_their_age_though_nobody_receives() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let long = node.create("long", json!({"MessageRetentionPeriod": "1209600"}));
    let short = node.create("short", json!({"MessageRetentionPeriod": "60"}));
    // The upkeep has looked at empty queues by now, or it looks at the first message only.
    for (url, body) in [(&long, "stays"), (&short, "goes")] {
        node.turn();
        node.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).unwrap();
        node.has(url, 1).unwrap();
    }
    node.pass(59_000);
    assert_eq!(node.depth(&short).total(), 1);
    // Looks are at least a minute apart.
    node.pass(61_000);
    node.has(&short, 0).unwrap();
    assert_eq!(node.depth(&long).total(), 1);
}
