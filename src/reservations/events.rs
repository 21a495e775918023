//! Stock as it changes, for those who watch. All who watch one product in this process share one reader, which ends
//! with the last of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::catalogue::Name;
use crate::kernel::ProductId;
use crate::platform::{Fault, metrics as names};
use crate::reservations::{Reservations, Snapshot};

/// Time between two readings: a watcher hears of a change at most so often.
const TURN: Duration = Duration::from_millis(100);

type Latest = watch::Sender<Arc<Snapshot>>;

/// The streams of this process.
pub(super) struct Streams {
    places: Arc<Semaphore>,
    readers: Mutex<HashMap<ProductId, Latest>>,
    ending: CancellationToken,
}

/// One watcher's view: the stock now, then each time it has changed.
pub struct Watching {
    latest: watch::Receiver<Arc<Snapshot>>,
    ending: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Streams {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            readers: Mutex::default(),
            ending: CancellationToken::new(),
        }
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<ProductId, Latest>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservations {
    /// Watches the stock of a product.
    ///
    /// # Errors
    ///
    /// Redis does not answer, or there are as many watchers as `server.event_streams` allows.
    pub async fn watch(&self, name: &Arc<Name>) -> Result<Watching, Fault> {
        let streams = &self.shared.streams;
        let place = streams.places.clone().try_acquire_owned();
        let place = place.map_err(|full| Fault::overloaded("event streams").because(full))?;
        let first = self.snapshot(name).await?;
        let latest = match streams.readers().entry(name.id) {
            Entry::Occupied(reader) => reader.get().subscribe(),
            Entry::Vacant(reader) => {
                let latest = reader.insert(watch::Sender::new(first)).subscribe();
                drop(self.shared.tasks.spawn(self.clone().read_for_watchers(name.clone())));
                latest
            }
        };
        metrics::gauge!(names::EVENT_STREAMS).increment(1);
        Ok(Watching { latest, ending: streams.ending.clone(), _place: place })
    }

    /// Ends all streams, so that a shutdown need not wait for those who only watch.
    pub fn end_streams(&self) {
        self.shared.streams.ending.cancel();
    }

    async fn read_for_watchers(self, name: Arc<Name>) {
        while self.shared.tasks.pause(TURN).await {
            let read = self.snapshot(&name).await;
            let mut readers = self.shared.streams.readers();
            let Some(latest) = readers.get(&name.id) else { return };
            if latest.receiver_count() == 0 {
                readers.remove(&name.id);
                return;
            }
            match read {
                Ok(snapshot) => drop(latest.send_if_modified(|known| {
                    let changed = !known.stock.same_as(&snapshot.stock);
                    *known = snapshot;
                    changed
                })),
                Err(fault) => tracing::debug!(error = fault.chain(), "watchers wait for redis"),
            }
        }
    }
}

impl Watching {
    /// The stock now, at the first call; then, each time, once it has changed. None when the service is stopping.
    pub async fn next(&mut self, first: bool) -> Option<Arc<Snapshot>> {
        if !first {
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.ending.cancelled() => return None,
            }
        }
        Some(self.latest.borrow_and_update().clone())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        metrics::gauge!(names::EVENT_STREAMS).decrement(1);
    }
}
