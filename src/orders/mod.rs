//! Orders: what a confirmed reservation becomes. `checkout.rs` is the saga that gets it there.

mod bill;
mod change_http;
mod checkout;
mod checkout_http;
mod columns_store;
mod commit;
mod http;
mod place;
mod place_http;
mod quote;
mod store;
mod till;

use std::sync::Arc;
use std::time::Duration;

use crate::cart::Carts;
use crate::kernel::{Instant, Money, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::{Db, Fault, Tasks};
use crate::reservations::Reservations;
use crate::stock::{Movements, Units};

pub use bill::{Bill, Billed};
pub use checkout::{Checkout, CheckoutError, Placed, Which};
pub use columns_store::Columns;
pub use http::{Operations, routes};
pub use place::{Place, PlaceError};
pub use store::STATEMENTS;
pub use till::{Ask, PayError, Payment, Provider, Till};

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
    /// How it is paid here; none: the storefront took the money.
    pub payment: Option<Box<Payment>>,
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
    carts: Carts,
    movements: Movements,
    db: Db,
    tasks: Tasks,
    deadline: Duration,
    committing: Arc<commit::Committing>,
}

impl Orders {
    /// Orders over these reservations.
    pub fn new(
        reservations: Reservations,
        carts: Carts,
        movements: Movements,
        db: Db,
        tasks: Tasks,
        deadline: Duration,
    ) -> Self {
        let committing = commit::committing(db.clone());
        Self { reservations, carts, movements, db, tasks, deadline, committing }
    }

    /// The same orders over other reservations: another way to the same Redis.
    pub fn over(&self, reservations: Reservations) -> Self {
        let movements = self.movements.over(reservations.clone());
        Self { reservations, movements, ..self.clone() }
    }

    /// The order, if it exists and the viewer may see it.
    pub async fn get(&self, id: OrderId, viewer: &Viewer) -> Result<Option<Order>, Fault> {
        store::order(&self.db, id, viewer).await
    }

    /// Those of these orders that exist.
    pub async fn these(&self, ids: &[OrderId]) -> Result<Vec<Order>, Fault> {
        store::these(&self.db, ids).await
    }

    /// The order, and the address that news of it goes to, if one was named.
    pub async fn with_address(
        &self,
        id: OrderId,
    ) -> Result<Option<(Order, Option<String>)>, Fault> {
        let Some(order) = store::order(&self.db, id, &Viewer::All).await? else { return Ok(None) };
        Ok(Some((order, store::address(&self.db, id).await?)))
    }

    /// A page of orders, the newest first, from `before` (exclusive) on; one more than `limit` where there are more.
    pub async fn list(
        &self,
        viewer: &Viewer,
        status: Option<&str>,
        before: Option<OrderId>,
        limit: i64,
    ) -> Result<Vec<Order>, Fault> {
        store::list(&self.db, viewer, status, before, limit).await
    }

    /// The reservations and the pool behind them, for whoever takes the money.
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// Marks a paid order as fulfilled. Answers it as it stands then; none where the viewer may not see it.
    pub async fn fulfil(
        &self,
        id: OrderId,
        viewer: &Viewer,
        actor: &str,
    ) -> Result<Option<Order>, Fault> {
        if store::order(&self.db, id, viewer).await?.is_none() {
            return Ok(None);
        }
        store::fulfil(&self.db, id, actor).await?;
        self.db.outbox().notify_one();
        store::order(&self.db, id, viewer).await
    }

    /// Refunds an order that is paid or fulfilled: its units and its buyer's share come back. Answers it as it stands
    /// then; none where there is no such order.
    pub async fn refund(
        &self,
        id: OrderId,
        units: Units,
        actor: String,
    ) -> Result<Option<Order>, Fault> {
        if self.movements.give_back(id, units, actor).await?.is_none() {
            return Ok(None);
        }
        self.db.outbox().notify_one();
        store::order(&self.db, id, &Viewer::All).await
    }
}

/// The price of a line times its quantity.
fn line_total(price: Option<Money>, quantity: Quantity) -> Option<Money> {
    price.and_then(|price| price.times(quantity.get()))
}
