//! What a sale needs of the reservations: pin the lines, know the decision, settle by it.

use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use crate::catalogue::Name;
use crate::kernel::{Instant, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::{Fault, metrics as names};
use crate::reservations::ledger::{Pin, PinnedRecord, Pinning, Settled, Verdict};
use crate::reservations::query::Status;
use crate::reservations::record::Lines;
use crate::reservations::{
    EndError, Reservation, Reservations, ReserveError, Short, decision_store,
};

/// A reservation whose lines no clock can end any more.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// Which.
    pub id: ReservationId,
    /// Whose.
    pub user: UserId,
    /// Its lines in the order of their numbers.
    pub lines: Vec<PinnedLine>,
    /// When it was made.
    pub held_at: Instant,
    /// The deadline it had.
    pub expires_at: Instant,
    /// The address given when it was made.
    pub email: Option<String>,
}

/// One pinned line.
#[derive(Clone, Debug)]
pub struct PinnedLine {
    /// Of which product.
    pub name: Arc<Name>,
    /// How many units.
    pub quantity: Quantity,
    /// The hold's secret.
    pub token: String,
    /// The rebuild that its SKU was of when it was pinned.
    pub epoch: i64,
    /// The `max_per_buyer` it was granted under; 0 is none.
    pub cap: i64,
}

/// Why a reservation was not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It has ended, or never was.
    #[error("the reservation cannot be confirmed")]
    Ended(EndError),
    /// It is decided already.
    #[error("the reservation is decided")]
    Decided(Decision),
    /// It holds another quantity than was expected.
    #[error("the reservation holds another quantity")]
    OtherQuantity,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A row of `reservation_decisions`.
#[derive(Clone, Debug)]
pub struct Decision {
    /// About which reservation.
    pub id: ReservationId,
    /// What it says.
    pub outcome: Outcome,
    /// Why, where it is ABORTED.
    pub reason: Option<String>,
    /// By which figures, where stock or cap refused it.
    pub figures: Option<Figures>,
    /// Whose.
    pub user: String,
    /// The order, where it is CONFIRMED or PENDING.
    pub order_id: Option<OrderId>,
    /// When it was made.
    pub created_at: Instant,
    /// Its lines; none where it was aborted before anything was known of them.
    pub lines: Vec<DecidedLine>,
}

/// What a decision says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A payment is under way.
    Pending,
    /// Sold.
    Confirmed,
    /// Not sold.
    Aborted,
    /// Taken out of the stock by its owner.
    Out,
}

/// One line of a decision.
#[derive(Clone, Debug)]
pub struct DecidedLine {
    /// Of which product.
    pub product: ProductId,
    /// How many units.
    pub quantity: i64,
    /// The secret of the hold that it decided about.
    pub token: String,
}

/// What Postgres knew of stock and cap when it refused a sale.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Each line that is short: of what, how many were asked for, how many there are.
    pub lines: Vec<(Sku, Quantity, i64)>,
    /// Most units of one buyer.
    pub limit: i64,
    /// Units in payments under way.
    pub held: i64,
    /// Units bought, net of returns.
    pub bought: i64,
}

impl Decision {
    /// The refusal by stock or cap that it is, in the words of a hold that is refused.
    pub fn refusal(&self) -> Option<ReserveError> {
        let Figures { lines, limit, held, bought } = self.figures.clone()?;
        if lines.is_empty() {
            return Some(ReserveError::BuyerLimit { limit, held, bought });
        }
        let lines = lines.into_iter();
        let short = lines.map(|(sku, requested, available)| Short { sku, requested, available });
        Some(ReserveError::InsufficientStock { lines: short.collect(), soonest_expiry: None })
    }
}

