//! Lists and maps whose items stand in the XML of the query protocol without an element around them.

use serde::{Serialize, Serializer};

/// A member that is a list or a map in JSON, and under query one element for each item.
///
/// The text says how: `flat:Message` for a list whose items are elements `Message`, `flat:Attribute:Name:Value` for a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flat<T>(pub &'static str, pub T);

impl<T: Serialize> Serialize for Flat<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(self.0, &self.1)
    }
}

/// Names of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) item: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
}

impl Shape {
    /// Of a map that is not flat.
    pub(crate) const ENTRY: Shape = Shape { item: "entry", key: "key", value: "value" };

    /// What the text of a [`Flat`] says.
    pub(crate) fn of(text: &'static str) -> Option<Shape> {
        let mut names = text.strip_prefix("flat:")?.split(':');
        let mut next = |or| names.next().unwrap_or(or);
        Some(Shape { item: next("member"), key: next("key"), value: next("value") })
    }
}
