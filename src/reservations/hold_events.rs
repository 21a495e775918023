//! What people do to single holds, for the record: written a moment later and off the way of the request, in batches.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::kernel::{Clock, Instant, ReservationId};
use crate::platform::metrics as names;
use crate::reservations::{Reservation, Reservations, hold_events_store};

/// Events that wait to be written; more are dropped and counted.
const WAITING: usize = 10_000;
/// Events of one statement.
const BATCH: usize = 500;
const RETRY: Duration = Duration::from_millis(500);
/// Attempts at the end of the service.
const LAST_ATTEMPTS: usize = 3;

/// Something that was done to a hold.
#[derive(Clone, Debug)]
pub(super) struct HoldEvent {
    pub(super) id: ReservationId,
    pub(super) at: Instant,
    pub(super) event: &'static str,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    pub(super) detail: Value,
}

/// Where events wait.
pub(super) struct HoldEvents {
    clock: Clock,
    sender: Sender<HoldEvent>,
    receiver: std::sync::Mutex<Option<Receiver<HoldEvent>>>,
}

impl HoldEvents {
    pub(super) fn new(clock: Clock) -> Self {
        let (sender, receiver) = channel(WAITING);
        Self { clock, sender, receiver: std::sync::Mutex::new(Some(receiver)) }
    }

    /// Notes an event.
    pub(super) fn note(
        &self,
        id: ReservationId,
        event: &'static str,
        actor: &str,
        reason: Option<String>,
        detail: Value,
    ) {
        let at = Instant::from_ms(self.clock.now_ms());
        let event = HoldEvent { id, at, event, actor: actor.to_owned(), reason, detail };
        if self.sender.try_send(event).is_err() {
            metrics::counter!(names::HOLD_EVENTS_DROPPED).increment(1);
            tracing::error!(reservation.id = %id, "an event of a hold was dropped");
        }
    }

    fn take_receiver(&self) -> Option<Receiver<HoldEvent>> {
        self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Reservations {
    /// Somebody gave a hold more time.
    pub fn note_extension(
        &self,
        extended: &Reservation,
        seconds: u32,
        actor: &str,
        reason: Option<String>,
    ) {
        let detail = json!({ "seconds": seconds, "expires_at": extended.expires_at });
        self.shared.hold_events.note(extended.id, "extended", actor, reason, detail);
    }

    /// Somebody released a hold and said why. Without a reason its end says all.
    pub fn note_release(&self, ended: &Reservation, actor: &str, reason: Option<String>) {
        if reason.is_some() {
            self.shared.hold_events.note(ended.id, "released", actor, reason, json!({}));
        }
    }

    /// Writes events until the service stops, and then what still waits.
    pub(super) async fn run_hold_events(self) {
        let Some(mut receiver) = self.shared.hold_events.take_receiver() else { return };
        let stop = self.shared.tasks.stop().clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                _ = receiver.recv_many(&mut batch, BATCH) => {}
                () = stop.cancelled() => {
                    receiver.close();
                    receiver.recv_many(&mut batch, WAITING).await;
                    for some in batch.chunks(BATCH) {
                        self.write_events(some, LAST_ATTEMPTS).await;
                    }
                    return;
                }
            }
            // While Postgres is away they wait, and the bound is that of the queue.
            while !self.write_events(&batch, 1).await {
                if !self.shared.tasks.pause(RETRY).await {
                    self.write_events(&batch, LAST_ATTEMPTS).await;
                    break;
                }
            }
        }
    }

    async fn write_events(&self, events: &[HoldEvent], attempts: usize) -> bool {
        for _ in 0..attempts {
            match hold_events_store::write_hold_events(&self.shared.background_db, events).await {
                Ok(()) => return true,
                Err(fault) => {
                    tracing::warn!(error = fault.chain(), "events of holds wait to be written");
                }
            }
        }
        false
    }
}
