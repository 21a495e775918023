//! Sends requests over many connections, and takes note of the answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::check::{self, Expected, Verdict};
use super::client::Client;
use super::desk::Desk;
use super::mix::{Dealer, Kind};
use super::pace::Pace;
use super::tally::{Tally, Times};
use super::wire::Wire;
use crate::kernel::Clock;

/// Wrong answers after which going on makes no sense.
const TOO_MANY_WRONG: u64 = 1_000;

/// What all connections share; everything runs on one thread.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) wire: Wire,
    pub(super) expected: Expected,
    pub(super) desk: RefCell<Desk>,
    pub(super) clock: Clock,
    /// Set when somebody wants it to end early.
    pub(super) stopped: Cell<bool>,
}

/// One stretch of load.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) pace: Pace,
    pub(super) dealer: RefCell<Dealer>,
    pub(super) tally: RefCell<Tally>,
    /// Ends when the holds that were prepared are used up.
    pub(super) uses_up: bool,
}

/// Runs a stretch to its end.
pub(super) async fn run(drive: &Rc<Drive>, stretch: &Rc<Stretch>, connections: usize) {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn_local(work(Rc::clone(drive), Rc::clone(stretch)));
    }
    while workers.join_next().await.is_some() {}
}

async fn work(drive: Rc<Drive>, stretch: Rc<Stretch>) {
    let mut client = Client::new(drive.wire.target().clone());
    let (mut request, mut room) = (Vec::new(), Vec::new());
    while let Some(due) = stretch.pace.next().await {
        if stretch.uses_up && drive.desk.borrow().standing() == 0 || drive.gave_up(&stretch) {
            return;
        }
        let kind = stretch.dealer.borrow_mut().deal();
        let action = drive.desk.borrow_mut().next(kind, drive.now_ms());
        drive.wire.write(&action, &mut request, &mut room);
        let verdict = match client.exchange(&request).await {
            Ok(answer) => check::judge(&action, &answer, &drive.expected, drive.now_ms()),
            Err(error) => Verdict::Wrong(format!("{}: no answer: {error}", action.kind().name())),
        };
        let times = Times { due, answered: Instant::now() };
        stretch.tally.borrow_mut().record(action.kind(), times, &verdict);
        drive.desk.borrow_mut().settle(action, &verdict);
    }
}

impl Drive {
    fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    fn gave_up(&self, stretch: &Stretch) -> bool {
        self.stopped.get() || stretch.tally.borrow().wrong() > TOO_MANY_WRONG
    }
}

impl Stretch {
    /// Holds alone, as many as `pace` lets through.
    pub(super) fn of_holds(pace: Pace, now: Instant) -> Result<Self, String> {
        let mix = format!("{}=1", Kind::Reserve.name()).parse()?;
        Ok(Self {
            pace,
            dealer: RefCell::new(Dealer::new(mix)),
            tally: RefCell::new(Tally::between(now, now)),
            uses_up: false,
        })
    }
}
