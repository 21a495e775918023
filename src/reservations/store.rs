//! All SQL of the reservations: decisions, history, the Postgres side of the rebuild, the incarnation.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::catalogue::Name;
use crate::kernel::{Instant, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::redis::Identity;
use crate::platform::{Db, Fault};
use crate::reservations::clock::ExpiryClock;
use crate::reservations::confirm::{DecidedLine, Decision, Outcome, split};
use crate::reservations::hold_events::HoldEvent;
use crate::reservations::holds::Happened;
use crate::reservations::ledger::StockState;
use crate::reservations::query::Status;
use crate::reservations::sales::By;
use crate::reservations::{Item, Reservation};

const FIND_DECISION: &str = "-- reservation_decisions.find
select reservation_id, outcome, reason, user_id, order_id, product_ids, quantities, tokens, created_at
  from reservation_decisions where reservation_id = $1 and user_id = $2";

const DECIDED: &str = "-- reservation_decisions.decided
select reservation_id, outcome from reservation_decisions
 where reservation_id = any ($1) and outcome <> 'PENDING'";

const FENCE: &str = "-- reservation_decisions.fence
select reservation_id, outcome, reason, user_id, order_id, product_ids, quantities, tokens, created_at
  from fence($1, $2, $3, $4)";

const PENDING_UNTIL: &str = "-- reservation_decisions.pending_until
select reservation_id, pending_until from reservation_decisions
 where reservation_id = any ($1) and outcome = 'PENDING' and pending_until is not null";

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

const REBUILD_BEGIN: &str = "-- sku_stock.rebuild_begin
select r.epoch, r.stocked, r.sold, r.returned, r.stock_ver, r.pending,
       coalesce(p.hold_ttl_seconds, 0)::bigint as hold_ttl_seconds,
       coalesce(p.max_per_buyer, 0)::bigint as max_per_buyer,
       p.sale_starts_at, p.sale_ends_at,
       case when p.published and p.deleted_at is null then p.sale else 'hidden' end as sale, p.version
  from rebuild_begin($1) r, products p where p.product_id = $1";

const BUYERS: &str = "-- user_sku.page
select user_id, bought, returned from user_sku
 where product_id = $1 and user_id > $2 order by user_id limit $3";

const STOCK: &str = "-- sku_stock.page
select product_id, epoch, sold, stocked, returned, stock_ver, applied_ver from sku_stock where product_id = any ($1)";

// What Redis may not know: the versions after the last one that it has confirmed, the oldest first.
const STOCK_STATE: &str = "-- sku_stock.state
select s.stocked, s.returned, s.stock_ver, m.stock_ver as moved_ver, m.reservation_id, o.user_id, u.returned as back
  from sku_stock s
  left join lateral (
      select * from stock_movements m where m.product_id = s.product_id and m.stock_ver > s.applied_ver
       order by m.stock_ver, m.movement_id limit $2
  ) m on true
  left join orders o on o.order_id = m.order_id
  left join user_sku u on u.product_id = s.product_id and u.user_id = o.user_id
 where s.product_id = $1";

const STOCK_APPLIED: &str = "-- sku_stock.applied
update sku_stock set applied_ver = $2 where product_id = $1 and applied_ver < $2";

const STOCK_UNAPPLIED: &str = "-- sku_stock.unapplied
select p.product_id, p.sku from sku_stock s join products p using (product_id)
 where s.applied_ver < s.stock_ver order by s.product_id limit $1";

const KNOWN: &str = "-- sku_stock.known
select p.product_id, p.sku from sku_stock s join products p using (product_id)
 where s.epoch > 0 and p.product_id > $1 order by p.product_id limit $2";

const INCARNATION: &str = "-- redis_incarnations.read
select run_id, replid from redis_incarnations where shard = 0";

const STORE_INCARNATION: &str = "-- redis_incarnations.store
insert into redis_incarnations (shard, run_id, replid) values (0, $1, $2)
on conflict (shard) do update set run_id = excluded.run_id, replid = excluded.replid, created_at = now()";

const EXPIRY_CLOCK: &str = "-- expiry_clock.read
select version, lag_ms, frozen_ms, told, changed_by, reason, changed_at from expiry_clock";

const SET_EXPIRY: &str = "-- expiry_clock.set
select set_expiry($1, $2, $3, $4)";

const CLOCK_TOLD: &str = "-- expiry_clock.told
update expiry_clock set told = $1 where told < $1";

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
pub const STATEMENTS: &[&str] = &[
    FIND_DECISION,
    DECIDED,
    FENCE,
    PENDING_UNTIL,
    ENDED,
    LAST_ENDED,
    HISTORY,
    ARCHIVE,
    REBUILD_BEGIN,
    BUYERS,
    STOCK,
    STOCK_STATE,
    STOCK_APPLIED,
    STOCK_UNAPPLIED,
    KNOWN,
    INCARNATION,
    STORE_INCARNATION,
    EXPIRY_CLOCK,
    SET_EXPIRY,
    CLOCK_TOLD,
    WRITE_HOLD_EVENTS,
    INTEND,
    ENDED_OF,
    SOLD_OF,
    ACTORS,
    HAPPENED,
];

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

/// A payment under way, as the rebuild restores its pin.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Pending {
    pub(super) reservation_id: String,
    pub(super) user_id: String,
    pub(super) token: String,
    pub(super) quantity: i64,
    pub(super) product_ids: Vec<ProductId>,
}

