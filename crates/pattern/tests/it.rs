//! The language by example, and against a model that takes events apart into paths.

#![allow(clippy::unwrap_used, clippy::panic)]

use pattern::{Error, Pattern};
use proptest::prelude::*;
use serde_json::{Value, json};

fn wants(pattern: Value, event: Value) -> bool {
    Pattern::of(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(&event)
}

#[test]
fn values_are_compared_as_documented() {
    let yes = [
        (json!({"a": ["x", "y"]}), json!({"a": "y", "b": 1})),
        (json!({"a": {"b": [1]}}), json!({"a": {"b": 1.0}})),
        (json!({"a": [null]}), json!({"a": null})),
        (json!({"a": [true]}), json!({"a": true})),
        (json!({"a": ["x"]}), json!({"a": ["w", "x"]})),
        (json!({"a": ["x"]}), json!({"a": [["w"], ["x"]]})),
        (json!({"a": [{"prefix": "ab"}]}), json!({"a": "abc"})),
        (json!({"a": [{"suffix": "bc"}]}), json!({"a": "abc"})),
        (json!({"a": [{"prefix": {"equals-ignore-case": "AB"}}]}), json!({"a": "aBc"})),
        (json!({"a": [{"suffix": {"equals-ignore-case": "bC"}}]}), json!({"a": "aBc"})),
        (json!({"a": [{"equals-ignore-case": "ÄB"}]}), json!({"a": "äb"})),
        (json!({"a": [{"anything-but": "x"}]}), json!({"a": "y"})),
        (json!({"a": [{"anything-but": ["x", "y"]}]}), json!({"a": ["x", "z"]})),
        (json!({"a": [{"anything-but": [1, 2]}]}), json!({"a": "1"})),
        (json!({"a": [{"anything-but": {"prefix": "x"}}]}), json!({"a": "yx"})),
        (json!({"a": [{"anything-but": {"suffix": ["x", "y"]}}]}), json!({"a": "xz"})),
        (json!({"a": [{"anything-but": {"wildcard": "*/x/*"}}]}), json!({"a": "a/y/b"})),
        (json!({"a": [{"anything-but": {"equals-ignore-case": ["X"]}}]}), json!({"a": "y"})),
        (json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 5})),
        (json!({"a": [{"numeric": ["=", 3.018e2]}]}), json!({"a": 301.8})),
        (json!({"a": [{"numeric": ["<", 10]}]}), json!({"a": -3})),
        (json!({"a": [{"cidr": "10.0.0.0/9"}]}), json!({"a": "10.127.255.255"})),
        (json!({"a": [{"cidr": "2001:db8::/33"}]}), json!({"a": "2001:db8:7fff::1"})),
        (json!({"a": [{"cidr": "0.0.0.0/0"}]}), json!({"a": "203.0.113.9"})),
        (json!({"a": [{"exists": true}]}), json!({"a": null})),
        (json!({"a": [{"exists": false}]}), json!({"b": 1})),
        (json!({"a": [{"exists": false}]}), json!({"a": {"b": 1}})),
        (json!({"a": [{"exists": false}]}), json!({"a": []})),
        (json!({"a": {"b": [{"exists": false}]}}), json!({})),
        (json!({"a": [{"exists": false}, "x"]}), json!({"a": "x"})),
        (json!({"a": [{"wildcard": "a*c*e"}]}), json!({"a": "abcde"})),
        (json!({"a": [{"wildcard": "*"}]}), json!({"a": ""})),
        (json!({"a": [{"wildcard": "a\\*b\\\\"}]}), json!({"a": "a*b\\"})),
        (json!({"a": [{"wildcard": "*ab*ab"}]}), json!({"a": "ab ab ab"})),
        (json!({"a": [1], "$or": [{"b": [1]}, {"c": [1]}]}), json!({"a": 1, "c": 1})),
        (json!({"$or": {"a": [1]}}), json!({"$or": {"a": 1}})),
        (json!({"$or": [{"prefix": "x"}, {"suffix": "y"}]}), json!({"$or": "xa"})),
        (json!({"a": {"b": [1], "c": [2]}}), json!({"a": [{"b": 1, "c": 1}, {"b": 1, "c": 2}]})),
    ];
    for (pattern, event) in yes {
        assert!(wants(pattern.clone(), event.clone()), "{pattern} wants {event}");
    }
    let no = [
        (json!({"a": ["x"]}), json!({"a": "X"})),
        (json!({"a": ["1"]}), json!({"a": 1})),
        (json!({"a": [1]}), json!({"a": "1"})),
        (json!({"a": [null]}), json!({})),
        (json!({"a": [false]}), json!({"a": null})),
        (json!({"a": [{"prefix": "1"}]}), json!({"a": 12})),
        (json!({"a": [{"anything-but": "x"}]}), json!({"b": "y"})),
        (json!({"a": [{"anything-but": {"prefix": ["x", "y"]}}]}), json!({"a": "yx"})),
        (json!({"a": [{"numeric": [">", 0, "<", 5]}]}), json!({"a": 5})),
        (json!({"a": [{"numeric": [">", 0]}]}), json!({"a": "1"})),
        (json!({"a": [{"cidr": "10.0.0.0/9"}]}), json!({"a": "10.128.0.0"})),
        (json!({"a": [{"cidr": "10.0.0.0/9"}]}), json!({"a": "::1"})),
        (json!({"a": [{"cidr": "10.0.0.0/9"}]}), json!({"a": "10.0.0.0/9"})),
        (json!({"a": [{"exists": true}]}), json!({"a": {"b": 1}})),
        (json!({"a": [{"exists": false}]}), json!({"a": null})),
        (json!({"a": {"b": [{"exists": false}]}}), json!({"a": [{"c": 1}, {"b": 1}]})),
        (json!({"a": [{"wildcard": "ab*ba"}]}), json!({"a": "aba"})),
        (json!({"a": [{"wildcard": "a*c*e"}]}), json!({"a": "ae"})),
        (json!({"a": [1], "$or": [{"b": [1]}, {"c": [1]}]}), json!({"a": 1})),
        (json!({"a": {"b": [1], "c": [2]}}), json!({"a": [{"b": 1}, {"c": 2}]})),
        (json!({"a": ["x"]}), json!(["x"])),
    ];
    for (pattern, event) in no {
        assert!(!wants(pattern.clone(), event.clone()), "{pattern} does not want {event}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for (text, said) in [
        ("", "the pattern is not JSON"),
        ("[]", "a pattern is a JSON object"),
        ("{}", "\"pattern\" is empty"),
        (r#"{"a": {}}"#, "\"a\" is empty"),
        (r#"{"a": []}"#, "\"a\" is empty"),
        (r#"{"a": "x"}"#, "\"a\" must be an object or an array"),
        (r#"{"a": [["x"]]}"#, "\"a\" must be an object or an array"),
        (r#"{"a": [{"like": "x"}]}"#, "unrecognized match type like"),
        (r#"{"a": [{}]}"#, "unrecognized match type {}"),
        (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, "unrecognized match type prefix beside another"),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix must be compared with a string"),
        (r#"{"a": [{"exists": "yes"}]}"#, "exists must be either true or false"),
        (r#"{"a": [{"numeric": [">", "1"]}]}"#, "numeric must compare with numbers"),
        (r#"{"a": [{"numeric": [">", 5.1e9]}]}"#, "numeric must compare with numbers"),
        (r#"{"a": [{"numeric": ["<", 1, ">", 0]}]}"#, "numeric must be ["),
        (r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#, "numeric must have its lower end below"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "cidr must be compared with a block"),
        (r#"{"a": [{"anything-but": [1, "x"]}]}"#, "anything-but must be compared"),
        (r#"{"a": [{"anything-but": []}]}"#, "anything-but must be compared"),
        (r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#, "unrecognized match type numeric"),
        (r#"{"a": [{"wildcard": "a**"}]}"#, "wildcard must have no two asterisks"),
        (r#"{"a": [{"wildcard": "a\\b"}]}"#, "wildcard may escape only"),
    ] {
        let error = Pattern::parse(text).unwrap_err();
        assert!(error.to_string().starts_with(said), "{text}: {error}");
    }
    assert_eq!(Pattern::parse("{}"), Err(Error::Empty("pattern".to_owned())));
}

#[test]
fn the_fields_at_the_top_are_told() {
    let pattern = Pattern::parse(r#"{"body": ["x"], "$or": [{"a": [1]}, {"b": [1]}]}"#).unwrap();
    assert_eq!(pattern.fields().collect::<Vec<_>>(), ["body", "a", "b"]);
}

/// A leaf of an event: its path, its value, and of each array on the way the place in it.
type Row = (Vec<String>, Value, Vec<(String, usize)>);

fn rows(value: &Value, path: &[String], within: &[(String, usize)], array: &str, out: &mut Vec<Row>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = [path, std::slice::from_ref(name)].concat();
                rows(value, &path, within, &format!("{array}.{name}"), out);
            }
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                let within = [within, &[(array.to_owned(), at)]].concat();
                rows(element, path, &within, &format!("{array}[{at}]"), out);
            }
        }
        leaf => out.push((path.to_vec(), leaf.clone(), within.to_vec())),
    }
}

fn leaves(pattern: &Value, path: &[String], out: &mut Vec<(Vec<String>, Vec<Value>)>) {
    for (name, value) in pattern.as_object().unwrap() {
        let path = [path, std::slice::from_ref(name)].concat();
        match value {
            Value::Array(values) => out.push((path, values.clone())),
            inner => leaves(inner, &path, out),
        }
    }
}

/// Tries every choice of rows for the leaves whose places in the arrays that they share above their last field agree.
fn model(wanted: &[(Vec<String>, Vec<Value>)], rows: &[Row], places: &[(String, usize)]) -> bool {
    let Some(((path, values), rest)) = wanted.split_first() else { return true };
    let absent = json!({"exists": false});
    let at_path: Vec<_> = rows.iter().filter(|row| row.0 == *path).collect();
    if values.contains(&absent) && at_path.is_empty() {
        return model(rest, rows, places);
    }
    at_path.iter().any(|(_, value, within)| {
        let fits = values.iter().any(|wanted| match wanted {
            Value::Object(object) => match object.iter().next().unwrap() {
                (name, _) if name == "exists" => *wanted != absent,
                (name, but) if name == "anything-but" => value != but,
                other => panic!("{other:?}"),
            },
            literal => literal == value,
        });
        let agree = within
            .iter()
            .all(|(array, at)| places.iter().all(|(known, place)| known != array || place == at));
        fits && agree && model(rest, rows, &[places, within].concat())
    })
}

fn event(depth: u32) -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(json!(1)), Just(json!(2)), Just(json!("x")), Just(json!(null)), Just(json!(true))];
    leaf.prop_recursive(depth, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn pattern(depth: u32) -> impl Strategy<Value = Value> {
    let literal = prop_oneof![
        Just(json!(1)),
        Just(json!("x")),
        Just(json!(null)),
        Just(json!({"exists": true})),
        Just(json!({"exists": false})),
        Just(json!({"anything-but": "x"})),
    ];
    let leaf = prop::collection::vec(literal, 1..3).prop_map(Value::from);
    let nested = leaf.prop_recursive(depth, 12, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 1..3).prop_map(|map| json!(map))
    });
    prop::collection::btree_map("[abc]", nested, 1..3).prop_map(|map| json!(map))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn matching_agrees_with_the_model(
        pattern in pattern(2),
        fields in prop::collection::btree_map("[abc]", event(4), 0..3),
    ) {
        let event = json!(fields);
        let (mut taken, mut wanted) = (Vec::new(), Vec::new());
        rows(&event, &[], &[], "", &mut taken);
        leaves(&pattern, &[], &mut wanted);
        prop_assert_eq!(wants(pattern.clone(), event.clone()), model(&wanted, &taken, &[]), "{} {}", pattern, event);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[{}\\[\\]\"a:$or,0-9*\\\\ ]{0,60}") {
        let _ = Pattern::parse(&text);
    }
}
