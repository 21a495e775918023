//! From deliveries to receivers. Each receiver has a lane of its own in each process, so that a slow one keeps nobody
//! waiting but itself: the lane claims what is due for a while, sends some at a time, and notes what became of them.
//!
//! A crash between sending and noting sends again, under the same id: at least once.

use std::sync::Arc;
use std::time::{Duration, Instant as Started};

use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::FusedStream;
use futures_util::{FutureExt, StreamExt};
use uuid::Uuid;

use crate::kernel::ids;
use crate::notifications::endpoints::Endpoint;
use crate::notifications::events::webhook_id;
use crate::notifications::mail::MailError;
use crate::notifications::store::MAIL;
use crate::notifications::webhook::CallError;
use crate::notifications::{Notifications, store};
use crate::platform::tasks::jittered;
use crate::platform::{Fault, fault_point, metrics as names};

/// How long a claim stands; the longest call, and a margin, must fit into it several times.
const LEASE: Duration = Duration::from_secs(120);
/// Most deliveries that a lane claims at a time.
const MOST: usize = 512;
/// What is noted in one statement.
const NOTED: usize = 128;
/// What is sent but not noted waits no longer than this for more to be noted with it.
const SOON: Duration = Duration::from_millis(20);
/// A claim that was done as soon as this may be a greater one the next time.
const QUICK: Duration = Duration::from_millis(500);
/// How long a service that stops waits for an answer that is under way.
const GRACE: Duration = Duration::from_secs(2);
/// Each pause is so many times the one before.
const FACTOR: u32 = 4;

/// A delivery that this process may send.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) event: Uuid,
    pub(super) topic: String,
    pub(super) body: String,
    /// This one included.
    pub(super) attempts: u32,
}

/// A delivery that did not arrive.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) id: i64,
    pub(super) error: String,
    pub(super) pause: Duration,
    /// Whether it was an attempt at all.
    pub(super) counts: bool,
    pub(super) dead: bool,
}

/// What became of one.
enum Sent {
    Delivered,
    /// Nobody to send it to.
    Nobody,
    Failed(String),
    /// Trying again would end the same.
    Hopeless(String),
    /// It was not tried, or not to its end: somebody will.
    Left,
}

/// Who is sent to.
enum Receiver {
    Endpoint(Arc<Endpoint>),
    Mail,
}

impl Receiver {
    fn kind(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "webhook",
            Self::Mail => "mail",
        }
    }
}

impl Notifications {
    /// Starts a lane for every receiver for whom something is due and who has none.
    pub(super) async fn start_lanes(&self) -> Result<(), Fault> {
        for endpoint in store::due(&self.shared.background_db).await? {
            if self.shared.lanes().insert(endpoint) {
                let this = self.clone();
                drop(self.shared.tasks.spawn(async move {
                    this.run_lane(endpoint).await;
                    this.shared.lanes().remove(&endpoint);
                    // What came while it ended would wait for the next look.
                    this.shared.db.outbox().notify_one();
                }));
            }
        }
        Ok(())
    }

    /// Sends what is due for a receiver until nothing is.
    async fn run_lane(&self, endpoint: Uuid) {
        let mut size = NOTED;
        while !self.shared.tasks.stop().is_cancelled() {
            let begun = Started::now();
            match self.turn(endpoint, size).await {
                Ok(0) => return,
                Ok(_) if begun.elapsed() < QUICK => size = (size * 2).min(MOST),
                Ok(_) => size = self.concurrency(endpoint),
                Err(fault) => {
                    tracing::warn!(error = fault.chain(), endpoint.id = %endpoint, "deliveries wait");
                    return;
                }
            }
        }
    }

    fn concurrency(&self, endpoint: Uuid) -> usize {
        match (endpoint, &self.shared.mailer) {
            (MAIL, Some(mailer)) => mailer.concurrency,
            _ => self.shared.webhooks.concurrency,
        }
    }

    fn receiver(&self, endpoint: Uuid) -> Option<Receiver> {
        if endpoint == MAIL {
            return self.shared.mailer.is_some().then_some(Receiver::Mail);
        }
        let endpoints = self.shared.endpoints.load();
        let found = endpoints.iter().find(|known| known.id == endpoint);
        found.cloned().map(Receiver::Endpoint)
    }

    /// One turn of a lane: claims, sends, notes. Answers how many it had.
    pub(super) async fn turn(&self, endpoint: Uuid, most: usize) -> Result<usize, Fault> {
        // Mail was turned off, or the endpoint is not known here yet: it waits.
        let Some(receiver) = self.receiver(endpoint) else { return Ok(0) };
        let (db, claim) = (&self.shared.background_db, ids::random());
        let last_start = Started::now() + LEASE / 2;
        let claimed = store::claim(db, endpoint, most, claim, LEASE).await?;
        let count = claimed.len();
        let sending =
            claimed.into_iter().map(|delivery| self.send(&receiver, delivery, last_start));
        let sending =
            futures_util::stream::iter(sending).buffer_unordered(self.concurrency(endpoint));
        let mut sending = std::pin::pin!(sending.fuse());
        let (mut sent, mut noting) = (Vec::new(), std::pin::pin!(Fuse::terminated()));
        let mut gather = std::pin::pin!(tokio::time::sleep(SOON));
        // What was sent is noted in one statement after another, while the next are on their way.
        loop {
            let over = sending.is_terminated();
            if noting.is_terminated() && !sent.is_empty() && (over || sent.len() >= NOTED) {
                noting.set(self.note(&receiver, claim, std::mem::take(&mut sent)).fuse());
            }
            if over && sent.is_empty() && noting.is_terminated() {
                return Ok(count);
            }
            tokio::select! {
                noted = &mut noting, if !noting.is_terminated() => noted?,
                one = sending.next(), if !over => sent.extend(one),
                () = &mut gather => {
                    gather.as_mut().reset(tokio::time::Instant::now() + SOON);
                    if noting.is_terminated() && !sent.is_empty() {
                        noting.set(self.note(&receiver, claim, std::mem::take(&mut sent)).fuse());
                    }
                }
            }
        }
    }

