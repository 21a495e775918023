//! The SQL of those who look after payments.

use crate::kernel::{OrderId, PaymentId, UserId};
use crate::payments::gateway::{ProviderName, Receipt};
use crate::payments::review::Resolution;
use crate::payments::store::{Row, Status, payment_columns};
use crate::platform::{Db, Fault};

const PAGE: &str = concat!(
    "-- payments.page
select ",
    payment_columns!(),
    " from payments p
 where ($1::text is null or p.status = $1) and ($2::text is null or p.provider = $2)
   and ($3::text is null or p.user_id = $3) and ($4::uuid is null or p.order_id = $4)
   and ($5::uuid is null or p.payment_id < $5)
 order by p.payment_id desc limit $6"
);

const RESOLVE: &str = "-- payments.resolve
select resolve_review($1, $2, $3, $4, $5, $6) as fate";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[PAGE, RESOLVE];

/// Which payments are listed. What is none is not asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) status: Option<Status>,
    pub(super) provider: Option<ProviderName>,
    pub(super) user: Option<UserId>,
    pub(super) order: Option<OrderId>,
}

/// At most `limit` and one more, the newest first, those before this one.
pub(super) async fn page(
    db: &Db,
    wanted: &Wanted,
    before: Option<PaymentId>,
    limit: i64,
) -> Result<Vec<Row>, Fault> {
    let status = wanted.status.map(Status::as_str);
    let provider = wanted.provider.map(ProviderName::as_str);
    let rows = db
        .read(PAGE, &[&status, &provider, &wanted.user, &wanted.order, &before, &(limit + 1)])
        .await?;
    rows.iter().map(Row::read).collect()
}

/// What became of the wish to resolve a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    Now,
    Known,
    GivenUp,
}

pub(super) async fn resolve(
    db: &Db,
    id: PaymentId,
    outcome: Resolution,
    receipt: Option<&Receipt>,
    actor: &str,
    reason: Option<&str>,
) -> Result<Resolved, Fault> {
    let intent = receipt.and_then(|receipt| receipt.intent.as_deref());
    let transaction = receipt.and_then(|receipt| receipt.transaction.as_deref());
    let rows = db
        .write(RESOLVE, &[&id, &outcome.as_str(), &intent, &transaction, &actor, &reason])
        .await?;
    match rows[0].get("fate") {
        "resolved" => Ok(Resolved::Now),
        "known" => Ok(Resolved::Known),
        "given_up" => Ok(Resolved::GivenUp),
        _ => Err(Fault::internal("reading what became of a review")),
    }
}
