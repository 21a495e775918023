//! What movements of the stock need of Redis: units pinned for their owner, and the stock as it is after a movement.
//!
//! Postgres remembers which version of the stock Redis has confirmed, so that what a crash or an absent Redis left open
//! is brought by any replica later. All that is brought are states: coming twice or late changes nothing.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::ids::hold_token;
use crate::kernel::{Instant, Quantity, ReservationId, UserId};
use crate::platform::fault::Kind;
use crate::platform::tasks::jittered;
use crate::platform::{Db, Fault, fault_point};
use crate::reservations::ledger::Grabbed;
use crate::reservations::{Pinned, PinnedLine, Reservations, stock_store};

/// Products that one turn brings, and movements of one product that one call brings.
const BATCH: i64 = 64;
const MOVEMENTS: i64 = 500;

/// What became of a wish to pin units for their owner.
#[derive(Debug)]
pub enum Grab {
    /// They are pinned: a decision must follow.
    Pinned(Pinned),
    /// What was pinned under this id has come to its end.
    Ended,
    /// So much is neither held nor sold.
    Short {
        /// How many units.
        available: i64,
        /// When the next hold ends.
        soonest_expiry: Option<Instant>,
    },
}

impl Reservations {
    /// Pins units that their owner means to take out. Joins a pin of this id that stands, whatever its quantity.
    pub async fn grab(
        &self,
        name: &Arc<Name>,
        id: ReservationId,
        quantity: Quantity,
    ) -> Result<Grab, Fault> {
        let token = hold_token();
        let grabbed =
            self.on_sku(name, || self.ledger.grab(&name.sku, id, &token, quantity)).await?;
        let now_ms = self.shared.watch.now_ms();
        Ok(match grabbed {
            Grabbed::Pinned { token, epoch, quantity } => {
                self.shared.watch.of(name).pinned_at(now_ms);
                let line = PinnedLine { name: name.clone(), quantity, token, epoch, cap: 0 };
                let now = Instant::from_ms(now_ms);
                Grab::Pinned(Pinned {
                    id,
                    user: UserId::nobody(),
                    lines: vec![line],
                    held_at: now,
                    expires_at: now,
                    email: None,
                })
            }
            Grabbed::Ended => Grab::Ended,
            Grabbed::SoldOut { available, soonest_expiry_ms } => Grab::Short {
                available,
                soonest_expiry: (soonest_expiry_ms > 0)
                    .then(|| Instant::from_ms(soonest_expiry_ms)),
            },
        })
    }

    /// Brings Redis all that it may not know of the stock of a product: what came in, what was taken out (whose pins end
    /// with it), and what buyers gave back.
    pub async fn apply_stock(&self, name: &Arc<Name>) -> Result<(), Fault> {
        self.apply_from(&self.shared.db, name, None).await
    }

    /// The same, and ends the pin of `taken`, whose decision is OUT.
    pub(super) async fn apply_from(
        &self,
        db: &Db,
        name: &Arc<Name>,
        taken: Option<ReservationId>,
    ) -> Result<(), Fault> {
        loop {
            let mut state = stock_store::stock_state(db, name.id, MOVEMENTS).await?;
            state.taken.extend(taken);
            self.on_sku(name, || self.ledger.apply_stock(&name.sku, &state)).await?;
            self.shared.watch.of(name).ended_at(self.shared.watch.now_ms());
            fault_point::reach("after_apply");
            stock_store::stock_applied(db, name.id, state.complete_to).await?;
            if state.complete_to >= state.ver {
                return Ok(());
            }
        }
    }

    /// Brings what was left open until the service stops.
    pub(super) async fn run_applying(self) {
        while self.shared.tasks.pause(jittered(super::startup::RETRY)).await {
            if let Err(fault) = self.apply_due().await {
                tracing::warn!(
                    error = fault.chain(),
                    "movements of stock wait to be told to redis"
                );
            }
        }
    }

    /// Brings what requests left open, of some products.
    pub async fn apply_due(&self) -> Result<(), Fault> {
        let db = &self.shared.background_db;
        let due = stock_store::stock_unapplied(db, BATCH).await?;
        for name in due.iter().cloned().map(Arc::new) {
            match self.apply_from(db, &name, None).await {
                // One product that cannot be told holds up no other.
                Err(fault) if fault.kind() != Kind::Unavailable => {
                    tracing::error!(error = fault.chain(), sku = %name.sku, "stock cannot be told");
                }
                applied => applied?,
            }
        }
        if !due.is_empty() {
            self.shared.catalogue.changed().await;
        }
        Ok(())
    }
}
