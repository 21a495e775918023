//! Orders: what a confirmed reservation becomes. `checkout.rs` is the saga that gets it there.

mod checkout;
mod commit;
mod http;
mod store;

use std::sync::Arc;
use std::time::Duration;

use crate::kernel::money::MAX_MINOR;
use crate::kernel::{
    Currency, Instant, Money, OrderId, ProductId, Quantity, ReservationId, Sku, UserId,
};
use crate::platform::{Db, Fault, Tasks};
use crate::reservations::Reservations;

pub use checkout::{Checkout, CheckoutError, Placed, Which};
pub use http::routes;
pub use store::STATEMENTS;

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose it is.
    pub user_id: String,
    /// The reservation it came from.
    pub reservation_id: Option<ReservationId>,
    /// `paid`, `fulfilled`, …
    pub status: String,
    /// What was bought, at the prices of then.
    pub items: Vec<OrderItem>,
    /// What all of it costs.
    pub total: Money,
    /// When it was made.
    pub created_at: Instant,
}

/// One line of an order.
#[derive(Clone, Debug)]
pub struct OrderItem {
    /// Which product.
    pub product_id: ProductId,
    /// Its SKU then.
    pub sku: Sku,
    /// Its name then.
    pub name: String,
    /// Its price then; none where the storefront set the total.
    pub unit_price: Option<Money>,
    /// How many units.
    pub quantity: Quantity,
}

/// Who may see an order.
#[derive(Clone, Debug)]
pub enum Viewer {
    /// Everything.
    All,
    /// Orders of one's own.
    Buyer(UserId),
    /// Orders of one's own, and those that hold one's products.
    Merchant(UserId),
}

/// The orders' handle.
#[derive(Clone)]
pub struct Orders {
    reservations: Reservations,
    db: Db,
    tasks: Tasks,
    deadline: Duration,
    committing: Arc<commit::Committing>,
}

impl Orders {
    /// Orders over these reservations.
    pub fn new(reservations: Reservations, db: Db, tasks: Tasks, deadline: Duration) -> Self {
        let committing = commit::committing(db.clone());
        Self { reservations, db, tasks, deadline, committing }
    }

    /// The same orders over other reservations: another way to the same Redis.
    pub fn over(&self, reservations: Reservations) -> Self {
        Self { reservations, ..self.clone() }
    }

    /// The order, if it exists and the viewer may see it.
    pub async fn get(&self, id: OrderId, viewer: &Viewer) -> Result<Option<Order>, Fault> {
        store::order(&self.db, id, viewer).await
    }
}

/// The price of a line times its quantity.
fn line_total(price: Option<Money>, quantity: Quantity) -> Option<Money> {
    price.and_then(|price| price.times(quantity.get()))
}

/// A sum in one currency, unless it is more than any amount may be.
fn sum(amounts: impl Iterator<Item = Money>, currency: Currency) -> Option<Money> {
    amounts.into_iter().try_fold(Money::new(0, currency), |sum, amount| {
        let minor = sum.minor.checked_add(amount.minor).filter(|minor| *minor <= MAX_MINOR)?;
        Some(Money::new(minor, currency))
    })
}
