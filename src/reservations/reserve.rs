//! Reserving: one product in one script call; several under one id, all or nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::Name;
use crate::kernel::ids::hold_token;
use crate::kernel::{Instant, Quantity, ReservationId, Sku, UserId};
use crate::platform::{Fault, Outcome, metrics as names};
use crate::reservations::ledger::{Reserved, Standing, Wanted};
use crate::reservations::record::State;
use crate::reservations::{Item, Reservation, Reservations, Status};

/// What a line of several stands on until all lines are held.
const SHORT: Duration = Duration::from_secs(5);

/// A wish to hold units.
#[derive(Clone, Debug)]
pub struct Hold {
    /// For whom.
    pub user: UserId,
    /// Of what, each product once.
    pub lines: Vec<(Arc<Name>, Quantity)>,
    /// For how long, if shorter than the product's own time.
    pub ttl_seconds: Option<u32>,
    /// Where to send news of the order it may become.
    pub email: Option<String>,
    /// Who asks, for the record.
    pub actor: String,
}

/// A hold that stands.
#[derive(Debug)]
pub struct Held {
    /// It.
    pub reservation: Reservation,
    /// Whether it was made now, rather than found standing.
    pub created: bool,
}

/// A line for which there is not enough.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Short {
    /// Of which product.
    pub sku: Sku,
    /// How many were asked for.
    pub requested: Quantity,
    /// How many there are.
    pub available: i64,
}

