//! The SQL of payments; that of what was said about them stands in `journal_store.rs`. What changes a payment together with stock is a function of the migration; here it is called.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Row as PgRow;

use crate::kernel::{OrderId, PaymentId, ProductId, ReservationId};
use crate::orders::Bill;
use crate::payments::gateway::{ProviderName, Receipt, Session};
pub(super) use crate::payments::row_store::{Line, Row, Status};
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, PinnedLine, decision};

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

macro_rules! decision_columns {
    () => {
        "d.reservation_id, d.outcome, d.reason, d.figures, d.user_id, d.order_id, d.product_ids, d.quantities,
       d.tokens, d.created_at"
    };
}

const OPEN: &str = concat!(
    "-- payments.open
select ",
    decision_columns!(),
    ", d.payment_id
  from open_payment($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
      $22, $23, $24, $25, $26, $27, $28) d"
);

const REPLACE: &str = "-- payments.replace
select replace_payment($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as replaced";

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

const ATTACH: &str = "-- payments.attach
update payments
   set status = 'pending', provider_payment_id = $2, url = $3, provider_expires_at = $4, callback_signature = $5,
       updated_at = now()
 where payment_id = $1 and status = 'initiated'
returning payment_id";

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

const SELL_LATE: &str = concat!(
    "-- payments.sell_late
select ",
    decision_columns!(),
    " from sell_late($1, $2, $3, $4, $5, $6) d"
);

// Only a row that says no to the sale lets the money go back.
const REFUND_LATE: &str = "-- payments.refund_late
update payments p
   set status = 'refunding', checks = 0, next_check_at = now() + $2 * interval '1 millisecond', updated_at = now()
 where p.payment_id = $1 and p.status = 'late' and exists (
       select from reservation_decisions d
        where d.reservation_id = p.late_reservation_id and d.outcome = 'ABORTED')
returning p.payment_id";

const ORDER_STATUS: &str = "-- payments.order_status
select status from orders where order_id = $1";

const REFUND_BEGIN: &str = "-- payments.refund_begin
select payment_id, begun from refund_begin($1, $2, $3, $4)";

const REFUND_FINISH: &str = "-- payments.refund_finish
select refund_finish($1, $2) as finished";

const REFUND_REFUSED: &str = "-- payments.refund_refused
select refund_refused($1, $2)";

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

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[
    OPEN,
    REPLACE,
    FIND,
    FIND_BY_PROVIDER,
    FIND_BY_INTENT,
    CURRENT,
    LINES,
    DECISIONS,
    DECISION,
    ATTACH,
    PAY,
    END,
    CLAIM_EXECUTE,
    REVIEW,
    SELL_LATE,
    REFUND_LATE,
    ORDER_STATUS,
    REFUND_BEGIN,
    REFUND_FINISH,
    REFUND_REFUSED,
    TAKE_DUE,
    CHECKED,
];

/// A payment that is about to be opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) id: PaymentId,
    pub(super) provider: ProviderName,
    pub(super) idempotency_key: String,
    pub(super) parameters: Value,
    pub(super) success_url: String,
    pub(super) cancel_url: String,
    pub(super) late: ReservationId,
    pub(super) window: Duration,
}

/// A decision, and the payment that it is of.
pub(super) type Opened = (Decision, Option<PaymentId>);

/// Opens the payment of a bill. No row: an epoch moved since its lines were pinned.
pub(super) async fn open(db: &Db, bill: &Bill, opening: &Opening) -> Result<Vec<Opened>, Fault> {
    let ids: Vec<_> = bill.pinned.iter().map(|pin| pin.id).collect();
    let held_at: Vec<_> = bill.pinned.iter().map(|pin| pin.held_at).collect();
    let expires_at: Vec<_> = bill.pinned.iter().map(|pin| pin.expires_at).collect();
    let position = |id| ids.iter().position(|known| *known == id).map_or(0, |at| at as i32 + 1);
    let lines: Vec<_> = bill.lines().collect();
    let positions: Vec<i32> = lines.iter().map(|(pin, ..)| position(pin.id)).collect();
    let products: Vec<i64> = lines.iter().map(|(_, line, _)| line.name.id.get()).collect();
    let quantities: Vec<i64> = lines.iter().map(|(_, line, _)| line.quantity.get()).collect();
    let tokens: Vec<&str> = lines.iter().map(|(_, line, _)| line.token.as_str()).collect();
    let epochs: Vec<i64> = lines.iter().map(|(_, line, _)| line.epoch).collect();
    let caps: Vec<i64> = lines.iter().map(|(_, line, _)| line.cap).collect();
    let skus: Vec<&str> = lines.iter().map(|(_, line, _)| line.name.sku.as_str()).collect();
    let names: Vec<&str> = lines.iter().map(|(_, _, offer)| offer.title.as_str()).collect();
    let price = |offer: &crate::catalogue::Offer| offer.price.map(|price| price.minor);
    let prices: Vec<Option<i64>> = lines.iter().map(|(_, _, offer)| price(offer)).collect();
    let in_cart = |product| bill.cart.iter().find(|(of, _)| *of == product).map(|(_, item)| *item);
    let cart: Vec<Option<i64>> = lines.iter().map(|(_, line, _)| in_cart(line.name.id)).collect();
    let currency = bill.total.currency.to_string();
    let window_ms = opening.window.as_millis() as i64;
    let rows = db
        .write(
            OPEN,
            &[
                &bill.order_id,
                &bill.user,
                &bill.actor,
                &bill.email,
                &currency,
                &bill.total.minor,
                &bill.named,
                &ids,
                &held_at,
                &expires_at,
                &positions,
                &products,
                &quantities,
                &tokens,
                &epochs,
                &caps,
                &skus,
                &names,
                &prices,
                &cart,
                &opening.id,
                &opening.provider.as_str(),
                &opening.idempotency_key,
                &opening.parameters,
                &opening.success_url,
                &opening.cancel_url,
                &opening.late,
                &window_ms,
            ],
        )
        .await?;
    rows.iter().map(|row| Ok((decision(row)?, row.get("payment_id")))).collect()
}

