//! News that begins in Redis: holds that were made or extended, and stock that ran low, out, or came back.
//!
//! Holds are told of by the scripts that make them, in a stream; here they are brought to the outbox, and only then
//! forgotten there. Stock is a state, not an event: whatever moved is read and compared with what the outside was told
//! last, so nothing lasting is missed, whoever died; a crossing that is undone within the same moment is not told.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::catalogue::Name;
use crate::kernel::{ProductId, ids};
use crate::notifications::{Notifications, store};
use crate::platform::{Fault, fault_point};
use crate::reservations::Wanted;

/// News of one product that is brought in one statement.
const BATCH: usize = 200;
/// Products that are looked at together.
const AT_ONCE: usize = 8;
/// Products whose stock is noted in one statement.
const NOTED: usize = 100;

impl Notifications {
    /// Brings what is known to wait.
    pub(super) async fn bring_news(&self) -> Result<(), Fault> {
        let wanted = self.shared.reservations.wanted_news();
        if !wanted.holds && !wanted.stock {
            return Ok(());
        }
        let moved = self.shared.reservations.moved();
        let brought = self.bring_all(&moved, wanted).await;
        if brought.is_err() {
            moved.iter().for_each(|name| self.shared.reservations.moved_again(name));
        }
        brought
    }

    async fn bring_all(&self, moved: &[Arc<Name>], wanted: Wanted) -> Result<(), Fault> {
        if wanted.holds {
            let bringing =
                moved.iter().cloned().map(|name| async move { self.bring_of(&name).await });
            let bringing = futures_util::stream::iter(bringing).buffer_unordered(AT_ONCE);
            bringing.try_collect::<()>().await?;
        }
        if wanted.stock {
            for names in moved.chunks(NOTED) {
                self.note_stock(names).await?;
            }
        }
        Ok(())
    }

    /// Brings what waits on these products.
    pub(super) async fn bring_news_of(
        &self,
        homes: impl Iterator<Item = ProductId>,
    ) -> Result<(), Fault> {
        if !self.shared.reservations.wanted_news().holds {
            return Ok(());
        }
        for home in homes {
            if let Some(name) = self.shared.reservations.catalogue().by_id(home).await? {
                self.bring_of(&name).await?;
            }
        }
        Ok(())
    }

    /// Written first, then dropped in Redis: a crash in between brings it again, under the same id.
    async fn bring_of(&self, name: &Arc<Name>) -> Result<(), Fault> {
        let (reservations, db) = (&self.shared.reservations, &self.shared.background_db);
        loop {
            let news = reservations.news(name, BATCH).await?;
            if news.is_empty() {
                return Ok(());
            }
            let event = |place: &str| ids::derived(format!("{} {place}", name.sku).as_bytes());
            let events: Vec<_> =
                news.iter().map(|news| (event(&news.place), news.clone())).collect();
            fault_point::reach("before_bringing");
            store::bring(db, &events).await?;
            fault_point::reach("after_bringing");
            reservations.heard(name, &news).await?;
            if news.len() < BATCH {
                return Ok(());
            }
        }
    }

    async fn note_stock(&self, names: &[Arc<Name>]) -> Result<(), Fault> {
        let reservations = &self.shared.reservations;
        let reading =
            names.iter().cloned().map(|name| async move { reservations.stock(&name).await });
        let reading = futures_util::stream::iter(reading).buffer_unordered(AT_ONCE);
        let read: Vec<_> = reading.try_collect().await?;
        let stock: Vec<_> = read
            .into_iter()
            .map(|stock| {
                let payload = json!({
                    "product_id": stock.product_id, "sku": stock.sku, "total_stock": stock.total_stock,
                    "available_stock": stock.available_stock, "reserved_stock": stock.reserved_stock,
                    "sold_stock": stock.sold_stock, "as_of": stock.as_of, "at": stock.as_of,
                });
                (stock, payload)
            })
            .collect();
        let told = store::note_stock(&self.shared.background_db, &stock).await?;
        // Another replica may have read a later state in which nothing had changed: look once more.
        for name in names.iter().filter(|name| told.contains(&name.id.get())) {
            reservations.moved_again(name);
        }
        Ok(())
    }
}
