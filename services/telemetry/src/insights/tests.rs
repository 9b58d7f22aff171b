//! Queries over events, without a store.

use super::*;
use proptest::prelude::*;

fn source(at: i64, message: &str) -> Source {
    Source { at, ingested: at, message: message.to_owned(), stream: "s".into(), log: "0:/g".into() }
}

const REPORT: &str = "REPORT RequestId: 01234567-89ab-cdef-0123-456789abcdef\tDuration: 12.50 ms\tBilled Duration: 13 ms\t\
    Memory Size: 128 MB\tMax Memory Used: 30 MB\tInit Duration: 100.25 ms\t\n";

/// Newest first.
fn events() -> Vec<Source> {
    vec![
        source(600_000, REPORT),
        source(360_000, r#"{"level": "error", "took": 30, "user": {"id": "a"}, "ok": true}"#),
        source(300_000, r#"{"level": "warn", "took": 20, "user": {"id": "b"}, "list": [5, 6]}"#),
        source(120_000, r#"{"level": "error", "took": 10, "user": {"id": "a"}}"#),
        source(60_000, "[ERROR] user=bob, method:PUT, latency := 7"),
        source(0, "plain text"),
    ]
}

/// Rows as texts `a=1 b=2`.
fn answer(query: &str) -> Vec<String> {
    let rows =
        Plan::parse(query).unwrap_or_else(|bad| panic!("{query}: {bad}")).answer(events(), 1_000).unwrap();
    rows.into_iter()
        .map(|row| {
            row.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn fields_filters_sorts_and_limits() {
    assert_eq!(answer("fields took | filter took > 10 | sort took asc"), ["took=20", "took=30"]);
    assert_eq!(
        answer("fields user.id, took * 2 as double | filter level = 'error'"),
        ["user.id=a double=60", "user.id=a double=20"]
    );
    assert_eq!(answer("fields @timestamp | limit 1"), ["@timestamp=1970-01-01 00:10:00.000"]);
    assert_eq!(
        answer("filter @message like /(?i)plain/")[0],
        "@timestamp=1970-01-01 00:00:00.000 @message=plain text"
    );
    assert_eq!(answer("filter @message not like 'e' | display @message"), [""; 0]);
    assert_eq!(answer("fields took | filter took in [10, 20] and not (level = 'warn')"), ["took=10"]);
    assert_eq!(answer("fields list.1 | filter ispresent(list.1)"), ["list.1=6"]);
    assert_eq!(answer("fields level | filter ispresent(level) | dedup level"), ["level=error", "level=warn"]);
    assert_eq!(answer("fields strlen(level) as n | filter ok | # all\n limit 5"), ["n=5"]);
    assert_eq!(answer("fields @logStream, @log | limit 1"), ["@logStream=s @log=0:/g"]);
}

#[test]
fn lines_of_the_platform_have_their_fields() {
    assert_eq!(
        answer(
            "filter @type = 'REPORT' | fields @requestId, @duration, @billedDuration, @initDuration, @memorySize/1000/1000 as mb, @maxMemoryUsed"
        ),
        [
            "@requestId=01234567-89ab-cdef-0123-456789abcdef @duration=12.5 @billedDuration=13 @initDuration=100.25 mb=128 @maxMemoryUsed=30000000"
        ]
    );
}

#[test]
fn texts_are_parsed_by_wildcards_and_regular_expressions() {
    assert_eq!(
        answer(
            "parse @message 'user=*, method:*, latency := *' as user, method, ms | filter ispresent(ms) | display user, method, ms"
        ),
        ["user=bob method=PUT ms=7"]
    );
    assert_eq!(
        answer(
            r"parse @message /user=(?<who>\w+), method:(?<how>[A-Z]+)/ | filter ispresent(who) | display who, how"
        ),
        ["who=bob how=PUT"]
    );
}

#[test]
fn statistics_are_grouped() {
    assert_eq!(answer("stats count(*)"), ["count(*)=6"]);
    assert_eq!(
        answer(
            "stats count(*) as n, avg(took) as mean, sum(took), min(took), max(took) by level | sort n desc, level"
        ),
        [
            "n=3",
            "level=error n=2 mean=20 sum(took)=40 min(took)=10 max(took)=30",
            "level=warn n=1 mean=20 sum(took)=20 min(took)=20 max(took)=20"
        ]
    );
    assert_eq!(
        answer("filter ispresent(took) | stats count(*) as n by bin(5m) as t | sort t"),
        ["t=1970-01-01 00:00:00.000 n=1", "t=1970-01-01 00:05:00.000 n=2"]
    );
    assert_eq!(
        answer("stats count_distinct(user.id) as users, pct(took, 50) as p50, stddev(took)"),
        ["users=2 p50=20 stddev(took)=8.16496580927726"]
    );
    assert_eq!(
        answer("stats max(@memorySize / 1000 / 1000) - max(@maxMemoryUsed / 1000 / 1000) as spare"),
        ["spare=98"]
    );
    assert_eq!(answer("stats latest(level) as last, earliest(level) as first"), ["last=error first=error"]);
    assert_eq!(answer("filter level = 'none' | stats count(*), avg(took)"), ["count(*)=0"]);
    assert_eq!(answer("stats count(*) as n by level | stats sum(n) as all"), ["all=6"]);
    assert_eq!(answer("fields took | sort took desc | limit 2 | stats sum(took) as s"), ["s=50"]);
}

#[test]
fn what_is_not_carried_out_is_named() {
    for (query, named) in [
        ("", "empty"),
        ("pattern @message", "pattern"),
        ("fields @message | unmask @message", "unmask"),
        ("SOURCE logGroups(namePrefix: ['a'])", "SOURCE"),
        ("fields isIpv4InSubnet(ip, '10.0.0.0/8')", "isIpv4InSubnet"),
        ("filter count(*) > 3", "count"),
        ("stats count(count(*))", "count"),
        ("stats level", "aggregate"),
        ("stats pct(took)", ")"),
        ("stats sum(*)", "sum"),
        ("limit 0", "limit"),
        ("limit 10001", "10001"),
        ("limit 1.5", "1.5"),
        ("fields bin(5 m)", "bin"),
        ("fields bin(5y)", "5y"),
        ("parse @message 'a*b*' as x", "2 wildcards"),
        ("parse @message /(a/ as x", "regular expression"),
        ("parse @message /a/", "named group"),
        ("fields a b", "b"),
        ("fields a |", "too early"),
        ("| fields a", "|"),
        ("filter a = ", "too early"),
        ("filter a = 'x", "not closed"),
        ("filter a ~ 3", "'~'"),
        ("sort", "too early"),
        ("fields abs()", "abs"),
    ] {
        let bad = Plan::parse(query).err().unwrap_or_else(|| panic!("{query} is taken")).to_string();
        assert!(bad.contains(named), "{query}: {bad}");
    }
    assert!(Plan::parse(&format!("filter {}", "(".repeat(5_000))).is_err());
    assert!(Plan::parse(&format!("filter {}1", "not ".repeat(2_000))).is_ok());
    assert!(Plan::parse(&"a".repeat(LENGTH_MAX + 1)).is_err());
    assert!(Plan::parse(r"filter a like /(((\w{1,500}){1,500}){1,500})/").is_err());
}

#[test]
fn long_chains_and_growing_texts_are_no_danger() {
    let sum = format!("fields 1{} as n | limit 1", "+1".repeat(4_000));
    assert_eq!(answer(&sum), ["n=4001"]);
    let any = format!("filter took = 0{} | fields took", " or took = 10".repeat(700));
    assert_eq!(answer(&any), ["took=10"]);
    let grown = format!(
        "fields @message as t {} | fields strlen(t) as n | display n",
        "| fields concat(t, t, t, t) as t".repeat(30)
    );
    // What is too long is nothing, and nothing is an empty text where texts are joined.
    assert_eq!(answer(&grown), ["n=0"; 6]);
    assert_eq!(
        answer(
            "filter @timestamp = 0 | fields replace(@message, 't', 'TT') as r, replace(none, 'a', 'b') as s"
        ),
        ["r=plain TTexTT"]
    );
}

#[test]
fn what_a_query_holds_is_bounded() {
    let many = (0..200_000).map(|n| source(-n, &format!("{{\"n\": {n}}}")));
    let groups = Plan::parse("stats count(*) by n").unwrap().answer(many, 10);
    assert!(groups.unwrap_err().contains("groups"));
    let large = (0..200).map(|n| source(-n, &"x".repeat(1 << 20)));
    let rows = Plan::parse("fields @message").unwrap().answer(large.clone(), 10_000);
    assert!(rows.unwrap_err().contains("bytes"));
    let few = Plan::parse("fields @timestamp | sort @timestamp | limit 3")
        .unwrap()
        .answer((0..50_000).map(|n| source(n, "x")), 10_000);
    assert_eq!(few.unwrap()[0][0].1, "1970-01-01 00:00:00.000");
}

proptest! {
    #[test]
    fn any_text_is_a_query_or_not(text in ".{0,80}") {
        if let Ok(plan) = Plan::parse(&text) {
            let _ = plan.answer(events(), 100);
        }
    }

    #[test]
    fn any_words_are_a_query_or_not(
        words in prop::collection::vec(prop::sample::select(vec![
            "fields", "filter", "stats", "sort", "limit", "parse", "dedup", "display", "|", "|", "took", "@message", "@timestamp",
            "level", "count", "(", ")", "*", "by", "bin", "5m", "and", "or", "not", "like", "/a/", "'a*'", "as", "x", "in", "[", "]", ",",
            "=", ">", "-", "+", "/", "10", "desc", "avg", "pct", "substr", "replace", "concat",
        ]), 0..16)
    ) {
        if let Ok(plan) = Plan::parse(&words.join(" ")) {
            let rows = plan.answer(events(), 3);
            prop_assert!(rows.is_ok_and(|rows| rows.len() <= 3));
        }
    }

    #[test]
    fn counting_counts_all(levels in prop::collection::vec(0..5_u8, 0..200)) {
        let events: Vec<_> = levels.iter().enumerate().map(|(at, level)| source(-(at as i64), &format!("{{\"l\": {level}}}"))).collect();
        let rows = Plan::parse("stats count(*) as n by l").unwrap().answer(events, 100).unwrap();
        let counted: usize = rows.iter().flatten().filter(|(name, _)| name == "n").map(|(_, n)| n.parse::<usize>().unwrap()).sum();
        prop_assert_eq!(counted, levels.len());
    }
}