/// Puts another attempt in the place of one that has its final no. False: that one is not open any more.
pub(super) async fn replace(
    db: &Db,
    old: PaymentId,
    reason: &str,
    opening: &Opening,
    actor: &str,
) -> Result<bool, Fault> {
    let window_ms = opening.window.as_millis() as i64;
    let rows = db
        .write(
            REPLACE,
            &[
                &old,
                &reason,
                &opening.id,
                &opening.provider.as_str(),
                &opening.idempotency_key,
                &opening.parameters,
                &opening.success_url,
                &opening.cancel_url,
                &opening.late,
                &window_ms,
                &actor,
            ],
        )
        .await?;
    Ok(rows[0].get("replaced"))
}

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

/// Notes where the buyer pays. False: another creation was faster, or the payment is not open any more.
pub(super) async fn attach(db: &Db, id: PaymentId, session: &Session) -> Result<bool, Fault> {
    let Session { provider_payment_id, url, expires_at, callback_signature } = session;
    let attached =
        db.write(ATTACH, &[&id, provider_payment_id, url, expires_at, callback_signature]).await?;
    Ok(!attached.is_empty())
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

/// Decides about units that were pinned for late money. None: an epoch moved since.
pub(super) async fn sell_late(
    db: &Db,
    id: PaymentId,
    lines: &[PinnedLine],
    actor: &str,
) -> Result<Option<Decision>, Fault> {
    let products: Vec<ProductId> = lines.iter().map(|line| line.name.id).collect();
    let tokens: Vec<&str> = lines.iter().map(|line| line.token.as_str()).collect();
    let epochs: Vec<i64> = lines.iter().map(|line| line.epoch).collect();
    let caps: Vec<i64> = lines.iter().map(|line| line.cap).collect();
    let rows = db.write(SELL_LATE, &[&id, &products, &tokens, &epochs, &caps, &actor]).await?;
    rows.first().map(decision).transpose()
}

/// Lets late money go back. False: no row says that it was not sold, or somebody else has begun.
pub(super) async fn refund_late(db: &Db, id: PaymentId, look: Duration) -> Result<bool, Fault> {
    let look_ms = look.as_millis() as f64;
    Ok(!db.write(REFUND_LATE, &[&id, &look_ms]).await?.is_empty())
}

pub(super) async fn order_status(db: &Db, order: OrderId) -> Result<Option<String>, Fault> {
    Ok(db.read(ORDER_STATUS, &[&order]).await?.first().map(|row| row.get("status")))
}

/// Begins the refund of an order; answers the payment that is being refunded now, and whether this call began it.
pub(super) async fn refund_begin(
    db: &Db,
    order: OrderId,
    restock: bool,
    actor: &str,
    look: Duration,
) -> Result<Option<(PaymentId, bool)>, Fault> {
    let look_ms = look.as_millis() as i64;
    let rows = db.write(REFUND_BEGIN, &[&order, &restock, &actor, &look_ms]).await?;
    Ok(rows.first().map(|row| (row.get("payment_id"), row.get("begun"))))
}

pub(super) async fn refund_finish(db: &Db, id: PaymentId, refund: &str) -> Result<bool, Fault> {
    Ok(db.write(REFUND_FINISH, &[&id, &refund]).await?[0].get("finished"))
}

pub(super) async fn refund_refused(db: &Db, id: PaymentId, why: &str) -> Result<(), Fault> {
    db.write(REFUND_REFUSED, &[&id, &why]).await.map(drop)
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