impl Reservations {
    /// Pins all lines, the home line first. `expected` is checked before anything changes (one line only).
    pub async fn pin(
        &self,
        id: ReservationId,
        user: &UserId,
        expected: Option<Quantity>,
    ) -> Result<Pinned, PinError> {
        let home = id.home().ok_or(PinError::Ended(EndError::NotFound))?;
        let name =
            self.shared.catalogue.by_id(home).await?.ok_or(PinError::Ended(EndError::NotFound))?;
        let record = match self.pin_line(&name, id, user, expected).await? {
            Pin::Pinned(record) => record,
            Pin::OtherQuantity => return Err(PinError::OtherQuantity),
            Pin::Gone | Pin::Absent | Pin::Sold => return Err(self.why_not(id, user).await?),
        };
        let mut pinned = Pinned {
            id,
            user: user.clone(),
            lines: Vec::new(),
            held_at: Instant::from_ms(record.created_ms),
            expires_at: Instant::from_ms(record.deadline_ms),
            email: record.email.clone(),
        };
        let others = match &record.lines {
            Lines::Home(skus) => skus.iter().filter(|sku| **sku != name.sku).cloned().collect(),
            Lines::One | Lines::Other => Vec::new(),
        };
        pinned.lines.push(line(name, record));
        for sku in others {
            let missing = || Fault::internal("finding a product of a reservation");
            let name = self.shared.catalogue.by_sku(&sku).await?.ok_or_else(missing)?;
            match self.pin_line(&name, id, user, None).await? {
                Pin::Pinned(record) => pinned.lines.push(line(name, record)),
                _ => return Err(self.give_up_pins(&pinned).await?),
            }
        }
        Ok(pinned)
    }

    async fn pin_line(
        &self,
        name: &Arc<Name>,
        id: ReservationId,
        user: &UserId,
        expected: Option<Quantity>,
    ) -> Result<Pin, Fault> {
        let pin = self.pin_one(name, Pinning { id, user: user.clone(), expected }).await?;
        let now_ms = self.shared.watch.now_ms();
        match &pin {
            Pin::Pinned(_) => self.shared.watch.of(name).pinned_at(now_ms),
            Pin::Gone => self.shared.watch.of(name).ended_at(now_ms),
            Pin::Absent | Pin::Sold | Pin::OtherQuantity => {}
        }
        Ok(pin)
    }

    /// A line is gone although the home line was pinned: nobody may decide otherwise before the rest is let go.
    async fn give_up_pins(&self, pinned: &Pinned) -> Result<PinError, Fault> {
        let decision =
            self.fence(&[(pinned.id, pinned.user.clone())], "line_gone", "service").await?.pop();
        let decision = decision.ok_or_else(|| Fault::internal("fencing a reservation"))?;
        // `settle` leaves a payment under way alone.
        let names: Vec<Arc<Name>> = pinned.lines.iter().map(|line| line.name.clone()).collect();
        self.settle(&decision, &names).await;
        Ok(match decision.outcome {
            Outcome::Confirmed => PinError::Decided(decision),
            Outcome::Pending => PinError::Ended(EndError::PaymentInProgress),
            Outcome::Aborted | Outcome::Out => PinError::Ended(EndError::Expired),
        })
    }

    /// Lets pinned reservations go, unless they are decided already: whatever has no decision gets ABORTED. Answers what
    /// stands for each.
    pub async fn abandon(&self, pinned: &[Pinned], reason: &str) -> Result<Vec<Decision>, Fault> {
        if pinned.is_empty() {
            return Ok(Vec::new());
        }
        let pins: Vec<_> = pinned.iter().map(|pin| (pin.id, pin.user.clone())).collect();
        let decisions = self.fence(&pins, reason, "service").await?;
        for decision in decisions.iter().filter(|decision| decision.outcome != Outcome::Pending) {
            let lines =
                pinned.iter().filter(|pin| pin.id == decision.id).flat_map(|pin| &pin.lines);
            let names: Vec<Arc<Name>> = lines.map(|line| line.name.clone()).collect();
            self.settle(decision, &names).await;
        }
        Ok(decisions)
    }

