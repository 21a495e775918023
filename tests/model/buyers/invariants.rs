//! What must hold in every state, and what must hold at rest.

use super::Buyers;
use super::state::{Record, State, Stock, USERS};
use crate::violation::{Kind, Violation};

type Check = fn(&Buyers, &State) -> Option<Violation>;

impl Buyers {
    /// The first violation of the kind that is looked for.
    pub(super) fn first(&self, checks: &[Check], state: &State) -> Option<Violation> {
        let wanted = |found: &Violation| self.bounds.only.is_none_or(|only| found.kind == only);
        checks.iter().filter_map(|check| check(self, state)).find(wanted)
    }

    /// The live holds of a user: reservation and record.
    fn live_of<'a>(
        &'a self,
        stock: &'a Stock,
        user: usize,
    ) -> impl Iterator<Item = (usize, &'a Record)> {
        let records = stock.records.iter().take(self.bounds.wants.len()).enumerate();
        records.filter(move |(number, record)| {
            record.live() && self.bounds.wants[*number].user == user
        })
    }

    fn present<'a>(&self, state: &'a State) -> impl Iterator<Item = (usize, &'a Stock)> {
        let skus = state.redis.skus.iter().enumerate().take(self.skus);
        skus.filter(|(_, stock)| stock.present)
    }

    /// The first violation that `check` finds in the entry of a buyer.
    fn each_buyer(
        &self,
        state: &State,
        kind: Kind,
        check: impl Fn(usize, &Stock, usize) -> Option<String>,
    ) -> Option<Violation> {
        let pairs = self
            .present(state)
            .flat_map(|(sku, stock)| (0..USERS).map(move |user| (sku, stock, user)));
        let mut found = pairs.filter_map(|(sku, stock, user)| {
            check(sku, stock, user).map(|detail| (sku, user, detail))
        });
        let (sku, user, detail) = found.next()?;
        Some(Violation::new(kind, format!("sku {sku}, user {user}: {detail}")))
    }

    fn never_oversold(&self, state: &State) -> Option<Violation> {
        let postgres = &state.postgres;
        let over = (0..self.skus).find(|sku| postgres.sold[*sku] > postgres.stocked[*sku])?;
        let (sold, stocked) = (postgres.sold[over], postgres.stocked[over]);
        Some(Violation::new(Kind::Oversell, format!("sku {over}: sold {sold} of {stocked}")))
    }

    fn ledger_adds_up(&self, state: &State) -> Option<Violation> {
        let wrong = (0..self.skus).find(|sku| {
            let bought = (0..USERS).map(|user| self.bought(&state.postgres, user, *sku).0);
            bought.sum::<i8>() != state.postgres.sold[*sku]
        })?;
        Some(Violation::new(Kind::Ledger, format!("sku {wrong}")))
    }

    fn cap_is_kept(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::CapBroken, |sku, _, user| {
            let (bought, back) = self.bought(&state.postgres, user, sku);
            (bought - back > self.bounds.cap).then(|| format!("bought {bought}, gave back {back}"))
        })
    }

    fn redis_conserves(&self, state: &State) -> Option<Violation> {
        self.present(state).find_map(|(sku, stock)| {
            let (avail, held, sold) = (stock.avail, stock.held, stock.sold);
            let detail = format!("sku {sku}: avail {avail} + held {held} + sold {sold}");
            let wrong = avail + held + sold != stock.stocked;
            wrong.then(|| Violation::new(Kind::Conservation, detail))
        })
    }

    fn avail_is_not_negative(&self, state: &State) -> Option<Violation> {
        let negative = self.present(state).find(|(_, stock)| stock.avail < 0);
        let (sku, stock) = negative.filter(|_| !state.faults.lost)?;
        Some(Violation::new(Kind::NegativeAvail, format!("sku {sku}: {}", stock.avail)))
    }

    fn held_is_counted(&self, state: &State) -> Option<Violation> {
        self.present(state).find_map(|(sku, stock)| {
            let live = stock.records.iter().filter(|it| it.live()).map(|it| it.units).sum::<i8>();
            let detail = format!("sku {sku}: held {}, live units {live}", stock.held);
            (stock.held != live).then(|| Violation::new(Kind::HeldCounter, detail))
        })
    }

    fn one_hold_each(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::TwoHolds, |_, stock, user| {
            let holds = self.live_of(stock, user).count();
            (holds > 1 && !state.faults.lost).then(|| format!("{holds} live holds"))
        })
    }

    fn live_is_counted(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::BuyerLive, |_, stock, user| {
            let live = self.live_of(stock, user).map(|(_, record)| record.units).sum::<i8>();
            let entry = stock.buyers[user].live;
            (entry != live).then(|| format!("entry {entry}, live units {live}"))
        })
    }

    /// The slot is the live hold. After a loss a buyer may have a second one, which has no slot.
    fn slot_is_the_hold(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::BuyerSlot, |_, stock, user| {
            let slot = stock.buyers[user].slot;
            let mut holds = self.live_of(stock, user).map(|(number, _)| number as u8);
            let right = match slot {
                Some(slot) => holds.any(|hold| hold == slot),
                None => state.faults.lost || holds.next().is_none(),
            };
            (!right).then(|| format!("slot {slot:?}"))
        })
    }

    /// What a buyer bought and holds stays within the cap, as long as the SKU is open.
    fn cap_is_not_overrun(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::CapOverrun, |sku, stock, user| {
            let undecided = self
                .live_of(stock, user)
                .filter(|(number, _)| !state.postgres.decisions[*number].sold());
            let live = undecided.map(|(_, record)| record.units).sum::<i8>();
            let (bought, back) = self.bought(&state.postgres, user, sku);
            let over = live + bought - back > self.bounds.cap && !state.faults.lost;
            over.then(|| format!("holds {live}, bought {bought}, gave back {back}"))
        })
    }

    fn no_phantom_stock(&self, state: &State) -> Option<Violation> {
        self.present(state).find_map(|(sku, stock)| {
            let records = stock.records.iter().zip(&state.postgres.decisions);
            let undecided = records.filter(|(record, row)| record.live() && !row.sold());
            let undecided = undecided.map(|(record, _)| record.units).sum::<i8>();
            let (avail, sold) = (stock.avail, state.postgres.sold[sku]);
            let phantom = avail + undecided + sold > state.postgres.stocked[sku];
            (phantom && state.redis.open(sku)).then(|| {
                let detail = format!("avail {avail}, undecided {undecided}, sold {sold}");
                Violation::new(Kind::PhantomStock, format!("sku {sku}: {detail}"))
            })
        })
    }

    fn answers_are_true(&self, state: &State) -> Option<Violation> {
        for (number, told) in state.told.iter().enumerate() {
            let sold = state.postgres.decisions[number].sold();
            let kind = if told.refused_without_loss {
                Kind::PromiseBroken
            } else if told.confirmed && !sold {
                Kind::AnswerWithoutOrder
            } else if sold && (told.gone || told.cancelled) && !state.faults.lost {
                Kind::TwoEnds
            } else {
                continue;
            };
            return Some(Violation::new(kind, format!("reservation {number}")));
        }
        None
    }

    /// A run that answered "held" had all its lines, and nobody has undone one since.
    fn promised_lines_stand(&self, state: &State) -> Option<Violation> {
        let undone =
            |number: usize| state.redis.skus.iter().any(|stock| stock.records[number].undone);
        let mut told = (0..self.bounds.wants.len()).filter(|number| state.told[*number].held);
        let wrong = told.find(|number| undone(*number) && !state.faults.lost)?;
        Some(Violation::new(Kind::HeldWithoutLine, format!("reservation {wrong}")))
    }

    fn redis_is_rebuilt(&self, state: &State) -> Option<Violation> {
        let closed = (0..self.skus).find(|sku| !state.redis.open(*sku))?;
        Some(Violation::new(Kind::Stuck, format!("sku {closed} is closed for ever")))
    }

    fn nothing_leaks(&self, state: &State) -> Option<Violation> {
        self.present(state).find_map(|(sku, stock)| {
            let (avail, held, sold) = (stock.avail, stock.held, state.postgres.sold[sku]);
            let whole = held == 0 && avail + sold == state.postgres.stocked[sku];
            let detail = format!("sku {sku}: avail {avail}, held {held}, sold in postgres {sold}");
            (!whole).then(|| Violation::new(Kind::Leak, detail))
        })
    }

    fn sold_agrees(&self, state: &State) -> Option<Violation> {
        self.present(state).find_map(|(sku, stock)| {
            let (redis, postgres) = (stock.sold, state.postgres.sold[sku]);
            let detail = format!("sku {sku}: redis {redis}, postgres {postgres}");
            (redis != postgres).then(|| Violation::new(Kind::Drift, detail))
        })
    }

    fn bought_agrees(&self, state: &State) -> Option<Violation> {
        self.each_buyer(state, Kind::BuyerBought, |sku, stock, user| {
            let entry = stock.buyers[user];
            let (bought, back) = self.bought(&state.postgres, user, sku);
            let wrong = entry.bought - entry.back != bought - back;
            let redis = format!("redis {} - {}", entry.bought, entry.back);
            wrong.then(|| format!("{redis}, postgres {bought} - {back}"))
        })
    }
}

/// Checked in every state.
pub(super) const ALWAYS: &[Check] = &[
    Buyers::never_oversold,
    Buyers::ledger_adds_up,
    Buyers::cap_is_kept,
    Buyers::redis_conserves,
    Buyers::avail_is_not_negative,
    Buyers::held_is_counted,
    Buyers::one_hold_each,
    Buyers::live_is_counted,
    Buyers::slot_is_the_hold,
    Buyers::cap_is_not_overrun,
    Buyers::no_phantom_stock,
    Buyers::answers_are_true,
    Buyers::promised_lines_stand,
];

/// Checked in every state of rest, where no hold is live and so no slot is left.
pub(super) const AT_REST: &[Check] =
    &[Buyers::redis_is_rebuilt, Buyers::nothing_leaks, Buyers::sold_agrees, Buyers::bought_agrees];
