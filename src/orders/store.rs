//! All SQL of orders.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::catalogue::Offer;
use crate::kernel::{Currency, Money, OrderId};
use crate::orders::columns_store::Columns;
use crate::orders::place::CartSale;
use crate::orders::{Order, OrderItem, Viewer};
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, Pinned, decision, decision_columns};

const CONFIRM: &str = concat!(
    "-- orders.confirm
select ",
    decision_columns!(),
    "
  from confirm($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
);

const ORDER: &str = "-- orders.read
select o.order_id, o.user_id, o.reservation_id, o.status, o.total_minor, o.currency, o.created_at, i.product_id, i.sku,
       i.name, i.quantity, i.unit_price_minor
  from orders o join order_items i using (order_id)
 where o.order_id = $1
   and ($2::text is null or o.user_id = $2 or ($3 and exists (
        select from order_items own join products p using (product_id)
         where own.order_id = o.order_id and p.owner_id = $2)))
 order by i.product_id";

const THESE: &str = "-- orders.these
select o.order_id, o.user_id, o.reservation_id, o.status, o.total_minor, o.currency, o.created_at, i.product_id, i.sku,
       i.name, i.quantity, i.unit_price_minor
  from orders o join order_items i using (order_id)
 where o.order_id = any ($1)
 order by o.order_id, i.product_id";

const ADDRESS: &str = "-- orders.address
select email from orders where order_id = $1";

const CONFIRM_ORDER: &str = concat!(
    "-- orders.confirm_order
select ",
    decision_columns!(),
    "
  from confirm_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
);

const FULFIL: &str = "-- orders.fulfil
with fulfilled as (
    update orders set status = 'fulfilled', changed_by = $2, updated_at = now() where order_id = $1 and status = 'paid'
       and refunding_at is null
    returning order_id, reservation_id, user_id
)
insert into outbox (topic, reservation_id, payload)
select 'order.fulfilled', f.reservation_id,
       jsonb_build_object('order_id', f.order_id, 'reservation_id', f.reservation_id, 'user_id', f.user_id)
  from fulfilled f";

macro_rules! page {
    ($name:literal, $which:literal) => {
        concat!(
            "-- orders.",
            $name,
            "
with page as (
    select o.* from orders o
     where ",
            $which,
            " and ($2::uuid is null or o.order_id < $2) and ($3::text is null or o.status = $3)
     order by o.order_id desc limit $4
)
select o.order_id, o.user_id, o.reservation_id, o.status, o.total_minor, o.currency, o.created_at, i.product_id, i.sku,
       i.name, i.quantity, i.unit_price_minor
  from page o join order_items i using (order_id)
 order by o.order_id desc, i.product_id"
        )
    };
}

const LIST_ALL: &str = page!("list_all", "$1::text is null");
const LIST_OF_BUYER: &str = page!("list_of_buyer", "o.user_id = $1::text");
const LIST_OF_MERCHANT: &str = page!(
    "list_of_merchant",
    "o.order_id in (select own.order_id from orders own where own.user_id = $1::text
        union select i.order_id from order_items i join products p using (product_id) where p.owner_id = $1)"
);

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[
    CONFIRM,
    CONFIRM_ORDER,
    ORDER,
    THESE,
    ADDRESS,
    FULFIL,
    LIST_ALL,
    LIST_OF_BUYER,
    LIST_OF_MERCHANT,
];

/// One sale for `confirm`.
#[derive(Clone)]
pub(super) struct Sale {
    pub(super) pinned: Pinned,
    pub(super) order_id: OrderId,
    /// One for each line of the reservation, in any order.
    pub(super) offers: Vec<Arc<Offer>>,
    pub(super) total: Money,
    pub(super) email: Option<String>,
    pub(super) actor: String,
}

/// Decides these sales in one transaction. Reservations that are missing in the answer met a newer epoch.
pub(super) async fn confirm(db: &Db, sales: &[Sale]) -> Result<Vec<Decision>, Fault> {
    let columns = Columns::of(sales.iter().map(|sale| (&sale.pinned, sale.offers.as_slice())))?;
    let orders: Vec<_> = sales.iter().map(|sale| sale.order_id).collect();
    let users: Vec<_> = sales.iter().map(|sale| sale.pinned.user.as_str()).collect();
    let actors: Vec<_> = sales.iter().map(|sale| sale.actor.as_str()).collect();
    let emails: Vec<_> = sales.iter().map(|sale| sale.email.as_deref()).collect();
    let currencies: Vec<_> = sales.iter().map(|sale| sale.total.currency.to_string()).collect();
    let totals: Vec<_> = sales.iter().map(|sale| sale.total.minor).collect();
    let sales: &[&(dyn ToSql + Sync)] = &[
        &columns.ids,
        &orders,
        &users,
        &actors,
        &emails,
        &currencies,
        &totals,
        &columns.held_at,
        &columns.expires_at,
    ];
    let rows = db.write(CONFIRM, &[sales, &columns.of_lines()].concat()).await?;
    rows.iter().map(decision).collect()
}

