//! `shop`: what is true of the whole shop.

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// What is true of the whole shop.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ShopSettings {
    /// ISO 4217 currency of products that name none.
    pub currency: String,
}

impl ShopSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        let sane =
            self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        found.require(sane, "shop.currency", "must be three capitals of ISO 4217, such as \"USD\"");
    }
}
