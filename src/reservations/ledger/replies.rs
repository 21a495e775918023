//! What goes into the scripts and what comes out of them, as types.

use redis::{FromRedisValue, Value};

use crate::kernel::{Quantity, ReservationId, UserId};
use crate::platform::Fault;
use crate::reservations::record::{Lines, Record, State, parse_lines, parse_state};

/// What every script answers when its SKU must be rebuilt first.
const REBUILD: i64 = 100;

/// Why a script did not do its work.
#[derive(Debug)]
pub(in crate::reservations) enum Trouble {
    /// Redis does not have this SKU, or has it broken; a rebuild mends that.
    Rebuild,
    /// Something else.
    Fault(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(in crate::reservations) type Answer<T> = Result<T, Trouble>;

/// One request of a batch to `reserve`.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Wanted {
    pub(in crate::reservations) id: ReservationId,
    pub(in crate::reservations) token: String,
    pub(in crate::reservations) user: UserId,
    pub(in crate::reservations) quantity: Quantity,
    pub(in crate::reservations) ttl_ms: i64,
    pub(in crate::reservations) lines: String,
    pub(in crate::reservations) short_ms: i64,
    pub(in crate::reservations) email: Option<String>,
}

/// What rules all requests of a batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::reservations) struct Rules {
    pub(in crate::reservations) default_ttl_ms: i64,
    pub(in crate::reservations) churn_tolerance_ms: i64,
}

/// A hold that stands after `reserve`.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Standing {
    pub(in crate::reservations) created: bool,
    pub(in crate::reservations) id: ReservationId,
    pub(in crate::reservations) quantity: Quantity,
    pub(in crate::reservations) deadline_ms: i64,
    pub(in crate::reservations) created_ms: i64,
    pub(in crate::reservations) state: State,
    pub(in crate::reservations) ttl_ms: i64,
}

/// One answer of `reserve`.
#[derive(Clone, Debug)]
pub(in crate::reservations) enum Reserved {
    Standing(Standing),
    AlreadyHeld(ReservationId),
    SoldOut { available: i64, soonest_expiry_ms: i64 },
    BuyerLimit { limit: i64, held: i64, bought: i64 },
    NotOpen { opens_at_ms: i64 },
    Closed,
    Paused,
    TtlTooLong { most_ms: i64 },
    Churn { retry_ms: i64 },
    Unknown,
}

/// All answers of a batch.
#[derive(Debug)]
pub(in crate::reservations) struct Batch {
    pub(in crate::reservations) now_ms: i64,
    pub(in crate::reservations) earliest_ms: i64,
    pub(in crate::reservations) answers: Vec<Reserved>,
}

/// A line that `pin` took out of the clock's reach.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct PinnedRecord {
    pub(in crate::reservations) token: String,
    pub(in crate::reservations) epoch: i64,
    pub(in crate::reservations) quantity: Quantity,
    pub(in crate::reservations) cap: i64,
    pub(in crate::reservations) lines: Lines,
    pub(in crate::reservations) created_ms: i64,
    pub(in crate::reservations) deadline_ms: i64,
    pub(in crate::reservations) email: Option<String>,
}

/// One request of a batch to `pin`.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Pinning {
    pub(in crate::reservations) id: ReservationId,
    pub(in crate::reservations) user: UserId,
    pub(in crate::reservations) expected: Option<Quantity>,
}

/// One answer of `pin`.
#[derive(Debug)]
pub(in crate::reservations) enum Pin {
    Pinned(PinnedRecord),
    Gone,
    Absent,
    Sold,
    OtherQuantity,
}

/// The answer of `grab`.
#[derive(Debug)]
pub(in crate::reservations) enum Grabbed {
    Pinned { token: String, epoch: i64, quantity: Quantity },
    Ended,
    SoldOut { available: i64, soonest_expiry_ms: i64 },
}

/// The answer of `late`.
#[derive(Debug)]
pub(in crate::reservations) enum Late {
    Pinned { token: String, epoch: i64, quantity: Quantity, cap: i64 },
    Ended,
    Refused,
}

