//! News of reservations for the outside. What the scripts tell of holds waits in a stream of the SKU until somebody has
//! brought it to safety; the ends go to the outbox with the history. All of it only while somebody wants to hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Map, Value, json};

use crate::catalogue::Name;
use crate::kernel::{Instant, ReservationId};
use crate::platform::Fault;
use crate::reservations::ledger::Told;
use crate::reservations::query::Live;
use crate::reservations::record::{Lines, Record};
use crate::reservations::{Reservation, Reservations, history_store};

const HOLDS: u8 = 1;
const ENDS: u8 = 2;
const STOCK: u8 = 4;

/// What somebody wants to hear of; all workers of a process share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Audience(Arc<AtomicU8>);

/// What of the news of reservations is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Holds that are made or extended.
    pub holds: bool,
    /// Holds that end without a sale.
    pub ends: bool,
    /// Stock that runs low, out, or comes back.
    pub stock: bool,
}

impl Audience {
    /// Somebody wants this from now on, and nothing else.
    pub(super) fn want(&self, wanted: Wanted) {
        let bit = |wanted: bool, bit: u8| if wanted { bit } else { 0 };
        let bits = bit(wanted.holds, HOLDS) | bit(wanted.ends, ENDS) | bit(wanted.stock, STOCK);
        self.0.store(bits, Ordering::Relaxed);
    }

    pub(super) fn wanted(&self) -> Wanted {
        let bits = self.0.load(Ordering::Relaxed);
        Wanted { holds: bits & HOLDS > 0, ends: bits & ENDS > 0, stock: bits & STOCK > 0 }
    }
}

/// News of a hold, as it waits.
#[derive(Clone, Debug)]
pub struct News {
    /// Its place in the stream.
    pub place: String,
    /// `reservation.held` or `reservation.extended`.
    pub topic: String,
    /// Of which reservation.
    pub id: ReservationId,
    /// What to say.
    pub payload: Value,
}

impl Reservations {
    /// Says what of the news is wanted from now on.
    pub fn want_news(&self, wanted: Wanted) {
        self.shared.audience.want(wanted);
    }

    /// What is wanted.
    pub fn wanted_news(&self) -> Wanted {
        self.shared.audience.wanted()
    }

    /// The products on which something has happened since this was last asked, as far as this process knows. Of one that
    /// another process worked on before it died, the full pass knows.
    pub fn moved(&self) -> Vec<Arc<Name>> {
        let moved = self.shared.watch.pick(|watched| watched.take_moved());
        moved.iter().map(|watched| watched.name.clone()).collect()
    }

    /// Something was left to be done about this product.
    pub fn moved_again(&self, name: &Arc<Name>) {
        self.shared.watch.of(name).moved();
    }

    /// At most `most` news of a product that wait, the oldest first.
    pub async fn news(&self, name: &Arc<Name>, most: usize) -> Result<Vec<News>, Fault> {
        let mut news = Vec::new();
        for told in self.ledger.told(&name.sku, most).await? {
            let topic = format!("reservation.{}", told.what);
            let place = told.place.clone();
            let id = told.id;
            let payload = self.report(name, told).await?;
            news.push(News { place, topic, id, payload });
        }
        Ok(news)
    }

    /// Drops news that somebody has brought to safety.
    pub async fn heard(&self, name: &Arc<Name>, news: &[News]) -> Result<(), Fault> {
        let places: Vec<&str> = news.iter().map(|news| news.place.as_str()).collect();
        self.ledger.heard(&name.sku, &places).await
    }

    async fn report(&self, name: &Arc<Name>, told: Told) -> Result<Value, Fault> {
        let Told { id, at_ms, record, .. } = told;
        let mut payload = of(&self.whole(id, name, record, at_ms).await?);
        payload.insert("at".into(), json!(Instant::from_ms(at_ms)));
        Ok(Value::Object(payload))
    }

    /// The reservation of this home record with its other lines. Those that have left Redis stand in the history.
    async fn whole(
        &self,
        id: ReservationId,
        name: &Arc<Name>,
        record: Record,
        at_ms: i64,
    ) -> Result<Reservation, Fault> {
        let Lines::Home(skus) = &record.lines else {
            return Ok(Live { id, now_ms: at_ms, lines: vec![(name.clone(), record)] }.view());
        };
        let count = skus.len();
        let mut view = self.with_lines(id, name.clone(), record, at_ms).await?.view();
        if view.items.len() < count
            && let Some(ended) = history_store::ended(&self.shared.background_db, id).await?
        {
            let known: Vec<_> = view.items.iter().map(|item| item.product_id).collect();
            view.items
                .extend(ended.items.into_iter().filter(|item| !known.contains(&item.product_id)));
        }
        view.items.sort_by_key(|item| item.product_id);
        Ok(view)
    }

    /// What to say of a reservation that ended, if somebody wants to hear and this is its home record.
    pub(super) async fn farewell(
        &self,
        id: ReservationId,
        name: &Arc<Name>,
        record: &Record,
    ) -> Result<Option<Value>, Fault> {
        let end = record.end.as_ref().filter(|_| record.lines != Lines::Other);
        let Some(end) = end.filter(|_| self.wanted_news().ends) else { return Ok(None) };
        let mut payload = of(&self.whole(id, name, record.clone(), end.at_ms).await?);
        let at = Instant::from_ms(end.at_ms);
        payload.extend([("ended_at".into(), json!(at)), ("at".into(), json!(at))]);
        Ok(Some(Value::Object(payload)))
    }
}

/// The reservation as the API shows it, but for what changes while it is told.
fn of(reservation: &Reservation) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("reservation_id", json!(reservation.id));
    put("user_id", json!(reservation.user));
    put("items", json!(reservation.items));
    if let [only] = reservation.items.as_slice() {
        put("product_id", json!(only.product_id));
        put("sku", json!(only.sku));
        put("quantity", json!(only.quantity));
    }
    put("status", json!(reservation.status));
    put("reason", json!(reservation.reason));
    put("expires_at", json!(reservation.expires_at));
    put("created_at", json!(reservation.created_at));
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_share_an_audience_see_what_is_wanted() {
        let audience = Audience::default();
        let worker = audience.clone();
        assert_eq!(worker.wanted(), Wanted::default());
        for wanted in [
            Wanted { holds: true, ends: false, stock: true },
            Wanted { holds: false, ends: true, stock: false },
            Wanted::default(),
        ] {
            audience.want(wanted);
            assert_eq!(worker.wanted(), wanted);
        }
    }
}
