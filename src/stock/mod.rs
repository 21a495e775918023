//! The shop owner's stock: goods that come in, are taken out, or come back with a refund, and the history of all of it.
//! Every statement says whose products it may touch.
//!
//! A movement is written in Postgres, in one transaction with the stock, and then brought to Redis. The answer leaves
//! after that; what a crash or an absent Redis left open, the reservations bring later.

mod http;
mod out;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant as Started};

use serde::Serialize;

use crate::catalogue::Name;
use crate::kernel::{Instant, OrderId, ProductId, Quantity};
use crate::platform::fault::Kind;
use crate::platform::tasks::jittered;
use crate::platform::{Db, Fault, Outcome, Tasks, fault_point};
use crate::reservations::{Reservations, Short};

pub use http::{Operations, routes};
pub use store::STATEMENTS;

/// The pause before something is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// What the answer itself may take of the request's deadline.
const MARGIN: Duration = Duration::from_millis(100);

/// A change of the stock on hand, as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Movement {
    /// Its number; later movements of a product have greater ones.
    pub id: i64,
    /// Of which product.
    pub product_id: ProductId,
    /// `IN`, `OUT`, `SALE` or `RETURN`.
    pub movement_type: String,
    /// How many units.
    pub quantity: i64,
    /// Units on hand after it: available and reserved.
    pub stock_after: i64,
    /// What its owner said of it.
    pub note: Option<String>,
    /// Where the units were bought.
    pub supplier_id: Option<i64>,
    /// Who did it.
    pub actor: String,
    /// When.
    pub created_at: Instant,
}

/// A wish to move stock.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Of whose product: one owner's, or anybody's for none.
    pub owner: Option<String>,
    /// Of which product.
    pub product: ProductId,
    /// How many units.
    pub quantity: Quantity,
    /// What its owner says of it.
    pub note: Option<String>,
    /// Where the units were bought.
    pub supplier_id: Option<i64>,
    /// Who does it, for the record.
    pub actor: String,
    /// The hash of the request's Idempotency-Key.
    pub request_key: Option<Vec<u8>>,
}

/// Which movements to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Those of one owner's products, or of all for none.
    pub owner: Option<String>,
    /// Those of this product.
    pub product: Option<ProductId>,
    /// Not before.
    pub from: Option<Instant>,
    /// Before.
    pub to: Option<Instant>,
    /// Those with smaller numbers.
    pub before: i64,
    /// At most so many.
    pub limit: i64,
}

/// Why stock was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The owner has no such product.
    #[error("the owner has no such product")]
    UnknownProduct,
    /// The owner of the product has no such supplier.
    #[error("the owner of the product has no such supplier")]
    UnknownSupplier,
    /// There would be more than a product may have.
    #[error("a product has at most 1000000000 units")]
    TooMuch,
    /// So much is not there, or it is held or sold.
    #[error("there is not enough stock that is neither held nor sold")]
    InsufficientStock {
        /// What is short.
        lines: Vec<Short>,
        /// When the next hold ends.
        soonest_expiry: Option<Instant>,
    },
    /// Something else went wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What a refunded order's units become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// For sale again.
    Restocked,
    /// Written off.
    WrittenOff,
}

/// What became of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The order's status now.
    pub status: String,
    /// Whether it was this call that refunded it.
    pub done: bool,
}

/// The handle on movements of stock.
#[derive(Clone)]
pub struct Movements {
    reservations: Reservations,
    db: Db,
    tasks: Tasks,
    deadline: Duration,
}

impl Movements {
    /// Movements of what these reservations hold.
    pub fn new(reservations: Reservations, db: Db, tasks: Tasks, deadline: Duration) -> Self {
        Self { reservations, db, tasks, deadline }
    }

    /// The same over other reservations: another way to the same Redis.
    pub fn over(&self, reservations: Reservations) -> Self {
        Self { reservations, ..self.clone() }
    }

