//! Goods are taken out like a sale: pin, decide in Postgres, settle. So no hold is undercut, and no unit is given twice.
//!
//! A crash before the decision leaves a pin that recovery fences; after it, the stock is gone in Postgres, and a worker
//! brings that to Redis, where the pin ends in the same call.

use std::sync::Arc;
use std::time::Instant as Started;

use crate::catalogue::Name;
use crate::kernel::ReservationId;
use crate::platform::tasks::jittered;
use crate::platform::{Fault, Outcome, fault_point};
use crate::reservations::{Decision, DecisionOutcome, Grab, Pinned, Short};
use crate::stock::{MoveError, Movement, Movements, PAUSE, Wish, store};

/// How often it starts over: the SKU was rebuilt, or recovery was faster.
const ATTEMPTS: u32 = 3;

impl Movements {
    pub(super) async fn run_out(self, wish: Wish, begun: Started) -> Result<Movement, MoveError> {
        let name = self.name(&wish).await?;
        // An earlier run of the same request may have died with its pin standing: it is joined.
        let mut id = match &wish.request_key {
            Some(key) => ReservationId::derived(name.id, key),
            None => ReservationId::random(name.id),
        };
        let mut standing = None;
        for _ in 0..ATTEMPTS {
            if let Some(movement) = self.done_before(&wish, &name, begun).await? {
                return Ok(movement);
            }
            let pinned = match self.reservations.grab(&name, id, wish.quantity).await? {
                Grab::Pinned(pinned) if pinned.lines[0].quantity == wish.quantity => pinned,
                Grab::Pinned(_) | Grab::Ended => {
                    id = ReservationId::random(name.id);
                    continue;
                }
                Grab::Short { available, soonest_expiry } => {
                    let lines = short(&name, &wish, available);
                    return Err(MoveError::InsufficientStock { lines, soonest_expiry });
                }
            };
            fault_point::reach("after_grab");
            match self.decide(&wish, &pinned, begun).await? {
                None => {
                    self.reservations.catch_up(&name).await?;
                    standing = Some(pinned);
                }
                Some(decision) if decision.outcome == DecisionOutcome::Out => {
                    fault_point::reach("after_movement");
                    self.bring_to_redis(std::slice::from_ref(&name), begun).await;
                    let movement = store::taken_out(&self.db, decision.id).await?;
                    return Ok(movement.ok_or_else(|| Fault::internal("reading a movement"))?);
                }
                Some(decision) => {
                    self.reservations.settle(&decision, std::slice::from_ref(&name)).await;
                    self.refused(&wish, &name, &decision).await?;
                    standing = None;
                    id = ReservationId::random(name.id);
                }
            }
        }
        Err(self.give_up(standing).await?.into())
    }

    /// The movement that an earlier run of the same request made.
    async fn done_before(
        &self,
        wish: &Wish,
        name: &Arc<Name>,
        begun: Started,
    ) -> Result<Option<Movement>, Fault> {
        let Some(key) = &wish.request_key else { return Ok(None) };
        let found = store::by_request_key(&self.db, key).await?;
        if found.is_some() {
            self.bring_to_redis(std::slice::from_ref(name), begun).await;
        }
        Ok(found)
    }

    /// The commit point. None: the SKU was rebuilt since the pin.
    async fn decide(
        &self,
        wish: &Wish,
        pinned: &Pinned,
        begun: Started,
    ) -> Result<Option<Decision>, Fault> {
        loop {
            match store::take_out(&self.db, wish, pinned).await {
                Err(fault)
                    if begun.elapsed() < self.deadline && fault.outcome() == Outcome::Unknown =>
                {
                    tracing::warn!(error = fault.chain(), reservation.id = %pinned.id, "asking again for a decision");
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                // The pin stays: a call before this one may have been heard. Recovery finds out.
                decided => return decided,
            }
        }
    }

    /// Why it was refused; nothing where it may be tried again.
    async fn refused(
        &self,
        wish: &Wish,
        name: &Arc<Name>,
        decision: &Decision,
    ) -> Result<(), MoveError> {
        match decision.reason.as_deref() {
            Some("insufficient_stock") => {
                let available = self.reservations.stock(name).await?.available_stock;
                let lines = short(name, wish, available);
                Err(MoveError::InsufficientStock { lines, soonest_expiry: None })
            }
            Some("unknown_product") => Err(MoveError::UnknownProduct),
            _ => Ok(()),
        }
    }

    /// Too much else went on. Nothing may be decided about a pin that is left behind.
    async fn give_up(&self, standing: Option<Pinned>) -> Result<Fault, Fault> {
        let left = self.reservations.abandon(standing.as_slice(), "out_failed").await?;
        // Another run of the same request may just have succeeded.
        let taken = left.iter().any(|decision| decision.outcome == DecisionOutcome::Out);
        let outcome = if taken { Outcome::Unknown } else { Outcome::None };
        Ok(Fault::unavailable("taking goods out against other changes", outcome))
    }
}

fn short(name: &Name, wish: &Wish, available: i64) -> Vec<Short> {
    vec![Short { sku: name.sku.clone(), requested: wish.quantity, available }]
}