pub(super) async fn order(db: &Db, id: OrderId, viewer: &Viewer) -> Result<Option<Order>, Fault> {
    let (user, merchant) = match viewer {
        Viewer::All => (None, false),
        Viewer::Buyer(user) => (Some(user), false),
        Viewer::Merchant(user) => (Some(user), true),
    };
    let rows = db.read(ORDER, &[&id, &user, &merchant]).await?;
    Ok(orders(&rows)?.pop())
}

pub(super) async fn these(db: &Db, ids: &[OrderId]) -> Result<Vec<Order>, Fault> {
    orders(&db.read(THESE, &[&ids]).await?)
}

/// The address that news of an order goes to.
pub(super) async fn address(db: &Db, id: OrderId) -> Result<Option<String>, Fault> {
    Ok(db.read(ADDRESS, &[&id]).await?.first().and_then(|row| row.get("email")))
}

/// Rows of lines, those of one order together.
fn orders(rows: &[Row]) -> Result<Vec<Order>, Fault> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let id: OrderId = row.get("order_id");
        let code: &str = row.get("currency");
        let currency: Currency =
            code.parse().map_err(|error| Fault::internal("reading a currency").because(error))?;
        let price: Option<i64> = row.get("unit_price_minor");
        let item = OrderItem {
            product_id: row.get("product_id"),
            sku: row.get("sku"),
            name: row.get("name"),
            unit_price: price.map(|minor| Money::new(minor, currency)),
            quantity: row.get("quantity"),
        };
        match orders.last_mut() {
            Some(order) if order.id == id => order.items.push(item),
            _ => orders.push(Order {
                id,
                user_id: row.get("user_id"),
                reservation_id: row.get("reservation_id"),
                status: row.get("status"),
                payment: None,
                items: vec![item],
                total: Money::new(row.get("total_minor"), currency),
                created_at: row.get("created_at"),
            }),
        }
    }
    Ok(orders)
}

pub(super) async fn list(
    db: &Db,
    viewer: &Viewer,
    status: Option<&str>,
    before: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Order>, Fault> {
    let (sql, user) = match viewer {
        Viewer::All => (LIST_ALL, None),
        Viewer::Buyer(user) => (LIST_OF_BUYER, Some(user)),
        Viewer::Merchant(user) => (LIST_OF_MERCHANT, Some(user)),
    };
    orders(&db.read(sql, &[&user, &before, &status, &(limit + 1)]).await?)
}

pub(super) async fn fulfil(db: &Db, id: OrderId, actor: &str) -> Result<(), Fault> {
    db.write(FULFIL, &[&id, &actor]).await.map(drop)
}

/// Decides all reservations of an order in one transaction. None in the answer: an epoch moved.
pub(super) async fn confirm_order(db: &Db, sale: &CartSale) -> Result<Vec<Decision>, Fault> {
    let offers: Vec<_> = sale.lines.iter().map(|(_, offer)| offer.clone()).collect();
    let columns = Columns::of(sale.pinned.iter().map(|pin| (pin, offers.as_slice())))?;
    let item = |product| sale.lines.iter().find(|(line, _)| line.product_id == product);
    let cart: Vec<_> =
        columns.products.iter().map(|product| item(*product).map(|(line, _)| line.id)).collect();
    let (user, email) = (sale.user.as_str(), sale.email.as_deref());
    let currency = sale.total.currency.to_string();
    let order: &[&(dyn ToSql + Sync)] = &[
        &sale.order_id,
        &user,
        &sale.actor,
        &email,
        &currency,
        &sale.total.minor,
        &sale.named,
        &columns.ids,
        &columns.held_at,
        &columns.expires_at,
    ];
    let rows = db.write(CONFIRM_ORDER, &[order, &columns.of_lines(), &[&cart]].concat()).await?;
    rows.iter().map(decision).collect()
}
