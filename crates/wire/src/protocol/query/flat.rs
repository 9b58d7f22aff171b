//! Reading flattened members: `A.B=1`, lists `A.member.1` or `A.1`, maps `A.entry.1.key` and `A.entry.1.value`.

use crate::protocol::members::{Failure, Text};
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
    value::{MapDeserializer, SeqDeserializer},
};
use std::{borrow::Cow, collections::BTreeMap};

/// Nesting of members; deeper ones are refused.
const DEPTH_MAX: usize = 32;

/// A member: a text, or further members, or both where a client is odd (the members win).
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Node<'a> {
    text: Option<Cow<'a, str>>,
    members: BTreeMap<String, Node<'a>>,
}

/// A member is nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("members are nested deeper than {DEPTH_MAX}")]
pub(crate) struct TooDeep;

impl<'a> Node<'a> {
    /// Builds the tree of a form. A member given twice keeps its first text.
    pub(crate) fn read(form: &'a [u8]) -> Result<Node<'a>, TooDeep> {
        let mut root = Node::default();
        for (name, text) in form_urlencoded::parse(form) {
            let mut node = &mut root;
            for (depth, part) in name.split('.').enumerate() {
                if depth >= DEPTH_MAX {
                    return Err(TooDeep);
                }
                // The common case, a member met before, must not allocate a second key.
                if !node.members.contains_key(part) {
                    node.members.insert(part.to_owned(), Node::default());
                }
                match node.members.get_mut(part) {
                    Some(next) => node = next,
                    None => unreachable!("a member was inserted and is gone"),
                }
            }
            node.text.get_or_insert(text);
        }
        Ok(root)
    }

    /// The items of a list in the order of their numbers: below `member` (or whatever single name the list's items
    /// have), or directly where the list is flattened.
    fn items(self) -> Vec<Node<'a>> {
        let mut members = self.members;
        if members.len() == 1
            && let Some((name, only)) = members.pop_first()
        {
            match number(&name) {
                None => members = only.members,
                Some(_) => return vec![only],
            }
        }
        let mut items: Vec<(u64, Node<'a>)> =
            members.into_iter().filter_map(|(name, node)| Some((number(&name)?, node))).collect();
        items.sort_by_key(|(at, _)| *at);
        items.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether this is a map in the numbered form, below `entry` or flattened.
    fn is_numbered(&self) -> bool {
        !self.members.is_empty()
            && self
                .members
                .iter()
                .all(|(name, node)| name == "entry" || number(name).is_some() && node.key_name().is_some())
    }

    /// `key`/`value`, or `Name`/`Value` as some services call them.
    fn key_name(&self) -> Option<(&'static str, &'static str)> {
        const NAMES: [(&str, &str); 4] =
            [("key", "value"), ("Name", "Value"), ("Key", "Value"), ("name", "value")];
        NAMES.into_iter().find(|(key, _)| self.members.contains_key(*key))
    }

    /// The entries of a map in the numbered form.
    fn entries(self) -> Vec<(String, Node<'a>)> {
        let pair = |mut node: Node<'a>| {
            let (key, value) = node.key_name()?;
            let key = node.members.remove(key)?.text?.into_owned();
            Some((key, node.members.remove(value).unwrap_or_default()))
        };
        self.items().into_iter().filter_map(pair).collect()
    }

    fn scalar(self) -> Result<Text<'a>, Failure> {
        match self.text {
            Some(text) => Ok(Text(text)),
            None => Err(Failure::Other("Start of structure or map found where not expected.".to_owned())),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

impl<'de> IntoDeserializer<'de, Failure> for Node<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

struct Walk<'a> {
    rest: std::collections::btree_map::IntoIter<String, Node<'a>>,
    next: Option<Node<'a>>,
}

impl<'de> MapAccess<'de> for Walk<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((name, node)) = self.rest.next() else { return Ok(None) };
        self.next = Some(node);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let node = self.next.take().ok_or_else(|| <Failure as de::Error>::custom("value before its key"))?;
        seed.deserialize(node)
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.scalar()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Failure;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.text {
            Some(text) if self.members.is_empty() => Text(text).deserialize_any(visitor),
            _ => visitor.visit_map(Walk { rest: self.members.into_iter(), next: None }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(Walk { rest: self.members.into_iter(), next: None })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.is_numbered() {
            true => visitor.visit_map(MapDeserializer::new(self.entries().into_iter())),
            false => visitor.visit_map(Walk { rest: self.members.into_iter(), next: None }),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(SeqDeserializer::new(self.items().into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
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
        self.scalar()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 unit_struct tuple tuple_struct }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct AssumeRole {
        role_arn: String,
        duration_seconds: Option<u32>,
        #[serde(default)]
        tags: Vec<Tag>,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        attributes: BTreeMap<String, String>,
        #[serde(default)]
        dry: bool,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Tag {
        key: String,
        value: String,
    }

    fn read(form: &str) -> Result<AssumeRole, Failure> {
        AssumeRole::deserialize(Node::read(form.as_bytes()).unwrap())
    }

    #[test]
    fn lists_structures_and_maps_are_read_in_all_forms() {
        let wanted = AssumeRole {
            role_arn: "arn:aws:iam::0:role/x y".into(),
            duration_seconds: Some(900),
            tags: vec![Tag { key: "a".into(), value: "1".into() }, Tag { key: "b".into(), value: "".into() }],
            names: ["one", "two", "ten"].map(String::from).to_vec(),
            attributes: [("k", "v"), ("l", "w")].map(|(k, v)| (k.into(), v.into())).into(),
            dry: true,
        };
        let plain = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A0%3Arole%2Fx+y\
            &DurationSeconds=900&Dry=true&Unknown.member.1=x";
        let tags = "Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=b&Tags.member.2.Value=";
        for (names, map) in [
            (
                "Names.member.1=one&Names.member.2=two&Names.member.10=ten",
                "Attributes.entry.1.key=k&Attributes.entry.1.value=v&Attributes.entry.2.key=l&Attributes.entry.2.value=w",
            ),
            (
                "Names.10=ten&Names.2=two&Names.1=one",
                "Attributes.1.Name=k&Attributes.1.Value=v&Attributes.2.Name=l&Attributes.2.Value=w",
            ),
            ("Names.Name.1=one&Names.Name.2=two&Names.Name.10=ten", "Attributes.k=v&Attributes.l=w"),
        ] {
            assert_eq!(read(&format!("{plain}&{tags}&{names}&{map}")).unwrap(), wanted);
        }
    }

    #[test]
    fn empty_lists_wrong_types_and_missing_members_are_told_apart() {
        assert_eq!(read("RoleArn=x&Names=").unwrap().names, Vec::<String>::new());
        assert!(matches!(read("Names=x"), Err(Failure::Missing(member)) if member == "RoleArn"));
        assert!(matches!(read("RoleArn=x&DurationSeconds=soon"), Err(Failure::Other(_))));
        assert!(matches!(read("RoleArn.a=x"), Err(Failure::Other(_))));
        assert_eq!(Node::read("a.".repeat(40).as_bytes()), Err(TooDeep));
    }
}
