//! The words of a query.

use super::{Malformed, malformed};

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A command, field, function or keyword.
    Word(String),
    /// A field in backticks.
    Field(String),
    Number(f64),
    /// A number with a unit: `5m`.
    Span(String),
    Text(String),
    Regex(String),
    Sign(&'static str),
}

impl Token {
    /// As messages show it.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(text) | Token::Field(text) | Token::Span(text) => text.chars().take(64).collect(),
            Token::Number(number) => number.to_string(),
            Token::Text(text) => format!("\"{}\"", text.chars().take(64).collect::<String>()),
            Token::Regex(text) => format!("/{}/", text.chars().take(64).collect::<String>()),
            Token::Sign(sign) => (*sign).to_owned(),
        }
    }
}

/// The commands that are carried out.
const COMMANDS: [&str; 8] = ["fields", "display", "filter", "parse", "stats", "sort", "limit", "dedup"];
/// The longer ones first.
const SIGNS: [&str; 20] =
    ["!=", "<=", ">=", "=~", "==", "=", "<", ">", "+", "-", "*", "/", "%", "^", "(", ")", "[", "]", ",", "|"];

/// Whether a character can begin, or go on in, the name of a field.
fn begins(c: char) -> bool {
    c.is_alphabetic() || c == '@' || c == '_' || c == '$'
}

fn goes_on(c: char) -> bool {
    c.is_alphanumeric() || "@_.$".contains(c)
}

/// Splits a query; comments from `#` to the end of a line are left out.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text.trim_start();
    // What the present command is called: in `parse`, a slash begins a regular expression.
    let mut command = String::new();
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
            continue;
        }
        let after = match found.last() {
            Some(Token::Word(word)) => word.eq_ignore_ascii_case("like"),
            Some(Token::Sign(sign)) => *sign == "=~",
            _ => false,
        };
        let (token, length) = if begins(first) {
            let length = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
            let word = rest.get(..length).unwrap_or_default().trim_end_matches('.');
            (Token::Word(word.to_owned()), word.len().max(1))
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first == '"' || first == '\'' || first == '`' {
            let (inner, length) = quoted(rest, first)?;
            (if first == '`' { Token::Field(inner) } else { Token::Text(inner) }, length)
        } else if first == '/' && (after || command == "parse") {
            let (inner, length) = regex(rest)?;
            (Token::Regex(inner), length)
        } else {
            match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return malformed(format!("'{first}' is not understood")),
            }
        };
        if matches!(found.last(), None | Some(Token::Sign("|")))
            && let Token::Word(word) = &token
        {
            command = word.to_ascii_lowercase();
            // Before its words, which need not be like those of the commands that are known.
            if !COMMANDS.contains(&command.as_str()) {
                return malformed(format!(
                    "the command {} is not supported by Neap; it has {}",
                    word.chars().take(64).collect::<String>(),
                    COMMANDS.join(", ")
                ));
            }
        }
        found.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(found)
}

fn number(rest: &str) -> Result<(Token, usize), Malformed> {
    let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let unit = rest.get(digits..).unwrap_or_default();
    let letters = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
    let text = rest.get(..digits + letters).unwrap_or_default();
    if letters > 0 {
        return Ok((Token::Span(text.to_owned()), text.len()));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Token::Number(number), text.len())),
        Ok(_) | Err(_) => {
            malformed(format!("'{}' is not a number", text.chars().take(64).collect::<String>()))
        }
    }
}

/// A text up to its closing quote; a backslash takes the quote and itself as they are.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), Malformed> {
    let mut inner = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Ok((inner, at + 1));
        }
        if letter == '\\' && quote != '`' {
            match letters.next() {
                Some((_, next)) if next == quote || next == '\\' => inner.push(next),
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, next)) => inner.extend(['\\', next]),
                None => break,
            }
            continue;
        }
        inner.push(letter);
    }
    malformed(format!("a {quote} is not closed"))
}

/// A regular expression up to its closing slash; `\/` is a slash.
fn regex(rest: &str) -> Result<(String, usize), Malformed> {
    let mut inner = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '/' => return Ok((inner, at + 1)),
            '\\' => match letters.next() {
                Some((_, '/')) => inner.push('/'),
                Some((_, next)) => inner.extend(['\\', next]),
                None => break,
            },
            letter => inner.push(letter),
        }
    }
    malformed("a regular expression is not closed with /")
}
