//! Postgres's side of a SKU: what a rebuild takes from it, and which movements Redis has not confirmed.

use tokio_postgres::Row;

use crate::catalogue::Name;
use crate::kernel::{Instant, ProductId, Sku};
use crate::platform::{Db, Fault};
use crate::reservations::ledger::StockState;

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

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] =
    &[REBUILD_BEGIN, BUYERS, STOCK, STOCK_STATE, STOCK_APPLIED, STOCK_UNAPPLIED, KNOWN];

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
