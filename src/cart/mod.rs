//! The cart: what a buyer means to order. It holds no stock, and its prices are those of right now.

mod http;
mod store;

use crate::kernel::{Currency, Money, ProductId, Quantity, Sku, UserId};
use crate::platform::{Db, Fault};
use crate::reservations::Reservations;

pub use http::{Operations, routes};
pub use store::STATEMENTS;

/// Most lines of a cart: as many as one order, and one reservation, may have.
pub const MAX_LINES: i32 = 20;

/// One line of a cart.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// Which product.
    pub product_id: ProductId,
    /// The same by its SKU.
    pub sku: Sku,
    /// What it is called.
    pub title: String,
    /// The currency of its price.
    pub currency: Currency,
    /// Its price; none where the storefront sets it.
    pub price: Option<Money>,
    /// How many units.
    pub quantity: Quantity,
    /// Whether it can be ordered at all: neither deleted nor unpublished.
    pub for_sale: bool,
}

/// Why a product was not put into the cart.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// No such product, or not for sale.
    #[error("there is no such product")]
    UnknownProduct,
    /// Another line is priced in another currency.
    #[error("the products are priced in different currencies")]
    MixedCurrency,
    /// It has as many lines as an order may have.
    #[error("a cart has at most {MAX_LINES} lines")]
    Full,
    /// More units than one line may be of.
    #[error("the line adds up to more than {} units", Quantity::MAX.get())]
    TooMany,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The carts' handle.
#[derive(Clone)]
pub struct Carts {
    db: Db,
    reservations: Reservations,
}

impl Carts {
    /// Carts in this database, of products whose stock these reservations know.
    pub fn new(db: Db, reservations: Reservations) -> Self {
        Self { db, reservations }
    }

    /// The same carts over other reservations: another way to the same Redis.
    pub fn over(&self, reservations: Reservations) -> Self {
        Self { reservations, ..self.clone() }
    }

    /// The lines of a buyer's cart, the oldest first.
    pub async fn lines(&self, user: &UserId) -> Result<Vec<Line>, Fault> {
        store::lines(&self.db, user).await
    }

    /// Puts units of a product into the cart; answers whether that made a new line. An earlier run of the same request
    /// (`request_key`) counts as this one.
    pub async fn add(
        &self,
        user: &UserId,
        product: ProductId,
        quantity: Quantity,
        request_key: Option<&[u8]>,
    ) -> Result<bool, AddError> {
        store::add(&self.db, user, product, quantity, request_key).await
    }

    /// Sets the quantity of a line; false where the buyer has no such line.
    pub async fn set(&self, user: &UserId, id: i64, quantity: Quantity) -> Result<bool, Fault> {
        store::set(&self.db, user, id, quantity).await
    }

    /// Takes a line out; false where the buyer has no such line.
    pub async fn remove(&self, user: &UserId, id: i64) -> Result<bool, Fault> {
        store::remove(&self.db, user, id).await
    }
}
