//! How many units somebody wants: at least one, at most a million.

use serde::{Deserialize, Serialize};

/// 1..=1,000,000 units.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "i64", into = "i64")]
#[schema(value_type = i64, minimum = 1, maximum = 1000000, example = 1)]
pub struct Quantity(i64);

impl Quantity {
    /// One unit.
    pub const ONE: Self = Self(1);
    /// The greatest quantity of one request line.
    pub const MAX: Self = Self(1_000_000);

    /// The number of units.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The sum of two lines of one product, if it is still a quantity.
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::try_from(self.0 + other.0).ok()
    }
}

impl TryFrom<i64> for Quantity {
    type Error = &'static str;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        if (1..=Self::MAX.0).contains(&units) {
            Ok(Self(units))
        } else {
            Err("a quantity is a whole number from 1 to 1000000")
        }
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_bounds() {
        assert!(Quantity::try_from(0).is_err());
        assert!(Quantity::try_from(-1).is_err());
        assert!(Quantity::try_from(1_000_001).is_err());
        assert_eq!(Quantity::MAX.plus(Quantity::ONE), None);
        assert_eq!(Quantity::ONE.plus(Quantity::ONE).map(Quantity::get), Some(2));
    }
}
