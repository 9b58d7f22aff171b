//! Usage, what it costs, and metrics.

use crate::harness::*;
use base::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use telemetry::{Metric, MetricKind};

fn key(name: &str) -> VersionKey {
    VersionKey {
        account: AccountId::DEFAULT,
        region: region(),
        name: name.parse().unwrap(),
        version: Version::Latest,
        revision: RequestId::from_random([1; 16]),
        tenant: None,
    }
}

fn record(name: &str, at: i64, ms: u64, memory: u32, outcome: Outcome) -> InvocationRecord {
    InvocationRecord {
        key: key(name),
        invoked_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}").into(),
        request_id: RequestId::from_random([2; 16]),
        architecture: "x86_64".into(),
        at: Timestamp(at),
        memory: MemoryMib(memory),
        scratch: MemoryMib(512),
        memory_used_bytes: 1 << 20,
        init: Micros(0),
        run: Micros(ms * 1_000),
        billed: Millis(ms),
        provisioned: false,
        cold: None,
        outcome,
        waited: Micros(0),
        traced: None,
    }
}

#[tokio::test]
async fn each_invocation_is_counted_once_by_month() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for i in 0..10 {
        node.telemetry.record(record("f", START, 100, 128, Outcome::Success));
        if i % 3 == 0 {
            node.telemetry.flush().await.unwrap();
        }
    }
    node.telemetry.record(record("g", START, 1_000, 1024, Outcome::Timeout));
    node.telemetry.record(record("g", START - 30 * DAY, 1_000, 1024, Outcome::Success));
    let (status, usage) = node.get("/_neap/v1/usage").await;
    assert_eq!(status, 200, "{usage}");
    assert_eq!(usage["month"], "2026-11");
    let (f, g) = (&usage["functions"][0], &usage["functions"][1]);
    assert_eq!(
        (&f["function"], &f["invocations"], &f["gb_seconds"]),
        (&"f".into(), &10.into(), &0.125.into())
    );
    assert_eq!((&g["invocations"], &g["errors"], &g["timeouts"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(g["lines"][0]["memory_mb"], 1024);
    assert_eq!(
        usage["books"].as_array().unwrap().iter().map(|book| &book["total"]).collect::<Vec<_>>(),
        ["0.00"; 3]
    );

    // The same after a restart.
    drop(node);
    let node = Node::open(folder.path());
    assert_eq!(node.get("/_neap/v1/usage?month=2026-11").await.1["functions"], usage["functions"]);
    let before = node.get("/_neap/v1/usage?month=2026-10").await.1;
    assert_eq!(before["functions"][0]["invocations"], 1);
    for bad in ["month=2026-13", "month=x", "increment=1s"] {
        assert_eq!(node.get(&format!("/_neap/v1/usage?{bad}")).await.0, 400, "{bad}");
    }
}

/// Otherwise it commits again and again under load, each time for little.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_ends_however_much_comes_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let (telemetry, stop) = (node.telemetry.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let working = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            telemetry.record(record("f", START, 100, 128, Outcome::Success));
            let line = LogEvent { at: Timestamp(START), message: "line".into() };
            telemetry.append(AccountId::DEFAULT, &region(), "g", "s", vec![line]);
        }
    });
    let flushed = tokio::time::timeout(Duration::from_secs(60), node.telemetry.flush()).await;
    stop.store(true, Ordering::Relaxed);
    working.join().unwrap();
    flushed.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_invocations_are_shown_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for (i, name) in ["f", "g", "f"].iter().enumerate() {
        node.telemetry.record(record(name, START + i as i64, 1, 128, Outcome::Success));
    }
    let (status, all) = node.get("/_neap/v1/invocations").await;
    assert_eq!(status, 200, "{all}");
    assert_eq!(all["invocations"][0]["at"], "2026-11-21T00:00:00.002Z");
    assert_eq!(all["invocations"].as_array().unwrap().len(), 3);
    let some = node.get("/_neap/v1/invocations?function=f&limit=1").await.1;
    assert_eq!(some["invocations"].as_array().unwrap().len(), 1);
    assert_eq!(some["invocations"][0]["outcome"], "success");
}

