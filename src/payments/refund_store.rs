//! The SQL of money that goes back, and of late money, which is sold or goes back.

use std::time::Duration;

use crate::kernel::{OrderId, PaymentId, ProductId};
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, PinnedLine, decision, decision_columns};

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

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] =
    &[SELL_LATE, REFUND_LATE, ORDER_STATUS, REFUND_BEGIN, REFUND_FINISH, REFUND_REFUSED];

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
