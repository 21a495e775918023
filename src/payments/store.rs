//! The SQL of payments that are open, paid or ended. That of their beginning, of money that goes back and of what was said
//! about them stands in the other files of this ending. What changes a payment together with stock is a function of the
//! migration; here it is called.

use std::time::Duration;

use tokio_postgres::Row as PgRow;

use crate::kernel::{OrderId, PaymentId, ProductId, ReservationId};
use crate::payments::gateway::{ProviderName, Receipt};
pub(super) use crate::payments::row_store::{Line, Row, Status};
use crate::payments::{journal_store, open_store, refund_store, review_store, vitals_store};
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, decision, decision_columns};

macro_rules! payment_columns {
    () => {
        "p.payment_id, p.order_id, p.user_id, p.provider, p.status, p.amount_minor, p.currency, p.idempotency_key,
       p.parameters, p.success_url, p.cancel_url, p.late_reservation_id, p.provider_payment_id, p.provider_intent_id,
       p.provider_trx_id, p.callback_signature, p.url, p.pay_deadline, p.pay_deadline <= now() as due,
       (extract(epoch from now() - p.created_at) * 1000)::bigint as age_ms,
       (extract(epoch from now() - p.execute_claimed_at) * 1000)::bigint as claimed_ms, p.refund_restock, p.refund_actor,
       p.checks, p.created_at, p.failure_code"
    };
}
pub(super) use payment_columns;

const FIND: &str = concat!(
    "-- payments.find
select ",
    payment_columns!(),
    " from payments p where p.payment_id = $1"
);

const FIND_BY_PROVIDER: &str = concat!(
    "-- payments.find_by_provider
select ",
    payment_columns!(),
    " from payments p where p.provider = $1 and p.provider_payment_id = $2"
);

const FIND_BY_INTENT: &str = concat!(
    "-- payments.find_by_intent
select ",
    payment_columns!(),
    " from payments p where p.provider = $1 and p.provider_intent_id = $2"
);

// The payment of an order that stands, or the last one.
const CURRENT: &str = concat!(
    "-- payments.current
select distinct on (p.order_id) ",
    payment_columns!(),
    " from payments p where p.order_id = any ($1)
 order by p.order_id, p.status in ('initiated', 'pending', 'paid', 'refunding', 'refunded') desc, p.created_at desc"
);

const LINES: &str = "-- payments.lines
select product_id, sku, name, quantity, unit_price_minor from order_items where order_id = $1 order by product_id";

const DECISIONS: &str = concat!(
    "-- payments.decisions
select ",
    decision_columns!(),
    " from reservation_decisions d where d.payment_id = $1 order by d.reservation_id"
);

const DECISION: &str = concat!(
    "-- payments.decision
select ",
    decision_columns!(),
    " from reservation_decisions d where d.reservation_id = $1"
);

const PAY: &str = "-- payments.pay
select pay_order($1, $2, $3, $4, $5, $6, $7) as fate";

const END: &str = "-- payments.end
select end_payment($1, $2, $3, $4, $5, $6) as fate";

const CLAIM_EXECUTE: &str = "-- payments.claim_execute
update payments
   set execute_claimed_at = now(), watch_until = created_at + interval '25 hours', updated_at = now(),
       next_check_at = now() + $2 * interval '1 millisecond'
 where payment_id = $1 and status = 'pending' and execute_claimed_at is null
returning payment_id";

const REVIEW: &str = "-- payments.review
update payments set status = 'review', failure_code = $2, next_check_at = null, updated_at = now()
 where payment_id = $1 and status in ('initiated', 'pending', 'failed', 'cancelled', 'expired')
returning payment_id";

// Whoever takes a row keeps it for a while; should it die, another replica comes.
const TAKE_DUE: &str = "-- payments.take_due
update payments p
   set checks = p.checks + 1,
       next_check_at = now() + least($2 * power(2, least(p.checks, 20)), $3) * interval '1 millisecond'
  from (select payment_id from payments where next_check_at <= now() order by next_check_at
           for update skip locked limit $1) due
 where p.payment_id = due.payment_id
returning p.payment_id";

// Nothing is left to do, unless something came in between.
const CHECKED: &str = "-- payments.checked
update payments set next_check_at = null, checks = 0
 where payment_id = $1 and status = $2 and (watch_until is null or watch_until <= now() or status in ('paid', 'refunded'))";

const OWN: &[&str] = &[
    FIND,
    FIND_BY_PROVIDER,
    FIND_BY_INTENT,
    CURRENT,
    LINES,
    DECISIONS,
    DECISION,
    PAY,
    END,
    CLAIM_EXECUTE,
    REVIEW,
    TAKE_DUE,
    CHECKED,
];

/// All statements of the payments.
pub const STATEMENTS: &[&[&str]] = &[
    OWN,
    journal_store::STATEMENTS,
    open_store::STATEMENTS,
    refund_store::STATEMENTS,
    review_store::STATEMENTS,
    vitals_store::STATEMENTS,
];

pub(super) async fn find(db: &Db, id: PaymentId) -> Result<Option<Row>, Fault> {
    db.read(FIND, &[&id]).await?.first().map(Row::read).transpose()
}