#[tokio::test]
async fn whoever_brings_and_whoever_reads_at_once_every_invocation_is_counted_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for number in 0..EACH {
                    node.telemetry.began(&key("f"), false);
                    node.telemetry.record(record("f", START, 1, 128, Outcome::Success));
                    node.telemetry.ended(&key("f"), false);
                    if number % 100 == 0 {
                        node.telemetry.prometheus(&[]);
                    }
                }
            });
        }
    });
    let text = node.telemetry.prometheus(&[]);
    let counted = text.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        name.starts_with("neap_invocations_total").then(|| value.to_owned())
    });
    assert_eq!(counted, Some((THREADS * EACH).to_string()), "{text}");
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let phases =
        Phases { queue: Micros(1), sandbox: Micros(300), boot: Micros(20_000), init: Micros(200_000) };
    node.telemetry
        .record(InvocationRecord { cold: Some(phases), ..record("f", START, 7, 128, Outcome::Success) });
    node.telemetry.record(record("f", START, 7, 128, Outcome::OutOfMemory));
    node.telemetry.throttled(&key("f"), "");
    let gauge = |state: &str, value: f64| Metric {
        kind: MetricKind::Gauge,
        name: "neap_environments",
        help: "Execution environments",
        labels: vec![("state", state.to_owned())],
        value,
    };
    let starts = Metric {
        kind: MetricKind::Counter,
        name: "neap_environment_starts",
        help: "Starts",
        labels: Vec::new(),
        value: 7.0,
    };
    let text = node.telemetry.prometheus(&[gauge("idle", 2.0), starts, gauge("busy", 1.0)]);
    let labels = r#"account="000000000000",region="us-east-1",function="f""#;
    for line in [
        format!("neap_invocations_total{{{labels}}} 2"),
        format!("neap_errors_total{{{labels},kind=\"out_of_memory\"}} 1"),
        format!("neap_throttles_total{{{labels}}} 1"),
        format!("neap_billed_milliseconds_total{{{labels}}} 14"),
        format!("neap_cold_starts_total{{{labels}}} 1"),
        format!("neap_cold_start_phase_seconds_count{{{labels},phase=\"init\"}} 1"),
        format!("neap_duration_seconds_bucket{{le=\"0.01\",{labels}}} 2"),
        "neap_environments{state=\"idle\"} 2.0".to_owned(),
        "neap_environments{state=\"busy\"} 1.0".to_owned(),
        "# TYPE neap_environment_starts counter".to_owned(),
        "neap_environment_starts_total{} 7.0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(text.matches("# TYPE neap_environments gauge").count(), 1);
}

/// What is spent is what is stored: by any node, before a restart or after it.
#[tokio::test]
async fn a_budget_is_spent_by_what_is_stored_and_told_once_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let input = serde_json::json!({ "amount": "0.00003", "function": "f", "free_tier": false, "cap": true });
    let (status, made) = node.put("/_neap/v1/budgets/small", &input).await;
    assert_eq!((status, &made["alerts"]), (200, &serde_json::json!([80, 100])), "{made}");
    assert_eq!(node.telemetry.refusal(&key("f")), None);
    // 0.0000168667 a call.
    node.telemetry.record(record("f", START, 1_000, 1_024, Outcome::Success));
    node.telemetry.record(record("g", START, 1_000, 1_024, Outcome::Success));
    let (_, listed) = node.get("/_neap/v1/budgets").await;
    let one = &listed["budgets"][0];
    assert_eq!(
        (&one["spent"], &one["percent"], &one["capped"]),
        (&"0.0000168667".into(), &56.into(), &false.into())
    );
    node.telemetry.record(record("f", START, 1_000, 1_024, Outcome::Error));
    node.telemetry.flush().await.unwrap();
    node.telemetry.look_at_budgets().await.unwrap();
    let refusal = node.telemetry.refusal(&key("f")).unwrap();
    assert!(refusal.contains("small") && refusal.contains("0.00003"), "{refusal}");
    assert_eq!(node.telemetry.refusal(&key("g")), None);

    drop(node);
    let node = Node::open(folder.path());
    assert_eq!(node.telemetry.refusal(&key("f")), None, "nothing is known before the first look");
    node.telemetry.look_at_budgets().await.unwrap();
    assert_eq!(node.telemetry.refusal(&key("f")), Some(refusal));
    let input = serde_json::json!({ "logGroupName": "/neap/budgets" });
    let told = node.logs("FilterLogEvents", input).await.unwrap();
    assert_eq!(told["events"].as_array().unwrap().len(), 2, "{told}");

    // The next month begins with nothing spent, even before anybody has looked.
    node.pass(10 * DAY);
    assert_eq!(node.telemetry.refusal(&key("f")), None);
    assert_eq!(node.get("/_neap/v1/budgets").await.1["budgets"][0]["spent"], "0.00");
    assert_eq!(node.delete("/_neap/v1/budgets/small").await.0, 204);
    assert_eq!(node.delete("/_neap/v1/budgets/small").await.0, 404);
}

#[tokio::test]
async fn an_account_has_so_many_budgets_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    let input = serde_json::json!({ "amount": "1" });
    for i in 0..100 {
        assert_eq!(node.put(&format!("/_neap/v1/budgets/b{i}"), &input).await.0, 200);
    }
    let (status, refused) = node.put("/_neap/v1/budgets/more", &input).await;
    assert!(status == 400 && refused.to_string().contains("at most 100"), "{refused}");
    assert_eq!(node.put("/_neap/v1/budgets/b7", &input).await.0, 200);
}