    /// Takes goods in.
    pub async fn bring_in(&self, wish: Wish) -> Result<Movement, MoveError> {
        self.to_its_end(self.clone().run_in(wish, Started::now())).await
    }

    /// Takes goods out, as far as they are neither held nor sold.
    pub async fn take_out(&self, wish: Wish) -> Result<Movement, MoveError> {
        self.to_its_end(self.clone().run_out(wish, Started::now())).await
    }

    /// A crash after the movement leaves Redis with less stock than there is, until a worker brings it.
    async fn run_in(self, wish: Wish, begun: Started) -> Result<Movement, MoveError> {
        let name = self.name(&wish).await?;
        let movement = store::bring_in(&self.db, &wish).await?.ok_or(MoveError::UnknownProduct)?;
        fault_point::reach("after_movement");
        self.bring_to_redis(&[name], begun).await;
        Ok(movement)
    }

    /// Refunds an order in Postgres, gives its units and its buyer's share back, and brings both to Redis before it
    /// answers. One caller wins; repeating it answers the same and brings what is open. None: there is no such order.
    ///
    /// It asks nobody for money, and leaves alone an order that is neither paid nor fulfilled.
    pub async fn give_back(
        &self,
        order: OrderId,
        units: Units,
        actor: String,
    ) -> Result<Option<Returned>, Fault> {
        self.to_its_end(self.clone().run_back(order, units, actor, Started::now())).await
    }

    async fn run_back(
        self,
        order: OrderId,
        units: Units,
        actor: String,
        begun: Started,
    ) -> Result<Option<Returned>, Fault> {
        let Some(returned) = store::give_back(&self.db, order, units, &actor).await? else {
            return Ok(None);
        };
        fault_point::reach("after_movement");
        if returned.status == "refunded" {
            let names: Vec<_> = store::products_of(&self.db, order).await?;
            self.bring_to_redis(&names, begun).await;
        }
        Ok(Some(returned))
    }

    /// A page of movements, the newest first, and one more if there is another page.
    pub async fn page(&self, listing: &Listing) -> Result<Vec<Movement>, MoveError> {
        if let Some(product) = listing.product
            && !store::has_product(&self.db, listing.owner.as_deref(), product).await?
        {
            return Err(MoveError::UnknownProduct);
        }
        Ok(store::page(&self.db, listing).await?)
    }

    /// The product that a wish is about, if its owner has it and the supplier.
    async fn name(&self, wish: &Wish) -> Result<Arc<Name>, MoveError> {
        let found = store::product(&self.db, wish).await?.ok_or(MoveError::UnknownProduct)?;
        match found {
            (name, true) => Ok(Arc::new(name)),
            (_, false) => Err(MoveError::UnknownSupplier),
        }
    }

    /// Makes Redis and what everybody sees follow. The movement stands whether or not this succeeds in time.
    async fn bring_to_redis(&self, names: &[Arc<Name>], begun: Started) {
        let applying = async {
            for name in names {
                while let Err(fault) = self.reservations.apply_stock(name).await {
                    tracing::warn!(error = fault.chain(), sku = %name.sku, "a movement is not in redis yet");
                    if fault.kind() == Kind::Internal {
                        return;
                    }
                    tokio::time::sleep(jittered(PAUSE * 5)).await;
                }
            }
        };
        let left = self.deadline.saturating_sub(begun.elapsed() + MARGIN);
        if tokio::time::timeout(left, applying).await.is_err() {
            tracing::warn!("movements were left to be brought to redis later");
        }
        self.reservations.catalogue().changed().await;
    }

    /// Runs what must not stop halfway in a task of its own; the caller waits for it until the request's deadline.
    async fn to_its_end<T: Send + 'static, E: From<Fault> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.db.available()?;
        match tokio::time::timeout(self.deadline, self.tasks.spawn(work)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(Fault::internal("moving stock").because(panic).into()),
            Err(late) => Err(Fault::unavailable("the request's deadline", Outcome::Unknown)
                .because(late)
                .into()),
        }
    }
}
