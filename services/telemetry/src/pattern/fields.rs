//! Patterns of space-delimited fields: `[ip, user, status = 4*, ...]`.

use super::{
    Refused,
    compare::{Scalar, Test, shortened},
    cursor::{Cursor, Expression},
};

/// Fields before and, if there is `...`, after the part that can be of any length.
#[derive(Debug)]
pub(super) struct Fields {
    before: Vec<Field>,
    after: Option<Vec<Field>>,
}

/// What one field must fulfil; `None`: anything.
type Field = Option<Expression<Test>>;

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Fields, Refused> {
        let mut cursor = Cursor::new(text);
        cursor.eat("[");
        let mut fields = Fields { before: Vec::new(), after: None };
        loop {
            cursor.space();
            if cursor.eat("...") {
                if fields.after.replace(Vec::new()).is_some() {
                    return Err(Refused::new("... stands for any number of fields and is allowed once"));
                }
            } else {
                let field = field(&mut cursor)?;
                fields.after.as_mut().unwrap_or(&mut fields.before).push(field);
            }
            cursor.space();
            if cursor.eat(",") {
                continue;
            }
            if cursor.eat("]") {
                break;
            }
            return Err(Refused::new(format!(
                "a [ is not closed, or '{}' is not understood",
                shortened(cursor.rest())
            )));
        }
        if !cursor.rest().trim().is_empty() {
            return Err(Refused::new(format!("'{}' after the closing ]", shortened(cursor.rest().trim()))));
        }
        Ok(fields)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let texts = split(message);
        let fits = |fields: &[Field], texts: &[&str]| {
            fields.iter().zip(texts).all(|(field, text)| match field {
                Some(expression) => expression.holds(&|test: &Test| test.holds(Scalar::Text(text))),
                None => true,
            })
        };
        match &self.after {
            None => texts.len() == self.before.len() && fits(&self.before, &texts),
            Some(after) => match texts.len().checked_sub(after.len()) {
                Some(tail) if tail >= self.before.len() => {
                    fits(&self.before, &texts) && fits(after, &texts[tail..])
                }
                _ => false,
            },
        }
    }
}

/// `name`, or conditions on `name`.
fn field(cursor: &mut Cursor<'_>) -> Result<Field, Refused> {
    let is_name = |c: char| c.is_alphanumeric() || "_-$.".contains(c);
    // Looks ahead: a name and nothing more.
    let mut ahead = Cursor::new(cursor.rest());
    let name = ahead.take_while(is_name);
    ahead.space();
    if !name.is_empty() && matches!(ahead.peek(), None | Some(',' | ']')) {
        cursor.eat(name);
        return Ok(None);
    }
    let mut own: Option<String> = None;
    let mut condition = |cursor: &mut Cursor<'_>| {
        let name = cursor.take_while(is_name);
        if name.is_empty() {
            return Err(Refused::new(format!(
                "a field's name is missing before '{}'",
                shortened(cursor.rest())
            )));
        }
        match &own {
            Some(own) if own != name => {
                return Err(Refused::new(format!("a condition on field {name} within field {own}")));
            }
            Some(_) => {}
            None => own = Some(name.to_owned()),
        }
        Test::parse(cursor, &[',', ']'])
    };
    Expression::parse(cursor, &mut condition).map(Some)
}

/// Splits at spaces; `"…"` and `[…]` are one field each, without their delimiters.
fn split(message: &str) -> Vec<&str> {
    let mut texts = Vec::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => rest[1..].find('"'),
            '[' => rest[1..].find(']'),
            _ => None,
        };
        let text = match close {
            Some(end) => {
                let text = &rest[1..1 + end];
                rest = &rest[end + 2..];
                text
            }
            None => {
                let (text, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
                rest = after;
                text
            }
        };
        texts.push(text);
        rest = rest.trim_start();
    }
    texts
}
