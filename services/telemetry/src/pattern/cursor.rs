//! Reading a pattern from left to right.

use super::{DEPTH_MAX, Refused};
use regex::{Regex, RegexBuilder};

/// A compiled expression may take this many bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` if it comes next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the characters that `fits`.
    pub(super) fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// After an opening `quote`: the text up to the closing one, with `\` before any character standing for that character.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, Refused> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(Refused::new(format!("a {quote} is not closed")))
    }

    /// After an opening `%`: the expression up to the closing one; `\%` stands for a percent sign.
    pub(super) fn regex(&mut self) -> Result<Regex, Refused> {
        let mut source = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, '%')) => source.push('%'),
                    Some((_, escaped)) => source.extend(['\\', escaped]),
                    None => break,
                },
                '%' => {
                    self.rest = &self.rest[at + 1..];
                    return compile(&source);
                }
                c => source.push(c),
            }
        }
        Err(Refused::new("a %regular expression% is not closed"))
    }
}

fn compile(source: &str) -> Result<Regex, Refused> {
    if source.is_empty() {
        return Err(Refused::new("an empty regular expression"));
    }
    RegexBuilder::new(source)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| Refused::new(format!("regular expression %{source}%: {error}")))
}

/// Conditions joined by `&&` and `||`; `&&` binds tighter.
#[derive(Debug)]
pub(super) enum Expression<C> {
    Is(C),
    All(Vec<Expression<C>>),
    Any(Vec<Expression<C>>),
}

impl<C> Expression<C> {
    /// Reads an expression whose conditions `condition` reads; stops at what cannot continue it.
    pub(super) fn parse(
        cursor: &mut Cursor<'_>,
        condition: &mut dyn FnMut(&mut Cursor<'_>) -> Result<C, Refused>,
    ) -> Result<Expression<C>, Refused> {
        Expression::any(cursor, condition, 0)
    }

    fn any(
        cursor: &mut Cursor<'_>,
        condition: &mut dyn FnMut(&mut Cursor<'_>) -> Result<C, Refused>,
        depth: usize,
    ) -> Result<Expression<C>, Refused> {
        if depth > DEPTH_MAX {
            return Err(Refused::new(format!("parentheses nested deeper than {DEPTH_MAX}")));
        }
        let mut parts = vec![Expression::all(cursor, condition, depth)?];
        while cursor.eat("||") {
            parts.push(Expression::all(cursor, condition, depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(
        cursor: &mut Cursor<'_>,
        condition: &mut dyn FnMut(&mut Cursor<'_>) -> Result<C, Refused>,
        depth: usize,
    ) -> Result<Expression<C>, Refused> {
        let mut parts = vec![Expression::one(cursor, condition, depth)?];
        while cursor.eat("&&") {
            parts.push(Expression::one(cursor, condition, depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(
        cursor: &mut Cursor<'_>,
        condition: &mut dyn FnMut(&mut Cursor<'_>) -> Result<C, Refused>,
        depth: usize,
    ) -> Result<Expression<C>, Refused> {
        cursor.space();
        let one = if cursor.eat("(") {
            let inner = Expression::any(cursor, condition, depth + 1)?;
            if !cursor.eat(")") {
                return Err(Refused::new("a ( is not closed"));
            }
            inner
        } else {
            Expression::Is(condition(cursor)?)
        };
        cursor.space();
        Ok(one)
    }

    pub(super) fn holds(&self, test: &impl Fn(&C) -> bool) -> bool {
        match self {
            Expression::Is(condition) => test(condition),
            Expression::All(parts) => parts.iter().all(|part| part.holds(test)),
            Expression::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }
}
