//! The rules of the protocol that can be switched off, and the bounds of one search.

use super::state::SKUS;
use crate::violation::Kind;

/// The protocol's rules, each on in the full protocol but for the amendment at the end. A
/// counterexample is the same search with one of them off.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Confirm pins the hold before it asks Postgres, so that nothing ends it in between.
    pub(crate) pin: bool,
    /// Recovery of a pin in doubt writes ABORTED unless a decision exists, and obeys what it finds.
    pub(crate) fence: bool,
    /// A pin ends only by a decision row; a confirm that gives up leaves it in place.
    pub(crate) keep_pin: bool,
    /// A pin never expires by the clock.
    pub(crate) timeless_pin: bool,
    /// The confirm function refuses to sell more than is stocked.
    pub(crate) stock_guard: bool,
    /// The confirm function answers STALE when the epoch of the pin is not the present one.
    pub(crate) epoch_check: bool,
    /// A CONFIRMED decision settles a record as sold only if it carries the record's hold token.
    pub(crate) hold_token: bool,
    /// The hold token is random, not a counter in Redis that goes back with Redis.
    pub(crate) random_token: bool,
    /// Every replica sweeps due holds; expired events are only hints.
    pub(crate) sweeper: bool,
    /// Stock returns only in the script that moves a record out of HELD or PINNED.
    pub(crate) record_decides: bool,
    /// No script runs on a new incarnation of Redis before it has been made safe.
    pub(crate) incarnation_check: bool,
    /// A rebuild bumps the epoch before it lists live holds and reads their decisions.
    pub(crate) bump_before_read: bool,
    /// Cancel is one script.
    pub(crate) atomic_cancel: bool,
    /// Ended records stay as tombstones.
    pub(crate) tombstones: bool,
    /// Confirm of a single hold that is not there looks the decision up and writes nothing.
    pub(crate) absent_writes_nothing: bool,
    /// A restock reaches Redis as the stock of a version, not as a difference.
    pub(crate) stock_as_state: bool,
    /// A rebuild keeps the stock of Redis when its version is newer.
    pub(crate) rebuild_keeps_newer_stock: bool,
    /// Lazy rebuild: every SKU is closed before the new incarnation is blessed.
    pub(crate) close_before_bless: bool,
    /// Lazy rebuild: a closed SKU keeps its epoch, below which no rebuild may be applied.
    pub(crate) close_keeps_epoch: bool,
    /// R2 leaves the rebuild's epoch in Redis as a claim, R3 also
    /// reads the epoch of Postgres again, and R4 refuses without the claim. So a stalled rebuild
    /// cannot follow a younger one even when Redis has lost the younger one's epoch meanwhile.
    pub(crate) rebuild_claims: bool,
}

/// The full protocol.
pub(crate) const PROTOCOL: Rules = Rules {
    pin: true,
    fence: true,
    keep_pin: true,
    timeless_pin: true,
    stock_guard: true,
    epoch_check: true,
    hold_token: true,
    random_token: true,
    sweeper: true,
    record_decides: true,
    incarnation_check: true,
    bump_before_read: true,
    atomic_cancel: true,
    tombstones: true,
    absent_writes_nothing: true,
    stock_as_state: true,
    rebuild_keeps_newer_stock: true,
    close_before_bless: true,
    close_keeps_epoch: true,
    rebuild_claims: true,
};

/// How much may happen in one search. Everything not mentioned here may happen without limit.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Stocked units of each SKU; SKUs that no reservation names are left out of every search.
    pub(crate) stock: [i8; SKUS],
    /// The SKUs of each reservation, one unit each, in the order in which they are reserved.
    pub(crate) lines: &'static [&'static [usize]],
    /// Reserve calls for each reservation; the second is a retry with the same id.
    pub(crate) reserve_calls: [u8; 2],
    /// Confirm calls for each reservation, all of which may run at once.
    pub(crate) confirm_calls: [usize; 2],
    /// Cancel calls for each reservation of one product.
    pub(crate) cancel_calls: [u8; 2],
    /// How often a confirm that meets a newer epoch pins again, the first time included.
    pub(crate) tries: u8,
    /// How often Redis goes back to an earlier moment.
    pub(crate) rollbacks: u8,
    /// How often Redis comes back empty, as a new incarnation.
    pub(crate) wipes: u8,
    /// How often Redis is emptied without a new incarnation (FLUSHALL).
    pub(crate) flushes: u8,
    /// Rebuilds that an operator forces although nothing is wrong.
    pub(crate) forced: u8,
    /// Processes that may rebuild at once.
    pub(crate) rebuilders: usize,
    /// How often a rebuild begins while another is under way. Two of them can send each other back
    /// for ever, so this must be bounded.
    pub(crate) overlaps: u8,
    /// How often a rebuild dies half-way.
    pub(crate) rebuild_crashes: u8,
    /// Restocks of the first SKU by one unit.
    pub(crate) restocks: u8,
    /// Processes that may close the SKUs of a new incarnation at once and then bless it; the
    /// rebuild of each SKU follows on demand. With none of them, one rebuild covers all SKUs and
    /// blesses the incarnation when it is done.
    pub(crate) closers: usize,
    /// Look only for this kind of violation.
    pub(crate) only: Option<Kind>,
}

/// One unit, two buyers, one call of each kind and nothing going wrong but processes.
pub(crate) const CALM: Bounds = Bounds {
    stock: [1, 0],
    lines: &[&[0], &[0]],
    reserve_calls: [1, 1],
    confirm_calls: [1, 1],
    cancel_calls: [0, 0],
    tries: 2,
    rollbacks: 0,
    wipes: 0,
    flushes: 0,
    forced: 0,
    rebuilders: 1,
    overlaps: 0,
    rebuild_crashes: 1,
    restocks: 0,
    closers: 0,
    only: None,
};
