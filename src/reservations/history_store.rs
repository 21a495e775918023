//! The SQL of reservations that have ended, sold or not.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::kernel::{Instant, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::{Db, Fault};
use crate::reservations::query::Status;
use crate::reservations::{Item, Reservation};

// The lines of a reservation that has ended: of its decision if it was sold, of the history otherwise.
const ENDED: &str = "-- reservation_history.ended
select d.reservation_id, d.user_id, 'confirmed' as status, null as reason, d.order_id, line.product_id, p.sku,
       line.quantity, coalesce(d.held_at, d.created_at) as created_at,
       coalesce(d.expires_at, d.created_at) as expires_at, d.created_at as ended_at
  from reservation_decisions d, unnest(d.product_ids, d.quantities) as line(product_id, quantity)
  join products p using (product_id)
 where d.reservation_id = any ($1) and d.outcome = 'CONFIRMED'
union all
select h.reservation_id, h.user_id, h.status, h.reason, null, h.product_id, p.sku, h.quantity, h.created_at,
       h.expires_at, h.ended_at
  from reservation_history h join products p using (product_id)
 where h.reservation_id = any ($1)
 order by product_id";

const LAST_ENDED: &str = "-- reservation_history.last_ended
select reservation_id from (
    select reservation_id, ended_at from reservation_history where user_id = $1 and product_id = $2
    union all
    select reservation_id, created_at from reservation_decisions
     where user_id = $1 and outcome = 'CONFIRMED' and $2 = any (product_ids)
) as ended order by ended_at desc limit 1";

const HISTORY: &str = "-- reservation_history.page
with ended as (
    select reservation_id, max(ended_at) as ended_at from reservation_history
     where user_id = $1 group by reservation_id
    union all
    select reservation_id, date_trunc('milliseconds', created_at) from reservation_decisions
     where user_id = $1 and outcome = 'CONFIRMED'
)
select reservation_id from ended
 where $2::timestamptz is null or (ended_at, reservation_id) < ($2, $3)
 order by ended_at desc, reservation_id desc limit $4";

// What is written anew is told, if somebody wants to hear; what was there before was told before.
const ARCHIVE: &str = "-- reservation_history.archive
with line as (
    select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::jsonb[])
      as line(reservation_id, product_id, user_id, quantity, status, reason, actor, created_at, expires_at, ended_at,
          news)
), archived as (
    insert into reservation_history (reservation_id, product_id, user_id, quantity, status, reason, actor, created_at,
        expires_at, ended_at)
    select reservation_id, product_id, user_id, quantity, status, reason, actor, created_at, expires_at, ended_at
      from line
    on conflict do nothing
    returning reservation_id, product_id
)
insert into outbox (topic, reservation_id, payload)
select 'reservation.' || line.status, line.reservation_id, line.news
  from line join archived using (reservation_id, product_id) where line.news is not null
 order by line.ended_at";

const ENDED_OF: &str = "-- reservation_history.of_product
select reservation_id, ended_at from reservation_history
 where product_id = $1 and ($2::text is null or status = $2)
   and ($3::timestamptz is null or (ended_at, reservation_id) < ($3, $4))
 order by ended_at desc, reservation_id desc limit $5";

const SOLD_OF: &str = "-- stock_movements.sold_of
select d.reservation_id, m.movement_id from stock_movements m
  join orders o using (order_id)
  join reservation_decisions d on d.reservation_id = o.reservation_id and d.outcome = 'CONFIRMED'
 where m.product_id = $1 and m.movement_type = 'SALE' and ($2::bigint is null or m.movement_id < $2)
 order by m.movement_id desc limit $3";

const ACTORS: &str = "-- reservation_history.actors
select reservation_id, actor from reservation_decisions where reservation_id = any ($1) and outcome = 'CONFIRMED'
union all
select reservation_id, actor from reservation_history where reservation_id = any ($1)";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] =
    &[ENDED, LAST_ENDED, HISTORY, ARCHIVE, ENDED_OF, SOLD_OF, ACTORS];

/// A reservation that has ended, from what Postgres keeps.
pub(super) async fn ended(db: &Db, id: ReservationId) -> Result<Option<Reservation>, Fault> {
    Ok(ended_of_these(db, &[id]).await?.pop())
}

/// Those of these that have ended, in this order; one question, however many there are.
pub(super) async fn ended_of_these(
    db: &Db,
    ids: &[ReservationId],
) -> Result<Vec<Reservation>, Fault> {
    let mut lines: HashMap<ReservationId, Vec<Row>> = HashMap::new();
    for row in db.read(ENDED, &[&ids]).await? {
        lines.entry(row.get("reservation_id")).or_default().push(row);
    }
    Ok(ids.iter().filter_map(|id| ended_reservation(*id, lines.get(id)?)).collect())
}

