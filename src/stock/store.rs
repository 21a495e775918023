//! All SQL on movements of stock.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::catalogue::Name;
use crate::kernel::{OrderId, ProductId, ReservationId};
use crate::platform::postgres::violated_constraint;
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, Pinned, decision, decision_columns};
use crate::stock::{Listing, MoveError, Movement, Returned, Units, Wish};

const PRODUCT: &str = "-- stock_movements.product
select p.product_id, p.sku, $3::bigint is null or exists (
           select from suppliers s where s.supplier_id = $3 and s.owner_id = p.owner_id) as supplied
  from products p
 where p.product_id = $2 and p.deleted_at is null and ($1::text is null or p.owner_id = $1)";

const HAS_PRODUCT: &str = "-- stock_movements.has_product
select from products where product_id = $2 and ($1::text is null or owner_id = $1)";

const BRING_IN: &str = "-- stock_movements.bring_in
select movement_id, product_id, movement_type, quantity, stock_after, note, supplier_id, actor, created_at
  from stock_in($1, $2, $3, $4, $5, $6, $7)";

const TAKE_OUT: &str = concat!(
    "-- stock_movements.take_out
select ",
    decision_columns!(),
    "
  from stock_out($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
);

const GIVE_BACK: &str = "-- stock_movements.give_back
select status, done from return_order($1, $2, $3)";

const PRODUCTS_OF: &str = "-- stock_movements.products_of_order
select product_id, sku from order_items where order_id = $1 order by product_id";

const BY_REQUEST_KEY: &str = "-- stock_movements.by_request_key
select movement_id, product_id, movement_type, quantity, stock_after, note, supplier_id, actor, created_at
  from stock_movements where request_key = $1";

const TAKEN_OUT: &str = "-- stock_movements.taken_out
select movement_id, product_id, movement_type, quantity, stock_after, note, supplier_id, actor, created_at
  from stock_movements where reservation_id = $1";

const PAGE_OF_ALL: &str = "-- stock_movements.page_of_all
select movement_id, product_id, movement_type, quantity, stock_after, note, supplier_id, actor, created_at
  from stock_movements
 where movement_id < $1 and ($2::timestamptz is null or created_at >= $2)
   and ($3::timestamptz is null or created_at < $3)
 order by movement_id desc limit $4";

const PAGE_OF_OWNER: &str = "-- stock_movements.page_of_owner
select m.movement_id, m.product_id, m.movement_type, m.quantity, m.stock_after, m.note, m.supplier_id, m.actor,
       m.created_at
  from products p cross join lateral (
      select * from stock_movements m
       where m.product_id = p.product_id and m.movement_id < $1
         and ($2::timestamptz is null or m.created_at >= $2) and ($3::timestamptz is null or m.created_at < $3)
       order by m.movement_id desc limit $4
  ) m
 where p.owner_id = $5
 order by m.movement_id desc limit $4";

const PAGE_OF_PRODUCT: &str = "-- stock_movements.page_of_product
select m.movement_id, m.product_id, m.movement_type, m.quantity, m.stock_after, m.note, m.supplier_id, m.actor,
       m.created_at
  from stock_movements m join products p using (product_id)
 where m.product_id = $5 and ($6::text is null or p.owner_id = $6)
   and m.movement_id < $1 and ($2::timestamptz is null or m.created_at >= $2)
   and ($3::timestamptz is null or m.created_at < $3)
 order by m.movement_id desc limit $4";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[
    PRODUCT,
    HAS_PRODUCT,
    BRING_IN,
    TAKE_OUT,
    GIVE_BACK,
    PRODUCTS_OF,
    BY_REQUEST_KEY,
    TAKEN_OUT,
    PAGE_OF_ALL,
    PAGE_OF_OWNER,
    PAGE_OF_PRODUCT,
];

fn movement(row: &Row) -> Movement {
    Movement {
        id: row.get("movement_id"),
        product_id: row.get("product_id"),
        movement_type: row.get("movement_type"),
        quantity: row.get("quantity"),
        stock_after: row.get("stock_after"),
        note: row.get("note"),
        supplier_id: row.get("supplier_id"),
        actor: row.get("actor"),
        created_at: row.get("created_at"),
    }
}

fn name(row: &Row) -> Name {
    Name { id: row.get("product_id"), sku: row.get("sku") }
}

