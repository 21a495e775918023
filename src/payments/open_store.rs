//! The SQL that begins a payment, or puts another attempt in its place.

use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::kernel::{PaymentId, ReservationId};
use crate::orders::Bill;
use crate::payments::gateway::Session;
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, decision, decision_columns};

const OPEN: &str = concat!(
    "-- payments.open
select ",
    decision_columns!(),
    ", payment_id
  from open_payment($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
      $22, $23, $24, $25, $26, $27, $28) d"
);

const REPLACE: &str = "-- payments.replace
select replace_payment($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as replaced";

const ATTACH: &str = "-- payments.attach
update payments
   set status = 'pending', provider_payment_id = $2, url = $3, provider_expires_at = $4, callback_signature = $5,
       updated_at = now()
 where payment_id = $1 and status = 'initiated'
returning payment_id";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[OPEN, REPLACE, ATTACH];

/// A payment that is about to be opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) id: PaymentId,
    pub(super) provider: &'static str,
    pub(super) idempotency_key: String,
    pub(super) parameters: Value,
    pub(super) success_url: String,
    pub(super) cancel_url: String,
    pub(super) late: ReservationId,
    pub(super) window_ms: i64,
}

impl Opening {
    fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.id,
            &self.provider,
            &self.idempotency_key,
            &self.parameters,
            &self.success_url,
            &self.cancel_url,
            &self.late,
            &self.window_ms,
        ]
    }
}

/// A decision, and the payment that it is of.
pub(super) type Opened = (Decision, Option<PaymentId>);

/// Opens the payment of a bill. No row: an epoch moved since its lines were pinned.
pub(super) async fn open(db: &Db, bill: &Bill, opening: &Opening) -> Result<Vec<Opened>, Fault> {
    let columns = bill.columns()?;
    let in_cart = |product| bill.cart.iter().find(|(of, _)| of == product).map(|(_, item)| *item);
    let cart: Vec<Option<i64>> = columns.products.iter().map(in_cart).collect();
    let currency = bill.total.currency.to_string();
    let order: &[&(dyn ToSql + Sync)] = &[
        &bill.order_id,
        &bill.user,
        &bill.actor,
        &bill.email,
        &currency,
        &bill.total.minor,
        &bill.named,
        &columns.ids,
        &columns.held_at,
        &columns.expires_at,
    ];
    let parameters = [order, &columns.of_lines(), &[&cart], &opening.parameters()].concat();
    let rows = db.write(OPEN, &parameters).await?;
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
    let replaced: &[&(dyn ToSql + Sync)] = &[&old, &reason];
    let parameters = [replaced, &opening.parameters(), &[&actor]].concat();
    let rows = db.write(REPLACE, &parameters).await?;
    Ok(rows[0].get("replaced"))
}

/// Notes where the buyer pays. False: another creation was faster, or the payment is not open any more.
pub(super) async fn attach(db: &Db, id: PaymentId, session: &Session) -> Result<bool, Fault> {
    let Session { provider_payment_id, url, expires_at, callback_signature } = session;
    let attached =
        db.write(ATTACH, &[&id, provider_payment_id, url, expires_at, callback_signature]).await?;
    Ok(!attached.is_empty())
}
