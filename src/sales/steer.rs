//! What an operator does to a sale. Postgres has it first; the answer leaves when Redis has it too.

use std::future::Future;
use std::sync::Arc;

use serde_json::json;

use crate::catalogue::{Name, SaleState};
use crate::kernel::ProductId;
use crate::kernel::ids::hold_token;
use crate::platform::{Fault, Outcome};
use crate::reservations::{By, ExpiryClock, Extension};
use crate::sales::{PATIENCE, Sale, Sales};

/// Why a sale was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// There is no such product.
    #[error("there is no such product")]
    UnknownProduct,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Sales {
    /// Opens, pauses, drains or closes a sale. After the answer no hold is made against it.
    ///
    /// The state stands in Postgres first, and the loop of the reservations takes up what a crash leaves: telling Redis,
    /// releasing the holds of a closed sale, closing what has drained.
    pub async fn steer(&self, id: ProductId, to: SaleState, by: By) -> Result<Sale, SteerError> {
        let this = self.clone();
        self.patiently(async move {
            let catalogue = this.reservations.catalogue();
            let name = catalogue.by_id(id).await?.ok_or(SteerError::UnknownProduct)?;
            let set = catalogue.set_sale(id, to, &by.actor, by.reason.as_deref()).await?;
            set.ok_or(SteerError::UnknownProduct)?;
            this.reservations.take_sale(&name).await?;
            catalogue.changed().await;
            if to == SaleState::Closed {
                let released = this.reservations.release_all(&name, &by.actor).await;
                released.map_err(|fault| fault.with_outcome(Outcome::Unknown))?;
            }
            if to == SaleState::Draining {
                this.reservations.close_drained(&name).await?;
            }
            this.shown.invalidate(&id).await;
            this.sale(id).await?.ok_or(SteerError::UnknownProduct)
        })
        .await
    }

    /// Gives every live hold of a product more time. Under one operation nothing is moved twice.
    pub async fn extend_holds(
        &self,
        id: ProductId,
        seconds: u32,
        operation: Option<String>,
        by: By,
    ) -> Result<(Arc<Name>, Extension), SteerError> {
        let this = self.clone();
        self.patiently(async move {
            let catalogue = this.reservations.catalogue();
            catalogue.product(id).await?.ok_or(SteerError::UnknownProduct)?;
            let name = catalogue.by_id(id).await?.ok_or(SteerError::UnknownProduct)?;
            let operation = operation.unwrap_or_else(hold_token);
            // Before it is done: nothing is changed that nobody wrote down.
            let mut detail = json!({ "seconds": seconds, "operation": operation });
            if let Some(reason) = &by.reason {
                detail["reason"] = json!(reason);
            }
            let subject = id.to_string();
            this.audit.note(&by.actor, "sale.extend_holds", &subject, &detail).await?;
            let extended = this.reservations.extend_all(&name, &operation, seconds, &by).await;
            let extended = extended.map_err(|fault| fault.with_outcome(Outcome::Unknown))?;
            tracing::info!(sku = %name.sku, seconds, extended = extended.extended, skipped = extended.skipped, "all holds of a product were extended");
            Ok((name, extended))
        })
        .await
    }

    /// Freezes the clock by which holds expire, or lets it go on.
    pub async fn set_expiry(&self, frozen: bool, by: By) -> Result<ExpiryClock, SteerError> {
        let this = self.clone();
        self.patiently(async move {
            let set = this.reservations.set_expiry(frozen, &by.actor, by.reason.as_deref()).await;
            Ok(set?)
        })
        .await
    }

    /// The clock by which holds expire.
    pub async fn expiry(&self) -> Result<ExpiryClock, Fault> {
        self.reservations.expiry_clock().await
    }

    /// Does the work in a task of its own, so that nobody who goes away stops it halfway.
    async fn patiently<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SteerError>> + Send + 'static,
    ) -> Result<T, SteerError> {
        let late = || Fault::unavailable("work on all holds of a product", Outcome::Unknown);
        match tokio::time::timeout(PATIENCE, self.tasks.spawn(work)).await {
            Ok(Ok(done)) => done,
            Ok(Err(died)) => Err(late().because(died).into()),
            Err(elapsed) => Err(late().because(elapsed).into()),
        }
    }
}
