//! Which product each buyer of the crowd wants.

use anyhow::Context;

use crate::kernel::Sku;

/// The SKUs of the crowd; never empty.
#[derive(Debug, Clone)]
pub(super) struct Skus(Vec<Sku>);

impl Skus {
    /// The SKU itself, or with `across` as many as that, named after it.
    pub(super) fn new(sku: &Sku, across: Option<u32>) -> anyhow::Result<Self> {
        let Some(count) = across else {
            return Ok(Self(vec![sku.clone()]));
        };
        let named = |number: u32| -> anyhow::Result<Sku> {
            let name = format!("{sku}-{number}");
            name.parse().map_err(anyhow::Error::msg).with_context(|| name.clone())
        };
        Ok(Self((0..count.max(1)).map(named).collect::<anyhow::Result<_>>()?))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The place of the SKU that a buyer wants, or that the so-manieth look is at.
    pub(super) fn place(&self, number: u64) -> usize {
        place(number, self.count())
    }

    /// The SKU that a buyer wants, or that the so-manieth look is at.
    pub(super) fn of(&self, number: u64) -> &str {
        self.0[self.place(number)].as_str()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Sku::as_str)
    }
}

/// Numbers take places in turn.
pub(super) fn place(number: u64, places: usize) -> usize {
    (number % places as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyers_are_spread_evenly() {
        let sku: Sku = "A".parse().unwrap();
        let skus = Skus::new(&sku, Some(2)).unwrap();
        assert_eq!([1, 2, 3].map(|buyer| skus.of(buyer)), ["A-1", "A-0", "A-1"]);
        let skus = Skus::new(&sku, None).unwrap();
        assert_eq!([1, 2].map(|buyer| skus.of(buyer)), ["A", "A"]);
    }

    #[test]
    fn a_name_that_grows_too_long_is_refused() {
        let longest: Sku = "A".repeat(64).parse().unwrap();
        assert!(Skus::new(&longest, Some(2)).is_err());
    }
}
