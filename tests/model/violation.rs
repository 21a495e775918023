//! What can be wrong with a state, in the words of the protocol's invariants.

use std::fmt;

/// The kind of a violation: what a test about a weakened protocol expects to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// INV1: Postgres sold more than is stocked.
    Oversell,
    /// INV1: the sold counter in Postgres differs from its decisions.
    Ledger,
    /// INV2: available, held and sold in Redis do not add up to stocked.
    Conservation,
    /// INV2: the held counter differs from the live records.
    HeldCounter,
    /// INV3: Redis offers units that are sold or held elsewhere.
    PhantomStock,
    /// INV4: a live hold was told "sold out", or refused by the cap, although Redis lost nothing.
    PromiseBroken,
    /// INV5: a buyer was told that the hold is gone, and yet there is an order for it.
    TwoEnds,
    /// INV6: a buyer was told "confirmed" without an order.
    AnswerWithoutOrder,
    /// INV9: units that never become available again, or more available units than there are.
    Leak,
    /// At rest the sold counters of Redis and Postgres differ.
    Drift,
    /// Redis waits for ever for a rebuild.
    Stuck,
    /// INV8: a buyer bought more than the cap allows.
    CapBroken,
    /// INV8: what a buyer bought and holds together exceeds the cap although Redis lost nothing.
    CapOverrun,
    /// A buyer has two live holds of one SKU although Redis lost nothing.
    TwoHolds,
    /// The available counter fell below zero although Redis lost nothing.
    NegativeAvail,
    /// The live units in a buyer's entry differ from the records.
    BuyerLive,
    /// The slot in a buyer's entry points to something else than the live hold.
    BuyerSlot,
    /// At rest the bought units in a buyer's entry differ from Postgres.
    BuyerBought,
    /// INV11: a reservation of several products was promised, and one of its lines was released.
    HeldWithoutLine,
    /// INV11: an order stands for some of its reservations and not for others.
    TornOrder,
    /// Money came after its units were given away.
    LateMoney,
    /// Money went back although an order stands for it.
    RefundAndOrder,
    /// Money went back twice.
    RefundedTwice,
    /// One payment became two orders.
    TwoOrders,
    /// Money that nobody asks about again, or a payment that is open for ever.
    MoneyStuck,
    /// A payer whose payment was open is refused for lack of stock.
    PayerRefused,
    /// A payment is open, and nothing in Redis keeps its unit.
    PayerWithoutPin,
}

/// One thing that is wrong.
pub(crate) struct Violation {
    /// Its kind.
    pub(crate) kind: Kind,
    detail: String,
}

impl Violation {
    /// A violation with the figures that show it.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.detail)
    }
}
