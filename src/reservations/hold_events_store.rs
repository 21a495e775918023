//! The SQL of what people do to single holds, and of all that happened to one.

use tokio_postgres::Row;

use crate::kernel::{Instant, ReservationId};
use crate::platform::{Db, Fault};
use crate::reservations::hold_events::HoldEvent;
use crate::reservations::hold_history::Happened;
use crate::reservations::sales::By;

const WRITE_HOLD_EVENTS: &str = "-- hold_events.write
insert into hold_events (reservation_id, at, event, actor, reason, detail)
select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::jsonb[])";

// What an operation means to do to a hold: the first time it is asked, and the same ever after.
const INTEND: &str = "-- hold_events.intend
with made as (
    insert into hold_events (reservation_id, event, actor, reason, detail)
    values ($1, 'extended', $2, $3, jsonb_build_object('operation', $4::text, 'deadline_ms', $5::bigint))
    on conflict (reservation_id, (detail ->> 'operation')) where detail ? 'operation' do nothing
    returning detail
)
select (detail ->> 'deadline_ms')::bigint as deadline_ms from made
union all
select (detail ->> 'deadline_ms')::bigint from hold_events where reservation_id = $1 and detail ->> 'operation' = $4
   and detail ? 'operation'
 limit 1";

// What people did to the hold itself, to the sale that it is of, and to the clock that it expires by; what was decided;
// and how it ended.
const HAPPENED: &str = "-- hold_events.happened
select at, event, actor, reason, detail from hold_events where reservation_id = $1
union all
select at, action, actor, detail ->> 'reason', detail - 'reason' from audit_log
 where (subject = any ($2) and action in ('sale.extend_holds', 'sale.closed') or action in ('expiry.freeze', 'expiry.thaw'))
   and at >= $3 and ($4::timestamptz is null or at <= $4)
union all
select created_at, case outcome when 'CONFIRMED' then 'confirmed' when 'PENDING' then 'paying' else 'refused' end,
       actor, reason, jsonb_strip_nulls(jsonb_build_object('order_id', order_id, 'payment_id', payment_id))
  from reservation_decisions where reservation_id = $1
union all
select distinct ended_at, status, actor, reason, '{}'::jsonb from reservation_history where reservation_id = $1
 order by 1";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[WRITE_HOLD_EVENTS, INTEND, HAPPENED];

pub(super) async fn write_hold_events(db: &Db, events: &[HoldEvent]) -> Result<(), Fault> {
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let at: Vec<_> = events.iter().map(|event| event.at).collect();
    let what: Vec<_> = events.iter().map(|event| event.event).collect();
    let actors: Vec<_> = events.iter().map(|event| event.actor.as_str()).collect();
    let reasons: Vec<_> = events.iter().map(|event| event.reason.as_deref()).collect();
    let details: Vec<_> = events.iter().map(|event| &event.detail).collect();
    db.write(WRITE_HOLD_EVENTS, &[&ids, &at, &what, &actors, &reasons, &details]).await.map(drop)
}

/// Where this operation moves the deadline of a hold: as was said the first time.
pub(super) async fn intend(
    db: &Db,
    id: ReservationId,
    operation: &str,
    by: &By,
    deadline_ms: i64,
) -> Result<i64, Fault> {
    let rows = db.write(INTEND, &[&id, &by.actor, &by.reason, &operation, &deadline_ms]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("reading what an operation means"))?;
    Ok(row.get("deadline_ms"))
}

/// What was written down of a hold of these products, from its beginning to its end.
pub(super) async fn happened(
    db: &Db,
    id: ReservationId,
    products: &[String],
    since: Instant,
    until: Option<Instant>,
) -> Result<Vec<Happened>, Fault> {
    let rows = db.read(HAPPENED, &[&id, &products, &since, &until]).await?;
    let happened = |row: &Row| Happened {
        at: row.get("at"),
        event: row.get("event"),
        actor: row.get("actor"),
        reason: row.get("reason"),
        detail: row.get("detail"),
    };
    Ok(rows.iter().map(happened).collect())
}