/// The answer of `cancel`.
#[derive(Debug)]
pub(in crate::reservations) enum Cancelled {
    Ended(Record),
    Confirming,
    Absent,
    Sold,
}

/// The answer of `extend`.
#[derive(Debug)]
pub(in crate::reservations) enum Extended {
    Until { deadline_ms: i64 },
    Gone { reason: String },
    Absent,
    Sold,
    Confirming,
    Meanwhile,
}

/// One answer of `settle`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::reservations) enum Settled {
    Sold,
    Released,
    Nothing,
}

/// The answer of `expire`.
#[derive(Debug)]
pub(in crate::reservations) struct Expired {
    pub(in crate::reservations) count: i64,
    pub(in crate::reservations) lag_ms: i64,
    pub(in crate::reservations) earliest_ms: i64,
    pub(in crate::reservations) now_ms: i64,
}

/// The counters of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Redis's time.
    pub now_ms: i64,
    /// The rebuild that this SKU is of.
    pub epoch: i64,
    /// Units that came in.
    pub stocked: i64,
    /// Units that may be held.
    pub avail: i64,
    /// Units in live records.
    pub held: i64,
    /// Units sold.
    pub sold: i64,
    /// Units given back after a sale.
    pub returned: i64,
    /// The version of these two.
    pub ver: i64,
    /// Live records.
    pub live: i64,
    /// The earliest deadline, or 0.
    pub earliest_ms: i64,
    /// When the oldest pin was made or last claimed, or 0.
    pub oldest_pin_ms: i64,
    /// When the oldest tombstone was made, or 0.
    pub oldest_end_ms: i64,
    /// Units in pinned records.
    pub pinned: i64,
    /// Whether the product is not published.
    pub hidden: bool,
    /// Records that stand in no index, less entries of indexes without a record: always 0.
    pub strays: i64,
}

/// A decision, as `settle` applies it to one line.
#[derive(Clone, Debug)]
pub(in crate::reservations) struct Verdict {
    pub(in crate::reservations) id: ReservationId,
    pub(in crate::reservations) confirmed: bool,
    pub(in crate::reservations) token: String,
    pub(in crate::reservations) quantity: i64,
    pub(in crate::reservations) reason: String,
    pub(in crate::reservations) actor: &'static str,
}

/// The stock as Postgres has it, with what of it Redis may not know.
#[derive(Clone, Debug, Default)]
pub(in crate::reservations) struct StockState {
    pub(in crate::reservations) stocked: i64,
    pub(in crate::reservations) returned: i64,
    pub(in crate::reservations) ver: i64,
    /// Up to which version the next two tell everything.
    pub(in crate::reservations) complete_to: i64,
    /// What was taken out.
    pub(in crate::reservations) taken: Vec<ReservationId>,
    /// Buyers who gave something back, with all that they ever gave back.
    pub(in crate::reservations) backs: Vec<(String, i64)>,
}

pub(super) fn unreadable() -> Fault {
    Fault::internal("reading the answer of a script")
}

/// One answer of `reserve` to `want` at `now_ms`. A hold that was made as it was asked for is answered with its time alone.
pub(super) fn reserved(answer: Value, want: &Wanted, now_ms: i64) -> Result<Reserved, Fault> {
    let reply = match answer {
        Value::Int(ttl_ms) => {
            let lasts_ms = if want.short_ms > 0 { want.short_ms } else { ttl_ms };
            return Ok(Reserved::Standing(Standing {
                created: true,
                id: want.id,
                quantity: want.quantity,
                deadline_ms: now_ms + lasts_ms,
                created_ms: now_ms,
                state: State::Held,
                ttl_ms,
            }));
        }
        Value::Array(values) => Reply(values),
        _ => return Err(unreadable()),
    };
    Ok(match reply.status()? {
        status @ (0 | 1) => Reserved::Standing(Standing {
            created: status == 0,
            id: reply.parsed(1)?,
            quantity: reply.quantity(2)?,
            deadline_ms: reply.int(3)?,
            created_ms: reply.int(4)?,
            state: parse_state(reply.str(5)?).ok_or_else(unreadable)?,
            ttl_ms: reply.int(6)?,
        }),
        2 => Reserved::AlreadyHeld(reply.parsed(1)?),
        3 => Reserved::SoldOut { available: reply.int(1)?, soonest_expiry_ms: reply.int(2)? },
        4 => Reserved::BuyerLimit {
            limit: reply.int(1)?,
            held: reply.int(2)?,
            bought: reply.int(3)?,
        },
        5 => Reserved::NotOpen { opens_at_ms: reply.int(1)? },
        6 => Reserved::Closed,
        7 => Reserved::Paused,
        8 => Reserved::TtlTooLong { most_ms: reply.int(1)? },
        9 => Reserved::Churn { retry_ms: reply.int(1)? },
        10 => Reserved::Unknown,
        _ => return Err(unreadable()),
    })
}

