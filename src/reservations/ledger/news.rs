//! The streams in which scripts tell of holds.

use crate::kernel::{ReservationId, Sku};
use crate::platform::Fault;
use crate::reservations::ledger::Ledger;
use crate::reservations::record::Record;

/// How long news waits for somebody to come, counted from the last time that somebody did.
const KEPT_SECONDS: i64 = 24 * 3600;

/// One entry.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Told {
    /// Its place in the stream.
    pub(in crate::reservations) place: String,
    /// `held` or `extended`.
    pub(in crate::reservations) what: String,
    pub(in crate::reservations) id: ReservationId,
    /// When, by Redis's clock.
    pub(in crate::reservations) at_ms: i64,
    /// As it stood then.
    pub(in crate::reservations) record: Record,
}

impl Ledger {
    /// The key by which a script is asked to tell of holds, while somebody wants to hear.
    pub(super) fn listening(&self, sku: &Sku) -> Option<String> {
        self.audience.wanted().holds.then(|| self.keys.news(sku))
    }

    /// The timer of a hold, and that key.
    pub(super) fn telling(&self, sku: &Sku, id: ReservationId) -> Vec<String> {
        std::iter::once(self.keys.timer(sku, id)).chain(self.listening(sku)).collect()
    }

    /// The oldest entries. One that cannot be read is dropped.
    pub(in crate::reservations) async fn told(
        &self,
        sku: &Sku,
        most: usize,
    ) -> Result<Vec<Told>, Fault> {
        type Entries = Vec<(String, Vec<String>)>;
        let mut connection = self.via.connection().await?;
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(self.keys.news(sku)).arg("-").arg("+").arg("COUNT").arg(most);
        let entries: redis::RedisResult<Entries> = cmd.query_async(&mut connection).await;
        let entries = entries.map_err(|error| self.via.fault("reading news of holds", error))?;
        let (mut told, mut broken) = (Vec::new(), Vec::new());
        for (place, fields) in &entries {
            match read(place.clone(), fields) {
                Some(entry) => told.push(entry),
                None => broken.push(place.as_str()),
            }
        }
        if !broken.is_empty() {
            tracing::error!(sku = %sku, count = broken.len(), "news of holds cannot be read");
            self.heard(sku, &broken).await?;
        }
        Ok(told)
    }

    /// Drops these entries, and lets the rest wait anew.
    pub(in crate::reservations) async fn heard(
        &self,
        sku: &Sku,
        places: &[&str],
    ) -> Result<(), Fault> {
        if places.is_empty() {
            return Ok(());
        }
        let mut connection = self.via.connection().await?;
        let key = self.keys.news(sku);
        let mut pipe = redis::pipe();
        pipe.cmd("XDEL").arg(&key).arg(places).ignore();
        pipe.cmd("EXPIRE").arg(&key).arg(KEPT_SECONDS).ignore();
        let dropped: redis::RedisResult<()> = pipe.query_async(&mut connection).await;
        dropped.map_err(|error| self.via.fault("dropping news of holds", error))
    }
}

fn read(place: String, fields: &[String]) -> Option<Told> {
    let [what, told] = fields else { return None };
    let (id, record) = told.split_once(' ')?;
    Some(Told {
        at_ms: place.split('-').next()?.parse().ok()?,
        what: what.clone(),
        id: id.parse().ok()?,
        record: Record::parse(record).ok()?,
        place,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_entry_is_read_as_the_scripts_write_it() {
        let id = "00000000-0007-8a3b-9c2d-5e6f708192a3";
        let told = format!("{id} H n 2 00ff 1794000600000 1794000000000 0 3 - alice -");
        let read = |place: &str, fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            super::read(place.to_owned(), &fields)
        };
        let entry = read("1794000000001-0", &["held", &told]).unwrap();
        assert_eq!((entry.at_ms, entry.what.as_str()), (1_794_000_000_001, "held"));
        assert_eq!((entry.id.to_string().as_str(), entry.record.quantity.get()), (id, 2));
        for broken in [&["held"][..], &["held", "x"], &["held", "x H n 2"], &["held", id]] {
            assert!(read("1-0", broken).is_none(), "{broken:?}");
        }
    }
}