pub(super) async fn find_by_provider(
    db: &Db,
    provider: ProviderName,
    id: &str,
) -> Result<Option<Row>, Fault> {
    let rows = db.read(FIND_BY_PROVIDER, &[&provider.as_str(), &id]).await?;
    rows.first().map(Row::read).transpose()
}

pub(super) async fn find_by_intent(
    db: &Db,
    provider: ProviderName,
    intent: &str,
) -> Result<Option<Row>, Fault> {
    let rows = db.read(FIND_BY_INTENT, &[&provider.as_str(), &intent]).await?;
    rows.first().map(Row::read).transpose()
}

/// Of each order the payment that stands, or the last one.
pub(super) async fn current(db: &Db, orders: &[OrderId]) -> Result<Vec<Row>, Fault> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    db.read(CURRENT, &[&orders]).await?.iter().map(Row::read).collect()
}

pub(super) async fn lines(db: &Db, order: OrderId) -> Result<Vec<Line>, Fault> {
    let rows = db.read(LINES, &[&order]).await?;
    let line = |row: &PgRow| Line {
        product: row.get("product_id"),
        sku: row.get("sku"),
        name: row.get("name"),
        quantity: row.get("quantity"),
        unit_minor: row.get("unit_price_minor"),
    };
    Ok(rows.iter().map(line).collect())
}

pub(super) async fn decisions(db: &Db, payment: PaymentId) -> Result<Vec<Decision>, Fault> {
    db.read(DECISIONS, &[&payment]).await?.iter().map(decision).collect()
}

pub(super) async fn decision_of(db: &Db, id: ReservationId) -> Result<Option<Decision>, Fault> {
    db.read(DECISION, &[&id]).await?.first().map(decision).transpose()
}

/// What became of money that the provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sold,
    Stale,
    Late,
    Known,
}

pub(super) async fn pay(
    db: &Db,
    id: PaymentId,
    epochs: &[(ProductId, i64)],
    provider_payment_id: Option<&str>,
    receipt: &Receipt,
    actor: &str,
) -> Result<Fate, Fault> {
    let (products, epochs): (Vec<ProductId>, Vec<i64>) = epochs.iter().copied().unzip();
    let Receipt { intent, transaction, .. } = receipt;
    let rows = db
        .write(PAY, &[&id, &products, &epochs, &provider_payment_id, intent, transaction, &actor])
        .await?;
    match rows[0].get("fate") {
        "sold" => Ok(Fate::Sold),
        "stale" => Ok(Fate::Stale),
        "late" => Ok(Fate::Late),
        "known" => Ok(Fate::Known),
        _ => Err(Fault::internal("reading the fate of a payment")),
    }
}

/// How a payment ends that was not paid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending<'a> {
    pub(super) status: Status,
    /// Why its reservations end.
    pub(super) reason: &'a str,
    /// What the provider said.
    pub(super) failure: Option<&'a str>,
    /// Whether the provider was asked after the execute was claimed.
    pub(super) asked: bool,
    pub(super) actor: &'a str,
}

/// What became of the wish to end a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Now,
    Claimed,
    Known,
}

pub(super) async fn end(db: &Db, id: PaymentId, ending: Ending<'_>) -> Result<Ended, Fault> {
    let Ending { status, reason, failure, asked, actor } = ending;
    let status = status.as_str();
    let rows = db.write(END, &[&id, &status, &reason, &failure, &asked, &actor]).await?;
    match rows[0].get("fate") {
        "ended" => Ok(Ended::Now),
        "claimed" => Ok(Ended::Claimed),
        "known" => Ok(Ended::Known),
        _ => Err(Fault::internal("reading the end of a payment")),
    }
}

/// Claims the one execute of a payment. False: it was claimed, or the payment is not open any more.
pub(super) async fn claim_execute(db: &Db, id: PaymentId, look: Duration) -> Result<bool, Fault> {
    let look_ms = look.as_millis() as f64;
    Ok(!db.write(CLAIM_EXECUTE, &[&id, &look_ms]).await?.is_empty())
}

/// Holds a payment for a person to look at. False: it is not one that money could still come for.
pub(super) async fn review(db: &Db, id: PaymentId, why: &str) -> Result<bool, Fault> {
    Ok(!db.write(REVIEW, &[&id, &why]).await?.is_empty())
}

/// How long whoever takes something that is due may keep it: `first`, then twice as long each time, up to `most`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

impl Pace {
    pub(super) fn millis(self) -> (f64, f64) {
        (self.first.as_millis() as f64, self.most.as_millis() as f64)
    }
}

pub(super) async fn take_due(db: &Db, limit: i64, pace: Pace) -> Result<Vec<PaymentId>, Fault> {
    let (first, most) = pace.millis();
    let rows = db.write(TAKE_DUE, &[&limit, &first, &most]).await?;
    Ok(rows.iter().map(|row| row.get("payment_id")).collect())
}

/// Nothing is left to do about a payment in this state.
pub(super) async fn checked(db: &Db, id: PaymentId, status: Status) -> Result<(), Fault> {
    db.write(CHECKED, &[&id, &status.as_str()]).await.map(drop)
}
