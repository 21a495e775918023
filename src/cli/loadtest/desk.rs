//! What the service told us: which holds stand, what was sold, and who may buy next.

use std::collections::VecDeque;

use uuid::Uuid;

use super::check::Verdict;
use super::mix::Kind;
use super::skus::place;

/// A hold this close to its deadline is left to end by itself.
const TOO_LATE_MS: i64 = 250;

/// A hold that we were told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) id: Uuid,
    pub(super) buyer: u64,
    pub(super) deadline_ms: i64,
}

/// One request to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Hold one unit; `standing` is the buyer's hold, if it has one that must come back unchanged.
    Reserve {
        buyer: u64,
        stays: Stays,
        standing: Option<Hold>,
    },
    Confirm(Hold),
    Cancel(Hold),
    /// Look at the stock for the so-manieth time.
    Look(u64),
    /// Read the first page of all products.
    List,
}

/// How long a buyer means to keep a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    AsLongAsItMay,
    AMoment,
}

impl Action {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Reserve { stays: Stays::AsLongAsItMay, .. } => Kind::Reserve,
            Self::Reserve { stays: Stays::AMoment, .. } => Kind::Abandon,
            Self::Confirm(_) => Kind::Confirm,
            Self::Cancel(_) => Kind::Cancel,
            Self::Look(_) => Kind::Look,
            Self::List => Kind::List,
        }
    }
}

/// What the answers about one SKU add up to, for the proof at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Units that were sold.
    pub(super) sold: i64,
    /// Units that may have been taken: the answer left it open, or there was none.
    pub(super) maybe_reserved: i64,
    /// Units held, of which nobody knows whether they were sold or given back.
    pub(super) maybe_ended: i64,
}

/// Buyers and holds.
#[derive(Debug)]
pub(super) struct Desk {
    limit: Option<u64>,
    met: u64,
    looks: u64,
    idle: VecDeque<u64>,
    /// Holds that a confirm or cancel may take, oldest first.
    standing: VecDeque<Hold>,
    /// Holds that nobody comes back for.
    left: VecDeque<Hold>,
    /// By the place of the SKU that a buyer wants.
    told: Vec<Told>,
}

impl Desk {
    /// With a limit, so many buyers come again and again; without, each buyer comes once. Buyers
    /// want the SKUs in turn.
    pub(super) fn new(limit: Option<u64>, skus: usize) -> Self {
        let (idle, standing, left) = <(VecDeque<u64>, VecDeque<Hold>, VecDeque<Hold>)>::default();
        let told = vec![Told::default(); skus.max(1)];
        Self { limit, met: 0, looks: 0, idle, standing, left, told }
    }

    /// What to do for a request of this kind; a hold is made where none is left to work on.
    pub(super) fn next(&mut self, kind: Kind, now_ms: i64) -> Action {
        match kind {
            Kind::Look => self.look(),
            Kind::List => Action::List,
            Kind::Confirm | Kind::Cancel => match self.take_standing(now_ms) {
                Some(hold) if kind == Kind::Confirm => Action::Confirm(hold),
                Some(hold) => Action::Cancel(hold),
                None => self.reserve(Stays::AsLongAsItMay, now_ms),
            },
            Kind::Reserve => self.reserve(Stays::AsLongAsItMay, now_ms),
            Kind::Abandon => self.reserve(Stays::AMoment, now_ms),
        }
    }

    /// Takes note of an answer.
    pub(super) fn settle(&mut self, action: Action, verdict: &Verdict) {
        match (action, verdict) {
            (Action::Look(_) | Action::List, _) => {}
            (Action::Reserve { buyer, stays, .. }, Verdict::Held { id, deadline_ms }) => {
                let hold = Hold { id: *id, buyer, deadline_ms: *deadline_ms };
                match stays {
                    Stays::AsLongAsItMay => self.standing.push_back(hold),
                    Stays::AMoment => self.left.push_back(hold),
                }
            }
            (Action::Reserve { standing: Some(hold), .. }, _) => self.left.push_back(hold),
            (Action::Reserve { buyer, .. }, Verdict::Refused { .. }) => self.release(buyer),
            (Action::Reserve { buyer, .. }, _) => self.told_of(buyer).maybe_reserved += 1,
            (Action::Confirm(hold), Verdict::Sold) => {
                self.told_of(hold.buyer).sold += 1;
                self.release(hold.buyer);
            }
            (Action::Cancel(hold), Verdict::Cancelled)
            | (Action::Confirm(hold) | Action::Cancel(hold), Verdict::Gone) => {
                self.release(hold.buyer);
            }
            (Action::Confirm(hold) | Action::Cancel(hold), Verdict::Refused { .. }) => {
                self.standing.push_back(hold);
            }
            (Action::Confirm(hold) | Action::Cancel(hold), _) => {
                self.told_of(hold.buyer).maybe_ended += 1;
            }
        }
    }

    /// How many holds a confirm or cancel could take.
    pub(super) fn standing(&self) -> usize {
        self.standing.len()
    }

    /// How many of the holds we were told of stand, for each SKU at a time of its own.
    pub(super) fn live_at(&self, times_ms: &[i64]) -> Vec<i64> {
        let mut live = vec![0; times_ms.len()];
        for hold in self.standing.iter().chain(&self.left) {
            let place = place(hold.buyer, live.len());
            live[place] += i64::from(hold.deadline_ms > times_ms[place]);
        }
        live
    }