/// So many environments of a version, of 1 GB each.
fn reserved(version: u64, count: u32) -> Reserved {
    let key = VersionKey { version: Version::Published(version), ..key("f") };
    Reserved { key, architecture: "x86_64".into(), memory: MemoryMib(1024), count }
}

/// GB-seconds that are reserved, of the account's month.
async fn reserved_gb_seconds(node: &Node) -> f64 {
    let (_, usage) = node.get("/_neap/v1/usage").await;
    usage["books"][0]["reserved_gb_seconds"].as_f64().unwrap()
}

#[tokio::test]
async fn reserved_time_is_charged_in_steps_of_five_minutes_for_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    let minutes = |count: i64| count * 60_000;
    assert_eq!(reserved_gb_seconds(&node).await, 0.0);
    node.telemetry.reserved(vec![reserved(1, 2)]).await;
    // The first step is charged when it begins, and once, however often anybody asks.
    assert_eq!(reserved_gb_seconds(&node).await, 600.0);
    node.pass(minutes(4));
    assert_eq!(reserved_gb_seconds(&node).await, 600.0);
    // The same again is no change.
    node.telemetry.reserved(vec![reserved(1, 2)]).await;
    node.pass(minutes(1));
    assert_eq!(reserved_gb_seconds(&node).await, 1_200.0);
    // A change ends what was begun and begins anew.
    node.pass(minutes(1));
    node.telemetry.reserved(vec![reserved(1, 3), reserved(2, 1)]).await;
    assert_eq!(reserved_gb_seconds(&node).await, 1_200.0 + 900.0 + 300.0);
    // kill -9: what is reserved is known to the next life of the node, and is reserved meanwhile.
    drop(node);
    node = Node::open(folder.path());
    node.pass(minutes(6 + 12));
    node.telemetry.reserved(vec![reserved(1, 3), reserved(2, 1)]).await;
    assert_eq!(reserved_gb_seconds(&node).await, 1_200.0 + 3.0 * 1_200.0);
    // After 12 minutes two steps and a part of the third are over: none is charged again at the end.
    node.telemetry.reserved(Vec::new()).await;
    node.pass(minutes(100));
    assert_eq!(reserved_gb_seconds(&node).await, 1_200.0 + 3.0 * 1_200.0);
    let (_, usage) = node.get("/_neap/v1/usage?by=day").await;
    let f = &usage["functions"][0];
    assert_eq!((&f["function"], &f["invocations"]), (&"f".into(), &0.into()));
    let shares: Vec<_> =
        f["lines"].as_array().unwrap().iter().map(|line| &line["reserved_gb_seconds"]).collect();
    assert_eq!(shares, [&serde_json::json!(3_900.0), &serde_json::json!(900.0)]);
    // 4,800 × 0.0000041667; no free tier, and no such price elsewhere.
    assert_eq!(
        (&usage["books"][0]["total"], &usage["books"][1]["total"]),
        (&"0.02000016".into(), &"0.00".into())
    );
    assert_eq!(usage["days"][0]["cost"]["aws"], "0.02000016");
    assert!(usage["not_included"][0].as_str().unwrap().contains("Azure and Google"));
}

#[tokio::test]
async fn what_is_reserved_costs_while_the_node_is_away_over_midnight() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.pass(DAY - 60_000);
    node.telemetry.reserved(vec![reserved(1, 1)]).await;
    drop(node);
    let node = Node::open(folder.path());
    node.pass(2 * DAY + 60_000);
    let (_, usage) = node.get("/_neap/v1/usage?by=day").await;
    let days: Vec<_> =
        usage["days"].as_array().unwrap().iter().map(|day| day["reserved_gb_seconds"].as_f64()).collect();
    // One step begins on the first day, 288 on the second; on the third none yet.
    assert_eq!(days, [Some(300.0), Some(288.0 * 300.0)]);
}

#[tokio::test]
async fn what_runs_on_provisioned_concurrency_has_a_price_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    for provisioned in [true, false] {
        node.telemetry
            .record(InvocationRecord { provisioned, ..record("f", START, 1_000, 1024, Outcome::Success) });
    }
    let (_, usage) = node.get("/_neap/v1/usage").await;
    let (aws, google) = (&usage["books"][0], &usage["books"][2]);
    assert_eq!(
        (&aws["provisioned_gb_seconds"], &aws["provisioned_cost"]),
        (&1.0.into(), &"0.0000097222".into())
    );
    // The free tier takes the other second only; requests are as usual.
    assert_eq!((&aws["gb_seconds_free"], &aws["total"]), (&1.0.into(), &"0.0000097222".into()));
    assert_eq!((&google["gb_seconds"], &google["provisioned_cost"]), (&2.0.into(), &"0.00".into()));
    assert_eq!(usage["functions"][0]["gb_seconds"], 2.0);
    assert_eq!(usage["functions"][0]["provisioned_gb_seconds"], 1.0);
}