/// The product of a wish, and whether its owner has the supplier; none where the owner has no such product.
pub(super) async fn product(db: &Db, wish: &Wish) -> Result<Option<(Name, bool)>, Fault> {
    let rows = db.read(PRODUCT, &[&wish.owner, &wish.product, &wish.supplier_id]).await?;
    Ok(rows.first().map(|row| (name(row), row.get("supplied"))))
}

/// Whether the owner has or had this product.
pub(super) async fn has_product(
    db: &Db,
    owner: Option<&str>,
    product: ProductId,
) -> Result<bool, Fault> {
    Ok(!db.read(HAS_PRODUCT, &[&owner, &product]).await?.is_empty())
}

/// The movement, or that of an earlier run of the same request; none where the owner has no such product.
pub(super) async fn bring_in(db: &Db, wish: &Wish) -> Result<Option<Movement>, MoveError> {
    let Wish { owner, product, quantity, note, supplier_id, actor, request_key } = wish;
    let brought = db
        .write(BRING_IN, &[owner, product, quantity, note, supplier_id, actor, request_key])
        .await;
    match brought {
        Ok(rows) => Ok(rows.first().map(movement)),
        Err(fault) => match (violated_constraint(&fault), request_key) {
            (Some("sku_stock_total_check"), _) => Err(MoveError::TooMuch),
            (Some("stock_movements_request_key"), Some(key)) => Ok(by_request_key(db, key).await?),
            _ => Err(fault.into()),
        },
    }
}

/// The decision about these pinned units; none where the SKU was rebuilt since.
pub(super) async fn take_out(
    db: &Db,
    wish: &Wish,
    pinned: &Pinned,
) -> Result<Option<Decision>, Fault> {
    let Wish { owner, product, quantity, note, supplier_id, actor, request_key } = wish;
    let line = &pinned.lines[0];
    let decided = db
        .write(
            TAKE_OUT,
            &[
                owner,
                &pinned.id,
                &line.token,
                &line.epoch,
                product,
                quantity,
                note,
                supplier_id,
                actor,
                request_key,
            ],
        )
        .await;
    match decided {
        Ok(rows) => rows.first().map(decision).transpose(),
        // The same request about another product was faster: it is found the next time.
        Err(fault) if violated_constraint(&fault) == Some("stock_movements_request_key") => {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Refunds an order; none where there is no such order.
pub(super) async fn give_back(
    db: &Db,
    order: OrderId,
    units: Units,
    actor: &str,
) -> Result<Option<Returned>, Fault> {
    let restock = units == Units::Restocked;
    let rows = db.write(GIVE_BACK, &[&order, &restock, &actor]).await?;
    Ok(rows.first().map(|row| Returned { status: row.get("status"), done: row.get("done") }))
}

/// What an order was about.
pub(super) async fn products_of(db: &Db, order: OrderId) -> Result<Vec<Arc<Name>>, Fault> {
    Ok(db.read(PRODUCTS_OF, &[&order]).await?.iter().map(|row| Arc::new(name(row))).collect())
}

/// The movement that a run of this request made.
pub(super) async fn by_request_key(db: &Db, key: &[u8]) -> Result<Option<Movement>, Fault> {
    Ok(db.read(BY_REQUEST_KEY, &[&key]).await?.first().map(movement))
}

/// The movement of units that were pinned under this id.
pub(super) async fn taken_out(db: &Db, id: ReservationId) -> Result<Option<Movement>, Fault> {
    Ok(db.read(TAKEN_OUT, &[&id]).await?.first().map(movement))
}

/// At most `listing.limit` movements and one more, which says that there is another page.
pub(super) async fn page(db: &Db, listing: &Listing) -> Result<Vec<Movement>, Fault> {
    let Listing { owner, product, from, to, before, limit } = listing;
    let most = limit + 1;
    let rows = match (product, owner) {
        (Some(product), _) => {
            db.read(PAGE_OF_PRODUCT, &[before, from, to, &most, product, owner]).await?
        }
        (None, Some(owner)) => db.read(PAGE_OF_OWNER, &[before, from, to, &most, owner]).await?,
        (None, None) => db.read(PAGE_OF_ALL, &[before, from, to, &most]).await?,
    };
    Ok(rows.iter().map(movement).collect())
}
