//! Money through payment providers. [`gateway`] is what the protocol of payments asks of a provider; Stripe and bKash
//! answer it. What a payment means for a hold is decided elsewhere, by one row of Postgres.

mod bkash;
mod callback;
mod deadline;
pub mod gateway;
mod handle;
mod http;
mod journal_store;
mod late;
mod open;
mod open_store;
mod paid;
mod redact;
mod refund;
mod refund_store;
mod review;
mod review_http;
mod review_store;
mod row_store;
mod store;
mod stripe;
mod transport;
mod vitals_store;
mod webhook;

use std::sync::Arc;

use crate::config::PaymentSettings;
use crate::kernel::Clock;
use crate::platform::limiter::Limiter;
use crate::platform::redis::Via;

pub use bkash::Bkash;
pub use gateway::{Gateway, ProviderName};
use handle::Paid;
pub use handle::{Parts, Payments};
pub use http::{Operations, routes};
pub use store::STATEMENTS;
pub use stripe::{Event, News, Stripe, WebhookError};

/// The providers that are on.
#[derive(Clone)]
pub struct Gateways {
    stripe: Option<Arc<Stripe>>,
    bkash: Option<Arc<Bkash>>,
}

impl Gateways {
    /// The providers that have keys. Nothing is asked yet. `via` leads to the Redis that all replicas share.
    ///
    /// # Errors
    ///
    /// This machine has no certificates by which a provider could be known.
    pub fn new(
        settings: &PaymentSettings,
        via: Via,
        prefix: &str,
        clock: &Clock,
    ) -> Result<Self, reqwest::Error> {
        let limiter = Limiter::new(via.clone(), prefix);
        let stripe = Stripe::new(&settings.stripe, limiter, clock.clone())?;
        let bkash = Bkash::new(&settings.bkash, via, prefix, clock.clone())?;
        Ok(Self { stripe: stripe.map(Arc::new), bkash: bkash.map(Arc::new) })
    }

    /// The provider of this name; none if it is off.
    pub fn of(&self, provider: ProviderName) -> Option<&dyn Gateway> {
        match provider {
            ProviderName::Stripe => self.stripe.as_deref().map(|stripe| stripe as &dyn Gateway),
            ProviderName::Bkash => self.bkash.as_deref().map(|bkash| bkash as &dyn Gateway),
        }
    }

    /// Stripe, for its events; none if it is off.
    pub fn stripe(&self) -> Option<&Stripe> {
        self.stripe.as_deref()
    }
}
