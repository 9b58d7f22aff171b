//! Writing a serialisable value as XML in the form of the query protocol: structures as elements named by their
//! members, lists as `member`, maps as `entry` with `key` and `value`, absent values not at all.

use crate::{Time, flat::Shape};
use serde::ser::{self, Serialize, Serializer};
use std::fmt;

/// Appends `<name>value</name>`; nothing for unit and `None`.
pub(crate) fn element<T: Serialize + ?Sized>(name: &str, value: &T, out: &mut String) -> Result<(), Unfit> {
    value.serialize(Element { name, out, time: false, flat: None })
}

/// Appends text with what XML reserves escaped; characters that XML cannot carry become U+FFFD.
pub(crate) fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' | '\t' => out.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
}

/// The value has a shape that the query protocol cannot express.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(String);

impl ser::Error for Unfit {
    fn custom<T: fmt::Display>(text: T) -> Unfit {
        Unfit(text.to_string())
    }
}

/// Writes one element, once its value is known to be there.
struct Element<'a> {
    name: &'a str,
    out: &'a mut String,
    /// The number is seconds of a [`Time`].
    time: bool,
    /// The value's items are elements of this shape, without one around them.
    flat: Option<Shape>,
}

impl<'a> Element<'a> {
    fn text(self, text: &str) -> Result<(), Unfit> {
        open(self.name, self.out);
        escape(text, self.out);
        close(self.name, self.out);
        Ok(())
    }

    fn children(self) -> Result<Children<'a>, Unfit> {
        if self.flat.is_none() {
            open(self.name, self.out);
        }
        Ok(Children { name: self.name, out: self.out, key: None, flat: self.flat })
    }
}

fn open(name: &str, out: &mut String) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

fn close(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

macro_rules! plain {
    ($($method:ident $kind:ty),* $(,)?) => {
        $(fn $method(self, value: $kind) -> Result<(), Unfit> {
            self.text(&value.to_string())
        })*
    };
}

impl<'a> Serializer for Element<'a> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Children<'a>;
    type SerializeTuple = Children<'a>;
    type SerializeTupleStruct = Children<'a>;
    type SerializeTupleVariant = Children<'a>;
    type SerializeMap = Children<'a>;
    type SerializeStruct = Children<'a>;
    type SerializeStructVariant = Children<'a>;

    plain! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_f32 f32,
        serialize_char char,
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unfit> {
        let text = if self.time { Time::text(value) } else { value.to_string() };
        self.text(&text)
    }

    fn serialize_str(self, value: &str) -> Result<(), Unfit> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unfit> {
        use base64::Engine;
        self.text(&base64::engine::general_purpose::STANDARD.encode(value))
    }

    fn serialize_none(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unfit> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unfit> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        value.serialize(Element { time: name == Time::NAME, flat: Shape::of(name), ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        let mut children = self.children()?;
        element(variant, value, children.out)?;
        children.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Children<'a>, Unfit> {
        self.children()
    }

    fn serialize_tuple(self, _: usize) -> Result<Children<'a>, Unfit> {
        self.children()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Children<'a>, Unfit> {
        self.children()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Children<'a>, Unfit> {
        Err(Unfit(format!("the variant {variant} has no form in XML")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Children<'a>, Unfit> {
        self.children()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Children<'a>, Unfit> {
        self.children()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Children<'a>, Unfit> {
        Err(Unfit(format!("the variant {variant} has no form in XML")))
    }
}

/// The inside of an element.
struct Children<'a> {
    name: &'a str,
    out: &'a mut String,
    /// Of the map entry begun.
    key: Option<String>,
    flat: Option<Shape>,
}

impl Children<'_> {
    fn member<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        element(self.flat.map_or("member", |shape| shape.item), value, self.out)
    }

    fn finish(&mut self) -> Result<(), Unfit> {
        if self.flat.is_none() {
            close(self.name, self.out);
        }
        Ok(())
    }
}

macro_rules! list {
    ($($kind:ident $method:ident),*) => {
        $(impl ser::$kind for Children<'_> {
            type Ok = ();
            type Error = Unfit;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
                self.member(value)
            }
            fn end(mut self) -> Result<(), Unfit> {
                self.finish()
            }
        })*
    };
}

list! {
    SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
}

impl ser::SerializeMap for Children<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        let mut text = String::new();
        element(self.flat.map_or("key", |shape| shape.key), key, &mut text)?;
        self.key = Some(text);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        let Shape { item, value: name, .. } = self.flat.unwrap_or(Shape::ENTRY);
        open(item, self.out);
        self.out.push_str(&self.key.take().unwrap_or_default());
        element(name, value, self.out)?;
        close(item, self.out);
        Ok(())
    }

    fn end(mut self) -> Result<(), Unfit> {
        self.finish()
    }
}

macro_rules! structure {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Children<'_> {
            type Ok = ();
            type Error = Unfit;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unfit> {
                element(name, value, self.out)
            }
            fn end(mut self) -> Result<(), Unfit> {
                self.finish()
            }
        })*
    };
}

structure! { SerializeStruct, SerializeStructVariant }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flat;
    use std::collections::BTreeMap;

    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        arn: &'static str,
        count: u32,
        absent: Option<u32>,
        names: Vec<&'static str>,
        nested: Vec<Inner>,
        map: BTreeMap<&'static str, u8>,
        lines: Flat<Vec<Inner>>,
        facts: Flat<BTreeMap<&'static str, u8>>,
    }

    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        ok: bool,
    }

    #[test]
    fn lists_maps_and_absent_values_have_the_form_of_the_query_protocol() {
        let answer = Answer {
            arn: "a<&>\u{1}",
            count: 2,
            absent: None,
            names: vec!["x", "y"],
            nested: vec![Inner { ok: true }],
            map: [("k", 1)].into(),
            lines: Flat("flat:Line", vec![Inner { ok: true }, Inner { ok: false }]),
            facts: Flat("flat:Fact:Name:Value", [("k", 1)].into()),
        };
        let mut out = String::new();
        element("R", &answer, &mut out).unwrap();
        assert_eq!(
            out,
            "<R><Arn>a&lt;&amp;&gt;\u{fffd}</Arn><Count>2</Count><Names><member>x</member><member>y</member></Names>\
             <Nested><member><Ok>true</Ok></member></Nested><Map><entry><key>k</key><value>1</value></entry></Map>\
             <Line><Ok>true</Ok></Line><Line><Ok>false</Ok></Line><Fact><Name>k</Name><Value>1</Value></Fact></R>"
        );
        let mut empty = String::new();
        element("R", &(), &mut empty).unwrap();
        assert_eq!(empty, "");
    }
}