fn ended_reservation(id: ReservationId, rows: &[Row]) -> Option<Reservation> {
    let first = rows.first()?;
    let status = match first.get("status") {
        "confirmed" => Status::Confirmed,
        "cancelled" => Status::Cancelled,
        _ => Status::Expired,
    };
    // Rows of the history only where nothing was sold: a torn Redis may have left both.
    let rows =
        rows.iter().filter(|row| row.get::<_, &str>("status") == first.get::<_, &str>("status"));
    let items = rows.map(|row| Item {
        product_id: row.get("product_id"),
        sku: row.get::<_, Sku>("sku"),
        quantity: row.get::<_, Quantity>("quantity"),
    });
    Some(Reservation {
        id,
        user: first.get("user_id"),
        items: items.collect(),
        status,
        reason: first.get("reason"),
        expires_at: first.get("expires_at"),
        read_at: first.get("ended_at"),
        order_id: first.get("order_id"),
        created_at: first.get("created_at"),
    })
}

pub(super) async fn last_ended(
    db: &Db,
    user: &UserId,
    product: ProductId,
) -> Result<Option<ReservationId>, Fault> {
    Ok(db.read(LAST_ENDED, &[user, &product]).await?.first().map(|row| row.get("reservation_id")))
}

pub(super) async fn history(
    db: &Db,
    user: &UserId,
    before: Option<(Instant, ReservationId)>,
    limit: usize,
) -> Result<Vec<Reservation>, Fault> {
    let (at, id) = before.unzip();
    let rows = db.read(HISTORY, &[user, &at, &id, &(limit as i64)]).await?;
    let ids: Vec<ReservationId> = rows.iter().map(|row| row.get("reservation_id")).collect();
    ended_of_these(db, &ids).await
}

/// One line on its way into the history.
pub(super) struct Ended {
    pub(super) id: ReservationId,
    pub(super) product: ProductId,
    pub(super) user: UserId,
    pub(super) quantity: Quantity,
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) actor: String,
    pub(super) created_at: Instant,
    pub(super) expires_at: Instant,
    pub(super) ended_at: Instant,
    /// What to tell of its end.
    pub(super) news: Option<serde_json::Value>,
}

pub(super) async fn archive(db: &Db, ended: &[Ended]) -> Result<(), Fault> {
    let ids: Vec<_> = ended.iter().map(|line| line.id).collect();
    let products: Vec<_> = ended.iter().map(|line| line.product).collect();
    let users: Vec<_> = ended.iter().map(|line| line.user.as_str()).collect();
    let quantities: Vec<_> = ended.iter().map(|line| line.quantity).collect();
    let statuses: Vec<_> = ended.iter().map(|line| line.status).collect();
    let reasons: Vec<_> = ended.iter().map(|line| line.reason.as_str()).collect();
    let actors: Vec<_> = ended.iter().map(|line| line.actor.as_str()).collect();
    let created: Vec<_> = ended.iter().map(|line| line.created_at).collect();
    let expires: Vec<_> = ended.iter().map(|line| line.expires_at).collect();
    let at: Vec<_> = ended.iter().map(|line| line.ended_at).collect();
    let news: Vec<_> = ended.iter().map(|line| line.news.as_ref()).collect();
    db.write(
        ARCHIVE,
        &[
            &ids,
            &products,
            &users,
            &quantities,
            &statuses,
            &reasons,
            &actors,
            &created,
            &expires,
            &at,
            &news,
        ],
    )
    .await?;
    Ok(())
}

/// Holds of a product that ended without a sale, before this one, the latest first.
pub(super) async fn ended_of(
    db: &Db,
    product: ProductId,
    status: Option<Status>,
    before: Option<(Instant, ReservationId)>,
    most: usize,
) -> Result<Vec<(ReservationId, Instant)>, Fault> {
    let status = status.map(|status| match status {
        Status::Cancelled => "cancelled",
        _ => "expired",
    });
    let (at, id) = before.unzip();
    let rows = db.read(ENDED_OF, &[&product, &status, &at, &id, &(most as i64)]).await?;
    Ok(rows.iter().map(|row| (row.get("reservation_id"), row.get("ended_at"))).collect())
}

/// Holds of a product that were sold, with the number of the movement, the latest first.
pub(super) async fn sold_of(
    db: &Db,
    product: ProductId,
    before: Option<i64>,
    most: usize,
) -> Result<Vec<(ReservationId, i64)>, Fault> {
    let rows = db.read(SOLD_OF, &[&product, &before, &(most as i64)]).await?;
    Ok(rows.iter().map(|row| (row.get("reservation_id"), row.get("movement_id"))).collect())
}

/// Who ended these.
pub(super) async fn actors(
    db: &Db,
    ids: &[ReservationId],
) -> Result<Vec<(ReservationId, String)>, Fault> {
    let rows = db.read(ACTORS, &[&ids]).await?;
    Ok(rows.iter().map(|row| (row.get("reservation_id"), row.get("actor"))).collect())
}