    async fn send(
        &self,
        receiver: &Receiver,
        delivery: Claimed,
        last_start: Started,
    ) -> (i64, u32, Sent) {
        let (id, attempts) = (delivery.id, delivery.attempts);
        let stop = self.shared.tasks.stop();
        if Started::now() > last_start || stop.is_cancelled() {
            return (id, attempts, Sent::Left);
        }
        let begun = Started::now();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let sent = tokio::select! {
            sent = self.try_once(receiver, delivery) => sent,
            () = stopped => Sent::Left,
        };
        metrics::histogram!(names::DELIVERY_SECONDS, "kind" => receiver.kind())
            .record(begun.elapsed());
        (id, attempts, sent)
    }

    async fn try_once(&self, receiver: &Receiver, delivery: Claimed) -> Sent {
        match receiver {
            Receiver::Endpoint(endpoint) => {
                let id = webhook_id(delivery.event);
                match self.shared.caller.call(endpoint, &id, delivery.body).await {
                    Ok(()) => Sent::Delivered,
                    Err(
                        error @ (CallError::Status(_)
                        | CallError::Refused
                        | CallError::Timeout
                        | CallError::Connection
                        | CallError::Broken),
                    ) => Sent::Failed(error.to_string()),
                }
            }
            Receiver::Mail => match self.mail(&delivery).await {
                Ok(()) => Sent::Delivered,
                Err(MailError::NoAddress) => Sent::Nobody,
                Err(error @ MailError::Rejected) => Sent::Hopeless(error.to_string()),
                Err(error @ (MailError::Away | MailError::Late)) => Sent::Failed(error.to_string()),
                Err(MailError::Fault(fault)) => {
                    tracing::warn!(error = fault.chain(), "a mail waits");
                    Sent::Left
                }
            },
        }
    }

    /// Writes down what became of some deliveries.
    async fn note(
        &self,
        receiver: &Receiver,
        claim: Uuid,
        sent: Vec<(i64, u32, Sent)>,
    ) -> Result<(), Fault> {
        fault_point::reach("after_delivery");
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        let kind = receiver.kind();
        let count = |outcome: &'static str| {
            metrics::counter!(names::DELIVERIES, "kind" => kind, "outcome" => outcome).increment(1);
        };
        for (id, attempts, sent) in sent {
            let (error, hopeless) = match sent {
                Sent::Delivered => {
                    count("delivered");
                    done.push(id);
                    continue;
                }
                Sent::Nobody => {
                    count("no_address");
                    done.push(id);
                    continue;
                }
                Sent::Left => {
                    let (error, pause) = (String::new(), Duration::ZERO);
                    failures.push(Failure { id, error, pause, counts: false, dead: false });
                    continue;
                }
                Sent::Failed(error) => (error, false),
                Sent::Hopeless(error) => (error, true),
            };
            let dead = hopeless || attempts >= self.shared.outbox.attempts;
            count(if dead { "dead" } else { "failed" });
            if dead {
                tracing::error!(delivery.id = id, kind, attempts, error, "a delivery was given up");
            } else {
                tracing::debug!(delivery.id = id, kind, attempts, error, "a delivery failed");
            }
            let pause = self.pause(attempts);
            failures.push(Failure { id, error, pause, counts: true, dead });
        }
        let db = &self.shared.background_db;
        if !done.is_empty() {
            store::delivered(db, claim, &done).await?;
        }
        if !failures.is_empty() {
            store::failed(db, claim, &failures).await?;
        }
        Ok(())
    }

    /// The pause after so many attempts.
    fn pause(&self, attempts: u32) -> Duration {
        let settings = &self.shared.outbox;
        jittered(backoff(settings.retry_first, settings.retry_most, attempts))
    }
}

fn backoff(first: Duration, most: Duration, attempts: u32) -> Duration {
    let times = FACTOR.saturating_pow(attempts.saturating_sub(1));
    first.saturating_mul(times).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let (first, most) = (Duration::from_secs(5), Duration::from_secs(6 * 3600));
        let pauses: Vec<u64> = (1..=9).map(|n| backoff(first, most, n).as_secs()).collect();
        assert_eq!(pauses, [5, 20, 80, 320, 1_280, 5_120, 20_480, 21_600, 21_600]);
        assert_eq!(backoff(first, most, u32::MAX), most);
        let hours = pauses.iter().sum::<u64>() / 3600;
        assert!((18..=22).contains(&hours), "the manual says about twenty: {hours}");
    }
}