    /// What became of a reservation that could not be pinned.
    async fn why_not(&self, id: ReservationId, user: &UserId) -> Result<PinError, Fault> {
        if let Some(decision) = decision_store::find_decision(&self.shared.db, id, user).await?
            && matches!(decision.outcome, Outcome::Confirmed | Outcome::Pending)
        {
            let names = self.names(&decision).await?;
            self.settle(&decision, &names).await;
            return Ok(PinError::Decided(decision));
        }
        let viewer = Some(user);
        Ok(PinError::Ended(match self.get(id, viewer).await? {
            None => EndError::NotFound,
            Some(Reservation { status: Status::Held, .. }) => {
                return Err(Fault::unavailable(
                    "a hold came back while it was confirmed",
                    crate::platform::Outcome::None,
                ));
            }
            Some(reservation) => EndError::of(reservation.status),
        }))
    }

    async fn names(&self, decision: &Decision) -> Result<Vec<Arc<Name>>, Fault> {
        let mut names = Vec::new();
        for line in &decision.lines {
            names.extend(self.shared.catalogue.by_id(line.product).await?);
        }
        Ok(names)
    }

    /// Applies a decision to the lines of these products; a payment under way is no decision yet. What fails here,
    /// recovery does: then false.
    pub async fn settle(&self, decision: &Decision, names: &[Arc<Name>]) -> bool {
        let mut whole = true;
        for name in names {
            if let Err(fault) = self.settle_line(decision, name).await {
                tracing::warn!(error = fault.chain(), reservation.id = %decision.id, "a line was left to recovery");
                whole = false;
            }
        }
        whole
    }

    /// Applies a decision to one line.
    pub(super) async fn settle_line(
        &self,
        decision: &Decision,
        name: &Arc<Name>,
    ) -> Result<Settled, Fault> {
        if decision.outcome == Outcome::Pending {
            return Ok(Settled::Nothing);
        }
        if decision.outcome == Outcome::Out {
            // Released by itself, it could be held again before its stock is gone.
            self.apply_from(&self.shared.db, name, Some(decision.id)).await?;
            return Ok(Settled::Released);
        }
        let line = decision.lines.iter().find(|line| line.product == name.id);
        let confirmed = decision.outcome == Outcome::Confirmed && line.is_some();
        let verdict = Verdict {
            id: decision.id,
            confirmed,
            token: line.map_or_else(|| "-".to_owned(), |line| line.token.clone()),
            quantity: line.map_or(0, |line| line.quantity),
            reason: decision.reason.clone().unwrap_or_else(|| "aborted".to_owned()),
            actor: "service",
        };
        let settled = self.settle_one(name, verdict).await?;
        self.shared.watch.of(name).ended_at(self.shared.watch.now_ms());
        match settled {
            Settled::Sold => metrics::counter!(names::ENDS, "end" => "confirmed").increment(1),
            Settled::Released => metrics::counter!(names::ENDS, "end" => "aborted").increment(1),
            Settled::Nothing => {}
        }
        Ok(settled)
    }

    /// Makes sure that each of these has a decision: ABORTED where there was none. Answers what stands.
    pub(super) async fn fence(
        &self,
        pins: &[(ReservationId, UserId)],
        reason: &str,
        actor: &str,
    ) -> Result<Vec<Decision>, Fault> {
        decision_store::fence(&self.shared.db, pins, reason, actor).await
    }

    /// Makes a SKU right again whose epoch Postgres has left behind, or waits for whoever is at it.
    pub async fn catch_up(&self, name: &Arc<Name>) -> Result<(), Fault> {
        metrics::counter!(names::STALE_CONFIRMS).increment(1);
        self.shared.rebuilder.catch_up(name).await
    }

    /// The live hold of a buyer on a product, or the last one that ended there.
    pub async fn find_by_product(
        &self,
        user: &UserId,
        product: ProductId,
    ) -> Result<Option<ReservationId>, Fault> {
        self.in_time(self.find(user, product)).await
    }
}

fn line(name: Arc<Name>, record: PinnedRecord) -> PinnedLine {
    PinnedLine {
        name,
        quantity: record.quantity,
        token: record.token,
        epoch: record.epoch,
        cap: record.cap,
    }
}

/// For the functions that decide about several at once.
pub(super) fn split(pins: &[(ReservationId, UserId)]) -> (Vec<Uuid>, Vec<&str>) {
    pins.iter().map(|(id, user)| (id.uuid(), user.as_str())).unzip()
}
