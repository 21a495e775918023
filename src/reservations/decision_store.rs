//! The SQL of decisions: what became of each reservation that was to be sold, and whoever has to know it.

use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::kernel::{Instant, ProductId, ReservationId, UserId};
use crate::platform::{Db, Fault};
use crate::reservations::confirm::{DecidedLine, Decision, Figures, Outcome, split};

/// The columns that [`decision`] reads.
macro_rules! decision_columns {
    () => {
        "reservation_id, outcome, reason, figures, user_id, order_id, product_ids, quantities, tokens, created_at"
    };
}
pub(crate) use decision_columns;

const FIND_DECISION: &str = concat!(
    "-- reservation_decisions.find
select ",
    decision_columns!(),
    "
  from reservation_decisions where reservation_id = $1 and user_id = $2"
);

const DECIDED: &str = "-- reservation_decisions.decided
select reservation_id, outcome from reservation_decisions
 where reservation_id = any ($1) and outcome <> 'PENDING'";

const FENCE: &str = concat!(
    "-- reservation_decisions.fence
select ",
    decision_columns!(),
    "
  from fence($1, $2, $3, $4)"
);

const PENDING_UNTIL: &str = "-- reservation_decisions.pending_until
select reservation_id, pending_until from reservation_decisions
 where reservation_id = any ($1) and outcome = 'PENDING' and pending_until is not null";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[FIND_DECISION, DECIDED, FENCE, PENDING_UNTIL];

fn outcome(text: &str) -> Result<Outcome, Fault> {
    match text {
        "PENDING" => Ok(Outcome::Pending),
        "CONFIRMED" => Ok(Outcome::Confirmed),
        "ABORTED" => Ok(Outcome::Aborted),
        "OUT" => Ok(Outcome::Out),
        _ => Err(Fault::internal("reading a decision")),
    }
}

/// The decision in a row that has these columns.
pub fn decision(row: &Row) -> Result<Decision, Fault> {
    let products: Vec<ProductId> = row.get("product_ids");
    let quantities: Vec<i64> = row.get("quantities");
    let tokens: Vec<String> = row.get("tokens");
    let lines = products.into_iter().zip(quantities).zip(tokens);
    Ok(Decision {
        id: row.get("reservation_id"),
        outcome: outcome(row.get("outcome"))?,
        reason: row.get("reason"),
        figures: row.get::<_, Option<Json<Figures>>>("figures").map(|figures| figures.0),
        user: row.get("user_id"),
        order_id: row.get("order_id"),
        created_at: row.get("created_at"),
        lines: lines
            .map(|((product, quantity), token)| DecidedLine { product, quantity, token })
            .collect(),
    })
}

pub(super) async fn find_decision(
    db: &Db,
    id: ReservationId,
    user: &UserId,
) -> Result<Option<Decision>, Fault> {
    db.read(FIND_DECISION, &[&id, user]).await?.first().map(decision).transpose()
}

pub(super) async fn fence(
    db: &Db,
    pins: &[(ReservationId, UserId)],
    reason: &str,
    actor: &str,
) -> Result<Vec<Decision>, Fault> {
    let (ids, users) = split(pins);
    db.write(FENCE, &[&ids, &users, &reason, &actor]).await?.iter().map(decision).collect()
}

/// Which of these are decided for good, and whether confirmed.
pub(super) async fn decided(
    db: &Db,
    ids: &[ReservationId],
) -> Result<Vec<(ReservationId, bool)>, Fault> {
    let rows = db.read(DECIDED, &[&ids]).await?;
    Ok(rows
        .iter()
        .map(|row| (row.get("reservation_id"), row.get::<_, &str>("outcome") == "CONFIRMED"))
        .collect())
}

/// Until when those of these that are under payment may be paid.
pub(super) async fn pending_until(
    db: &Db,
    ids: &[ReservationId],
) -> Result<Vec<(ReservationId, Instant)>, Fault> {
    let rows = db.read(PENDING_UNTIL, &[&ids]).await?;
    Ok(rows.iter().map(|row| (row.get("reservation_id"), row.get("pending_until"))).collect())
}
