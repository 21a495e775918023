//! When the next request goes out.

use std::cell::Cell;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Shortest sleep of the pacing thread: what is due by then goes out together.
const SHORTEST_SLEEP: Duration = Duration::from_micros(200);

/// What was due this close to the end was cut off, not kept waiting.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// The order in which requests go out; shared by all connections.
#[derive(Debug)]
pub(super) struct Pace {
    mode: Mode,
    ends: Instant,
    left: Cell<u64>,
}

#[derive(Debug)]
enum Mode {
    /// Each connection sends as soon as it has its answer.
    Closed,
    /// Requests are due at fixed times, whether or not earlier ones were answered.
    Open(Open),
}

#[derive(Debug)]
struct Open {
    timetable: Timetable,
    /// How long a request waits for a free connection before it is dropped, and counted.
    patience: Duration,
    taken: Cell<u64>,
    dropped: Cell<u64>,
    /// To the pacing thread: connections that wait for a time to come, in its order.
    early: Sender<(Instant, oneshot::Sender<()>)>,
}

/// The times at which requests are due.
#[derive(Debug, Clone, Copy)]
struct Timetable {
    start: Instant,
    per_second: f64,
}

impl Timetable {
    fn time_of(self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// How many are due by `now`.
    fn due_by(self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.start).as_secs_f64() * self.per_second) as u64 + 1
    }
}

impl Pace {
    /// As fast as answers come, until `ends`, at most so many requests.
    pub(super) fn closed(ends: Instant, most: u64) -> Self {
        Self { mode: Mode::Closed, ends, left: Cell::new(most) }
    }

    /// So many per second from now until `ends`, at most so many requests; each waits as long as
    /// `patience` for a free connection.
    pub(super) fn open(per_second: f64, patience: Duration, ends: Instant, most: u64) -> Self {
        let timetable = Timetable { start: Instant::now(), per_second };
        let (early, waiting) = mpsc::channel();
        // A thread, because the runtime's timers only count milliseconds. It ends with the pace.
        thread::spawn(move || release(&waiting));
        let (taken, dropped) = (Cell::new(0), Cell::new(0));
        let open = Open { timetable, patience, taken, dropped, early };
        Self { mode: Mode::Open(open), ends, left: Cell::new(most) }
    }

    /// Waits for the next request's turn and says when it is due; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        let due = match &self.mode {
            Mode::Closed => Instant::now(),
            Mode::Open(open) => open.next(self.ends).await?,
        };
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        (left > 0 && due < self.ends).then_some(due)
    }

    /// Requests that were due, and never sent because every connection was busy.
    pub(super) fn unsent(&self) -> u64 {
        match &self.mode {
            Mode::Closed => 0,
            Mode::Open(open) => {
                let due = open.timetable.due_by(self.ends - LAST_MOMENT).saturating_sub(1);
                open.dropped.get() + due.saturating_sub(open.taken.get())
            }
        }
    }
}

impl Open {
    async fn next(&self, ends: Instant) -> Option<Instant> {
        let now = Instant::now();
        let taken = self.taken.get();
        let given_up = now.checked_sub(self.patience).filter(|time| *time > self.timetable.start);
        let number = given_up.map_or(0, |time| self.timetable.due_by(time)).max(taken);
        let due = self.timetable.time_of(number);
        if now >= ends || due >= ends {
            return None;
        }
        self.dropped.set(self.dropped.get() + number - taken);
        self.taken.set(number + 1);
        if due > now {
            let (go, turn) = oneshot::channel();
            self.early.send((due, go)).ok()?;
            turn.await.ok()?;
        }
        Some(due)
    }
}

/// Lets requests go when they are due.
fn release(waiting: &Receiver<(Instant, oneshot::Sender<()>)>) {
    for (due, go) in waiting {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early.max(SHORTEST_SLEEP));
        }
        // Whoever waited may have left with the run.
        let _ = go.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn requests_are_due_at_even_times() {
        let timetable = Timetable { start: Instant::now(), per_second: 4.0 };
        let at = |ms| timetable.start + Duration::from_millis(ms);
        assert_eq!([0, 249, 250, 1_000].map(|ms| timetable.due_by(at(ms))), [1, 1, 2, 5]);
        assert_eq!(timetable.time_of(6), at(1_500));
    }

    #[tokio::test]
    async fn a_closed_loop_ends_after_its_requests() {
        let pace = Pace::closed(Instant::now() + Duration::from_secs(60), 2);
        assert!(pace.next().await.is_some() && pace.next().await.is_some());
        assert!(pace.next().await.is_none());
        assert_eq!(pace.unsent(), 0);
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_times_however_late_it_is_asked() {
        let start = Instant::now();
        let pace = Pace::open(1_000.0, MINUTE, start + MINUTE, 9);
        let first = pace.next().await.unwrap();
        let second = pace.next().await.unwrap();
        assert_eq!(second - first, Duration::from_millis(1));
    }

    #[tokio::test]
    async fn what_waits_too_long_for_a_connection_is_dropped_and_counted() {
        let patience = Duration::from_millis(50);
        let pace = Pace::open(1_000.0, patience, Instant::now() + MINUTE, 9);
        pace.next().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked = Instant::now();
        assert!(pace.next().await.unwrap() + patience >= asked);
        let Mode::Open(Open { taken, dropped, .. }) = &pace.mode else { panic!() };
        assert!(dropped.get() > 0);
        assert_eq!(dropped.get() + 2, taken.get());
    }
}
