//! What must hold in every state, and what must hold at rest.

use super::Reservations;
use super::state::{State, Stock};
use crate::violation::{Kind, Violation};

type Check = fn(&Reservations, &State) -> Option<Violation>;

impl Reservations {
    /// The first violation of the kind that is looked for.
    pub(super) fn first(&self, checks: &[Check], state: &State) -> Option<Violation> {
        let wanted = |found: &Violation| self.bounds.only.is_none_or(|only| found.kind == only);
        checks.iter().filter_map(|check| check(self, state)).find(wanted)
    }

    fn never_oversold(&self, state: &State) -> Option<Violation> {
        let postgres = &state.postgres;
        let over = (0..self.skus).find(|sku| postgres.sold[*sku] > postgres.stocked[*sku])?;
        let (sold, stocked) = (postgres.sold[over], postgres.stocked[over]);
        Some(Violation::new(Kind::Oversell, format!("sku {over}: sold {sold} of {stocked}")))
    }

    fn ledger_adds_up(&self, state: &State) -> Option<Violation> {
        let postgres = &state.postgres;
        let wrong = (0..self.skus).find(|sku| {
            let orders = self.bounds.lines.iter().zip(&postgres.decisions);
            let sold = orders.filter(|(lines, row)| row.sold() && lines.contains(sku)).count();
            sold as i8 != postgres.sold[*sku]
        })?;
        Some(Violation::new(Kind::Ledger, format!("sku {wrong}")))
    }

    fn redis_conserves(&self, state: &State) -> Option<Violation> {
        self.redis_skus(state).find_map(|(sku, stock)| {
            let (avail, held, sold) = (stock.avail, stock.held, stock.sold);
            let sum = avail + held + sold;
            let detail = format!("sku {sku}: avail {avail} + held {held} + sold {sold}");
            (sum != stock.stocked).then(|| Violation::new(Kind::Conservation, detail))
        })
    }

    fn held_is_counted(&self, state: &State) -> Option<Violation> {
        self.redis_skus(state).find_map(|(sku, stock)| {
            let live = stock.records.iter().filter(|record| record.live()).count() as i8;
            let held = stock.held;
            let wrong = held != live;
            wrong.then(|| {
                Violation::new(Kind::HeldCounter, format!("sku {sku}: {held}, {live} live"))
            })
        })
    }

    fn no_phantom_stock(&self, state: &State) -> Option<Violation> {
        self.redis_skus(state).find_map(|(sku, stock)| {
            let records = stock.records.iter().zip(&state.postgres.decisions);
            let undecided = records.filter(|(record, row)| record.live() && !row.sold()).count();
            let (avail, sold) = (stock.avail, state.postgres.sold[sku]);
            let phantom = avail + undecided as i8 + sold > state.postgres.stocked[sku];
            (phantom && self.open(state, sku)).then(|| {
                let detail =
                    format!("sku {sku}: avail {avail}, undecided holds {undecided}, sold {sold}");
                Violation::new(Kind::PhantomStock, detail)
            })
        })
    }

    fn promises_are_kept(&self, state: &State) -> Option<Violation> {
        let broken = state.told.iter().position(|told| told.sold_out_without_loss)?;
        Some(Violation::new(Kind::PromiseBroken, format!("reservation {broken}")))
    }

    fn answers_are_true(&self, state: &State) -> Option<Violation> {
        let told = state.told.iter().zip(&state.postgres.decisions);
        let wrong = told.clone().position(|(told, row)| told.confirmed && !row.sold())?;
        Some(Violation::new(Kind::AnswerWithoutOrder, format!("reservation {wrong}")))
    }

    fn one_end_each(&self, state: &State) -> Option<Violation> {
        let mut told = state.told.iter().zip(&state.postgres.decisions);
        let wrong = told.position(|(told, row)| row.sold() && (told.gone || told.cancelled))?;
        let detail = format!("reservation {wrong} was told that it is over and has an order");
        (!state.faults.lost).then(|| Violation::new(Kind::TwoEnds, detail))
    }

    fn redis_is_rebuilt(&self, state: &State) -> Option<Violation> {
        let closed = (0..self.skus).find(|sku| !self.open(state, *sku));
        let closed = closed.map(|sku| format!("sku {sku} is closed for ever"));
        let behind = (0..self.skus).find(|sku| {
            let epoch = state.redis.skus[*sku].epoch;
            self.rules.epoch_check && epoch != state.postgres.epoch[*sku]
        });
        let behind = behind.map(|sku| format!("the epochs of sku {sku} differ for ever"));
        Some(Violation::new(Kind::Stuck, closed.or(behind)?))
    }

    fn nothing_leaks(&self, state: &State) -> Option<Violation> {
        self.redis_skus(state).find_map(|(sku, stock)| {
            let (avail, held, sold) = (stock.avail, stock.held, state.postgres.sold[sku]);
            let whole = held == 0 && avail + sold == state.postgres.stocked[sku];
            let detail = format!("sku {sku}: avail {avail}, held {held}, sold in postgres {sold}");
            (!whole).then(|| Violation::new(Kind::Leak, detail))
        })
    }

    fn sold_agrees(&self, state: &State) -> Option<Violation> {
        self.redis_skus(state).find_map(|(sku, stock)| {
            let (redis, postgres) = (stock.sold, state.postgres.sold[sku]);
            let detail = format!("sku {sku}: redis {redis}, postgres {postgres}");
            (redis != postgres).then(|| Violation::new(Kind::Drift, detail))
        })
    }

    fn redis_skus<'a>(&self, state: &'a State) -> impl Iterator<Item = (usize, &'a Stock)> {
        let skus = state.redis.skus.iter().enumerate().take(self.skus);
        skus.filter(|(_, stock)| stock.present)
    }
}

/// Checked in every state.
pub(super) const ALWAYS: &[Check] = &[
    Reservations::never_oversold,
    Reservations::ledger_adds_up,
    Reservations::redis_conserves,
    Reservations::held_is_counted,
    Reservations::no_phantom_stock,
    Reservations::promises_are_kept,
    Reservations::answers_are_true,
    Reservations::one_end_each,
];

/// Checked in every state of rest.
pub(super) const AT_REST: &[Check] =
    &[Reservations::redis_is_rebuilt, Reservations::nothing_leaks, Reservations::sold_agrees];