/// The array that a script answers; its first item is the status.
pub(super) struct Reply(Vec<Value>);

impl Reply {
    pub(super) fn new(_script: &'static str, values: Vec<Value>) -> Answer<Self> {
        let reply = Self(values);
        if reply.status()? == REBUILD { Err(Trouble::Rebuild) } else { Ok(reply) }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn status(&self) -> Result<i64, Fault> {
        self.int(0)
    }

    pub(super) fn value(&self, at: usize) -> Result<&Value, Fault> {
        self.0.get(at).ok_or_else(unreadable)
    }

    /// An integer, whether Redis sent it as one or as text.
    pub(super) fn int(&self, at: usize) -> Result<i64, Fault> {
        i64::from_redis_value_ref(self.value(at)?).map_err(|error| unreadable().because(error))
    }

    pub(super) fn quantity(&self, at: usize) -> Result<Quantity, Fault> {
        Quantity::try_from(self.int(at)?).map_err(|error| unreadable().because(error))
    }

    pub(super) fn str(&self, at: usize) -> Result<&str, Fault> {
        match self.value(at)? {
            Value::BulkString(bytes) => {
                std::str::from_utf8(bytes).map_err(|error| unreadable().because(error))
            }
            Value::SimpleString(text) => Ok(text),
            _ => Err(unreadable()),
        }
    }

    /// A number as Redis writes it.
    pub(super) fn number(&self, at: usize) -> Result<String, Fault> {
        match self.value(at)? {
            Value::Int(number) => Ok(number.to_string()),
            Value::Double(number) => Ok(number.to_string()),
            _ => self.text(at),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<String, Fault> {
        self.str(at).map(str::to_owned)
    }

    /// A text that must be an id or a name.
    pub(super) fn parsed<T>(&self, at: usize) -> Result<T, Fault>
    where
        T: std::str::FromStr<Err = &'static str>,
    {
        self.str(at)?.parse().map_err(|error| unreadable().because(error))
    }

    /// What stands from this place on.
    pub(super) fn rest(self, from: usize) -> impl Iterator<Item = Value> {
        self.0.into_iter().skip(from)
    }

    /// The arrays from this place on.
    pub(super) fn nested(self, from: usize) -> impl Iterator<Item = Result<Self, Fault>> {
        self.rest(from).map(|value| match value {
            Value::Array(values) => Ok(Self(values)),
            _ => Err(unreadable()),
        })
    }
}

/// One answer of `pin`.
pub(super) fn pinned(reply: &Reply) -> Result<Pin, Fault> {
    Ok(match reply.status()? {
        0 => Pin::Pinned(PinnedRecord {
            token: reply.text(1)?,
            epoch: reply.int(2)?,
            quantity: reply.quantity(3)?,
            cap: reply.int(4)?,
            lines: parse_lines(reply.str(5)?).ok_or_else(unreadable)?,
            created_ms: reply.int(6)?,
            deadline_ms: reply.int(7)?,
            email: Some(reply.text(8)?).filter(|email| email != "-"),
        }),
        1 => Pin::Gone,
        2 => Pin::Absent,
        3 => Pin::Sold,
        4 => Pin::OtherQuantity,
        _ => return Err(unreadable()),
    })
}
