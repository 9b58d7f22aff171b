//! Event patterns: which JSON events somebody wants.
//!
//! The language that the filters of event source mappings and the rules of the event bus share: a pattern is a JSON object of the
//! event's shape whose leaves are arrays of what the value may be. All fields must match, of a leaf's array any.
//! Source: EventBridge user guide, "Event patterns" and "Comparison operators".
//!
//! Owns: parsing ([`Pattern::parse`]) and matching ([`Pattern::matches`]).
//! Must never know: where events come from, or what happens to those that match.
//!
//! # What counts
//! - A value that is an array matches when any of its elements does; arrays in arrays count as one.
//! - Fields of objects in an array must match in the same object.
//! - `exists` looks at leaves: an object, or an array with nothing in it, does not exist. `exists: false` looks at every
//!   object of an array.
//! - `anything-but` needs a value: a field that is missing is not anything.
//! - Numbers are compared by value, strings by their characters.

mod leaf;
mod parse;

use leaf::Test;
use serde_json::{Map, Value};

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON at all.
    #[error("the pattern is not JSON: {0}")]
    Json(String),
    /// Not an object.
    #[error("a pattern is a JSON object")]
    NoObject,
    /// A field with nothing in it matches nothing.
    #[error("\"{0}\" is empty")]
    Empty(String),
    /// Neither an array of values nor an object of fields.
    #[error("\"{0}\" must be an object or an array")]
    NoArray(String),
    /// A comparison that there is not.
    #[error("unrecognized match type {0}")]
    Unknown(String),
    /// A comparison with something that it cannot compare with.
    #[error("{operator} {expected}")]
    Operand {
        /// Its name.
        operator: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

/// A pattern, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    root: Fields,
    /// Leaves that ask for absence; each knows its place in this count.
    absences: usize,
}

impl Pattern {
    /// Reads a pattern. How long it may be is the caller's rule.
    pub fn parse(text: &str) -> Result<Pattern, Error> {
        let value = serde_json::from_str(text).map_err(|error| Error::Json(error.to_string()))?;
        Pattern::of(&value)
    }

    /// The pattern that a JSON value is.
    pub fn of(value: &Value) -> Result<Pattern, Error> {
        parse::pattern(value)
    }

    /// Whether the event is wanted. An event that is no object never is.
    pub fn matches(&self, event: &Value) -> bool {
        let Value::Object(event) = event else { return false };
        let mut absent = vec![false; self.absences];
        if self.absences > 0 {
            look_for_absences(&self.root, &[event], &mut absent);
        }
        self.root.matches(event, &absent)
    }

    /// Names of the fields at the top.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.root.all().map(|(name, _)| name)
    }
}

/// What an object must have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fields {
    /// All of these.
    each: Vec<(String, Field)>,
    /// Of each of these groups any.
    any: Vec<Vec<Fields>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Within(Fields),
    Leaf {
        tests: Vec<Test>,
        /// Place among the absences, if the leaf may be absent.
        absence: Option<usize>,
    },
}

impl Fields {
    /// The fields of this object and of its alternatives.
    fn all(&self) -> Box<dyn Iterator<Item = (&str, &Field)> + '_> {
        let own = self.each.iter().map(|(name, field)| (name.as_str(), field));
        Box::new(own.chain(self.any.iter().flatten().flat_map(Fields::all)))
    }

    fn matches(&self, object: &Map<String, Value>, absent: &[bool]) -> bool {
        self.each.iter().all(|(name, field)| field.matches(object.get(name), absent))
            && self.any.iter().all(|group| group.iter().any(|fields| fields.matches(object, absent)))
    }
}

impl Field {
    fn matches(&self, value: Option<&Value>, absent: &[bool]) -> bool {
        match self {
            Field::Within(fields) => {
                let mut found = false;
                let matched = any(value, &mut |value| match value {
                    Value::Object(object) => {
                        found = true;
                        fields.matches(object, absent)
                    }
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        false
                    }
                });
                // Fields of an object that is not there can still be wanted absent.
                matched || (!found && fields.matches(&Map::new(), absent))
            }
            Field::Leaf { tests, absence } => {
                absence.and_then(|place| absent.get(place)).is_some_and(|absent| *absent)
                    || any(value, &mut |value| is_leaf(value) && tests.iter().any(|test| test.matches(value)))
            }
        }
    }
}

fn is_leaf(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Whether a value, or any element if it is an array, however deep, is as wanted.
fn any(value: Option<&Value>, wanted: &mut dyn FnMut(&Value) -> bool) -> bool {
    match value {
        None => false,
        Some(Value::Array(elements)) => elements.iter().any(|element| any(Some(element), wanted)),
        Some(value) => wanted(value),
    }
}

/// Finds out which leaves are absent from all of `objects`: the same for whichever of them matches.
fn look_for_absences(fields: &Fields, objects: &[&Map<String, Value>], absent: &mut [bool]) {
    for (name, field) in fields.all() {
        let mut inner = Vec::new();
        let mut leaf = false;
        for object in objects {
            collect(object.get(name), &mut inner, &mut leaf);
        }
        match field {
            Field::Within(fields) => look_for_absences(fields, &inner, absent),
            Field::Leaf { absence: Some(place), .. } => {
                if let Some(absent) = absent.get_mut(*place) {
                    *absent = !leaf;
                }
            }
            Field::Leaf { absence: None, .. } => {}
        }
    }
}

fn collect<'a>(value: Option<&'a Value>, objects: &mut Vec<&'a Map<String, Value>>, leaf: &mut bool) {
    match value {
        None => {}
        Some(Value::Array(elements)) => {
            elements.iter().for_each(|element| collect(Some(element), objects, leaf));
        }
        Some(Value::Object(object)) => objects.push(object),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => *leaf = true,
    }
}