/// Why nothing was held.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The buyer has a live hold that this request would clash with.
    #[error("the buyer already has a live hold of this product")]
    AlreadyHeld(ReservationId),
    /// There is not enough, even after everything due was taken back.
    #[error("there is not enough stock")]
    InsufficientStock {
        /// The lines that are short.
        lines: Vec<Short>,
        /// When the next hold ends, if there is one.
        soonest_expiry: Option<Instant>,
    },
    /// More than one buyer may have.
    #[error("the buyer would have more than one buyer may")]
    BuyerLimit {
        /// Most units.
        limit: i64,
        /// Units held now.
        held: i64,
        /// Units bought, net of returns.
        bought: i64,
    },
    /// The sale has not begun.
    #[error("the sale has not begun")]
    SaleNotOpen {
        /// When it does.
        opens_at: Instant,
    },
    /// The sale is over.
    #[error("the sale is over")]
    SaleClosed,
    /// The sale is paused.
    #[error("the sale is paused")]
    SalePaused,
    /// A longer hold than the product allows.
    #[error("a hold of this product lasts at most {most_seconds} s")]
    TtlTooLong {
        /// The longest.
        most_seconds: i64,
    },
    /// Too many cancels of this product in a row.
    #[error("this product was reserved and cancelled too often")]
    HoldChurn {
        /// When to come again.
        retry_seconds: u64,
    },
    /// No such product, or not for sale.
    #[error("there is no such product")]
    UnknownProduct,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Reservations {
    /// Holds what is wished for, all or nothing.
    pub async fn reserve(&self, hold: &Hold) -> Result<Held, ReserveError> {
        let held = self.in_time(async {
            match hold.lines.as_slice() {
                [(name, quantity)] => self.reserve_one(hold, name, *quantity).await,
                // Boxed: it is large, and would be carried along by every hold of one product.
                _ => Box::pin(self.reserve_several(hold)).await,
            }
        });
        held.await.inspect(|held| {
            let kind = if held.reservation.items.len() > 1 { "several" } else { "single" };
            metrics::counter!(names::HOLDS, "kind" => kind).increment(u64::from(held.created));
        })
    }

    async fn reserve_one(
        &self,
        hold: &Hold,
        name: &Arc<Name>,
        quantity: Quantity,
    ) -> Result<Held, ReserveError> {
        let line =
            Line { id: ReservationId::random(name.id), name, quantity, lines: "-", short: None };
        let (now_ms, standing) = self.take(hold, &line).await?;
        let item = Item { product_id: name.id, sku: name.sku.clone(), quantity: standing.quantity };
        Ok(held(hold, vec![item], &standing, now_ms))
    }

    /// Holds all lines under one id on a short deadline, for somebody who pins them at once; a crash leaves them to that
    /// deadline. A live hold of the buyer on any of the products refuses all.
    pub async fn hold_briefly(&self, hold: &Hold) -> Result<ReservationId, ReserveError> {
        self.in_time(async { Ok(self.take_all(hold).await?.id) }).await
    }

    /// Takes the lines one after the other in the order of their numbers, each on a short deadline.
    async fn take_all(&self, hold: &Hold) -> Result<Taken, ReserveError> {
        let mut wanted = hold.lines.clone();
        wanted.sort_by_key(|(name, _)| name.id);
        let skus: Vec<&str> = wanted.iter().map(|(name, _)| name.sku.as_str()).collect();
        let (id, listing) = (ReservationId::random(wanted[0].0.id), skus.join(","));
        let mut taken: Vec<(i64, Standing)> = Vec::new();
        for (at, (name, quantity)) in wanted.iter().enumerate() {
            let lines = if at == 0 { listing.as_str() } else { "@" };
            let line = Line { id, name, quantity: *quantity, lines, short: Some(SHORT) };
            match self.take(hold, &line).await {
                Ok(standing) => taken.push(standing),
                Err(error) => {
                    self.undo(hold, id, &wanted[..at]).await;
                    return Err(self.name_all_short(error, &wanted[at + 1..]).await);
                }
            }
        }
        Ok(Taken { id, wanted, taken })
    }

    /// Takes all lines, then arms them.
    async fn reserve_several(&self, hold: &Hold) -> Result<Held, ReserveError> {
        let Taken { id, wanted, taken } = self.take_all(hold).await?;
        let (now_ms, ttl_ms) =
            (taken[0].0, taken.iter().map(|(_, standing)| standing.ttl_ms).min().unwrap_or(0));
        let deadline_ms = now_ms + ttl_ms;
        self.arm_all(hold, id, &wanted, deadline_ms).await?;
        let items = wanted.iter().map(|(name, quantity)| Item {
            product_id: name.id,
            sku: name.sku.clone(),
            quantity: *quantity,
        });
        let standing = Standing { deadline_ms, ..taken[0].1.clone() };
        Ok(held(hold, items.collect(), &standing, now_ms))
    }

    async fn arm_all(
        &self,
        hold: &Hold,
        id: ReservationId,
        lines: &[(Arc<Name>, Quantity)],
        deadline_ms: i64,
    ) -> Result<(), ReserveError> {
        // The home line comes last: with it all of them stand, and its script tells of it.
        for (name, _) in lines.iter().rev() {
            if !self.on_sku(name, || self.ledger.arm(&name.sku, id, deadline_ms)).await? {
                self.undo(hold, id, lines).await;
                return Err(
                    Fault::unavailable("holding all lines took too long", Outcome::None).into()
                );
            }
            self.shared.watch.of(name).due_at(deadline_ms);
        }
        Ok(())
    }

    /// Gives back the lines of a reservation that is refused as a whole. What fails here, the short deadline does.
    async fn undo(&self, hold: &Hold, id: ReservationId, lines: &[(Arc<Name>, Quantity)]) {
        for (name, _) in lines {
            let cancel = || self.ledger.cancel(&name.sku, id, &hold.user, &hold.actor, "undone", 0);
            if let Err(fault) = self.on_sku(name, cancel).await {
                tracing::warn!(error = fault.chain(), reservation.id = %id, "a line was left to its short deadline");
            }
            self.shared.watch.of(name).ended_at(self.shared.watch.now_ms());
        }
    }

    /// A refusal for lack of stock names every short line, also those that were not tried.
    async fn name_all_short(
        &self,
        error: ReserveError,
        rest: &[(Arc<Name>, Quantity)],
    ) -> ReserveError {
        let ReserveError::InsufficientStock { mut lines, soonest_expiry } = error else {
            return error;
        };
        for (name, requested) in rest {
            if let Ok(stock) = self.stock(name).await
                && stock.available_stock < requested.get()
            {
                let available = stock.available_stock;
                lines.push(Short { sku: name.sku.clone(), requested: *requested, available });
            }
        }
        ReserveError::InsufficientStock { lines, soonest_expiry }
    }

    /// Takes one line.
    async fn take(&self, hold: &Hold, line: &Line<'_>) -> Result<(i64, Standing), ReserveError> {
        let wanted = Wanted {
            id: line.id,
            token: hold_token(),
            user: hold.user.clone(),
            quantity: line.quantity,
            ttl_ms: hold.ttl_seconds.map_or(0, |seconds| i64::from(seconds) * 1_000),
            lines: line.lines.to_owned(),
            short_ms: line.short.map_or(0, |short| short.as_millis() as i64),
            email: hold.email.clone(),
        };
        match self.take_one(line.name, wanted).await? {
            (now_ms, Reserved::Standing(standing)) => Ok((now_ms, standing)),
            (_, refused) => Err(refusal(refused, line).inspect_code()),
        }
    }
}

