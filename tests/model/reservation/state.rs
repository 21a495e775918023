//! What one state of the reservation model consists of: Redis, Postgres, and every process at the
//! place where it stands between two steps. Small and `Copy`, because a search keeps many.

use crate::incarnation::Closing;

/// Reservations in a search.
pub(crate) const RESERVATIONS: usize = 2;
/// SKUs in a search.
pub(crate) const SKUS: usize = 2;
/// Confirm calls per reservation.
pub(crate) const ATTEMPTS: usize = 2;
/// Processes that rebuild.
pub(crate) const REBUILDERS: usize = 2;
/// Processes that close and bless a new incarnation.
pub(crate) const CLOSERS: usize = 2;

/// No hold token.
pub(crate) const NO_TOKEN: u8 = 0;
/// The epoch field is missing, which is lower than any.
pub(crate) const NO_EPOCH: u8 = 0;

/// Where a reservation's record in Redis stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Hold {
    #[default]
    Absent,
    Held,
    Pinned,
    Sold,
    Released,
}

/// One record: the reservation's hold on one SKU.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) hold: Hold,
    pub(crate) token: u8,
    pub(crate) due: bool,
}

impl Record {
    /// The record counts in `held`.
    pub(crate) fn live(&self) -> bool {
        matches!(self.hold, Hold::Held | Hold::Pinned)
    }
}

/// One SKU in Redis.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stock {
    /// False after Redis lost the key.
    pub(crate) present: bool,
    /// False when the SKU is closed: every script answers REBUILD.
    pub(crate) ready: bool,
    pub(crate) avail: i8,
    pub(crate) held: i8,
    pub(crate) sold: i8,
    pub(crate) stocked: i8,
    pub(crate) version: u8,
    pub(crate) epoch: u8,
    /// The epoch of the youngest rebuild that has listed the live holds.
    pub(crate) claim: u8,
    /// A counter in Redis, for the variant that takes its hold tokens from it.
    pub(crate) sequence: u8,
    pub(crate) records: [Record; RESERVATIONS],
}

/// All of Redis.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    /// Which start of the server this is.
    pub(crate) incarnation: u8,
    /// Postgres remembers this incarnation as one that scripts may run on.
    pub(crate) blessed: bool,
    pub(crate) skus: [Stock; SKUS],
}

/// A row of the decision table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    #[default]
    None,
    Aborted,
    /// Sold, with the hold token of each line.
    Confirmed([u8; SKUS]),
}

impl Decision {
    /// There is an order.
    pub(crate) fn sold(&self) -> bool {
        matches!(self, Self::Confirmed(_))
    }
}

/// All of Postgres.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Postgres {
    pub(crate) epoch: [u8; SKUS],
    pub(crate) sold: [i8; SKUS],
    pub(crate) stocked: [i8; SKUS],
    pub(crate) version: [u8; SKUS],
    pub(crate) decisions: [Decision; RESERVATIONS],
}

/// Where the reserve call of a reservation stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ReservePhase {
    #[default]
    Never,
    Holding,
    Undoing,
    Done,
    Failed,
}

/// The reserve calls of one reservation, one after the other.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reserving {
    pub(crate) phase: ReservePhase,
    pub(crate) line: u8,
    pub(crate) calls_left: u8,
    pub(crate) token: u8,
}

/// Where a confirm call stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ConfirmPhase {
    #[default]
    Idle,
    Pinning,
    Pinned,
    /// The call to Postgres is on its way and its process waits for the answer.
    InFlight,
    /// The call to Postgres is on its way and its process is dead.
    Orphaned,
    Answered,
    NotThere,
    Settling,
    Over,
}

/// What the confirm function answered.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    #[default]
    None,
    Stale,
    Decided(Decision),
}

/// One confirm call.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) phase: ConfirmPhase,
    pub(crate) line: u8,
    pub(crate) tries: u8,
    /// Tokens and epochs that the pins answered, line by line.
    pub(crate) tokens: [u8; SKUS],
    pub(crate) epochs: [u8; SKUS],
    pub(crate) answer: Answer,
}

/// Where a cancel that is not one script stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cancelling {
    pub(crate) calls_left: u8,
    pub(crate) half_done: bool,
}

/// Where the recovery of a reservation's pins stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Recovering {
    #[default]
    Idle,
    Fencing,
    Settling {
        decision: Decision,
        line: u8,
    },
}

/// Where a rebuild stands: the step it takes next.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum RebuildPhase {
    #[default]
    Idle,
    /// R2.
    List,
    /// R3.
    Decide,
    /// R4.
    Apply,
}

/// One process that rebuilds, with what it has read so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rebuilding {
    pub(crate) phase: RebuildPhase,
    pub(crate) incarnation: u8,
    /// The SKUs it covers.
    pub(crate) scope: [bool; SKUS],
    pub(crate) epoch: [u8; SKUS],
    pub(crate) sold: [i8; SKUS],
    pub(crate) stocked: [i8; SKUS],
    pub(crate) version: [u8; SKUS],
    /// After R2 the live reservations of each SKU, after R3 those of them that are decided.
    pub(crate) listed: [[bool; RESERVATIONS]; SKUS],
}

/// Where the restock of the first SKU stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum RestockPhase {
    #[default]
    Idle,
    /// Booked in Postgres, to be carried to Redis.
    Booked,
    /// Read from Postgres, to be applied.
    Read { stocked: i8, version: u8 },
}

/// What a buyer has been told about a reservation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    pub(crate) confirmed: bool,
    pub(crate) gone: bool,
    pub(crate) cancelled: bool,
    pub(crate) sold_out_without_loss: bool,
}

/// How much may still go wrong, and whether Redis has lost anything yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) rollbacks: u8,
    pub(crate) wipes: u8,
    pub(crate) flushes: u8,
    pub(crate) forced: u8,
    /// An operator asked for a rebuild that has not begun.
    pub(crate) forced_now: bool,
    pub(crate) overlaps: u8,
    pub(crate) rebuild_crashes: u8,
    pub(crate) lost: bool,
}

/// One moment of the whole system.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) redis: Redis,
    /// The moment that a rollback returns to.
    pub(crate) saved: Option<[Stock; SKUS]>,
    pub(crate) postgres: Postgres,
    pub(crate) reserving: [Reserving; RESERVATIONS],
    pub(crate) attempts: [[Attempt; ATTEMPTS]; RESERVATIONS],
    pub(crate) cancelling: [Cancelling; RESERVATIONS],
    pub(crate) recovering: [Recovering; RESERVATIONS],
    pub(crate) rebuilding: [Rebuilding; REBUILDERS],
    pub(crate) closing: [Closing; CLOSERS],
    /// Expired events on their way, by reservation and SKU.
    pub(crate) events: [[u8; SKUS]; RESERVATIONS],
    pub(crate) told: [Told; RESERVATIONS],
    pub(crate) restocks_left: u8,
    pub(crate) restock: RestockPhase,
    pub(crate) faults: Faults,
}
