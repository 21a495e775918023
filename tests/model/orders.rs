//! An order of several reservations: one that the buyer held before, one new for what was missing.
//!
//! Two runs want to order the same cart (a repeated request, or the client's second attempt after a crash); a checkout,
//! a cancel, an expiry and the recovery of pins come in between at any step, a process may die at any step, and one
//! SKU is wiped or rebuilt. Every script and every SQL function is one step.

use crate::expect::{caught, holds};
use crate::search::{Label, Model, Steps};
use crate::violation::{Kind, Violation};

/// The earlier hold.
const OLD: usize = 0;
/// Reservations: the earlier hold on the first SKU, and each run's own on the second.
const RIDS: usize = 3;
const CHECKOUT: u8 = 2;

const fn sku_of(rid: usize) -> usize {
    if rid == OLD { 0 } else { 1 }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Hold {
    #[default]
    Absent,
    Held,
    Pinned,
    Sold,
    Ended,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Decision {
    #[default]
    None,
    Aborted,
    /// Sold as this order.
    Order(u8),
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    PinNew,
    PinOld,
    /// The decision is on its way; dead: nobody waits for it.
    Flying {
        dead: bool,
    },
    Fencing,
    SettleNew,
    SettleOld,
    Over,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Run {
    phase: Phase,
    epochs: [u8; 2],
    told: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Sku {
    present: bool,
    avail: i8,
    held: i8,
    sold: i8,
    epoch: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    redis: [Sku; 2],
    records: [Hold; RIDS],
    sold: [i8; 2],
    epoch: [u8; 2],
    decisions: [Decision; RIDS],
    cart: bool,
    /// The two runs, and the checkout of the earlier hold.
    runs: [Run; 3],
    cancelled: bool,
    disturbances: u8,
    /// What the rebuild of each SKU has read.
    rebuild: [Option<i8>; 2],
}

/// Rules that can be switched off, and how much stock there is.
#[derive(Clone, Copy)]
struct Orders {
    stock: i8,
    /// Which runs there are; the last one is the checkout.
    actors: &'static [usize],
    disturbances: u8,
    all_or_none: bool,
    fence_before_release: bool,
    epoch_check: bool,
    wipe: bool,
}

const PROTOCOL: Orders = Orders {
    stock: 2,
    actors: &[0, 1, 2],
    disturbances: 0,
    all_or_none: true,
    fence_before_release: true,
    epoch_check: true,
    wipe: true,
};

impl Orders {
    fn leave(state: &mut State, rid: usize, to: Hold) {
        let sku = &mut state.redis[sku_of(rid)];
        if !sku.present || !matches!(state.records[rid], Hold::Held | Hold::Pinned) {
            return;
        }
        sku.held -= 1;
        if to == Hold::Sold {
            sku.sold += 1;
        } else {
            sku.avail += 1;
        }
        state.records[rid] = to;
    }

    fn settle(state: &mut State, rid: usize) {
        match state.decisions[rid] {
            Decision::None => {}
            Decision::Aborted => Self::leave(state, rid, Hold::Ended),
            Decision::Order(_) => Self::leave(state, rid, Hold::Sold),
        }
    }

    /// The rids of a run, its own first.
    fn rids(run: usize) -> &'static [usize] {
        [&[1, OLD][..], &[2, OLD], &[OLD]][run]
    }

    fn pin(state: &mut State, run: usize, rid: usize) -> bool {
        if !matches!(state.records[rid], Hold::Held | Hold::Pinned) {
            return false;
        }
        state.records[rid] = Hold::Pinned;
        state.runs[run].epochs[sku_of(rid)] = state.redis[sku_of(rid)].epoch;
        true
    }

    /// One SQL call: all rids of the run, or none. False: stale.
    fn confirm(&self, state: &mut State, run: usize) -> bool {
        let (order, rids) = (run as u8, Self::rids(run));
        let decided = |rid: &usize| state.decisions[*rid] != Decision::None;
        if rids.iter().any(decided) && (self.all_or_none || rids.iter().all(decided)) {
            return true;
        }
        let epochs = state.runs[run].epochs;
        if self.epoch_check
            && rids.iter().any(|rid| epochs[sku_of(*rid)] != state.epoch[sku_of(*rid)])
        {
            return false;
        }
        let short = rids.iter().any(|rid| state.sold[sku_of(*rid)] >= self.stock);
        let changed = order != CHECKOUT && !state.cart;
        for rid in rids
            .iter()
            .filter(|rid| state.decisions[**rid] == Decision::None)
            .copied()
            .collect::<Vec<_>>()
        {
            if short || changed {
                state.decisions[rid] = Decision::Aborted;
            } else {
                state.decisions[rid] = Decision::Order(order);
                state.sold[sku_of(rid)] += 1;
            }
        }
        if !short && !changed && order != CHECKOUT {
            state.cart = false;
        }
        true
    }

    fn run(&self, state: &State, run: usize, steps: &mut Steps<State>) {
        let label = Label::new(if run == 2 { "checkout" } else { "order" }, run, "goes on");
        let rids = Self::rids(run);
        let mut next = *state;
        let phase = state.runs[run].phase;
        let open = |rid: usize| state.redis[sku_of(rid)].present;
        match phase {
            Phase::Idle => {
                next.runs[run].phase = if run == 2 { Phase::PinOld } else { Phase::PinNew };
                if run != 2 {
                    // Read the cart and hold what is missing; the earlier hold is used if it stands.
                    let sku = &mut next.redis[1];
                    let live = |rid: &usize| {
                        *rid != rids[0] && matches!(state.records[*rid], Hold::Held | Hold::Pinned)
                    };
                    let already = [1, 2].iter().any(live);
                    if !state.cart
                        || !sku.present
                        || sku.avail < 1
                        || already
                        || state.records[OLD] != Hold::Held
                    {
                        next.runs[run].phase = Phase::Over;
                    } else {
                        sku.avail -= 1;
                        sku.held += 1;
                        next.records[rids[0]] = Hold::Held;
                    }
                }
                return steps.perhaps(label.does("begins"), next);
            }
            Phase::PinNew | Phase::PinOld => {
                let rid = if phase == Phase::PinNew { rids[0] } else { OLD };
                if !open(rid) {
                    return steps.perhaps(label.does("dies"), died(*state, run));
                }
                next.runs[run].phase = match (Self::pin(&mut next, run, rid), phase) {
                    (true, Phase::PinNew) => Phase::PinOld,
                    (true, _) => Phase::Flying { dead: false },
                    (false, _) => Phase::Fencing,
                };
            }
            Phase::Flying { dead } => {
                let fresh = self.confirm(&mut next, run);
                let done =
                    rids.iter().all(|rid| next.decisions[*rid] == Decision::Order(run as u8));
                next.runs[run].told = done && !dead;
                next.runs[run].phase = match (dead, done, fresh) {
                    (true, ..) => Phase::Over,
                    (_, true, _) => Phase::SettleNew,
                    (_, false, true) => Phase::Fencing,
                    // An epoch moved: pin again.
                    (_, _, false) if run == 2 => Phase::PinOld,
                    (_, _, false) => Phase::PinNew,
                };
                let mut late = died(*state, run);
                late.runs[run].phase = Phase::Flying { dead: true };
                steps.perhaps(label.does("dies, its decision is on the way"), late);
                if !self.fence_before_release && !dead {
                    for rid in rids {
                        Self::leave(&mut late, *rid, Hold::Ended);
                    }
                    steps.perhaps(label.does("gives its pins back after a timeout"), late);
                }
            }
            Phase::Fencing => {
                for rid in rids {
                    // A hold that was never pinned by this run is not this run's to end.
                    if next.decisions[*rid] == Decision::None && next.records[*rid] == Hold::Pinned
                    {
                        next.decisions[*rid] = Decision::Aborted;
                    }
                }
                next.runs[run].phase = Phase::SettleNew;
            }
            Phase::SettleNew => {
                Self::settle(&mut next, rids[0]);
                next.runs[run].phase = Phase::SettleOld;
            }
            Phase::SettleOld => {
                Self::settle(&mut next, OLD);
                next.runs[run].phase = Phase::Over;
            }
            Phase::Over => return,
        }
        steps.bound(label, next);
        if !matches!(phase, Phase::Flying { .. }) {
            steps.perhaps(label.does("dies"), died(*state, run));
        }
    }
}

fn died(mut state: State, run: usize) -> State {
    state.runs[run].phase = Phase::Over;
    state
}

impl Model for Orders {
    type State = State;

    fn initial(&self) -> State {
        let full = Sku { present: true, avail: self.stock, held: 0, sold: 0, epoch: 1 };
        let mut records = [Hold::Absent; RIDS];
        records[OLD] = Hold::Held;
        State {
            redis: [Sku { avail: self.stock - 1, held: 1, ..full }, full],
            records,
            sold: [0; 2],
            epoch: [1; 2],
            decisions: [Decision::None; RIDS],
            cart: true,
            runs: [Run::default(); 3],
            cancelled: false,
            disturbances: self.disturbances,
            rebuild: [None; 2],
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for run in self.actors.iter().copied() {
            self.run(state, run, steps);
        }
        for rid in 0..RIDS {
            if !state.redis[sku_of(rid)].present {
                continue;
            }
            let mut next = *state;
            if state.records[rid] == Hold::Held {
                Self::leave(&mut next, rid, Hold::Ended);
                steps.bound(Label::new("hold", rid, "expires"), next);
                if rid == OLD {
                    next.cancelled = true;
                    steps.perhaps(Label::new("buyer", rid, "cancels"), next);
                }
            } else if state.records[rid] == Hold::Pinned {
                if state.decisions[rid] == Decision::None {
                    next.decisions[rid] = Decision::Aborted;
                    steps.bound(Label::new("recovery", rid, "fences"), next);
                } else {
                    Self::settle(&mut next, rid);
                    steps.bound(Label::new("recovery", rid, "settles"), next);
                }
            }
        }
        for sku in 0..2 {
            let mut next = *state;
            if state.disturbances > 0 {
                next.disturbances -= 1;
                if self.wipe {
                    let mut wiped = next;
                    wiped.redis[sku] = Sku::default();
                    for rid in (0..RIDS).filter(|rid| sku_of(*rid) == sku) {
                        wiped.records[rid] = Hold::Absent;
                    }
                    steps.perhaps(Label::new("redis", sku, "loses a SKU"), wiped);
                }
                next.epoch[sku] += 1;
                next.rebuild[sku] = Some(state.sold[sku]);
                steps.perhaps(Label::new("rebuild", sku, "is forced"), next);
            } else if !state.redis[sku].present && state.rebuild[sku].is_none() {
                next.epoch[sku] += 1;
                next.rebuild[sku] = Some(state.sold[sku]);
                steps.bound(Label::new("rebuild", sku, "begins"), next);
            } else if let Some(sold) = state.rebuild[sku] {
                next.rebuild[sku] = None;
                next.redis[sku].present = true;
                for rid in (0..RIDS).filter(|rid| sku_of(*rid) == sku) {
                    Self::settle(&mut next, rid);
                }
                let live = live(&next, sku);
                next.redis[sku] = Sku {
                    present: true,
                    avail: self.stock - sold - live,
                    held: live,
                    sold,
                    epoch: state.epoch[sku],
                };
                steps.bound(Label::new("rebuild", sku, "applies"), next);
            }
        }
    }

    fn broken(&self, state: &State) -> Option<Violation> {
        for run in 0..2 {
            let of_run = |rid: &&usize| state.decisions[**rid] == Decision::Order(run as u8);
            let decided = Self::rids(run).iter().filter(of_run).count();
            if decided == 1 {
                return Some(Violation::new(Kind::TornOrder, format!("order {run}")));
            }
            if state.runs[run].told && decided == 0 {
                return Some(Violation::new(Kind::AnswerWithoutOrder, format!("order {run}")));
            }
        }
        if state.cancelled && matches!(state.decisions[OLD], Decision::Order(_)) {
            return Some(Violation::new(Kind::TwoEnds, "cancelled and sold"));
        }
        for (at, sku) in state.redis.iter().enumerate() {
            let of_sku = |rid: &usize| sku_of(*rid) == at;
            let ordered = |rid: &usize| matches!(state.decisions[*rid], Decision::Order(_));
            let orders = (0..RIDS).filter(of_sku).filter(ordered).count() as i8;
            let detail = || format!("SKU {at}: {} sold, {orders} ordered", state.sold[at]);
            if state.sold[at] != orders {
                return Some(Violation::new(Kind::Ledger, detail()));
            }
            if state.sold[at] > self.stock {
                return Some(Violation::new(Kind::Oversell, detail()));
            }
            if !sku.present {
                continue;
            }
            if sku.avail + sku.held + sku.sold != self.stock {
                return Some(Violation::new(Kind::Conservation, detail()));
            }
            if sku.held != live(state, at) {
                return Some(Violation::new(Kind::HeldCounter, detail()));
            }
            let open = |rid: &usize| is_live(state.records[*rid]) && !ordered(rid);
            let promised = (0..RIDS).filter(of_sku).filter(open).count() as i8;
            if sku.epoch == state.epoch[at] && sku.avail + promised + state.sold[at] > self.stock {
                return Some(Violation::new(Kind::PhantomStock, detail()));
            }
        }
        None
    }

    fn unsettled(&self, state: &State) -> Option<Violation> {
        let leaks = |at: usize| state.redis[at].avail != self.stock - state.sold[at];
        (0..2).find(|at| leaks(*at)).map(|at| Violation::new(Kind::Leak, format!("SKU {at}")))
    }
}

fn is_live(hold: Hold) -> bool {
    matches!(hold, Hold::Held | Hold::Pinned)
}

fn live(state: &State, sku: usize) -> i8 {
    (0..RIDS).filter(|rid| sku_of(*rid) == sku && is_live(state.records[*rid])).count() as i8
}

#[test]
fn an_order_of_two_reservations_meets_everything_that_may_come_between() {
    holds("order", &PROTOCOL);
    holds("order, the last unit", &Orders { stock: 1, ..PROTOCOL });
}

#[test]
fn an_order_meets_a_rebuild_or_a_loss() {
    let disturbed = Orders { disturbances: 1, ..PROTOCOL };
    holds("order, disturbed", &Orders { actors: &[0], ..disturbed });
    holds("order and checkout, disturbed", &Orders { actors: &[0, 2], ..disturbed });
}

#[test]
fn an_order_that_ignores_the_epoch_sells_what_redis_has_forgotten() {
    let blind = Orders { epoch_check: false, disturbances: 1, actors: &[0], ..PROTOCOL };
    caught("O-epoch", &blind, Kind::PhantomStock);
}

#[test]
fn an_order_that_writes_what_is_still_undecided_is_torn() {
    caught("O-all", &Orders { all_or_none: false, ..PROTOCOL }, Kind::TornOrder);
}

#[test]
fn giving_pins_back_without_a_fence_offers_a_unit_whose_order_is_on_the_way() {
    caught("O-fence", &Orders { fence_before_release: false, ..PROTOCOL }, Kind::PhantomStock);
}
