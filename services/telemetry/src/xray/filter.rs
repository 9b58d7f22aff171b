//! Filter expressions of GetTraceSummaries, as far as they are commonly used. Pure.
//!
//! ```text
//! any     = all { "OR" all }
//! all     = one { "AND" one }
//! one     = ("!" | "NOT") one | "(" any ")" | test
//! test    = truth [("=" | "!=") ("true" | "false")]
//!         | number ("=" | "!=" | "<" | "<=" | ">" | ">=") decimal
//!         | text ("=" | "!=" | "BEGINSWITH" | "ENDSWITH" | "CONTAINS") string
//!         | annotation [operator value]
//!         | "service" "(" [string | id] ")" ["{" any "}"] | id
//! id      = "id" "(" part { "," part } ")"      part = ("name" | "type" | "account.id") ":" string
//! annotation = "annotation." key | "annotation[" key "]"
//! ```
//! Source: X-Ray developer guide, "Use filter expressions". What else it has (`edge`, groups, `json`) is refused by its name.

/// The longest expression.
const LENGTH_MAX: usize = 2_000;
/// Parentheses and braces within each other.
const DEPTH_MAX: usize = 32;

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Filter {
    /// Every one of them.
    All(Vec<Filter>),
    /// One of them.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// A flag is set.
    Truth(Truth),
    /// A number compares so.
    Number(Number, Compare, f64),
    /// A text compares so.
    Text(Text, Match, String),
    /// There is an annotation, with such a value if one is named.
    Annotation(String, Option<Value>),
    /// A service took part, and of it alone this holds.
    Service(Id, Option<Box<Filter>>),
}

/// Flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Truth {
    Ok,
    Error,
    Fault,
    Throttle,
    Partial,
}

/// Numbers; durations in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Number {
    ResponseTime,
    Duration,
    HttpStatus,
}

/// Texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Text {
    HttpUrl,
    HttpMethod,
    HttpUserAgent,
    HttpClientIp,
    User,
    Name,
    ResourceArn,
}

/// How numbers compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// How texts compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Match {
    Equal,
    Unequal,
    Begins,
    Ends,
    Contains,
}

/// A value of an annotation.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Number(Compare, f64),
    Text(Match, String),
    Truth(bool),
}

/// A service; what is `None` may be anything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct Id {
    pub name: Option<String>,
    pub kind: Option<String>,
    pub account: Option<String>,
}

impl Compare {
    /// Whether `left` compares so to `right`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Compare::Equal => left == right,
            Compare::Unequal => left != right,
            Compare::Less => left < right,
            Compare::AtMost => left <= right,
            Compare::More => left > right,
            Compare::AtLeast => left >= right,
        }
    }
}

impl Match {
    /// Whether `text` is so by `part`.
    pub fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Match::Equal => text == part,
            Match::Unequal => text != part,
            Match::Begins => text.starts_with(part),
            Match::Ends => text.ends_with(part),
            Match::Contains => text.contains(part),
        }
    }
}

/// Why an expression is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It is too long.
    #[error("it has {0} bytes, more than {LENGTH_MAX}")]
    TooLong(usize),
    /// It is nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// It breaks the grammar.
    #[error("at byte {at} there must be {wanted}")]
    Wanted {
        /// Where.
        at: usize,
        /// What.
        wanted: &'static str,
    },
    /// A word that is not carried out.
    #[error("{0} is not supported by Neap")]
    Unsupported(String),
}

