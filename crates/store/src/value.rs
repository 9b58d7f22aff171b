//! Values as both back ends know them.

use base::Timestamp;
use bytes::Bytes;

/// A value on its way into or out of a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// A 64-bit integer; truth values are 0 and 1.
    Integer(i64),
    /// A 64-bit float.
    Real(f64),
    /// UTF-8 without NUL.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl ValueRef<'_> {
    /// The kind, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ValueRef::Null => "null",
            ValueRef::Integer(_) => "an integer",
            ValueRef::Real(_) => "a real",
            ValueRef::Text(_) => "a text",
            ValueRef::Blob(_) => "a blob",
        }
    }
}

/// A value that owns its content, for parameters whose number or type is known at run time only.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Real(f64),
    /// UTF-8 without NUL.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What can be a parameter of a statement.
pub trait ToValue {
    /// The value, borrowed.
    fn to_value(&self) -> ValueRef<'_>;
}

/// What can be read from a column.
pub trait FromValue: Sized {
    /// What is wanted, for messages, e.g. `an integer`.
    const WANTED: &'static str;
    /// The value, or `None` when it is of another kind or out of range.
    fn from_value(value: ValueRef<'_>) -> Option<Self>;
}

/// Parameters of a statement: `params![name, 5, &bytes]`.
#[macro_export]
macro_rules! params {
    () => { &[] as &[&dyn $crate::ToValue] };
    ($($value:expr),+ $(,)?) => { &[$(&$value as &dyn $crate::ToValue),+] as &[&dyn $crate::ToValue] };
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> ValueRef<'_> {
                ValueRef::Integer(i64::from(*self))
            }
        }
        impl FromValue for $type {
            const WANTED: &'static str = concat!("an integer in the range of ", stringify!($type));
            fn from_value(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    ValueRef::Integer(integer) => <$type>::try_from(integer).ok(),
                    ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => None,
                }
            }
        }
    )+};
}
integers!(i64, i32, u32, i16, u16, u8);

impl ToValue for bool {
    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Integer(i64::from(*self))
    }
}

impl FromValue for bool {
    const WANTED: &'static str = "0 or 1";
    fn from_value(value: ValueRef<'_>) -> Option<bool> {
        match value {
            ValueRef::Integer(0) => Some(false),
            ValueRef::Integer(1) => Some(true),
            ValueRef::Integer(_)
            | ValueRef::Null
            | ValueRef::Real(_)
            | ValueRef::Text(_)
            | ValueRef::Blob(_) => None,
        }
    }
}

impl ToValue for f64 {
    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Real(*self)
    }
}

/// Integers are taken too: PostgreSQL and SQLite differ in what `SUM` and `AVG` return.
impl FromValue for f64 {
    const WANTED: &'static str = "a number";
    fn from_value(value: ValueRef<'_>) -> Option<f64> {
        match value {
            ValueRef::Real(real) => Some(real),
            ValueRef::Integer(integer) => Some(integer as f64),
            ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
        }
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Integer(self.0)
    }
}

impl FromValue for Timestamp {
    const WANTED: &'static str = "milliseconds since 1970";
    fn from_value(value: ValueRef<'_>) -> Option<Timestamp> {
        i64::from_value(value).map(Timestamp)
    }
}

macro_rules! texts {
    ($($type:ty),+) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> ValueRef<'_> {
                ValueRef::Text(self)
            }
        }
    )+};
}
texts!(str, String, std::sync::Arc<str>, Box<str>);

macro_rules! from_texts {
    ($($type:ty),+) => {$(
        impl FromValue for $type {
            const WANTED: &'static str = "a text";
            fn from_value(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    ValueRef::Text(text) => Some(text.into()),
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
                }
            }
        }
    )+};
}
from_texts!(String, std::sync::Arc<str>, Box<str>);

macro_rules! blobs {
    ($($type:ty),+) => {$(
        impl ToValue for $type {
            fn to_value(&self) -> ValueRef<'_> {
                ValueRef::Blob(self)
            }
        }
    )+};
}
blobs!([u8], Vec<u8>, Bytes);

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> ValueRef<'_> {
        ValueRef::Blob(self)
    }
}

impl FromValue for Vec<u8> {
    const WANTED: &'static str = "a blob";
    fn from_value(value: ValueRef<'_>) -> Option<Vec<u8>> {
        match value {
            ValueRef::Blob(bytes) => Some(bytes.to_vec()),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => None,
        }
    }
}

impl FromValue for Bytes {
    const WANTED: &'static str = "a blob";
    fn from_value(value: ValueRef<'_>) -> Option<Bytes> {
        Vec::<u8>::from_value(value).map(Bytes::from)
    }
}

impl<const N: usize> FromValue for [u8; N] {
    const WANTED: &'static str = "a blob of fixed length";
    fn from_value(value: ValueRef<'_>) -> Option<[u8; N]> {
        match value {
            ValueRef::Blob(bytes) => bytes.try_into().ok(),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => None,
        }
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> ValueRef<'_> {
        match self {
            Some(value) => value.to_value(),
            None => ValueRef::Null,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const WANTED: &'static str = T::WANTED;
    fn from_value(value: ValueRef<'_>) -> Option<Option<T>> {
        match value {
            ValueRef::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> ValueRef<'_> {
        (**self).to_value()
    }
}

impl ToValue for Value {
    fn to_value(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl FromValue for Value {
    const WANTED: &'static str = "a value";
    fn from_value(value: ValueRef<'_>) -> Option<Value> {
        Some(match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Real(real) => Value::Real(real),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        })
    }
}
