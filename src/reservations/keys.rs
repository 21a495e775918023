//! The names of the keys that the reservations own. Each carries its SKU as hash tag, so that one SKU is one slot.

use crate::kernel::{ReservationId, Sku, UserId};

/// Builds keys under the configured prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The six that every script takes: stock, records, deadlines, pins, ended, buyers.
    pub(super) fn six(&self, sku: &Sku) -> Vec<String> {
        ["s", "h", "d", "p", "g", "b"]
            .iter()
            .map(|kind| format!("{}{kind}:{{{sku}}}", self.prefix))
            .collect()
    }

    /// The stock hash alone.
    pub(super) fn stock(&self, sku: &Sku) -> String {
        format!("{}s:{{{sku}}}", self.prefix)
    }

    /// The three indexes, of which none is there while a SKU is at rest.
    pub(super) fn indexes(&self, sku: &Sku) -> [String; 3] {
        ["d", "p", "g"].map(|kind| format!("{}{kind}:{{{sku}}}", self.prefix))
    }

    /// The TTL key of a hold.
    pub(super) fn timer(&self, sku: &Sku, id: ReservationId) -> String {
        format!("{}t:{{{sku}}}:{id}", self.prefix)
    }

    /// How often a buyer cancelled lately.
    pub(super) fn churn(&self, sku: &Sku, user: &UserId) -> String {
        format!("{}c:{{{sku}}}:{user}", self.prefix)
    }

    /// News of holds, for those who subscribed.
    pub(super) fn news(&self, sku: &Sku) -> String {
        format!("{}n:{{{sku}}}", self.prefix)
    }

    /// Whom the operation on all holds that is under way has met.
    pub(super) fn seen(&self, sku: &Sku) -> String {
        format!("{}x:{{{sku}}}", self.prefix)
    }

    /// What all processes counted of a SKU.
    pub(super) fn counts(&self, sku: &Sku) -> String {
        format!("{}r:{{{sku}}}", self.prefix)
    }

    /// The points of a SKU, one each step.
    pub(super) fn series(&self, sku: &Sku) -> String {
        format!("{}m:{{{sku}}}", self.prefix)
    }

    /// The products that somebody wanted lately, by when.
    pub(super) fn active(&self) -> String {
        format!("{}sales:active", self.prefix)
    }

    /// The lateness of releases, by process.
    pub(super) fn lags(&self) -> String {
        format!("{}sales:lags", self.prefix)
    }

    /// The mark of the process that writes this step down.
    pub(super) fn step(&self, step: i64) -> String {
        format!("{}sales:step:{step}", self.prefix)
    }

    /// Buyers on their way into a rebuild.
    pub(super) fn staged_buyers(&self, sku: &Sku, epoch: i64) -> String {
        format!("{}bn:{{{sku}}}:{epoch}", self.prefix)
    }

    /// Where the buyers of one hash have holds, in one stretch of time: hints.
    pub(super) fn hints(&self, hash: u32, stretch: i64) -> String {
        format!("{}u:{{{hash}}}:{stretch}", self.prefix)
    }

    /// The products that every listing asks, by when that ends.
    pub(super) fn crowds(&self) -> String {
        format!("{}crowds", self.prefix)
    }

    /// The SKU of an expired TTL key, if it is one of ours.
    pub(super) fn sku_of_timer(&self, key: &str) -> Option<Sku> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix("t:{")?;
        rest.split_once("}:")?.0.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ProductId;

    #[test]
    fn a_timer_leads_back_to_its_sku() {
        let keys = Keys::new("hf:");
        let sku: Sku = "IPHONE15".parse().unwrap();
        let id = ReservationId::random(ProductId::try_from(7).unwrap());
        assert_eq!(keys.sku_of_timer(&keys.timer(&sku, id)), Some(sku));
        assert_eq!(keys.sku_of_timer("other:t:{X}:1"), None);
        assert_eq!(keys.sku_of_timer("hf:s:{X}"), None);
    }
}
