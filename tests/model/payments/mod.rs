//! A payment, its hold, and everything that may come between: two handlers that learn of the money, the deadline, a rival
//! who wants the unit, recovery, rebuilds, a loss of Redis, one crash at any step.
//!
//! One product of one unit (or two); the payer's reservation, the rival's, and the id of late money. Every script, every
//! SQL function and every call to the provider is one step.

mod handling;
mod redis;
mod rules;
mod steps;

use crate::search::{Label, Model, Steps};
use crate::violation::{Kind, Violation};

use redis::{Redis, live};
pub(crate) use rules::{Ask, PROTOCOL, Payments};

/// The reservations: of the payer, of the rival, of late money.
const PAYER: usize = 0;
const RIVAL: usize = 1;
const LATE: usize = 2;
const RIDS: usize = 3;

/// A row of the decisions, with the token that it decided about.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Decision {
    #[default]
    None,
    Aborted,
    Pending(u8),
    Confirmed(u8),
}

/// What the provider knows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Page {
    #[default]
    None,
    Open,
    /// bKash: the buyer has released the money.
    Released,
    Paid,
    Expired,
}

/// Where the opening of the payment is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Opening {
    #[default]
    Idle,
    Open {
        token: u8,
        epoch: u8,
    },
    /// Nobody waits for it any more.
    OpenInFlight {
        token: u8,
        epoch: u8,
    },
    Create,
    CreateInFlight,
    Attach,
    Over,
}

/// Where somebody is who has learnt of the money.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Handler {
    #[default]
    Idle,
    Read,
    Pin,
    Pay {
        epoch: u8,
    },
    Settle,
    Grab,
    SellLate {
        token: u8,
        epoch: u8,
    },
    SellLateInFlight {
        token: u8,
        epoch: u8,
    },
    FenceLate,
    SettleLate,
    Refund,
    Record,
}

/// Where whoever ends the payment is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Deadline {
    #[default]
    Idle,
    Ask,
    Dead,
    Settle,
}

/// Where the execute of bKash is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Execute {
    #[default]
    Idle,
    Claim,
    Send,
    InFlight,
    Over,
}

/// Where the rival is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Rival {
    #[default]
    Idle,
    Held,
    Confirm {
        token: u8,
        epoch: u8,
    },
    Settle,
    Over,
}

/// Where the rebuild is, and what it has read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Rebuild {
    #[default]
    Idle,
    Begun {
        epoch: u8,
        sold: i8,
        pending: Option<u8>,
    },
    Read {
        epoch: u8,
        sold: i8,
        pending: Option<u8>,
        decided: [Decision; RIDS],
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    redis: Redis,
    /// What Redis would go back to.
    kept: Option<Redis>,
    epoch: u8,
    sold: i8,
    pending: i8,
    decisions: [Decision; RIDS],
    page: Page,
    refunds: u8,
    refund_noted: bool,
    claimed: bool,
    opening: Opening,
    handlers: [Handler; 2],
    deadline: Deadline,
    execute: Execute,
    rival: Rival,
    rebuild: Rebuild,
    crashes: u8,
    disturbances: u8,
    /// Redis lost something.
    lost: bool,
    /// A payer whose payment was open was refused.
    refused: bool,
    /// The rival's live hold was refused although nothing was lost.
    broken: bool,
}

impl Model for Payments {
    type State = State;

