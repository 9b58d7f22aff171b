//! Rows under small reusable numbers, iterated in the order of these numbers.

use std::{
    marker::PhantomData,
    ops::{Index, IndexMut},
};

/// Number of a row in a [`Table`] of `T`; reused after removal, so it never leaves the planner.
pub(super) struct Row<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Row<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Row<T> {}
impl<T> PartialEq for Row<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Row<T> {}
impl<T> PartialOrd for Row<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Row<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Row<T> {
    /// For an order.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}
impl<T> std::fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A vector with holes.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    pub(super) const fn new() -> Table<T> {
        Table { rows: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Row<T> {
        if let Some(number) = self.free.pop() {
            self.rows[number as usize] = Some(value);
            return Row(number, PhantomData);
        }
        self.rows.push(Some(value));
        Row(u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX), PhantomData)
    }

    pub(super) fn remove(&mut self, row: Row<T>) -> Option<T> {
        let value = self.rows.get_mut(row.0 as usize)?.take();
        if value.is_some() {
            self.free.push(row.0);
        }
        value
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Row<T>, &T)> {
        (0..).zip(&self.rows).filter_map(|(number, row)| Some((Row(number, PhantomData), row.as_ref()?)))
    }

    /// The rows whose numbers follow `after`.
    pub(super) fn iter_after(&self, after: Option<u32>) -> impl Iterator<Item = (Row<T>, &T)> {
        let from = after.map_or(0, |number| number.saturating_add(1));
        let rows = self.rows.get(from as usize..).unwrap_or_default();
        (from..).zip(rows).filter_map(|(number, row)| Some((Row(number, PhantomData), row.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }
}

impl<T> Index<Row<T>> for Table<T> {
    type Output = T;
    fn index(&self, row: Row<T>) -> &T {
        match self.rows.get(row.0 as usize) {
            Some(Some(value)) => value,
            Some(None) | None => unreachable!("row {} was removed while something still named it", row.0),
        }
    }
}

impl<T> IndexMut<Row<T>> for Table<T> {
    fn index_mut(&mut self, row: Row<T>) -> &mut T {
        match self.rows.get_mut(row.0 as usize) {
            Some(Some(value)) => value,
            Some(None) | None => unreachable!("row {} was removed while something still named it", row.0),
        }
    }
}
