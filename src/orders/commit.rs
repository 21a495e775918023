//! Group commit: sales of one product that arrive while a decision about it is being written are decided together in
//! the next call. Products do not wait for each other.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::kernel::ProductId;
use crate::orders::store::{self, Sale};
use crate::platform::coalescer::{Coalescer, Limits};
use crate::platform::{Db, Fault};
use crate::reservations::Decision;

/// One call at a time and product: another one would only wait for the same stock row.
const LIMITS: Limits = Limits { batch: 128, in_flight: 1, waiting: 1_024, total: 8_192 };

/// The decision about one sale; none when an epoch moved since its lines were pinned.
pub(super) type Decided = Result<Option<Decision>, Fault>;

/// The sales of this process on their way to a decision, by the home product of the reservation.
pub(super) type Committing = Coalescer<Option<ProductId>, Sale, Decided>;

/// Decides sales on connections of this pool.
pub(super) fn committing(db: Db) -> Arc<Committing> {
    Coalescer::new("confirm", LIMITS, move |_, sales| {
        let db = db.clone();
        async move { commit(&db, &sales).await }.boxed()
    })
}

async fn commit(db: &Db, sales: &[Sale]) -> Vec<Decided> {
    match store::confirm(db, sales).await {
        Ok(decisions) => {
            db.outbox().notify_one();
            let of = |sale: &Sale| decisions.iter().find(|decision| decision.id == sale.pinned.id);
            sales.iter().map(|sale| Ok(of(sale).cloned())).collect()
        }
        Err(fault) => sales.iter().map(|_| Err(fault.repeat())).collect(),
    }
}