    /// What the answers add up to, for each SKU.
    pub(super) fn told(&self) -> &[Told] {
        &self.told
    }

    fn told_of(&mut self, buyer: u64) -> &mut Told {
        let place = place(buyer, self.told.len());
        &mut self.told[place]
    }

    fn look(&mut self) -> Action {
        self.looks += 1;
        Action::Look(self.looks)
    }

    fn take_standing(&mut self, now_ms: i64) -> Option<Hold> {
        loop {
            let hold = self.standing.pop_front()?;
            if hold.deadline_ms - TOO_LATE_MS > now_ms {
                return Some(hold);
            }
            self.left.push_back(hold);
        }
    }

    fn reserve(&mut self, stays: Stays, now_ms: i64) -> Action {
        if let Some(buyer) = self.free_buyer(now_ms) {
            return Action::Reserve { buyer, stays, standing: None };
        }
        match self.take_standing(now_ms) {
            Some(hold) => {
                let stays = Stays::AsLongAsItMay;
                Action::Reserve { buyer: hold.buyer, stays, standing: Some(hold) }
            }
            None => self.look(),
        }
    }

    fn free_buyer(&mut self, now_ms: i64) -> Option<u64> {
        if self.limit.is_none_or(|limit| self.met < limit) {
            self.met += 1;
            return Some(self.met);
        }
        // A second more than the deadline: two clocks are compared here.
        while self.left.front().is_some_and(|hold| hold.deadline_ms + 1_000 < now_ms) {
            self.idle.extend(self.left.pop_front().map(|hold| hold.buyer));
        }
        self.idle.pop_front()
    }

    fn release(&mut self, buyer: u64) {
        if self.limit.is_some() {
            self.idle.push_back(buyer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(number: u128, deadline_ms: i64) -> Verdict {
        Verdict::Held { id: Uuid::from_u128(number), deadline_ms }
    }

    fn hold_one(desk: &mut Desk, kind: Kind, number: u128, deadline_ms: i64) {
        let action = desk.next(kind, 0);
        desk.settle(action, &held(number, deadline_ms));
    }

    #[test]
    fn a_confirm_takes_the_oldest_hold_and_a_cancel_the_next() {
        let mut desk = Desk::new(None, 1);
        hold_one(&mut desk, Kind::Reserve, 1, 9_000);
        hold_one(&mut desk, Kind::Reserve, 2, 9_000);
        let Action::Confirm(first) = desk.next(Kind::Confirm, 0) else { panic!() };
        let Action::Cancel(second) = desk.next(Kind::Cancel, 0) else { panic!() };
        assert_eq!((first.id, second.id), (Uuid::from_u128(1), Uuid::from_u128(2)));
        desk.settle(Action::Confirm(first), &Verdict::Sold);
        desk.settle(Action::Cancel(second), &Verdict::Cancelled);
        assert_eq!((desk.told()[0].sold, desk.live_at(&[0])), (1, vec![0]));
        assert_eq!(desk.next(Kind::Confirm, 0).kind(), Kind::Reserve, "none is left");
    }

    #[test]
    fn nobody_comes_back_for_an_abandoned_hold() {
        let mut desk = Desk::new(None, 1);
        hold_one(&mut desk, Kind::Abandon, 1, 2_000);
        assert_eq!(desk.next(Kind::Cancel, 0).kind(), Kind::Reserve);
        assert_eq!((desk.live_at(&[1_999]), desk.live_at(&[2_000])), (vec![1], vec![0]));
    }

    #[test]
    fn a_buyer_of_a_limited_crowd_asks_again_for_what_it_holds() {
        let mut desk = Desk::new(Some(1), 1);
        hold_one(&mut desk, Kind::Reserve, 1, 9_000);
        let again = desk.next(Kind::Reserve, 0);
        let Action::Reserve { buyer: 1, standing: Some(hold), .. } = again else {
            panic!("{again:?}")
        };
        assert_eq!(desk.next(Kind::Reserve, 0), Action::Look(1), "the only buyer is busy");
        desk.settle(again, &Verdict::Held { id: hold.id, deadline_ms: hold.deadline_ms });
        assert_eq!(desk.live_at(&[0]), [1]);
    }

    #[test]
    fn an_open_outcome_widens_what_the_proof_allows() {
        let mut desk = Desk::new(None, 1);
        let action = desk.next(Kind::Reserve, 0);
        desk.settle(action, &Verdict::Open { code: "store_unavailable".into() });
        assert_eq!(desk.told(), [Told { maybe_reserved: 1, ..Told::default() }]);
    }

    #[test]
    fn holds_count_for_the_sku_that_their_buyer_wants() {
        let mut desk = Desk::new(None, 2);
        for number in 1..=3 {
            hold_one(&mut desk, Kind::Reserve, number, 9_000);
        }
        assert_eq!(desk.live_at(&[0, 0]), [1, 2]);
        assert_eq!(desk.live_at(&[0, 9_000]), [1, 0]);
        let confirm = desk.next(Kind::Confirm, 0);
        desk.settle(confirm, &Verdict::Sold);
        assert_eq!(desk.told().iter().map(|told| told.sold).collect::<Vec<_>>(), [0, 1]);
    }
}
