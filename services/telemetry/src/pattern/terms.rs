//! Patterns of terms: `ERROR "disk full" -retry`, `?a ?b`.

use super::{Refused, cursor::Cursor};
use regex::Regex;

#[derive(Debug, Default)]
pub(super) struct Terms {
    all: Vec<Term>,
    any: Vec<Term>,
    none: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Terms, Refused> {
        let mut terms = Terms::default();
        let mut cursor = Cursor::new(text);
        loop {
            cursor.space();
            if cursor.peek().is_none() {
                break;
            }
            let list = if cursor.eat("-") {
                &mut terms.none
            } else if cursor.eat("?") {
                &mut terms.any
            } else {
                &mut terms.all
            };
            list.push(Term::parse(&mut cursor)?);
        }
        let optional_only = terms.all.is_empty() && terms.none.is_empty();
        if !terms.any.is_empty() && !optional_only {
            return Err(Refused::new("optional terms (?x) cannot be combined with other terms"));
        }
        Ok(terms)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        self.all.iter().all(|term| term.within(message))
            && !self.none.iter().any(|term| term.within(message))
            && (self.any.is_empty() || self.any.iter().any(|term| term.within(message)))
    }
}

impl Term {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Term, Refused> {
        if cursor.eat("\"") {
            return Ok(Term::Text(cursor.quoted('"')?));
        }
        if cursor.eat("%") {
            return Ok(Term::Regex(cursor.regex()?));
        }
        let text = cursor.take_while(|c| !c.is_whitespace());
        // AWS wants quotes around everything that is not alphanumeric; what cannot mean anything else is taken here.
        let plain = |c: char| c.is_alphanumeric() || "_-./:@#+,;'~$=".contains(c);
        match text {
            "" => Err(Refused::new("no term after - or ?")),
            text if text.chars().all(plain) => Ok(Term::Text(text.to_owned())),
            text => Err(Refused::new(format!(
                "Invalid character(s) in term '{text}': enclose it in double quotation marks"
            ))),
        }
    }

    fn within(&self, message: &str) -> bool {
        match self {
            Term::Text(text) => message.contains(text.as_str()),
            Term::Regex(regex) => regex.is_match(message),
        }
    }
}
