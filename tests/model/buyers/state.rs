//! What one state of the buyer model consists of. The same parts as in the reservation model, with
//! quantities and the buyer hash added, and without what the buyer rules do not touch.

use crate::incarnation::Closing;

/// Reservations in a search.
pub(crate) const RESERVATIONS: usize = 3;
/// Buyers in a search.
pub(crate) const USERS: usize = 2;
/// SKUs in a search.
pub(crate) const SKUS: usize = 2;
/// Runs of the reserve call in a search.
pub(crate) const RUNS: usize = 4;

/// Where a reservation's record in Redis stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Hold {
    #[default]
    Absent,
    Held,
    Pinned,
    Sold,
    Ended,
}

/// One record: the reservation's hold on one SKU.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) hold: Hold,
    pub(crate) units: i8,
    pub(crate) token: u8,
    pub(crate) due: bool,
    /// A run for several products released it because another line was refused.
    pub(crate) undone: bool,
}

impl Record {
    /// The record counts in `held` and in the live units of its buyer.
    pub(crate) fn live(&self) -> bool {
        matches!(self.hold, Hold::Held | Hold::Pinned)
    }
}

/// One entry of the buyer hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Buyer {
    /// The buyer's one live hold of this SKU.
    pub(crate) slot: Option<u8>,
    pub(crate) live: i8,
    pub(crate) bought: i8,
    pub(crate) back: i8,
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
    /// The rebuild, by its epoch, whose buyers are staged in a key of their own; zero is none.
    pub(crate) staged: u8,
    pub(crate) records: [Record; RESERVATIONS],
    pub(crate) buyers: [Buyer; USERS],
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

/// A row of the decision table. Payments will add a row that is still open, movements one for stock
/// taken out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    #[default]
    None,
    Aborted,
    /// Sold, with the hold token and the units of each line.
    Confirmed {
        tokens: [u8; SKUS],
        units: [i8; SKUS],
    },
}

impl Decision {
    /// There is an order.
    pub(crate) fn sold(&self) -> bool {
        matches!(self, Self::Confirmed { .. })
    }
}

/// All of Postgres. What each user bought and gave back follows from the decisions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Postgres {
    pub(crate) epoch: [u8; SKUS],
    pub(crate) sold: [i8; SKUS],
    pub(crate) stocked: [i8; SKUS],
    pub(crate) version: [u8; SKUS],
    pub(crate) decisions: [Decision; RESERVATIONS],
    /// The sale was given back.
    pub(crate) returned: [bool; RESERVATIONS],
}

/// Where a run of the reserve call stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum RunPhase {
    #[default]
    Idle,
    Holding,
    /// All lines stand on short deadlines; each gets its real one.
    Arming,
    Undoing,
}

/// One run of the reserve call.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) phase: RunPhase,
    pub(crate) line: u8,
    pub(crate) calls_left: u8,
}

/// Where a confirm call stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ConfirmPhase {
    #[default]
    Idle,
    Pinning,
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

/// One confirm call, with what its pins answered line by line.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) phase: ConfirmPhase,
    pub(crate) line: u8,
    pub(crate) tries: u8,
    pub(crate) tokens: [u8; SKUS],
    pub(crate) epochs: [u8; SKUS],
    pub(crate) units: [i8; SKUS],
    pub(crate) answer: Answer,
}

/// Where a cancel call stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Cancelling {
    #[default]
    Idle,
    /// The first line is ended, the second is next.
    Second,
    Over,
}

/// Where the recovery of a reservation's pins stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Recovering {
    #[default]
    Idle,
    Settling {
        decision: Decision,
        line: u8,
    },
}

/// Where the return of a sale stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Returning {
    #[default]
    Idle,
    /// Booked in Postgres, to be carried to Redis.
    Booked,
    /// Read from Postgres, to be applied.
    Read {
        stocked: i8,
        version: u8,
        back: i8,
        units: i8,
    },
    Over,
}

/// Where a rebuild stands: the step it takes next.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum RebuildPhase {
    #[default]
    Idle,
    /// R2.
    List,
    /// R3. The buyers of the SKU are then staged in a key from where R4 takes them.
    Decide,
    /// R4.
    Apply,
}

/// The process that rebuilds, with what it has read so far.
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
    pub(crate) bought: [[i8; USERS]; SKUS],
    pub(crate) back: [[i8; USERS]; SKUS],
    /// After R2 the live reservations of each SKU, after R3 those of them that are decided.
    pub(crate) listed: [[bool; RESERVATIONS]; SKUS],
}

/// What a buyer has been told about a reservation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    pub(crate) held: bool,
    pub(crate) confirmed: bool,
    pub(crate) gone: bool,
    pub(crate) cancelled: bool,
    pub(crate) refused_without_loss: bool,
}

/// How much may still go wrong, and whether Redis has lost anything yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) rollbacks: u8,
    pub(crate) wipes: u8,
    pub(crate) flushes: u8,
    pub(crate) lapses: u8,
    pub(crate) forced: u8,
    pub(crate) crashes: u8,
    pub(crate) lost: bool,
}

/// One moment of the whole system.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) redis: Redis,
    /// The moment that a rollback returns to.
    pub(crate) saved: Option<[Stock; SKUS]>,
    pub(crate) postgres: Postgres,
    pub(crate) runs: [Run; RUNS],
    pub(crate) attempts: [Attempt; RESERVATIONS],
    pub(crate) cancelling: [Cancelling; RESERVATIONS],
    pub(crate) recovering: [Recovering; RESERVATIONS],
    pub(crate) returning: Returning,
    pub(crate) rebuilding: Rebuilding,
    pub(crate) closing: Closing,
    pub(crate) told: [Told; RESERVATIONS],
    pub(crate) faults: Faults,
}
