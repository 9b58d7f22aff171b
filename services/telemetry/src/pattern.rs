//! Filter patterns of CloudWatch Logs. Pure; [`Pattern::parse`] takes outside text.
//!
//! Three forms. Source: "Filter pattern syntax", CloudWatch Logs user guide; where it is silent, the choice is stated.
//! - **Terms**: `ERROR "disk full" -retry`: all terms, none of the excluded; `?a ?b`: any of them; `%regex%` anywhere a term
//!   can be. Terms are case-sensitive parts of the message. Optional terms mixed with others are refused: AWS ignores
//!   the optional ones then.
//! - **JSON**: `{ $.a.b = "x*" && ($.n > 3 || $.list[*] != 1) }`, `IS NULL`, `IS TRUE`, `IS FALSE`, `EXISTS`, `NOT EXISTS`.
//!   Messages that are not JSON objects or arrays never match; a comparison with a property that is not there is false, `!=` too.
//! - **Fields**: `[ip, user, status = 4*, ...]`: the message split at spaces, `"…"` and `[…]` being one field.
//!
//! What is not understood is [`Refused`] with its reason, never ignored. Regular expressions run in linear time and are
//! bounded in size; nesting is bounded; a pattern has at most [`LENGTH_MAX`] characters.

mod compare;
mod cursor;
mod fields;
mod json;
mod terms;

/// Characters in a pattern. Source: API reference, `FilterPattern`.
pub const LENGTH_MAX: usize = 1_024;
/// Depth of parentheses; Neap's own bound.
const DEPTH_MAX: usize = 32;

/// Selects log messages.
#[derive(Debug)]
pub struct Pattern(Form);

#[derive(Debug)]
enum Form {
    All,
    Terms(terms::Terms),
    Json(json::Json),
    Fields(fields::Fields),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern: {0}")]
pub struct Refused(String);

impl Refused {
    fn new(reason: impl Into<String>) -> Refused {
        Refused(reason.into())
    }
}

impl Pattern {
    /// Matches every message.
    pub const ALL: Pattern = Pattern(Form::All);

    /// Understands `text`; an empty one matches everything.
    pub fn parse(text: &str) -> Result<Pattern, Refused> {
        if text.chars().count() > LENGTH_MAX {
            return Err(Refused::new(format!("longer than {LENGTH_MAX} characters")));
        }
        let text = text.trim();
        Ok(Pattern(match text.chars().next() {
            None => Form::All,
            Some('{') => Form::Json(json::Json::parse(text)?),
            Some('[') => Form::Fields(fields::Fields::parse(text)?),
            Some(_) => Form::Terms(terms::Terms::parse(text)?),
        }))
    }

    /// Whether `message` is selected.
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Form::All => true,
            Form::Terms(terms) => terms.matches(message),
            Form::Json(json) => json.matches(message),
            Form::Fields(fields) => fields.matches(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, hits: &[&str], misses: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap();
        for message in hits {
            assert!(parsed.matches(message), "{pattern} should match {message}");
        }
        for message in misses {
            assert!(!parsed.matches(message), "{pattern} should not match {message}");
        }
    }

    #[test]
    fn terms_are_all_needed_and_exclusions_forbid() {
        check("", &["", "anything"], &[]);
        check("ERROR", &["[ERROR] x", "ERROR", "an ERROR 400"], &["error", "ERR"]);
        check("ERROR ARGUMENTS", &["ERROR INVALID ARGUMENTS", "ARGUMENTS ERROR"], &["ERROR", "ARGUMENTS"]);
        check("\"INTERNAL SERVER ERROR\"", &["[ERROR 500] INTERNAL SERVER ERROR"], &["INTERNAL ERROR"]);
        check("ERROR -ARGUMENTS", &["ERROR x"], &["ERROR ARGUMENTS", "x"]);
        check("-\"a b\"", &["a", "ab"], &["x a b"]);
        check("?ERROR ?WARN", &["ERROR", "a WARN"], &["INFO"]);
        check(r#""say \"hi\" \\""#, &[r#"say "hi" \"#], &["say hi"]);
        check("Task timed out", &["2026 Task timed out after 3.00 seconds"], &["Task done"]);
        check(
            "c5a0b9f0-1111-4222-8333-123456789012",
            &["START RequestId: c5a0b9f0-1111-4222-8333-123456789012"],
            &[""],
        );
    }

    #[test]
    fn regular_expressions_stand_for_terms() {
        check("%AUTHORI[SZ]ED%", &["UNAUTHORIZED", "AUTHORISED"], &["AUTHOR"]);
        check("ERROR -%5[0-9]{2}%", &["ERROR 404"], &["ERROR 503"]);
        check("?%^a% ?z", &["ab", "bz"], &["ba"]);
    }

    #[test]
    fn json_patterns_compare_properties() {
        let event = r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","n":4,"big":9007199254740993,
            "arrayKey":["value","another value"],"objectList":[{"name":"a","id":1},{"name":"b","id":2}],
            "SomeObject":null,"ThisFlag":true,"cluster.name":"c","x-y_z":"é"}"#;
        let hit = |pattern: &str| check(pattern, &[event], &["", "not json", "{\"other\":1}", "[]"]);
        hit("{ $.eventType = \"UpdateTrail\" }");
        hit("{ $.eventType = UpdateTrail }");
        hit("{ $.eventType = \"Update*\" }");
        hit("{$.eventType=%Trail$%}");
        hit("{ $.sourceIPAddress != 123.123.* }");
        hit("{ $.arrayKey[0] = \"value\" }");
        hit("{ $.arrayKey[*] = \"another *\" }");
        hit("{ $.objectList[1].id = 2 }");
        hit("{ $.objectList[*].id >= 2 }");
        hit("{ $.SomeObject IS NULL }");
        hit("{ $.ThisFlag IS TRUE }");
        hit("{ $.n > 3 && $.n <= 4 && $.n != 5 }");
        hit("{ $.n = 4e0 }");
        hit("{ $.big = 9007199254740993 }");
        hit("{ ($.n = 1 || $.n = 4) && $.ThisFlag EXISTS }");
        hit("{ $['cluster.name'] = c }");
        hit("{ $.[\"cluster.name\"] = \"c\" }");
        hit("{ $.x-y_z = \"é\" }");
        let miss = |pattern: &str| check(pattern, &[], &[event]);
        miss("{ $.big = 9007199254740992 }");
        miss("{ $.n = \"4\" }");
        miss("{ $.missing != 1 }");
        miss("{ $.missing IS NULL }");
        miss("{ $.ThisFlag IS FALSE }");
        miss("{ $.n < 4 }");
        miss("{ $.n = 1 && $.n = 4 || $.n = 2 }");
        check("{ $.missing NOT EXISTS }", &[event, "{}"], &["{\"missing\":null}", "text"]);
        check(
            "{ $.level = error }",
            &["{\"level\":\"error\"}", " {\"level\":\"error\"}\n"],
            &["{\"level\":\"errors\"}"],
        );
        check("{ $[0] = 1 }", &["[1]"], &["{}"]);
        check("{ $.status = 4* }", &["{\"status\":404}", "{\"status\":\"4xx\"}"], &["{\"status\":500}"]);
    }

