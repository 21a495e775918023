//! `checkout`: who has to pay here.

use serde::{Deserialize, Serialize};

/// Who has to pay here.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CheckoutSettings {
    /// Whether a customer's own token must name a payment; a storefront's token never has to.
    pub customers_must_pay_here: bool,
}
