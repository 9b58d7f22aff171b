//! Patterns of JSON properties: `{ $.a.b = "x" && $.n > 3 }`.

use super::{
    Refused,
    compare::{Scalar, Test, shortened},
    cursor::{Cursor, Expression},
};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct Json(Expression<Condition>);

#[derive(Debug)]
struct Condition {
    path: Vec<Step>,
    test: Property,
}

/// One step of a selector.
#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
    /// `[*]` and `.*`; at most one in a selector, as in AWS.
    Every,
}

#[derive(Debug)]
enum Property {
    Exists,
    NotExists,
    Null,
    Truth(bool),
    Value(Test),
}

impl Json {
    pub(super) fn parse(text: &str) -> Result<Json, Refused> {
        let mut cursor = Cursor::new(text);
        cursor.eat("{");
        let expression = Expression::parse(&mut cursor, &mut Condition::parse)?;
        if !cursor.eat("}") {
            return Err(Refused::new(format!(
                "a {{ is not closed, or '{}' is not understood",
                shortened(cursor.rest())
            )));
        }
        if !cursor.rest().trim().is_empty() {
            return Err(Refused::new(format!("'{}' after the closing }}", shortened(cursor.rest().trim()))));
        }
        Ok(Json(expression))
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        // Spares parsing lines that cannot be documents.
        if !message.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(document) = serde_json::from_str::<Value>(message) else { return false };
        self.0.holds(&|condition: &Condition| condition.holds(&document))
    }
}

impl Condition {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Condition, Refused> {
        let path = selector(cursor)?;
        cursor.space();
        let test = if word(cursor, "NOT") {
            cursor.space();
            if !word(cursor, "EXISTS") {
                return Err(Refused::new(format!("NOT '{}': only NOT EXISTS is known", next_word(cursor))));
            }
            Property::NotExists
        } else if word(cursor, "EXISTS") {
            Property::Exists
        } else if word(cursor, "IS") {
            cursor.space();
            match next_word(cursor).to_ascii_uppercase().as_str() {
                "NULL" => Property::Null,
                "TRUE" => Property::Truth(true),
                "FALSE" => Property::Truth(false),
                other => {
                    return Err(Refused::new(format!("IS '{other}': only NULL, TRUE and FALSE are known")));
                }
            }
        } else {
            Property::Value(Test::parse(cursor, &[])?)
        };
        Ok(Condition { path, test })
    }

    fn holds(&self, document: &Value) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| some(document, &self.path, test);
        match &self.test {
            Property::Exists => any(&|_| true),
            Property::NotExists => !any(&|_| true),
            Property::Null => any(&Value::is_null),
            Property::Truth(truth) => any(&|value| value.as_bool() == Some(*truth)),
            Property::Value(test) => any(&|value| match value {
                Value::Null => test.holds(Scalar::Null),
                Value::Bool(truth) => test.holds(Scalar::Bool(*truth)),
                Value::Number(number) => test.holds(Scalar::Number(number)),
                Value::String(text) => test.holds(Scalar::Text(text)),
                Value::Array(_) | Value::Object(_) => false,
            }),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn next_word<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    cursor.take_while(is_word)
}

/// Takes `keyword`, in any case, if it is the next whole word.
fn word(cursor: &mut Cursor<'_>, keyword: &str) -> bool {
    let rest = cursor.rest();
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let is = rest[..end].eq_ignore_ascii_case(keyword);
    is && cursor.eat(&rest[..end])
}

/// `$`, then steps `.name`, `[3]`, `[*]`, `.*`, `['name']`, `["name"]` (a point before a bracket is allowed).
fn selector(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, Refused> {
    if !cursor.eat("$") {
        return Err(Refused::new(format!("a selector begins with $, not '{}'", shortened(cursor.rest()))));
    }
    let mut path = Vec::new();
    loop {
        if cursor.eat("[") || cursor.eat(".[") {
            path.push(bracket(cursor)?);
            if !cursor.eat("]") {
                return Err(Refused::new("a [ is not closed in a selector"));
            }
        } else if cursor.eat(".*") {
            path.push(Step::Every);
        } else if cursor.eat(".") {
            let name = cursor.take_while(|c| c.is_alphanumeric() || "_-".contains(c));
            if name.is_empty() {
                return Err(Refused::new(format!(
                    "a property name is missing before '{}'",
                    shortened(cursor.rest())
                )));
            }
            path.push(Step::Member(name.to_owned()));
        } else {
            break;
        }
    }
    if path.iter().filter(|step| matches!(step, Step::Every)).count() > 1 {
        return Err(Refused::new("a selector has at most one wildcard"));
    }
    Ok(path)
}

fn bracket(cursor: &mut Cursor<'_>) -> Result<Step, Refused> {
    if cursor.eat("*") {
        return Ok(Step::Every);
    }
    for quote in ['"', '\''] {
        if cursor.eat(quote.encode_utf8(&mut [0; 4])) {
            return Ok(Step::Member(cursor.quoted(quote)?));
        }
    }
    let index = cursor.take_while(|c| c.is_ascii_digit());
    index
        .parse()
        .map(Step::Element)
        .map_err(|_| Refused::new(format!("'[{}' is not an index", shortened(cursor.rest()))))
}

/// Whether `test` holds for some value that `path` selects.
fn some(value: &Value, path: &[Step], test: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, path)) = path.split_first() else { return test(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            members.get(name).is_some_and(|value| some(value, path, test))
        }
        (Step::Element(index), Value::Array(elements)) => {
            elements.get(*index).is_some_and(|value| some(value, path, test))
        }
        (Step::Every, Value::Array(elements)) => elements.iter().any(|value| some(value, path, test)),
        (Step::Every, Value::Object(members)) => members.values().any(|value| some(value, path, test)),
        _ => false,
    }
}