/// What R1 of a rebuild learnt.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) epoch: i64,
    pub(super) stocked: i64,
    pub(super) sold: i64,
    pub(super) returned: i64,
    pub(super) ver: i64,
    pub(super) pending: Vec<Pending>,
    pub(super) ttl_ms: i64,
    pub(super) cap: i64,
    pub(super) opens_at_ms: i64,
    pub(super) closes_at_ms: i64,
    pub(super) sale: String,
    pub(super) version: i32,
}

pub(super) async fn rebuild_begin(db: &Db, product: ProductId) -> Result<Begun, Fault> {
    let rows = db.write(REBUILD_BEGIN, &[&product]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("rebuilding a product without stock"))?;
    let pending = serde_json::from_value(row.get("pending"));
    // 0 stands for no moment, so one before 1970 must not become it.
    let moment =
        |column: &str| row.get::<_, Option<Instant>>(column).map_or(0, |at| at.as_ms().max(1));
    Ok(Begun {
        epoch: row.get("epoch"),
        stocked: row.get("stocked"),
        sold: row.get("sold"),
        returned: row.get("returned"),
        ver: row.get("stock_ver"),
        pending: pending
            .map_err(|error| Fault::internal("reading pending payments").because(error))?,
        ttl_ms: row.get::<_, i64>("hold_ttl_seconds") * 1_000,
        cap: row.get("max_per_buyer"),
        opens_at_ms: moment("sale_starts_at"),
        closes_at_ms: moment("sale_ends_at"),
        sale: row.get("sale"),
        version: row.get("version"),
    })
}

/// Buyers of a product with what they bought and gave back, after this one in the order of their names.
pub(super) async fn buyers(
    db: &Db,
    product: ProductId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, i64, i64)>, Fault> {
    let rows = db.read(BUYERS, &[&product, &after, &limit]).await?;
    Ok(rows
        .iter()
        .map(|row| (row.get("user_id"), row.get("bought"), row.get("returned")))
        .collect())
}

/// Postgres's side of a SKU.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shelf {
    pub(super) epoch: i64,
    pub(super) sold: i64,
    pub(super) stocked: i64,
    pub(super) returned: i64,
    /// The version of these two.
    pub(super) ver: i64,
    /// The last one that Redis has confirmed.
    pub(super) applied: i64,
}

/// What Postgres knows of these products.
pub(super) async fn stock(
    db: &Db,
    products: &[ProductId],
) -> Result<Vec<(ProductId, Shelf)>, Fault> {
    let rows = db.read(STOCK, &[&products]).await?;
    let shelf = |row: &Row| Shelf {
        epoch: row.get("epoch"),
        sold: row.get("sold"),
        stocked: row.get("stocked"),
        returned: row.get("returned"),
        ver: row.get("stock_ver"),
        applied: row.get("applied_ver"),
    };
    Ok(rows.iter().map(|row| (row.get("product_id"), shelf(row))).collect())
}