/// All lines of one reservation in Redis, on their short deadline.
struct Taken {
    id: ReservationId,
    wanted: Vec<(Arc<Name>, Quantity)>,
    taken: Vec<(i64, Standing)>,
}

/// One line on its way into Redis.
struct Line<'a> {
    id: ReservationId,
    name: &'a Arc<Name>,
    quantity: Quantity,
    lines: &'a str,
    short: Option<Duration>,
}

fn held(hold: &Hold, items: Vec<Item>, standing: &Standing, now_ms: i64) -> Held {
    let status = if standing.state == State::Pinned { Status::Confirming } else { Status::Held };
    let reservation = Reservation {
        id: standing.id,
        user: hold.user.clone(),
        items,
        status,
        reason: None,
        expires_at: Instant::from_ms(standing.deadline_ms),
        read_at: Instant::from_ms(now_ms),
        order_id: None,
        created_at: Instant::from_ms(standing.created_ms),
    };
    Held { reservation, created: standing.created }
}

fn refusal(answer: Reserved, line: &Line<'_>) -> ReserveError {
    match answer {
        Reserved::AlreadyHeld(id) => ReserveError::AlreadyHeld(id),
        Reserved::SoldOut { available, soonest_expiry_ms } => ReserveError::InsufficientStock {
            lines: vec![Short { sku: line.name.sku.clone(), requested: line.quantity, available }],
            soonest_expiry: (soonest_expiry_ms > 0).then(|| Instant::from_ms(soonest_expiry_ms)),
        },
        Reserved::BuyerLimit { limit, held, bought } => {
            ReserveError::BuyerLimit { limit, held, bought }
        }
        Reserved::NotOpen { opens_at_ms } => {
            ReserveError::SaleNotOpen { opens_at: Instant::from_ms(opens_at_ms) }
        }
        Reserved::Closed => ReserveError::SaleClosed,
        Reserved::Paused => ReserveError::SalePaused,
        Reserved::TtlTooLong { most_ms } => {
            ReserveError::TtlTooLong { most_seconds: most_ms / 1_000 }
        }
        Reserved::Churn { retry_ms } => {
            ReserveError::HoldChurn { retry_seconds: (retry_ms.max(0) as u64).div_ceil(1_000) }
        }
        Reserved::Unknown => ReserveError::UnknownProduct,
        Reserved::Standing(_) => Fault::internal("reading a refusal").into(),
    }
}

impl ReserveError {
    /// The stable code of this refusal; none for a fault.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::AlreadyHeld(_) => Some("already_held"),
            Self::InsufficientStock { .. } => Some("insufficient_stock"),
            Self::BuyerLimit { .. } => Some("buyer_limit"),
            Self::SaleNotOpen { .. } => Some("sale_not_open"),
            Self::SaleClosed => Some("sale_closed"),
            Self::SalePaused => Some("sale_paused"),
            Self::TtlTooLong { .. } => Some("invalid_field"),
            Self::HoldChurn { .. } => Some("hold_churn"),
            Self::UnknownProduct => Some("unknown_product"),
            Self::Fault(_) => None,
        }
    }

    fn inspect_code(self) -> Self {
        if let Some(code) = self.code() {
            metrics::counter!(names::REFUSALS, "code" => code).increment(1);
        }
        self
    }
}
