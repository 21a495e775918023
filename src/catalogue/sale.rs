//! What people say of a sale while it runs. An edit of the product never changes it.

use std::sync::Arc;

use crate::catalogue::{Catalogue, Name, store};
use crate::kernel::ProductId;
use crate::platform::Fault;

/// What people say of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaleState {
    /// It takes holds, within its window.
    Open,
    /// It takes none for now.
    Paused,
    /// It takes none any more, and is closed once the last hold has ended.
    Draining,
    /// It is over.
    Closed,
}

impl SaleState {
    /// As it stands in the stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }

    /// As it stands in the stores.
    pub(super) fn of(text: &str) -> Result<Self, Fault> {
        [Self::Open, Self::Paused, Self::Draining, Self::Closed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Fault::internal("reading the state of a sale"))
    }
}

/// A sale that comes to its end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Of which product.
    pub name: Arc<Name>,
    /// Whether it is draining.
    pub draining: bool,
    /// Who closed it, if its holds are to be released.
    pub closer: Option<String>,
}

impl Catalogue {
    /// Puts a sale into this state and notes who did it; none where there is no such product. Telling Redis is up to
    /// whoever sells.
    pub async fn set_sale(
        &self,
        id: ProductId,
        state: SaleState,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Option<SaleState>, Fault> {
        store::set_sale(&self.db, id, None, state, actor, reason).await
    }

    /// Closes a sale that has drained, unless it is no longer draining.
    pub async fn drained(&self, id: ProductId) -> Result<Option<SaleState>, Fault> {
        let draining = Some(SaleState::Draining);
        store::set_sale(&self.db, id, draining, SaleState::Closed, "service:drain", None).await
    }

    /// The states of these sales.
    pub async fn sale_states(
        &self,
        ids: &[ProductId],
    ) -> Result<Vec<(ProductId, SaleState)>, Fault> {
        store::sale_states(&self.db, ids).await
    }

    /// Sales that come to their end, above this number.
    pub async fn ending(&self, after: i64, limit: i64) -> Result<Vec<Ending>, Fault> {
        store::ending(&self.db, after, limit).await
    }

    /// All holds of this closed sale are released.
    pub async fn released(&self, id: ProductId) -> Result<(), Fault> {
        store::released(&self.db, id).await
    }
}
