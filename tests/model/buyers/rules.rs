//! The rules about buyers that can be switched off, and the bounds of one search.

use super::state::SKUS;
use crate::violation::Kind;

/// The rules beside the core, each on in the full protocol. The core itself (pins, fence, epochs,
/// tokens) is always on here.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// The script that ends a record clears the buyer's slot when it holds that record.
    pub(crate) slot_cleared: bool,
    /// The cap counts the live units of the buyer, not only what was bought.
    pub(crate) cap_counts_live: bool,
    /// A rebuild makes the buyers anew from the records.
    pub(crate) buyers_rebuilt: bool,
    /// A rebuild loads what was bought and given back from Postgres.
    pub(crate) bought_reloaded: bool,
    /// R4 refuses unless it finds as many staged buyers as were staged for it.
    pub(crate) staged_counted: bool,
    /// What a buyer gave back is a state that only grows, applied as the larger of two.
    pub(crate) back_as_state: bool,
    /// Every run for several products has a reservation id of its own.
    pub(crate) own_id_per_run: bool,
}

/// The full protocol.
pub(crate) const PROTOCOL: Rules = Rules {
    slot_cleared: true,
    cap_counts_live: true,
    buyers_rebuilt: true,
    bought_reloaded: true,
    staged_counted: true,
    back_as_state: true,
    own_id_per_run: true,
};

/// What one reservation is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// Whose it is.
    pub(crate) user: usize,
    /// SKU and units of each line, in the order in which they are reserved.
    pub(crate) lines: &'static [(usize, i8)],
}

impl Want {
    /// The request is for several products.
    pub(crate) fn several(&self) -> bool {
        self.lines.len() > 1
    }
}

/// How much may happen in one search. Everything not mentioned here may happen without limit.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Stocked units of each SKU.
    pub(crate) stock: [i8; SKUS],
    /// The most units of one SKU that a buyer may buy.
    pub(crate) cap: i8,
    /// The reservations, each with an id of its own.
    pub(crate) wants: &'static [Want],
    /// Runs of the reserve call: the reservation it makes, and how often the run sends its script,
    /// as it does when an answer is lost on the way.
    pub(crate) runs: &'static [(usize, u8)],
    /// Reservations that are confirmed once.
    pub(crate) confirms: &'static [usize],
    /// Reservations that may be cancelled.
    pub(crate) cancels: &'static [usize],
    /// The reservation of one product whose units are given back after the sale.
    pub(crate) given_back: Option<usize>,
    /// How often a confirm that meets a newer epoch pins again, the first time included.
    pub(crate) tries: u8,
    /// How often Redis goes back to an earlier moment.
    pub(crate) rollbacks: u8,
    /// How often Redis comes back empty, as a new incarnation.
    pub(crate) wipes: u8,
    /// How often Redis is emptied without a new incarnation (FLUSHALL).
    pub(crate) flushes: u8,
    /// How often a rebuild stalls until the buyers that it staged have lapsed.
    pub(crate) lapses: u8,
    /// Rebuilds that an operator forces although nothing is wrong.
    pub(crate) forced: u8,
    /// How many processes die half-way.
    pub(crate) crashes: u8,
    /// The SKUs of a new incarnation are closed first and rebuilt one by one, on demand.
    pub(crate) lazy: bool,
    /// Look only for this kind of violation.
    pub(crate) only: Option<Kind>,
}

/// Nothing happens; tests say what does.
pub(crate) const CALM: Bounds = Bounds {
    stock: [2, 0],
    cap: 2,
    wants: &[],
    runs: &[],
    confirms: &[],
    cancels: &[],
    given_back: None,
    tries: 2,
    rollbacks: 0,
    wipes: 0,
    flushes: 0,
    lapses: 0,
    forced: 0,
    crashes: 1,
    lazy: false,
    only: None,
};
