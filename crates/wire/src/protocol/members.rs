//! Deserialising an input whose members come from several places of a request.

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Where one member's value is.
pub(crate) enum Source<'a> {
    /// Texts from a label, query parameters or a header: a scalar is the first, a list all of them.
    Text(Vec<Cow<'a, str>>),
    /// JSON from the body.
    Json(&'a RawValue),
}

/// Why an input could not be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A required member is not there.
    Missing(String),
    /// The body is not JSON.
    Unreadable(String),
    /// A wrong type.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Missing(member) => write!(f, "missing field `{member}`"),
            Failure::Unreadable(text) | Failure::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(text: T) -> Failure {
        Failure::Other(text.to_string())
    }

    fn missing_field(field: &'static str) -> Failure {
        Failure::Missing(field.to_owned())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        let text = error.to_string();
        if !error.is_data() {
            return Failure::Unreadable(text);
        }
        match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            Some(field) => Failure::Missing(field.to_owned()),
            None => Failure::Other(in_words_of_aws(&text)),
        }
    }
}

/// `invalid type: string "x", expected u32 at line 1 column 9` as `STRING_VALUE can not be converted to an Integer`.
/// The texts for values were observed at CloudWatch Logs and Lambda; names of our types must not leave.
fn in_words_of_aws(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or(text);
    let Some((found, expected)) =
        text.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return text.to_owned();
    };
    let found = match found.split_once(' ').map_or(found, |(kind, _)| kind) {
        "string" => "STRING_VALUE",
        "integer" | "floating" => "NUMBER_VALUE",
        "boolean" if found.contains("true") => "TRUE_VALUE",
        "boolean" => "FALSE_VALUE",
        "null" => "NULL_VALUE",
        "sequence" => return "Start of list found where not expected.".to_owned(),
        "map" => return "Start of structure or map found where not expected.".to_owned(),
        _ => return "Unexpected field type".to_owned(),
    };
    let expected = match expected {
        "a string" | "string" | "a borrowed string" => "a String",
        "i8" | "i16" | "i32" | "u8" | "u16" | "u32" => "an Integer",
        "i64" | "u64" => "a Long",
        "f32" => "a Float",
        "f64" => "a Double",
        "a boolean" => "a Boolean",
        "a sequence" => "a List",
        "a map" => "a Map",
        _ => return "Unexpected field type".to_owned(),
    };
    format!("{found} can not be converted to {expected}")
}

/// Deserialises a structure from members by name.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, Source<'a>)>);

impl<'de> Deserializer<'de> for Members<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Walk { rest: self.0.into_iter(), next: None })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Walk<'a> {
    rest: std::vec::IntoIter<(Cow<'a, str>, Source<'a>)>,
    next: Option<Source<'a>>,
}

impl<'de> MapAccess<'de> for Walk<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((name, source)) = self.rest.next() else { return Ok(None) };
        self.next = Some(source);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.next.take() {
            Some(Source::Json(raw)) => Ok(seed.deserialize(raw)?),
            Some(Source::Text(texts)) => seed.deserialize(Texts(texts)),
            None => Err(de::Error::custom("value asked for before its key")),
        }
    }
}

/// Deserialises texts: a scalar is the first one, parsed to the type asked for; a list is all of them.
struct Texts<'a>(Vec<Cow<'a, str>>);

impl<'a> Texts<'a> {
    fn scalar(self) -> Text<'a> {
        Text(self.0.into_iter().next().unwrap_or_default())
    }
}

/// Deserialises one text, parsed to the type asked for.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'a> Text<'a> {
    fn scalar(self) -> Text<'a> {
        self
    }

    fn parse<T: std::str::FromStr>(&self, wanted: &str) -> Result<T, Failure> {
        self.0
            .trim()
            .parse()
            .map_err(|_| Failure::Other(format!("STRING_VALUE can not be converted to {wanted}")))
    }
}

impl<'de> IntoDeserializer<'de, Failure> for Text<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $wanted:literal),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let text = self.scalar();
            visitor.$visit(text.parse($wanted)?)
        })*

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.scalar().0 {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            }
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.visit_some(self)
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Failure> {
            visitor.visit_newtype_struct(self)
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            name: &'static str,
            variants: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Failure> {
            let text: de::value::CowStrDeserializer<'_, Failure> = self.scalar().0.into_deserializer();
            text.deserialize_enum(name, variants, visitor)
        }

        fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.visit_bytes(self.scalar().0.as_bytes())
        }

        fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.deserialize_bytes(visitor)
        }
    };
}

macro_rules! parsed_all {
    () => {
        parsed! {
            deserialize_bool visit_bool "a Boolean",
            deserialize_i8 visit_i8 "an Integer", deserialize_i16 visit_i16 "an Integer",
            deserialize_i32 visit_i32 "an Integer", deserialize_i64 visit_i64 "a Long",
            deserialize_u8 visit_u8 "an Integer", deserialize_u16 visit_u16 "an Integer",
            deserialize_u32 visit_u32 "an Integer", deserialize_u64 visit_u64 "a Long",
            deserialize_f32 visit_f32 "a Float", deserialize_f64 visit_f64 "a Double"
        }
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Failure;

    parsed_all!();

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::once(self)))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Texts<'de> {
    type Error = Failure;

    parsed_all!();

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(de::value::SeqDeserializer::new(self.0.into_iter().map(Text)))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}