    #[test]
    fn field_patterns_count_and_compare_fields() {
        let line = "127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" 404 1534";
        let hit = |pattern: &str| check(pattern, &[line], &[]);
        hit("[ip, id, user, timestamp, request, status_code, bytes]");
        hit("[ip, id, user, timestamp, request, status_code = 404, bytes]");
        hit("[ip, id, user, timestamp, request = *html*, status_code = 4*, bytes > 1000]");
        hit("[..., status_code = 404 || status_code = 410, bytes]");
        hit("[ip, ..., bytes=1534]");
        hit("[ip=%^127\\.%, ...]");
        hit("[ip, id, user, timestamp = \"10/Oct*\", ...]");
        hit("[...]");
        let miss = |pattern: &str| check(pattern, &[], &[line]);
        miss("[ip, user]");
        miss("[..., status_code = 5*, bytes]");
        miss("[ip, id, user, timestamp, request, status_code > 404, bytes]");
        check("[w1=ERROR, w2]", &["ERROR x"], &["WARN x", "ERROR", "ERROR x y"]);
        check("[w1!=ERROR && w1!=WARN, ...]", &["INFO x", "INFO"], &["WARN x", "ERROR x"]);
        check("[level=ERROR, ...]", &["ERROR disk full", "ERROR"], &["INFO ERROR"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_reason() {
        for (pattern, word) in [
            ("?a b", "optional"),
            ("a && b", "'&&'"),
            ("\"open", "not closed"),
            ("%[%", "regular expression"),
            ("(a)", "'(a)'"),
            ("-", "no term"),
            ("{ $.a }", "operator"),
            ("{ $.a = }", "value"),
            ("{ a = 1 }", "$"),
            ("{ $.a = 1", "not closed"),
            ("{ $.a = 1 } x", "after"),
            ("{ $.a > \"x\" }", "number"),
            ("{ $.a IS EMPTY }", "EMPTY"),
            ("{ $.a[*].b[*] = 1 }", "wildcard"),
            ("{ !$.a = 1 }", "$"),
            ("[a, b", "not closed"),
            ("[a, ..., b, ...]", "..."),
            ("[a, , b]", "name"),
            ("[a = 1 && b = 2]", "b"),
            ("{}", "$"),
        ] {
            let refused = Pattern::parse(pattern).expect_err(pattern).to_string();
            assert!(refused.contains(word), "{pattern}: {refused}");
        }
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(100), ")".repeat(100));
        assert!(Pattern::parse(&deep).unwrap_err().to_string().contains("nested"));
        assert!(Pattern::parse(&"x".repeat(1_025)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(pattern in ".{0,80}", message in ".{0,80}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&message);
            }
        }

        #[test]
        fn no_syntax_makes_the_parser_panic(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", "(", ")", "$", ".", "a", "*", "\"", "%", "=", "!=", "<", ">=", "&&", "||", "IS",
                    "NULL", "NOT", "EXISTS", " ", "1", "-", "?", "...", ",", "\\", "'", "é",
                ]),
                0..24,
            ),
            message in "[\\[\\]{}a1\":, é]{0,40}",
        ) {
            if let Ok(pattern) = Pattern::parse(&pieces.concat()) {
                pattern.matches(&message);
            }
        }

        #[test]
        fn a_quoted_phrase_finds_itself(phrase in "[^\"\\\\%]{1,40}", before in ".{0,10}", after in ".{0,10}") {
            prop_assume!(!phrase.trim().is_empty());
            let pattern = Pattern::parse(&format!("\"{phrase}\"")).unwrap();
            let message = format!("{before}{phrase}{after}");
            prop_assert!(pattern.matches(&message));
        }
    }
}