    fn initial(&self) -> State {
        State {
            redis: Redis::full(self.stock),
            kept: None,
            epoch: 1,
            sold: 0,
            pending: 0,
            decisions: [Decision::None; RIDS],
            page: Page::None,
            refunds: 0,
            refund_noted: false,
            claimed: false,
            opening: Opening::Idle,
            handlers: [Handler::Idle; 2],
            deadline: Deadline::Idle,
            execute: Execute::Idle,
            rival: if self.rival { Rival::Idle } else { Rival::Over },
            rebuild: Rebuild::Idle,
            crashes: self.crashes,
            disturbances: self.disturbances,
            lost: false,
            refused: false,
            broken: false,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        self.open(state, steps);
        for handler in 0..self.handlers {
            self.handle(state, handler, steps);
        }
        self.end(state, steps);
        self.rival(state, steps);
        self.recover(state, steps);
        self.rebuild(state, steps);
        self.disturb(state, steps);
        if self.bkash {
            self.execute(state, steps);
        }
        if state.page == Page::Open {
            let page = if self.bkash { Page::Released } else { Page::Paid };
            steps.perhaps(Label::new("buyer", 0, "pays"), State { page, ..*state });
        }
    }

    fn broken(&self, state: &State) -> Option<Violation> {
        let of = |rid: usize| matches!(state.decisions[rid], Decision::Confirmed(_));
        let confirmed = (0..RIDS).filter(|rid| of(*rid)).count() as i8;
        let orders = u8::from(of(PAYER)) + u8::from(of(LATE));
        let wrong = |kind, text: &str| Some(Violation::new(kind, text));
        if confirmed != state.sold {
            return wrong(Kind::Ledger, "sold is not what was decided");
        }
        if state.sold > self.stock || self.counts && state.sold + state.pending > self.stock {
            return wrong(Kind::Oversell, "more than there is");
        }
        if state.refunds > 1 {
            return wrong(Kind::RefundedTwice, "the money went back twice");
        }
        if state.refunds > 0 && orders > 0 {
            return wrong(Kind::RefundAndOrder, "the money went back, and there is an order");
        }
        if orders > 1 {
            return wrong(Kind::TwoOrders, "one payment, two orders");
        }
        if state.refused {
            return wrong(Kind::PayerRefused, "a payment that was open is refused");
        }
        if state.broken {
            return wrong(Kind::PromiseBroken, "the rival's hold is refused");
        }
        if self.no_late_money
            && state.page == Page::Paid
            && state.decisions[PAYER] == Decision::Aborted
        {
            return wrong(Kind::LateMoney, "money after the units were given away");
        }
        self.broken_redis(state)
    }

    fn unsettled(&self, state: &State) -> Option<Violation> {
        let redis = &state.redis;
        let wrong = |kind, text: &str| Some(Violation::new(kind, text));
        if !redis.open {
            return wrong(Kind::Stuck, "nobody rebuilds");
        }
        if redis.held != 0 || redis.avail + state.sold != self.stock {
            return wrong(Kind::Leak, "units are gone for ever, or made up");
        }
        if redis.sold != state.sold {
            return wrong(Kind::Drift, "the stores differ");
        }
        if matches!(state.decisions[PAYER], Decision::Pending(_)) {
            return wrong(Kind::MoneyStuck, "the payment is open for ever");
        }
        if state.page == Page::Paid && !resolved(state) {
            return wrong(Kind::MoneyStuck, "money that nobody asks about");
        }
        None
    }
}

/// Whether the money has found its end.
fn resolved(state: &State) -> bool {
    let sold = |rid: usize| matches!(state.decisions[rid], Decision::Confirmed(_));
    sold(PAYER) || sold(LATE) || state.refund_noted
}

impl Payments {
    fn broken_redis(&self, state: &State) -> Option<Violation> {
        let redis = &state.redis;
        let wrong = |kind, text: &str| Some(Violation::new(kind, text));
        if redis.avail + redis.held + redis.sold != self.stock && redis.known {
            return wrong(Kind::Conservation, "the counters do not add up");
        }
        let held = (0..RIDS).filter(|rid| live(redis.records[*rid])).count() as i8;
        if redis.known && held != redis.held {
            return wrong(Kind::HeldCounter, "held is not what the records say");
        }
        if redis.avail < 0 && !state.lost && redis.open {
            return wrong(Kind::NegativeAvail, "less than nothing");
        }
        if !redis.open {
            return None;
        }
        let undecided = |rid: &usize| {
            live(redis.records[*rid]) && !matches!(state.decisions[*rid], Decision::Confirmed(_))
        };
        let promised = (0..RIDS).filter(undecided).count() as i8;
        let pending = matches!(state.decisions[PAYER], Decision::Pending(_));
        let unpinned = pending && !live(redis.records[PAYER]);
        if redis.avail + promised + i8::from(unpinned) + state.sold > self.stock {
            return wrong(Kind::PhantomStock, "units are offered that are promised or sold");
        }
        if unpinned && redis.epoch == state.epoch {
            return wrong(Kind::PayerWithoutPin, "a payment is open and its unit is free");
        }
        None
    }
}
