//! From the outbox to those who want to know: each event becomes one delivery for each receiver, in the transaction that
//! takes it out of the outbox. Any replica may do it at any time; a row that is gone was spread.
//!
//! News of Redis goes first. What Postgres tells of a reservation comes after all that Redis told of it, so before a
//! batch of Postgres's events is spread, the news of their home products is brought here.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::kernel::{OrderId, ReservationId, ids};
use crate::notifications::events::{Channel, Row};
use crate::notifications::mail::Letter;
use crate::notifications::store::Spreading;
use crate::notifications::{Notifications, store};
use crate::orders::Order;
use crate::platform::Fault;

/// Events that are spread in one transaction.
const BATCH: i64 = 500;

impl Notifications {
    /// Spreads what the outbox has; answers how many events that was.
    pub(super) async fn spread(&self) -> Result<i64, Fault> {
        let mut all = 0;
        while !self.shared.tasks.stop().is_cancelled() {
            let events = self.spread_some().await?;
            all += events;
            if events == 0 {
                break;
            }
            // Its deliveries may begin meanwhile.
            self.start_lanes().await?;
        }
        Ok(all)
    }

    async fn spread_some(&self) -> Result<i64, Fault> {
        let db = &self.shared.background_db;
        let written = store::written(db, BATCH).await?;
        let homes: HashSet<_> =
            written.iter().filter_map(|row| ReservationId::from(row.reservation?).home()).collect();
        self.bring_news_of(homes.into_iter()).await?;
        let mut rows = store::brought(db, BATCH).await?;
        // With so many there are more of them, perhaps earlier news of what was written.
        if (rows.len() as i64) < BATCH {
            rows.extend(written);
        }
        if rows.is_empty() {
            return Ok(0);
        }
        // Read after the rows: an event that came after its subscription finds it.
        self.load_endpoints().await?;
        if self.nobody_listens() {
            return store::discard(db, BATCH * 10).await;
        }
        let spreading = self.prepare(&rows).await?;
        let events = store::spread(db, &spreading).await?;
        // Somebody else may have taken them all: then there may be more behind them.
        Ok(events.max(1))
    }

    /// Writes the bodies of events that somebody wants.
    async fn prepare(&self, rows: &[Row]) -> Result<Spreading, Fault> {
        let endpoints = self.shared.endpoints.load();
        let wanted = |row: &Row| {
            row.channel() != Some(Channel::Mail)
                && endpoints.iter().any(|endpoint| endpoint.wants(&row.topic))
        };
        let orders = self.orders_of(rows.iter().filter(|row| wanted(row))).await?;
        let mut spreading = Spreading::default();
        for row in rows {
            let order = row.order();
            let mailed = self.shared.mailer.is_some()
                && row.channel() != Some(Channel::Webhook)
                && Letter::of(&row.topic).is_some();
            let body = match wanted(row) {
                true => row.body(order.and_then(|id| orders.get(&id)))?,
                false => String::new(),
            };
            spreading.rows.push(row.id);
            spreading.events.push(row.event.unwrap_or_else(ids::random));
            spreading.topics.push(row.topic.clone());
            spreading.subjects.push(row.subject());
            spreading.bodies.push(body);
            // The mail is written when it is sent; it needs only to know of which order.
            spreading.mails.push(order.filter(|_| mailed));
        }
        Ok(spreading)
    }

    async fn orders_of<'a>(
        &self,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Result<HashMap<Uuid, Order>, Fault> {
        let ids: Vec<OrderId> = rows.filter_map(Row::order).map(OrderId::from).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let orders = self.shared.orders.these(&ids).await?;
        Ok(orders.into_iter().map(|order| (order.id.uuid(), order)).collect())
    }
}
