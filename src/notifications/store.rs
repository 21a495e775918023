//! The SQL of the outbox, of deliveries, and of what was told of stock.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio_postgres::Row as Record;
use uuid::Uuid;

use crate::notifications::deliver::{Claimed, Failure};
use crate::notifications::events::Row;
use crate::notifications::{dead_letters_store, endpoints_store};
use crate::platform::{Db, Fault};
use crate::reservations::{News, Stock};

/// The receiver of mail among the endpoints.
pub(super) const MAIL: Uuid = Uuid::nil();

const NEXT: &str = "-- outbox.next
select outbox_id, topic, reservation_id, payload, created_at, event_id from outbox_next($1, $2)";

// What was brought before is not brought again.
const BRING: &str = "-- outbox.bring
with event as (
    select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::jsonb[])
        with ordinality as e(event_id, topic, reservation_id, payload, place)
), fresh as (
    insert into brought_news (event_id) select event_id from event order by place
    on conflict do nothing returning event_id
)
insert into outbox (topic, reservation_id, payload, event_id)
select event.topic, event.reservation_id, event.payload, event.event_id
  from event join fresh using (event_id) order by event.place";

const NOTE_STOCK: &str = "-- stock_levels.note
select product_id, topic from note_stock($1, $2, $3, $4)";

const SPREAD: &str = "-- outbox.spread
select outbox_spread($1, $2, $3, $4, $5, $6) as events";

// Nobody wants to know, which is looked at once more in the function itself.
const DISCARD: &str = "-- outbox.discard
select outbox_discard($1) as events";

const DUE: &str = "-- deliveries.due
select endpoint_id from deliveries_due() as endpoint_id";

const CLAIM: &str = "-- deliveries.claim
select delivery_id, event_id, topic, body, attempts from deliveries_claim($1, $2, $3, $4)";

const DELIVERED: &str = "-- deliveries.delivered
select deliveries_done($1, $2)";

const FAILED: &str = "-- deliveries.failed
select deliveries_failed($1, $2, $3, $4, $5, $6)";

// An endpoint that was deleted while an event was on its way to it.
const SWEEP: &str = "-- deliveries.sweep
delete from deliveries d
 where d.endpoint_id <> '00000000-0000-0000-0000-000000000000'::uuid
   and not exists (select from webhook_endpoints w where w.endpoint_id = d.endpoint_id)";

const FORGET_BROUGHT: &str = "-- brought_news.forget
delete from brought_news where created_at < now() - interval '15 minutes'";

const BACKLOG: &str = "-- outbox.backlog
select (select count(*) from outbox) + (select count(*) from deliveries where dead_at is null) as waiting,
       (select count(*) from deliveries where dead_at is not null) as dead,
       coalesce(extract(epoch from now() - least(
           (select created_at from outbox order by outbox_id limit 1),
           (select created_at from deliveries where dead_at is null order by delivery_id limit 1))), 0)::float8 as oldest_s";

const RESEND: &str = "-- outbox.resend
with sent as (
    insert into outbox (topic, reservation_id, payload) values ($1, $2, $3) returning topic, payload
)
select note_audit($4, 'order.resend', payload ->> 'order_id', jsonb_build_object('topic', topic, 'channel', payload -> 'channel'))
  from sent";

const OWN: &[&str] = &[
    NEXT,
    BRING,
    NOTE_STOCK,
    SPREAD,
    DISCARD,
    DUE,
    CLAIM,
    DELIVERED,
    FAILED,
    SWEEP,
    FORGET_BROUGHT,
    BACKLOG,
    RESEND,
];

/// All statements of the notifications.
pub const STATEMENTS: &[&[&str]] =
    &[OWN, dead_letters_store::STATEMENTS, endpoints_store::STATEMENTS];

/// Events of Postgres that nobody has spread yet, the oldest first.
pub(super) async fn written(db: &Db, limit: i64) -> Result<Vec<Row>, Fault> {
    rows(&db.read(NEXT, &[&false, &limit]).await?)
}

/// The same of Redis.
pub(super) async fn brought(db: &Db, limit: i64) -> Result<Vec<Row>, Fault> {
    rows(&db.read(NEXT, &[&true, &limit]).await?)
}

fn rows(records: &[Record]) -> Result<Vec<Row>, Fault> {
    let row = |record: &Record| {
        let payload = match record.get("payload") {
            Value::Object(payload) => payload,
            _ => Map::new(),
        };
        Ok(Row {
            id: record.get("outbox_id"),
            topic: record.get("topic"),
            reservation: record.get("reservation_id"),
            payload,
            written_at: record.get("created_at"),
            event: record.get("event_id"),
        })
    };
    records.iter().map(row).collect()
}

/// Brings news of Redis, each with the id that always comes of it.
pub(super) async fn bring(db: &Db, news: &[(Uuid, News)]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = news.iter().map(|(event, _)| *event).collect();
    let topics: Vec<&str> = news.iter().map(|(_, news)| news.topic.as_str()).collect();
    let reservations: Vec<_> = news.iter().map(|(_, news)| news.id).collect();
    let payloads: Vec<&Value> = news.iter().map(|(_, news)| &news.payload).collect();
    db.write(BRING, &[&ids, &topics, &reservations, &payloads]).await.map(drop)
}

