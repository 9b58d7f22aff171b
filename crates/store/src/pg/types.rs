//! Values on their way to and from PostgreSQL, in its binary format.

use std::error::Error as StdError;

use bytes::{BufMut, BytesMut};
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{Error, ValueRef};

type Failure = Box<dyn StdError + Sync + Send>;

/// The kind of a parameter, which is told to the server, so that it reads `?1 + 1` as SQLite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Integer,
    Real,
    Text,
    Blob,
}

impl Kind {
    pub(super) fn of(value: ValueRef<'_>) -> Kind {
        match value {
            ValueRef::Null => Kind::Null,
            ValueRef::Integer(_) => Kind::Integer,
            ValueRef::Real(_) => Kind::Real,
            ValueRef::Text(_) => Kind::Text,
            ValueRef::Blob(_) => Kind::Blob,
        }
    }

    pub(super) fn declared(self) -> Type {
        match self {
            Kind::Integer => Type::INT8,
            Kind::Real => Type::FLOAT8,
            // A null is written into the statement; its parameter is not used.
            Kind::Text | Kind::Null => Type::TEXT,
            Kind::Blob => Type::BYTEA,
        }
    }
}

/// A parameter.
#[derive(Debug)]
pub(super) struct Param<'v>(pub(super) ValueRef<'v>);

impl<'v> Param<'v> {
    pub(super) fn erase<'p>(params: &'p [Param<'v>]) -> Vec<&'p (dyn ToSql + Sync)> {
        params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        // The server was told these types.
        match self.0 {
            ValueRef::Null => return Ok(IsNull::Yes),
            ValueRef::Integer(integer) => out.put_i64(integer),
            ValueRef::Real(real) => out.put_f64(real),
            ValueRef::Text(text) => out.put_slice(text.as_bytes()),
            ValueRef::Blob(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column's value.
struct Cell<'r>(ValueRef<'r>);

impl<'r> FromSql<'r> for Cell<'r> {
    fn from_sql(ty: &Type, raw: &'r [u8]) -> Result<Cell<'r>, Failure> {
        Ok(Cell(match *ty {
            Type::BOOL => ValueRef::Integer(i64::from(bool::from_sql(ty, raw)?)),
            Type::INT2 => ValueRef::Integer(i64::from(i16::from_sql(ty, raw)?)),
            Type::INT4 => ValueRef::Integer(i64::from(i32::from_sql(ty, raw)?)),
            Type::INT8 => ValueRef::Integer(i64::from_sql(ty, raw)?),
            Type::FLOAT4 => ValueRef::Real(f64::from(f32::from_sql(ty, raw)?)),
            Type::FLOAT8 => ValueRef::Real(f64::from_sql(ty, raw)?),
            Type::NUMERIC => numeric(raw).ok_or("malformed numeric")?,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                ValueRef::Text(std::str::from_utf8(raw)?)
            }
            Type::BYTEA => ValueRef::Blob(raw),
            _ => return Err(format!("type {ty} is unknown here").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Cell<'r>, Failure> {
        Ok(Cell(ValueRef::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A column's value.
pub(crate) fn column<'r>(row: &'r postgres::Row, index: usize) -> Result<ValueRef<'r>, Error> {
    let wanted = "a column";
    if index >= row.len() {
        return Err(Error::Column { index, found: "nothing", wanted });
    }
    let cell: Cell<'r> =
        row.try_get(index).map_err(|_| Error::Column { index, found: "an unknown type", wanted })?;
    Ok(cell.0)
}

/// What `SUM` and `AVG` of integers give: an integer when it is whole and fits, as SQLite has it, else a real.
/// Format: number of digits, weight of the first, sign, scale, digits to the base 10,000; all 16 bits.
fn numeric(raw: &[u8]) -> Option<ValueRef<'static>> {
    let mut words = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let weight = i32::from(weight.cast_signed());
    let digits: Vec<u16> = words.collect();
    if digits.len() != usize::from(count) || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let negative = sign == 0x4000;
    if scale == 0 {
        let places = usize::try_from(weight + 1).ok()?;
        let whole = (0..places).try_fold(0i128, |whole, place| {
            whole.checked_mul(10_000)?.checked_add(i128::from(digits.get(place).copied().unwrap_or(0)))
        });
        let signed = whole.map(|whole| if negative { -whole } else { whole });
        if let Some(integer) = signed.and_then(|signed| i64::try_from(signed).ok()) {
            return Some(ValueRef::Integer(integer));
        }
    }
    // By way of decimal text, whose reading rounds correctly.
    let mut text = String::from(if negative { "-0" } else { "0" });
    for digit in &digits {
        text.push_str(&format!("{digit:04}"));
    }
    let exponent = (weight + 1 - i32::try_from(digits.len()).ok()?) * 4;
    text.push_str(&format!("e{exponent}"));
    text.parse().ok().map(ValueRef::Real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight as u16, sign, scale];
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn reads_sums_and_averages() {
        assert_eq!(numeric(&raw(0, 0, 0, &[])), Some(ValueRef::Integer(0)));
        assert_eq!(numeric(&raw(1, 0, 0, &[12, 3456])), Some(ValueRef::Integer(123_456)));
        assert_eq!(numeric(&raw(1, 0x4000, 0, &[5])), Some(ValueRef::Integer(-50_000)));
        assert_eq!(numeric(&raw(0, 0, 2, &[3, 5000])), Some(ValueRef::Real(3.5)));
        assert_eq!(numeric(&raw(-1, 0x4000, 4, &[25])), Some(ValueRef::Real(-0.0025)));
        assert_eq!(numeric(&raw(5, 0, 0, &[1])), Some(ValueRef::Real(1e20)));
        assert_eq!(numeric(&raw(0, 0xC000, 0, &[])), None);
        assert_eq!(numeric(&[0, 1]), None);
    }
}
