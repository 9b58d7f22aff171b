//! What environments take of a node, and what it has.

use std::ops::{Add, AddAssign, Mul, SubAssign};

/// Memory and places: each environment takes the memory that its function is configured for, and one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// In MB.
    pub(super) mib: u64,
    pub(super) places: u64,
}

impl Room {
    pub(super) const NONE: Room = Room { mib: 0, places: 0 };

    /// What one environment takes.
    pub(super) const fn of_one(mib: u64) -> Room {
        Room { mib, places: 1 }
    }

    /// Whether it is within `bound` on both counts.
    pub(super) const fn fits(self, bound: Room) -> bool {
        self.mib <= bound.mib && self.places <= bound.places
    }
}

impl Add for Room {
    type Output = Room;
    fn add(self, other: Room) -> Room {
        Room { mib: self.mib + other.mib, places: self.places + other.places }
    }
}

impl AddAssign for Room {
    fn add_assign(&mut self, other: Room) {
        *self = *self + other;
    }
}

impl SubAssign for Room {
    fn sub_assign(&mut self, other: Room) {
        self.mib -= other.mib;
        self.places -= other.places;
    }
}

impl Mul<u64> for Room {
    type Output = Room;
    fn mul(self, count: u64) -> Room {
        Room { mib: self.mib * count, places: self.places * count }
    }
}