/// Queues news of an order once more.
pub(super) async fn resend(
    db: &Db,
    topic: &str,
    reservation: Option<Uuid>,
    payload: &Value,
    actor: &str,
) -> Result<(), Fault> {
    db.write(RESEND, &[&topic, &reservation, payload, &actor]).await.map(drop)
}

/// Notes the stock of products; answers of which something is told.
pub(super) async fn note_stock(db: &Db, stock: &[(Stock, Value)]) -> Result<Vec<i64>, Fault> {
    let products: Vec<_> = stock.iter().map(|(stock, _)| stock.product_id).collect();
    let available: Vec<i64> = stock.iter().map(|(stock, _)| stock.available_stock).collect();
    let read_at: Vec<_> = stock.iter().map(|(stock, _)| stock.as_of).collect();
    let payloads: Vec<&Value> = stock.iter().map(|(_, payload)| payload).collect();
    let told = db.write(NOTE_STOCK, &[&products, &available, &read_at, &payloads]).await?;
    Ok(told.iter().map(|row| row.get("product_id")).collect())
}

/// Events on their way to those who want them, as columns.
#[derive(Debug, Default)]
pub(super) struct Spreading {
    pub(super) rows: Vec<i64>,
    pub(super) events: Vec<Uuid>,
    pub(super) topics: Vec<String>,
    pub(super) subjects: Vec<Uuid>,
    /// Empty where no endpoint wanted it a moment ago.
    pub(super) bodies: Vec<String>,
    /// The order that its buyer gets a mail about.
    pub(super) mails: Vec<Option<Uuid>>,
}

/// Makes deliveries of events; answers how many were still there.
pub(super) async fn spread(db: &Db, events: &Spreading) -> Result<i64, Fault> {
    let Spreading { rows, events, topics, subjects, bodies, mails } = events;
    let spread = db.write(SPREAD, &[rows, events, topics, subjects, bodies, mails]).await?;
    let missing = || Fault::internal("spreading events");
    Ok(spread.first().ok_or_else(missing)?.get("events"))
}

/// Drops events while nobody wants to know; answers how many.
pub(super) async fn discard(db: &Db, most: i64) -> Result<i64, Fault> {
    Ok(db.write(DISCARD, &[&most]).await?.first().map_or(0, |row| row.get("events")))
}

/// Receivers for whom something is due.
pub(super) async fn due(db: &Db) -> Result<Vec<Uuid>, Fault> {
    Ok(db.read(DUE, &[]).await?.iter().map(|row| row.get("endpoint_id")).collect())
}

/// Claims what may be sent to a receiver, for so long.
pub(super) async fn claim(
    db: &Db,
    endpoint: Uuid,
    most: usize,
    claim: Uuid,
    lease: Duration,
) -> Result<Vec<Claimed>, Fault> {
    let (most, lease_ms) = (most as i64, lease.as_millis() as i64);
    let rows = db.write(CLAIM, &[&endpoint, &most, &claim, &lease_ms]).await?;
    let mut claimed: Vec<Claimed> = rows
        .iter()
        .map(|row| Claimed {
            id: row.get("delivery_id"),
            event: row.get("event_id"),
            topic: row.get("topic"),
            body: row.get("body"),
            attempts: row.get::<_, i32>("attempts").unsigned_abs(),
        })
        .collect();
    claimed.sort_by_key(|delivery| delivery.id);
    Ok(claimed)
}

pub(super) async fn delivered(db: &Db, claim: Uuid, ids: &[i64]) -> Result<(), Fault> {
    db.write(DELIVERED, &[&claim, &ids]).await.map(drop)
}

pub(super) async fn failed(db: &Db, claim: Uuid, failures: &[Failure]) -> Result<(), Fault> {
    let ids: Vec<i64> = failures.iter().map(|failure| failure.id).collect();
    let errors: Vec<&str> = failures.iter().map(|failure| failure.error.as_str()).collect();
    let pauses: Vec<i64> =
        failures.iter().map(|failure| failure.pause.as_millis() as i64).collect();
    let counts: Vec<bool> = failures.iter().map(|failure| failure.counts).collect();
    let dead: Vec<bool> = failures.iter().map(|failure| failure.dead).collect();
    db.write(FAILED, &[&claim, &ids, &errors, &pauses, &counts, &dead]).await.map(drop)
}

/// Removes what nobody waits for.
pub(super) async fn sweep(db: &Db) -> Result<(), Fault> {
    db.write(SWEEP, &[]).await?;
    db.write(FORGET_BROUGHT, &[]).await.map(drop)
}

/// How much waits, how much was given up, and the age of the oldest that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    pub(super) waiting: i64,
    pub(super) dead: i64,
    pub(super) oldest_s: f64,
}

pub(super) async fn backlog(db: &Db) -> Result<Backlog, Fault> {
    let rows = db.read(BACKLOG, &[]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("measuring the outbox"))?;
    Ok(Backlog {
        waiting: row.get("waiting"),
        dead: row.get("dead"),
        oldest_s: row.get::<_, f64>("oldest_s").max(0.0),
    })
}
