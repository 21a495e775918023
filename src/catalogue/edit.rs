//! Changing and deleting products. Postgres decides by version; Redis is told after, and again until it has confirmed.

use std::sync::Arc;

use crate::catalogue::{Catalogue, Name, Product, Sale, Terms, store};
use crate::kernel::ProductId;
use crate::platform::{Fault, Outcome};

/// Why a product was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Somebody changed it meanwhile.
    #[error("the product has another version by now")]
    Conflict,
    /// The owner has no such supplier.
    #[error("the owner has no such supplier")]
    UnknownSupplier,
    /// Something else went wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a product was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Somebody changed it meanwhile.
    #[error("the product has another version by now")]
    Conflict,
    /// Somebody holds it.
    #[error("the product has live holds")]
    LiveHolds,
    /// Something else went wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Catalogue {
    /// Gives the product other terms, if `version` is still its own.
    pub async fn update(
        &self,
        sale: &dyn Sale,
        product: &Product,
        terms: &Terms,
        actor: &str,
    ) -> Result<Product, UpdateError> {
        let id = product.name.id;
        let updated = store::update(&self.db, id, product.version, terms, actor).await?;
        updated.ok_or(UpdateError::Conflict)?;
        self.tell(sale, &Arc::new(product.name.clone())).await;
        // Deleted in the same moment: the edit was before it.
        self.product(id).await?.ok_or(UpdateError::Conflict)
    }

    /// Deletes the product, if `version` is still its own and nobody holds it.
    ///
    /// First the row becomes a tombstone, which makes Redis hide the product sooner or later, whatever happens to this
    /// process; then Redis hides it in the call that looks whether it is held. If it is, the row comes back: holds were
    /// made since the first look.
    pub async fn delete(
        &self,
        sale: &dyn Sale,
        product: &Product,
        actor: &str,
    ) -> Result<(), DeleteError> {
        let name = Arc::new(product.name.clone());
        let idle = sale.announce(&name, true).await;
        if !idle.map_err(|fault| fault.with_outcome(Outcome::None))? {
            return Err(DeleteError::LiveHolds);
        }
        let deleted = store::delete(&self.db, name.id, product.version, actor).await?;
        let version = deleted.ok_or(DeleteError::Conflict)?;
        let hidden = sale.announce(&name, true).await;
        let held = matches!(hidden, Ok(false));
        if held {
            store::restore(&self.db, name.id, version).await?;
        }
        self.tell(sale, &name).await;
        match hidden {
            _ if held => Err(DeleteError::LiveHolds),
            Ok(_) => Ok(()),
            // The tombstone stands.
            Err(fault) => Err(fault.with_outcome(Outcome::Unknown).into()),
        }
    }

    /// What fails here is done by whichever replica looks for untold terms next.
    async fn tell(&self, sale: &dyn Sale, name: &Arc<Name>) {
        self.forget_offer(name.id).await;
        if let Err(fault) = sale.announce(name, false).await {
            tracing::warn!(error = fault.chain(), sku = %name.sku, "new terms wait to be told to redis");
        }
        self.changed().await;
    }

    async fn forget_offer(&self, id: ProductId) {
        self.offers.invalidate(&id).await;
    }
}
