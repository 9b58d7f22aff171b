//! From words to commands.

use super::{
    DEPTH_MAX, Malformed, ROWS_MAX,
    expression::{AggregateKind, Aggregation, Comparison, Expression, Function, Pattern, Value},
    malformed,
    tokens::{Token, tokens},
};
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled regular expression.
const REGEX_BYTES: usize = 1 << 20;
/// Commands of one query; Neap's own bound.
const COMMANDS_MAX: usize = 64;

/// One command.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Fields(Vec<(Expression, String)>),
    Display(Vec<String>),
    Filter(Expression),
    Parse {
        field: String,
        regex: Regex,
        names: Vec<String>,
    },
    Stats {
        aggregations: Vec<Aggregation>,
        shown: Vec<(Expression, String)>,
        by: Vec<(Expression, String)>,
    },
    /// With `true`, descending.
    Sort(Vec<(Expression, bool)>),
    Limit(usize),
    Dedup(Vec<String>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Command>, Malformed> {
    let tokens = tokens(text)?;
    let mut commands = Vec::new();
    let mut parser = Parser { tokens, at: 0, depth: 0, aggregations: None };
    if parser.peek().is_none() {
        return malformed("the query is empty");
    }
    loop {
        commands.push(parser.command()?);
        if commands.len() > COMMANDS_MAX {
            return malformed(format!("the query has more than {COMMANDS_MAX} commands"));
        }
        if parser.peek().is_none() {
            break;
        }
        parser.expect("|")?;
    }
    let stats = commands.iter().filter(|command| matches!(command, Command::Stats { .. })).count();
    if stats > 2 {
        return malformed("a query has at most two stats commands");
    }
    Ok(commands)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Found so far in a `stats` command; `None` elsewhere, where they are not allowed.
    aggregations: Option<Vec<Aggregation>>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn sign(&mut self, wanted: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, wanted: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(is);
        is
    }

    fn unexpected<T>(&self) -> Result<T, Malformed> {
        match self.peek() {
            Some(token) => malformed(format!("unexpected symbol found {}", token.shown())),
            None => malformed("the query ends too early"),
        }
    }

    fn expect(&mut self, sign: &str) -> Result<(), Malformed> {
        if self.sign(sign) { Ok(()) } else { self.unexpected() }
    }

    fn command(&mut self) -> Result<Command, Malformed> {
        let Some(Token::Word(name)) = self.peek().cloned() else { return self.unexpected() };
        self.at += 1;
        match name.to_ascii_lowercase().as_str() {
            "fields" => Ok(Command::Fields(self.named_list()?)),
            "display" => {
                let shown = self.list(Parser::field)?;
                Ok(Command::Display(shown))
            }
            "filter" => Ok(Command::Filter(self.expression()?)),
            "parse" => self.parse_command(),
            "stats" => self.stats(),
            "sort" => {
                let keys = self.list(|parser| {
                    let key = parser.expression()?;
                    let descending = parser.word("desc");
                    if !descending {
                        parser.word("asc");
                    }
                    Ok((key, descending))
                })?;
                Ok(Command::Sort(keys))
            }
            "limit" => match self.next() {
                Some(Token::Number(count))
                    if (1.0..=ROWS_MAX as f64).contains(&count) && count.fract() == 0.0 =>
                {
                    Ok(Command::Limit(count as usize))
                }
                Some(token) => malformed(format!("limit takes 1 to {ROWS_MAX}, not {}", token.shown())),
                None => self.unexpected(),
            },
            "dedup" => Ok(Command::Dedup(self.list(Parser::field)?)),
            other => malformed(format!("unexpected symbol found {other}")),
        }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Parser) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let mut items = vec![item(self)?];
        while self.sign(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A field by its name, or an alias.
    fn field(&mut self) -> Result<String, Malformed> {
        match self.peek().cloned() {
            Some(Token::Word(name) | Token::Field(name)) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    /// Expressions, each named by its alias or as it was written.
    fn named_list(&mut self) -> Result<Vec<(Expression, String)>, Malformed> {
        self.list(|parser| {
            let from = parser.at;
            let expression = parser.expression()?;
            let written = written(parser.tokens.get(from..parser.at).unwrap_or_default());
            let name = if parser.word("as") { parser.field()? } else { written };
            Ok((expression, name))
        })
    }

    fn stats(&mut self) -> Result<Command, Malformed> {
        self.aggregations = Some(Vec::new());
        let shown = self.named_list();
        let aggregations = self.aggregations.take().unwrap_or_default();
        let shown = shown?;
        if aggregations.is_empty() {
            return malformed("stats needs an aggregate function, such as count(*)");
        }
        let by = if self.word("by") { self.named_list()? } else { Vec::new() };
        Ok(Command::Stats { aggregations, shown, by })
    }

    fn parse_command(&mut self) -> Result<Command, Malformed> {
        let field = match self.peek() {
            Some(Token::Text(_) | Token::Regex(_)) => "@message".to_owned(),
            _ => self.field()?,
        };
        match self.next() {
            Some(Token::Regex(text)) => {
                let regex = regex(&text)?;
                let mut names: Vec<String> = regex.capture_names().flatten().map(str::to_owned).collect();
                if self.word("as") {
                    // Names for the groups in their order, instead of names of their own.
                    let given = self.list(Parser::field)?;
                    if given.len() + 1 != regex.captures_len() {
                        return malformed(format!(
                            "parse has {} groups and {} names",
                            regex.captures_len() - 1,
                            given.len()
                        ));
                    }
                    names = given;
                }
                if names.is_empty() {
                    return malformed("parse needs a named group, such as (?<name>…)");
                }
                Ok(Command::Parse { field, regex, names })
            }
            Some(Token::Text(glob)) => {
                if !self.word("as") {
                    return self.unexpected();
                }
                let names = self.list(Parser::field)?;
                let stars = glob.matches('*').count();
                if stars != names.len() {
                    return malformed(format!("parse has {stars} wildcards and {} names", names.len()));
                }
                Ok(Command::Parse { field, regex: regex(&unglobbed(&glob))?, names })
            }
            Some(token) => malformed(format!("unexpected symbol found {}", token.shown())),
            None => self.unexpected(),
        }
    }

    fn expression(&mut self) -> Result<Expression, Malformed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return malformed(format!("the query is nested deeper than {DEPTH_MAX}"));
        }
        let first = self.conjunction()?;
        let mut any = Vec::new();
        while self.word("or") {
            any.push(self.conjunction()?);
        }
        self.depth -= 1;
        if any.is_empty() {
            return Ok(first);
        }
        any.insert(0, first);
        Ok(Expression::Or(any))
    }

    fn conjunction(&mut self) -> Result<Expression, Malformed> {
        let first = self.negation()?;
        let mut all = Vec::new();
        while self.word("and") {
            all.push(self.negation()?);
        }
        if all.is_empty() {
            return Ok(first);
        }
        all.insert(0, first);
        Ok(Expression::And(all))
    }

    fn negation(&mut self) -> Result<Expression, Malformed> {
        let mut negative = false;
        while self.word("not") {
            negative = !negative;
        }
        let inner = self.comparison()?;
        Ok(if negative { Expression::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expression, Malformed> {
        let left = self.sum()?;
        let table = [
            ("=", Comparison::Equal),
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<", Comparison::Less),
            ("<=", Comparison::AtMost),
            (">", Comparison::Greater),
            (">=", Comparison::AtLeast),
        ];
        for (sign, comparison) in table {
            if self.sign(sign) {
                return Ok(Expression::Compare(comparison, Box::new(left), Box::new(self.sum()?)));
            }
        }
        let from = self.at;
        let wanted = !self.word("not");
        if self.word("like") || wanted && self.sign("=~") {
            let pattern = match self.next() {
                Some(Token::Regex(text)) => Pattern::Regex(regex(&text)?),
                Some(Token::Text(text)) => Pattern::Part(text),
                Some(token) => return malformed(format!("like takes a text or /…/, not {}", token.shown())),
                None => return self.unexpected(),
            };
            return Ok(Expression::Like(Box::new(left), pattern, wanted));
        }
        if self.word("in") {
            self.expect("[")?;
            let list = self.list(Parser::sum)?;
            self.expect("]")?;
            return Ok(Expression::In(Box::new(left), list, wanted));
        }
        self.at = from;
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression, Malformed> {
        self.chain(&['+', '-'], Parser::product)
    }

    fn product(&mut self) -> Result<Expression, Malformed> {
        self.chain(&['*', '/', '%'], Parser::power)
    }

    fn power(&mut self) -> Result<Expression, Malformed> {
        self.chain(&['^'], Parser::unary)
    }

    fn chain(
        &mut self,
        signs: &[char],
        next: fn(&mut Parser) -> Result<Expression, Malformed>,
    ) -> Result<Expression, Malformed> {
        let first = next(self)?;
        let mut rest = Vec::new();
        while let Some(sign) = signs.iter().find(|sign| self.sign(sign.encode_utf8(&mut [0; 4]))) {
            rest.push((*sign, next(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Arithmetic(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Expression, Malformed> {
        let mut negative = false;
        while self.sign("-") {
            negative = !negative;
        }
        let inner = self.primary()?;
        Ok(if negative { Expression::Negative(Box::new(inner)) } else { inner })
    }

    fn primary(&mut self) -> Result<Expression, Malformed> {
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.at += 1;
                Ok(Expression::Value(Value::Number(number)))
            }
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(Expression::Value(Value::Text(text)))
            }
            Some(Token::Field(name)) => {
                self.at += 1;
                Ok(Expression::Field(name))
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Word(name)) => {
                self.at += 1;
                if self.sign("(") { self.call(&name) } else { Ok(Expression::Field(name)) }
            }
            Some(Token::Span(_) | Token::Regex(_) | Token::Sign(_)) | None => self.unexpected(),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, Malformed> {
        if name.eq_ignore_ascii_case("bin") {
            let ms = match self.next() {
                Some(Token::Span(text)) => span(&text)?,
                Some(token) => {
                    return malformed(format!("bin takes a time such as 5m, not {}", token.shown()));
                }
                None => return self.unexpected(),
            };
            self.expect(")")?;
            return Ok(Expression::Bin(ms));
        }
        if let Some(kind) = AggregateKind::named(name) {
            return self.aggregate(name, kind);
        }
        let function: Function = name.parse()?;
        let arguments = if self.sign(")") {
            Vec::new()
        } else {
            let arguments = self.list(Parser::expression)?;
            self.expect(")")?;
            arguments
        };
        if !function.takes(arguments.len()) {
            return malformed(format!("the function {name} does not take {} arguments", arguments.len()));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn aggregate(&mut self, name: &str, kind: AggregateKind) -> Result<Expression, Malformed> {
        // Taken out meanwhile: aggregate functions are not nested.
        let Some(mut known) = self.aggregations.take() else {
            return malformed(format!(
                "the aggregate function {name} is allowed in stats only, and not within another"
            ));
        };
        let of = if self.sign("*") || matches!(self.peek(), Some(Token::Sign(")"))) {
            if kind != AggregateKind::Count {
                return malformed(format!("the function {name} needs a field"));
            }
            None
        } else {
            Some(self.expression()?)
        };
        let kind = match kind {
            AggregateKind::Percentile(0.0) => {
                self.expect(",")?;
                match self.next() {
                    Some(Token::Number(percent)) if (0.0..=100.0).contains(&percent) => {
                        AggregateKind::Percentile(percent)
                    }
                    Some(token) => {
                        return malformed(format!("{name} takes a percentage, not {}", token.shown()));
                    }
                    None => return self.unexpected(),
                }
            }
            other => other,
        };
        self.expect(")")?;
        known.push(Aggregation { kind, of });
        let index = known.len() - 1;
        self.aggregations = Some(known);
        Ok(Expression::Aggregate(index))
    }
}

/// Words as they were written, without needless spaces: the name of a column.
fn written(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Sign(
                sign @ ("+" | "-" | "*" | "/" | "%" | "^" | "=" | "!=" | "<" | "<=" | ">" | ">="),
            ) if !text.ends_with('(') => {
                text.push_str(&format!(" {sign} "));
            }
            Token::Sign(sign) => text.push_str(sign),
            Token::Text(inner) => text.push_str(&format!("\"{inner}\"")),
            Token::Regex(inner) => text.push_str(&format!("/{inner}/")),
            Token::Number(number) => text.push_str(&number.to_string()),
            Token::Word(word) | Token::Field(word) | Token::Span(word) => {
                if text.ends_with(|c: char| c.is_alphanumeric()) {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
    }
    text
}

fn regex(text: &str) -> Result<Regex, Malformed> {
    RegexBuilder::new(text)
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|error| Malformed(format!("the regular expression is not understood: {error}")))
}

/// A text with wildcards as a regular expression with a group for each.
fn unglobbed(glob: &str) -> String {
    let mut parts = glob.split('*').map(regex::escape);
    let mut text = format!("(?s){}", parts.next().unwrap_or_default());
    let mut rest = parts.peekable();
    while let Some(part) = rest.next() {
        let last = rest.peek().is_none() && part.is_empty();
        text.push_str(if last { "(.*)" } else { "(.*?)" });
        text.push_str(&part);
    }
    text
}

/// `5m` and the like in milliseconds.
fn span(text: &str) -> Result<i64, Malformed> {
    let bad = || {
        Malformed(format!(
            "'{}' is not a time such as 30s, 5m, 1h or 1d",
            text.chars().take(64).collect::<String>()
        ))
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = text.split_at_checked(split).ok_or_else(bad)?;
    let number: i64 = number.parse().map_err(|_| bad())?;
    let unit = match unit {
        "ms" | "msec" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 7 * 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(unit).filter(|ms| (1..=366 * 86_400_000).contains(ms)).ok_or_else(bad)
}