/// Reads an expression.
///
/// # Errors
/// It is none, or one that is not carried out; which part and why.
pub fn parse(text: &str) -> Result<Filter, Refused> {
    if text.len() > LENGTH_MAX {
        return Err(Refused::TooLong(text.len()));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let filter = reader.any()?;
    reader.blank();
    if reader.at < text.len() {
        return Err(reader.wanted("AND, OR or the end"));
    }
    Ok(filter)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn wanted(&self, wanted: &'static str) -> Refused {
        Refused::Wanted { at: self.at, wanted }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a sign.
    fn sign(&mut self, sign: &str) -> bool {
        self.blank();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// The word that comes next.
    fn peek(&mut self) -> &'a str {
        self.blank();
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Takes a word in either case.
    fn word(&mut self, word: &str) -> bool {
        let next = self.peek();
        let found = next.eq_ignore_ascii_case(word);
        if found {
            self.at += next.len();
        }
        found
    }

    fn need(&mut self, sign: &'static str) -> Result<(), Refused> {
        if self.sign(sign) { Ok(()) } else { Err(self.wanted(sign)) }
    }

    /// One level deeper.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refused::TooDeep);
        }
        let found = read(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn any(&mut self) -> Result<Filter, Refused> {
        let mut all = vec![self.all()?];
        while self.word("OR") {
            all.push(self.all()?);
        }
        Ok(single(all, Filter::Any))
    }

    fn all(&mut self) -> Result<Filter, Refused> {
        let mut all = vec![self.one()?];
        while self.word("AND") {
            all.push(self.one()?);
        }
        Ok(single(all, Filter::All))
    }

    fn one(&mut self) -> Result<Filter, Refused> {
        self.blank();
        let denied = !self.rest().starts_with("!=") && self.sign("!");
        if denied || self.word("NOT") {
            return self.within(|reader| Ok(Filter::Not(Box::new(reader.one()?))));
        }
        if self.sign("(") {
            let filter = self.within(Self::any)?;
            self.need(")")?;
            return Ok(filter);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Filter, Refused> {
        let word = self.peek();
        let from = self.at;
        self.at += word.len();
        let lower = word.to_ascii_lowercase();
        let number = |number| (Some(number), None, None);
        let text = |text| (None, Some(text), None);
        let truth = |truth| (None, None, Some(truth));
        let (number, text, truth) = match lower.as_str() {
            "responsetime" => number(Number::ResponseTime),
            "duration" => number(Number::Duration),
            "http.status" => number(Number::HttpStatus),
            "http.url" => text(Text::HttpUrl),
            "http.method" => text(Text::HttpMethod),
            "http.useragent" => text(Text::HttpUserAgent),
            "http.clientip" => text(Text::HttpClientIp),
            "user" => text(Text::User),
            "name" => text(Text::Name),
            "resource.arn" => text(Text::ResourceArn),
            "ok" => truth(Truth::Ok),
            "error" => truth(Truth::Error),
            "fault" => truth(Truth::Fault),
            "throttle" => truth(Truth::Throttle),
            "partial" => truth(Truth::Partial),
            "service" => return self.service(),
            "id" => return Ok(Filter::Service(self.id()?, None)),
            "annotation" => {
                self.need("[")?;
                let rest = self.rest();
                let end = rest.find(']').ok_or_else(|| self.wanted("]"))?;
                let key = rest.get(..end).unwrap_or_default().trim().trim_matches('"').to_owned();
                self.at += end + 1;
                return self.annotation(key);
            }
            "" => {
                self.at = from;
                return Err(self.wanted("a keyword"));
            }
            // Keys keep their case.
            _ => match word.get(..11).filter(|start| start.eq_ignore_ascii_case("annotation.")) {
                Some(_) => return self.annotation(word.get(11..).unwrap_or_default().to_owned()),
                None => return Err(Refused::Unsupported(word.to_owned())),
            },
        };
        if let Some(number) = number {
            let compare = self.compare().ok_or_else(|| self.wanted("=, !=, <, <=, > or >="))?;
            return Ok(Filter::Number(number, compare, self.decimal()?));
        }
        if let Some(text) = text {
            let how =
                self.matching().ok_or_else(|| self.wanted("=, !=, BEGINSWITH, ENDSWITH or CONTAINS"))?;
            return Ok(Filter::Text(text, how, self.string()?));
        }
        let Some(truth) = truth else { return Err(self.wanted("a keyword")) };
        let test = Filter::Truth(truth);
        let wanted = if self.sign("!=") {
            !self.truth()?
        } else if self.sign("=") {
            self.truth()?
        } else {
            true
        };
        Ok(if wanted { test } else { Filter::Not(Box::new(test)) })
    }

    fn compare(&mut self) -> Option<Compare> {
        let signs = [
            ("!=", Compare::Unequal),
            ("<=", Compare::AtMost),
            (">=", Compare::AtLeast),
            ("=", Compare::Equal),
            ("<", Compare::Less),
            (">", Compare::More),
        ];
        signs.into_iter().find(|(sign, _)| self.sign(sign)).map(|(_, compare)| compare)
    }

    fn matching(&mut self) -> Option<Match> {
        if self.sign("!=") {
            return Some(Match::Unequal);
        }
        if self.sign("=") {
            return Some(Match::Equal);
        }
        let words = [("BEGINSWITH", Match::Begins), ("ENDSWITH", Match::Ends), ("CONTAINS", Match::Contains)];
        words.into_iter().find(|(word, _)| self.word(word)).map(|(_, how)| how)
    }

    fn truth(&mut self) -> Result<bool, Refused> {
        self.maybe_truth().ok_or_else(|| self.wanted("true or false"))
    }

    fn maybe_truth(&mut self) -> Option<bool> {
        if self.word("true") {
            return Some(true);
        }
        self.word("false").then_some(false)
    }

    fn decimal(&mut self) -> Result<f64, Refused> {
        let word = self.peek();
        let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.wanted("a number"))?;
        self.at += word.len();
        Ok(number)
    }

    /// In double quotes; a backslash takes the next letter as it is.
    fn string(&mut self) -> Result<String, Refused> {
        if !self.sign("\"") {
            return Err(self.wanted("a text in double quotes"));
        }
        let (mut text, mut escaped) = (String::new(), false);
        for (index, letter) in self.rest().char_indices() {
            match letter {
                '"' if !escaped => {
                    self.at += index + 1;
                    return Ok(text);
                }
                '\\' if !escaped => escaped = true,
                _ => {
                    text.push(letter);
                    escaped = false;
                }
            }
        }
        Err(self.wanted("the end of a text in double quotes"))
    }

    fn annotation(&mut self, key: String) -> Result<Filter, Refused> {
        if key.is_empty() {
            return Err(self.wanted("an annotation's key"));
        }
        let before = self.at;
        if let Some(how) = self.matching() {
            self.blank();
            if self.rest().starts_with('"') {
                return Ok(Filter::Annotation(key, Some(Value::Text(how, self.string()?))));
            }
            match (how, self.maybe_truth()) {
                (Match::Equal, Some(wanted)) => {
                    return Ok(Filter::Annotation(key, Some(Value::Truth(wanted))));
                }
                (Match::Unequal, Some(wanted)) => {
                    return Ok(Filter::Annotation(key, Some(Value::Truth(!wanted))));
                }
                (Match::Equal | Match::Unequal, None) => self.at = before,
                (Match::Begins | Match::Ends | Match::Contains, _) => {
                    return Err(self.wanted("a text in double quotes"));
                }
            }
        }
        Ok(match self.compare() {
            Some(compare) => Filter::Annotation(key, Some(Value::Number(compare, self.decimal()?))),
            None => Filter::Annotation(key, None),
        })
    }

    fn service(&mut self) -> Result<Filter, Refused> {
        self.need("(")?;
        let id = if self.sign(")") {
            Id::default()
        } else {
            let id = match self.word("id") {
                true => self.id()?,
                false => Id { name: Some(self.string()?), ..Id::default() },
            };
            self.need(")")?;
            id
        };
        let inside = match self.sign("{") {
            true => {
                let filter = self.within(Self::any)?;
                self.need("}")?;
                Some(Box::new(filter))
            }
            false => None,
        };
        Ok(Filter::Service(id, inside))
    }

    /// Behind the word.
    fn id(&mut self) -> Result<Id, Refused> {
        self.need("(")?;
        let mut id = Id::default();
        loop {
            let part = match () {
                () if self.word("name") => &mut id.name,
                () if self.word("type") => &mut id.kind,
                () if self.word("account.id") => &mut id.account,
                () => return Err(self.wanted("name, type or account.id")),
            };
            self.need(":")?;
            *part = Some(self.string()?);
            if !self.sign(",") {
                self.need(")")?;
                return Ok(id);
            }
        }
    }
}

/// One of one is that one.
fn single(mut all: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match (all.len(), all.pop()) {
        (1, Some(one)) => one,
        (_, last) => {
            all.extend(last);
            join(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn expressions_are_read_as_they_bind() {
        let fault = || Filter::Truth(Truth::Fault);
        let slow = || Filter::Number(Number::ResponseTime, Compare::More, 5.0);
        assert_eq!(parse("fault").unwrap(), fault());
        assert_eq!(parse(" responsetime>5 ").unwrap(), slow());
        for denied in ["!fault", "NOT fault", "fault = false", "fault != true", "! ( fault )"] {
            assert_eq!(parse(denied).unwrap(), Filter::Not(Box::new(fault())), "{denied}");
        }
        let both = Filter::All(vec![slow(), fault()]);
        assert_eq!(parse("responsetime > 5 AND fault").unwrap(), both);
        let error = || Filter::Truth(Truth::Error);
        assert_eq!(parse("error or responsetime > 5 and fault").unwrap(), Filter::Any(vec![error(), both]));
        let either = Filter::Any(vec![error(), slow()]);
        assert_eq!(
            parse("(error OR responsetime > 5) AND fault").unwrap(),
            Filter::All(vec![either, fault()])
        );
        let url = Filter::Text(Text::HttpUrl, Match::Contains, "/a \"b\"".into());
        assert_eq!(parse(r#"http.url CONTAINS "/a \"b\"""#).unwrap(), url);
    }

    #[test]
    fn annotations_and_services_are_read_in_every_form() {
        let age = |value| Filter::Annotation("Age".into(), value);
        for form in ["annotation.Age", "annotation[Age]", r#"annotation["Age"]"#, "Annotation[ Age ]"] {
            assert_eq!(parse(form).unwrap(), age(None), "{form}");
            let number = Value::Number(Compare::AtLeast, 2.5);
            assert_eq!(parse(&format!("{form} >= 2.5")).unwrap(), age(Some(number)), "{form}");
        }
        let text = Value::Text(Match::Begins, "x".into());
        assert_eq!(parse(r#"annotation.Age BEGINSWITH "x""#).unwrap(), age(Some(text)));
        assert_eq!(parse("annotation.Age != true").unwrap(), age(Some(Value::Truth(false))));
        assert_eq!(parse("annotation.Age != 3").unwrap(), age(Some(Value::Number(Compare::Unequal, 3.0))));
        let shop = Id { name: Some("shop".into()), ..Id::default() };
        let inside = Some(Box::new(Filter::Truth(Truth::Fault)));
        assert_eq!(parse(r#"service("shop") { fault }"#).unwrap(), Filter::Service(shop.clone(), inside));
        let typed = Id { kind: Some("AWS::Lambda".into()), ..shop };
        let form = r#"id(name: "shop", type: "AWS::Lambda")"#;
        assert_eq!(parse(form).unwrap(), Filter::Service(typed.clone(), None));
        assert_eq!(parse(&format!("service({form})")).unwrap(), Filter::Service(typed, None));
        assert_eq!(parse("service()").unwrap(), Filter::Service(Id::default(), None));
    }

    #[test]
    fn what_is_not_carried_out_is_named_and_what_is_wrong_is_shown() {
        assert_eq!(refused(r#"edge("a", "b")"#), "edge is not supported by Neap");
        assert_eq!(refused("fault AND group.name = \"x\""), "group.name is not supported by Neap");
        assert_eq!(refused("responsetime > "), "at byte 15 there must be a number");
        assert_eq!(refused("responsetime"), "at byte 12 there must be =, !=, <, <=, > or >=");
        assert_eq!(refused("http.url = x"), "at byte 11 there must be a text in double quotes");
        assert_eq!(refused("(fault"), "at byte 6 there must be )");
        assert_eq!(refused("fault fault"), "at byte 6 there must be AND, OR or the end");
        assert_eq!(refused("fault = true false"), "at byte 13 there must be AND, OR or the end");
        for bad in
            ["", "AND", "http.url = \"x", "annotation[", "annotation.", "service(", "id()", "duration = nan"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse(&"(".repeat(1_000)), Err(Refused::TooDeep));
        assert_eq!(parse(&"!".repeat(1_000)), Err(Refused::TooDeep));
        assert_eq!(parse(&" ".repeat(2_001)), Err(Refused::TooLong(2_001)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", words in r#"((fault|!|NOT|\(|\)|AND|OR|annotation|\[|\]|a|service|\{|\}|id|name|:|,|=|<|>|"|duration|5|\.) ?){0,20}"#) {
            let _ = parse(&text);
            let _ = parse(&words);
        }
    }
}
