//! What this process knows to be due, per SKU: the earliest deadline, the oldest pin, the oldest tombstone. Numbers
//! that only steer when somebody looks; the scripts decide by what they find.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::catalogue::Name;
use crate::kernel::{Clock, ProductId};

/// Nothing is due.
const NEVER: i64 = i64::MAX;

/// One SKU.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: Arc<Name>,
    due: AtomicI64,
    pinned: AtomicI64,
    ended: AtomicI64,
    moved: AtomicBool,
    reserved: AtomicI64,
    refused: AtomicI64,
}

/// All SKUs that this process has touched.
pub(super) struct Watch {
    skus: RwLock<HashMap<ProductId, Arc<Watched>>>,
    clock: Clock,
    /// Redis's clock minus ours, as of the last reply.
    offset_ms: AtomicI64,
    hurry: Notify,
}

impl Watched {
    /// A hold is due at this moment of Redis's clock (0: none is).
    pub(super) fn due_at(&self, at_ms: i64) {
        self.moved();
        note(&self.due, at_ms);
    }

    /// A pin was made at this moment.
    pub(super) fn pinned_at(&self, at_ms: i64) {
        self.moved();
        note(&self.pinned, at_ms);
    }

    /// A reservation ended at this moment.
    pub(super) fn ended_at(&self, at_ms: i64) {
        self.moved();
        note(&self.ended, at_ms);
    }

    /// Something may have happened that somebody wants to hear of.
    pub(super) fn moved(&self) {
        // Mostly it is known already, and a look is cheaper for those beside.
        if !self.moved.load(Ordering::Relaxed) {
            self.moved.store(true, Ordering::Relaxed);
        }
    }

    /// True once when something may have.
    pub(super) fn take_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed) && self.moved.swap(false, Ordering::Relaxed)
    }

    /// Units were held, and requests refused.
    pub(super) fn count(&self, reserved: i64, refused: i64) {
        for (counter, more) in [(&self.reserved, reserved), (&self.refused, refused)] {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    /// Whether anything was counted since it was taken.
    pub(super) fn has_counts(&self) -> bool {
        self.reserved.load(Ordering::Relaxed) > 0 || self.refused.load(Ordering::Relaxed) > 0
    }

    /// Units held and requests refused since they were taken.
    pub(super) fn take_counts(&self) -> (i64, i64) {
        (self.reserved.swap(0, Ordering::Relaxed), self.refused.swap(0, Ordering::Relaxed))
    }

    /// True once when something has been due by `now`; what is left is told again by the next reply.
    pub(super) fn take_due(&self, now_ms: i64) -> bool {
        take(&self.due, now_ms)
    }

    /// True once when a pin was made by `then`.
    pub(super) fn take_pinned(&self, then_ms: i64) -> bool {
        take(&self.pinned, then_ms)
    }

    /// True once when a reservation ended by `then`.
    pub(super) fn take_ended(&self, then_ms: i64) -> bool {
        take(&self.ended, then_ms)
    }
}

fn note(moment: &AtomicI64, at_ms: i64) {
    if at_ms > 0 && at_ms < moment.load(Ordering::Relaxed) {
        moment.fetch_min(at_ms, Ordering::Relaxed);
    }
}

fn take(moment: &AtomicI64, by_ms: i64) -> bool {
    moment.load(Ordering::Relaxed) <= by_ms && moment.swap(NEVER, Ordering::Relaxed) <= by_ms
}

impl Watch {
    pub(super) fn new(clock: Clock) -> Self {
        Self { skus: RwLock::default(), clock, offset_ms: AtomicI64::new(0), hurry: Notify::new() }
    }

    /// The entry of a SKU.
    pub(super) fn of(&self, name: &Arc<Name>) -> Arc<Watched> {
        if let Some(watched) =
            self.skus.read().unwrap_or_else(PoisonError::into_inner).get(&name.id)
        {
            return watched.clone();
        }
        let mut skus = self.skus.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let [due, pinned, ended] = [NEVER; 3].map(AtomicI64::new);
            Arc::new(Watched {
                name: name.clone(),
                due,
                pinned,
                ended,
                moved: AtomicBool::new(true),
                reserved: AtomicI64::new(0),
                refused: AtomicI64::new(0),
            })
        };
        skus.entry(name.id).or_insert_with(new).clone()
    }

    /// All entries.
    pub(super) fn all(&self) -> Vec<Arc<Watched>> {
        self.skus.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Those for which `pick` says so.
    pub(super) fn pick(&self, pick: impl Fn(&Watched) -> bool) -> Vec<Arc<Watched>> {
        let skus = self.skus.read().unwrap_or_else(PoisonError::into_inner);
        skus.values().filter(|watched| pick(watched)).cloned().collect()
    }

    /// Redis's time came with a reply. A reply that took long makes Redis look slow, so a lower offset is believed
    /// only little by little.
    pub(super) fn redis_time(&self, now_ms: i64) {
        let (seen, known) = (now_ms - self.clock.now_ms(), self.offset_ms.load(Ordering::Relaxed));
        let offset_ms = if seen >= known { seen } else { known - (known - seen + 15) / 16 };
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// What Redis's clock should say now.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms() + self.offset_ms.load(Ordering::Relaxed)
    }

    /// An event says that a hold of this SKU is due.
    pub(super) fn hurry(&self, name: &Arc<Name>) {
        self.of(name).due_at(1);
        self.hurry.notify_one();
    }

    /// Returns when `hurry` was called.
    pub(super) async fn hurried(&self) {
        self.hurry.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_moment_counts_and_is_told_once() {
        let watch = Watch::new(Clock::System);
        let name =
            Arc::new(Name { id: ProductId::try_from(1).unwrap(), sku: "A".parse().unwrap() });
        let watched = watch.of(&name);
        watched.due_at(0);
        watched.due_at(200);
        watched.due_at(100);
        watched.due_at(300);
        assert!(!watched.take_due(99));
        assert!(watched.take_due(100));
        assert!(!watched.take_due(1_000));
        assert_eq!(watch.all().len(), 1);
        assert!(!watched.has_counts());
        watched.count(3, 0);
        watched.count(2, 1);
        assert!(watched.has_counts());
        assert_eq!((watched.take_counts(), watched.take_counts()), ((5, 1), (0, 0)));
    }
}
