//! The SQL of what could not be delivered.

use tokio_postgres::Row as Record;
use uuid::Uuid;

use crate::notifications::dead_letters::DeadLetter;
use crate::notifications::store::MAIL;
use crate::platform::{Db, Fault};

const DEAD: &str = "-- deliveries.dead
select d.delivery_id, d.endpoint_id, w.url, d.event_id, d.topic, d.attempts, d.last_error, d.created_at, d.dead_at
  from deliveries d left join webhook_endpoints w using (endpoint_id)
 where d.dead_at is not null and ($1::bigint is null or d.delivery_id < $1)
 order by d.delivery_id desc limit $2";

const RETRY: &str = "-- deliveries.retry
with letter as (
    select * from deliveries where delivery_id = $1 and dead_at is not null for update
), again as (
    update deliveries d set dead_at = null, attempts = 0, due_at = now(), claim = null
      from letter where d.delivery_id = letter.delivery_id
)
select d.delivery_id, d.endpoint_id, w.url, d.event_id, d.topic, d.attempts, d.last_error, d.created_at, d.dead_at
  from letter d left join webhook_endpoints w using (endpoint_id)";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[DEAD, RETRY];

/// At most `limit` dead letters and one more, the newest first, those before this one.
pub(super) async fn dead(
    db: &Db,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<DeadLetter>, Fault> {
    Ok(db.read(DEAD, &[&before, &(limit + 1)]).await?.iter().map(letter).collect())
}

/// Makes a dead letter due again; none if there is no such one.
pub(super) async fn retry(db: &Db, id: i64) -> Result<Option<DeadLetter>, Fault> {
    Ok(db.write(RETRY, &[&id]).await?.first().map(letter))
}

fn letter(row: &Record) -> DeadLetter {
    let endpoint: Uuid = row.get("endpoint_id");
    DeadLetter {
        id: row.get("delivery_id"),
        endpoint: (endpoint != MAIL).then_some(endpoint),
        url: row.get("url"),
        event: row.get("event_id"),
        topic: row.get("topic"),
        attempts: row.get("attempts"),
        last_error: row.get("last_error"),
        created_at: row.get("created_at"),
        died_at: row.get("dead_at"),
    }
}