/// The stock of a product, with what came of at most `limit` movements that Redis may not know.
pub(super) async fn stock_state(
    db: &Db,
    product: ProductId,
    limit: i64,
) -> Result<StockState, Fault> {
    let rows = db.read(STOCK_STATE, &[&product, &limit]).await?;
    let missing = || Fault::internal("reading the stock of a product");
    let (first, last) = rows.first().zip(rows.last()).ok_or_else(missing)?;
    let whole = (rows.len() as i64) < limit;
    let back = |row: &Row| Some((row.get::<_, Option<_>>("user_id")?, row.get("back")));
    Ok(StockState {
        stocked: first.get("stocked"),
        returned: first.get("returned"),
        ver: first.get("stock_ver"),
        complete_to: last.get(if whole { "stock_ver" } else { "moved_ver" }),
        taken: rows.iter().filter_map(|row| row.get("reservation_id")).collect(),
        backs: rows.iter().filter_map(back).collect(),
    })
}

/// Redis has the stock of this version.
pub(super) async fn stock_applied(db: &Db, product: ProductId, ver: i64) -> Result<(), Fault> {
    db.write(STOCK_APPLIED, &[&product, &ver]).await.map(drop)
}

/// Products whose stock Redis has not confirmed.
pub(super) async fn stock_unapplied(db: &Db, limit: i64) -> Result<Vec<Name>, Fault> {
    let rows = db.read(STOCK_UNAPPLIED, &[&limit]).await?;
    Ok(rows.iter().map(|row| Name { id: row.get("product_id"), sku: row.get("sku") }).collect())
}

/// Products that Redis has had before, with a number above `after`.
pub(super) async fn known(db: &Db, after: i64, limit: i64) -> Result<Vec<(ProductId, Sku)>, Fault> {
    let rows = db.read(KNOWN, &[&after, &limit]).await?;
    Ok(rows.iter().map(|row| (row.get("product_id"), row.get("sku"))).collect())
}

pub(super) async fn incarnation(db: &Db) -> Result<Option<Identity>, Fault> {
    let rows = db.read(INCARNATION, &[]).await?;
    Ok(rows.first().map(|row| Identity { run_id: row.get("run_id"), replid: row.get("replid") }))
}

pub(super) async fn store_incarnation(db: &Db, identity: &Identity) -> Result<(), Fault> {
    db.write(STORE_INCARNATION, &[&identity.run_id, &identity.replid]).await?;
    Ok(())
}

pub(super) async fn expiry_clock(db: &Db) -> Result<ExpiryClock, Fault> {
    let rows = db.read(EXPIRY_CLOCK, &[]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("reading the expiry clock"))?;
    Ok(ExpiryClock {
        version: row.get("version"),
        lag_ms: row.get("lag_ms"),
        frozen_ms: row.get("frozen_ms"),
        told: row.get("told"),
        changed_by: row.get("changed_by"),
        reason: row.get("reason"),
        changed_at: row.get("changed_at"),
    })
}

pub(super) async fn set_expiry(
    db: &Db,
    frozen: bool,
    now_ms: i64,
    actor: &str,
    reason: Option<&str>,
) -> Result<(), Fault> {
    db.write(SET_EXPIRY, &[&frozen, &now_ms, &actor, &reason]).await.map(drop)
}

pub(super) async fn clock_told(db: &Db, version: i64) -> Result<(), Fault> {
    db.write(CLOCK_TOLD, &[&version]).await.map(drop)
}

pub(super) async fn write_hold_events(db: &Db, events: &[HoldEvent]) -> Result<(), Fault> {
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let at: Vec<_> = events.iter().map(|event| event.at).collect();
    let what: Vec<_> = events.iter().map(|event| event.event).collect();
    let actors: Vec<_> = events.iter().map(|event| event.actor.as_str()).collect();
    let reasons: Vec<_> = events.iter().map(|event| event.reason.as_deref()).collect();
    let details: Vec<_> = events.iter().map(|event| &event.detail).collect();
    db.write(WRITE_HOLD_EVENTS, &[&ids, &at, &what, &actors, &reasons, &details]).await.map(drop)
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
