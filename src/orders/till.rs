//! What orders need of whoever takes money: payments stand right of orders, so they are reached through this trait.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::kernel::{Currency, Instant, Money, OrderId, PaymentId};
use crate::orders::{Checkout, Place, PlaceError, Placed};
use crate::platform::{Fault, Outcome};
use crate::stock::Units;

/// A provider of payments, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Stripe Checkout.
    Stripe,
    /// bKash Tokenized Checkout.
    Bkash,
}

/// A wish to pay here.
#[derive(Clone, Debug)]
pub struct Ask {
    /// With whom.
    pub provider: Provider,
    /// Where the buyer goes after paying.
    pub success_url: String,
    /// Where the buyer goes after giving up.
    pub cancel_url: String,
}

/// A payment, as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// What it pays for.
    pub order_id: OrderId,
    /// `stripe` or `bkash`.
    pub provider: String,
    /// `initiated`, `pending`, `paid`, `failed`, `cancelled`, `expired`; `late` while money that came too late takes its
    /// units again or goes back; `refunding`, `refunded`; `review` where a person must look.
    pub status: String,
    /// How much.
    pub amount: Money,
    /// Its currency.
    pub currency: Currency,
    /// The provider's name for it.
    pub provider_payment_id: Option<String>,
    /// The provider's number of the transaction, once there is one.
    pub transaction_id: Option<String>,
    /// Where the buyer pays, while it can be paid.
    pub url: Option<String>,
    /// Until when it can be paid.
    pub deadline: Instant,
    /// When it was begun.
    pub created_at: Instant,
}

/// Why nothing was paid, or given back.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// The provider has no keys here.
    #[error("this payment provider is not set up here")]
    ProviderDisabled,
    /// A return address leads elsewhere than it may.
    #[error("`{0}` does not lead to one of `payments.return_origins`")]
    ReturnUrl(&'static str),
    /// There is nothing to pay.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The order is in another state.
    #[error("the order is in another state")]
    OrderState(String),
    /// The provider refused the payment: it is over, and so is the hold.
    #[error("the provider refused the payment")]
    Refused(String),
    /// The provider did not answer, or cannot be asked. The hold stays, and asking again goes on with the same payment.
    #[error("the payment provider did not answer")]
    ProviderUnavailable(Outcome),
    /// The provider will not give the money back.
    #[error("the provider does not give the money back")]
    RefundRefused(String),
}

impl From<Fault> for PayError {
    fn from(fault: Fault) -> Self {
        Self::Place(fault.into())
    }
}

impl From<crate::orders::CheckoutError> for PayError {
    fn from(error: crate::orders::CheckoutError) -> Self {
        Self::Place(error.into())
    }
}

impl From<crate::reservations::EndError> for PayError {
    fn from(error: crate::reservations::EndError) -> Self {
        Self::Place(error.into())
    }
}

/// Whoever takes the money.
pub trait Till: Send + Sync {
    /// Orders what is held, to be paid with `ask`: the order awaits its payment, whose URL is in it.
    fn pay_hold(&self, checkout: Checkout, ask: Ask) -> BoxFuture<'_, Result<Placed, PayError>>;

    /// The same for a whole cart.
    fn pay_cart(&self, place: Place, ask: Ask) -> BoxFuture<'_, Result<Placed, PayError>>;

    /// The payments of these orders, at most one each: the one that stands, or the last.
    fn payments_of<'a>(
        &'a self,
        orders: &'a [OrderId],
    ) -> BoxFuture<'a, Result<Vec<Payment>, Fault>>;

    /// Ends the payment that an order awaits, provider first. The order tells what came of it.
    fn give_up(&self, order: OrderId, actor: String) -> BoxFuture<'_, Result<(), PayError>>;

    /// Gives the money of an order back, and then its units. False: it was not paid here.
    fn pay_back(
        &self,
        order: OrderId,
        units: Units,
        actor: String,
    ) -> BoxFuture<'_, Result<bool, PayError>>;
}
