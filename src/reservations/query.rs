//! Reading reservations: from Redis while it has them, from Postgres after.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::{Instant, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::Fault;
use crate::reservations::record::{Lines, Record, State};
use crate::reservations::{Reservations, history_store};

/// Where a reservation stands, in the words of the API.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its units are kept for its buyer.
    Held,
    /// In doubt, or a payment is under way.
    Confirming,
    /// Sold.
    Confirmed,
    /// Ended by its buyer or somebody on their behalf.
    Cancelled,
    /// Ended by time, or because it could not be sold.
    Expired,
}

/// One product of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Item {
    /// Which product.
    pub product_id: ProductId,
    /// The same by its SKU.
    pub sku: Sku,
    /// How many units.
    pub quantity: Quantity,
}

/// A reservation as anybody outside sees it.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Its id.
    pub id: ReservationId,
    /// Whose it is.
    pub user: UserId,
    /// What it holds.
    pub items: Vec<Item>,
    /// Where it stands.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<String>,
    /// Its deadline.
    pub expires_at: Instant,
    /// When this was read, by the clock that judges deadlines.
    pub read_at: Instant,
    /// The order it became.
    pub order_id: Option<OrderId>,
    /// When it was made.
    pub created_at: Instant,
}

/// A reservation in Redis with its lines, the home line first.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) id: ReservationId,
    pub(super) now_ms: i64,
    pub(super) lines: Vec<(Arc<Name>, Record)>,
}

impl Live {
    /// The record that speaks for all: every script meets the home line first.
    pub(super) fn home(&self) -> &Record {
        &self.lines[0].1
    }

    pub(super) fn view(&self) -> Reservation {
        let home = self.home();
        let items = self.lines.iter().map(|(name, record)| Item {
            product_id: name.id,
            sku: name.sku.clone(),
            quantity: record.quantity,
        });
        let earliest = self.lines.iter().map(|(_, record)| record.deadline_ms).min();
        Reservation {
            id: self.id,
            user: home.user.clone(),
            items: items.collect(),
            status: status(home, self.now_ms),
            reason: reason(home, self.now_ms),
            expires_at: Instant::from_ms(earliest.unwrap_or(home.deadline_ms)),
            read_at: Instant::from_ms(self.now_ms),
            order_id: None,
            created_at: Instant::from_ms(home.created_ms),
        }
    }
}

impl Live {
    /// The view; one that has ended is read as of its end, like those in the history.
    fn ended_view(&self) -> Reservation {
        let (home, view) = (self.home(), self.view());
        match (&home.end, home.is_due(self.now_ms)) {
            (Some(end), _) => Reservation { read_at: Instant::from_ms(end.at_ms), ..view },
            (None, true) => Reservation { read_at: view.expires_at, ..view },
            (None, false) => view,
        }
    }
}

/// What the outside calls a record's state. Past its deadline it is expired, swept or not.
fn status(record: &Record, now_ms: i64) -> Status {
    match record.state {
        State::Held if record.is_due(now_ms) => Status::Expired,
        State::Held => Status::Held,
        State::Pinned => Status::Confirming,
        State::Sold => Status::Confirmed,
        State::Ended => ended_status(record.end.as_ref().map_or("", |end| &end.reason)),
    }
}

/// `cancelled` and `expired` by the reason of the end.
pub(super) fn ended_status(reason: &str) -> Status {
    if matches!(reason, "cancelled" | "sale_closed") { Status::Cancelled } else { Status::Expired }
}

fn reason(record: &Record, now_ms: i64) -> Option<String> {
    match &record.end {
        Some(_) if record.state == State::Sold => None,
        Some(end) => Some(end.reason.clone()),
        None => record.is_due(now_ms).then(|| "expired".to_owned()),
    }
}

impl Reservations {
    /// The reservation, if it exists and `viewer` may see it (none: may see all).
    pub async fn get(
        &self,
        id: ReservationId,
        viewer: Option<&UserId>,
    ) -> Result<Option<Reservation>, Fault> {
        self.reading(async {
            let live = self.live(id).await?;
            let found = match live {
                Some(live) if live.home().state != State::Sold => Some(live.view()),
                _ => history_store::ended(&self.shared.db, id).await?,
            };
            Ok(found.filter(|reservation| viewer.is_none_or(|viewer| *viewer == reservation.user)))
        })
        .await
    }

    /// The reservation in Redis, with all its lines.
    pub(super) async fn live(&self, id: ReservationId) -> Result<Option<Live>, Fault> {
        let Some(home) = id.home() else { return Ok(None) };
        let Some(name) = self.shared.catalogue.by_id(home).await? else { return Ok(None) };
        let (now_ms, record) = self.read_one(&name, id).await?;
        let Some(record) = record.filter(|record| !undone(record)) else { return Ok(None) };
        self.with_lines(id, name, record, now_ms).await.map(Some)
    }

    pub(super) async fn with_lines(
        &self,
        id: ReservationId,
        home: Arc<Name>,
        record: Record,
        now_ms: i64,
    ) -> Result<Live, Fault> {
        let mut live = Live { id, now_ms, lines: Vec::new() };
        if let Lines::Home(skus) = &record.lines {
            for sku in skus.iter().filter(|sku| **sku != home.sku) {
                let missing = || Fault::internal("finding a product of a reservation");
                let name = self.shared.catalogue.by_sku(sku).await?.ok_or_else(missing)?;
                let (_, line) = self.read_one(&name, id).await?;
                live.lines.extend(line.map(|line| (name, line)));
            }
        }
        live.lines.insert(0, (home, record));
        Ok(live)
    }

    /// The live hold of a buyer on a product, or the last one that ended there.
    pub(super) async fn find(
        &self,
        user: &UserId,
        product: ProductId,
    ) -> Result<Option<ReservationId>, Fault> {
        let Some(name) = self.shared.catalogue.by_id(product).await? else { return Ok(None) };
        match self.on_sku(&name, || self.ledger.find(&name.sku, user)).await? {
            Some((_, id, record)) if !undone(&record) => Ok(Some(id)),
            _ => history_store::last_ended(&self.shared.db, user, product).await,
        }
    }

    /// The live holds of a buyer, the newest first.
    pub async fn live_of(&self, user: &UserId) -> Result<Vec<Reservation>, Fault> {
        self.reading(async {
            let mut live = self.recent_of(user).await?;
            live.retain(|recent| matches!(recent.status, Status::Held | Status::Confirming));
            live.sort_by_key(|live| std::cmp::Reverse((live.created_at, live.id)));
            Ok(live)
        })
        .await
    }

    /// Reservations of a buyer that have ended, newest first, from `before` (exclusive) on.
    pub async fn history_of(
        &self,
        user: &UserId,
        before: Option<(Instant, ReservationId)>,
        limit: usize,
    ) -> Result<Vec<Reservation>, Fault> {
        self.reading(async {
            let mut ended = history_store::history(&self.shared.db, user, before, limit).await?;
            // Those that ended just now are on their way into the history.
            for recent in self.recent_of(user).await? {
                let over = matches!(recent.status, Status::Cancelled | Status::Expired);
                let in_page = before.is_none_or(|before| (recent.read_at, recent.id) < before);
                if over && in_page && !ended.iter().any(|known| known.id == recent.id) {
                    ended.push(recent);
                }
            }
            ended.sort_by_key(|ended| std::cmp::Reverse((ended.read_at, ended.id)));
            ended.truncate(limit);
            Ok(ended)
        })
        .await
    }

    /// What Redis has of a buyer: on each product the live hold, or the one that ended last.
    async fn recent_of(&self, user: &UserId) -> Result<Vec<Reservation>, Fault> {
        let hinted = self.ledger.hinted(user, self.shared.watch.now_ms()).await?;
        let recent = hinted.into_iter().map(|product| self.recent_on(user, product));
        let recent = futures_util::future::try_join_all(recent).await?;
        let mut found: Vec<Reservation> = Vec::new();
        for recent in recent.into_iter().flatten() {
            if !found.iter().any(|known| known.id == recent.id) {
                found.push(recent.ended_view());
            }
        }
        Ok(found)
    }

    async fn recent_on(&self, user: &UserId, product: i64) -> Result<Option<Live>, Fault> {
        let Ok(product) = ProductId::try_from(product) else { return Ok(None) };
        let Some(name) = self.shared.catalogue.by_id(product).await? else { return Ok(None) };
        match self.on_sku(&name, || self.ledger.find(&name.sku, user)).await? {
            Some((_, id, Record { lines: Lines::Other, .. })) => self.live(id).await,
            Some((now_ms, id, record)) if !undone(&record) => {
                self.with_lines(id, name, record, now_ms).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// A line of a reservation that was refused as a whole, units that their owner takes out, or that late money asked for:
/// nobody was ever told of it.
pub(super) fn undone(record: &Record) -> bool {
    record.hidden || record.end.as_ref().is_some_and(|end| end.reason == "undone")
}
