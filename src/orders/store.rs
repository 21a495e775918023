//! All SQL of orders.

use std::sync::Arc;

use crate::catalogue::Offer;
use crate::kernel::{Currency, Money, OrderId};
use crate::orders::{Order, OrderItem, Viewer};
use crate::platform::{Db, Fault};
use crate::reservations::{Decision, Pinned, decision};

const CONFIRM: &str = "-- orders.confirm
select reservation_id, outcome, reason, user_id, order_id, product_ids, quantities, tokens, created_at
  from confirm($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";

const ORDER: &str = "-- orders.read
select o.user_id, o.reservation_id, o.status, o.total_minor, o.currency, o.created_at, i.product_id, i.sku, i.name,
       i.quantity, i.unit_price_minor
  from orders o join order_items i using (order_id)
 where o.order_id = $1
   and ($2::text is null or o.user_id = $2 or ($3 and exists (
        select from order_items own join products p using (product_id)
         where own.order_id = o.order_id and p.owner_id = $2)))
 order by i.product_id";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[CONFIRM, ORDER];

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
    let ids: Vec<_> = sales.iter().map(|sale| sale.pinned.id).collect();
    let orders: Vec<_> = sales.iter().map(|sale| sale.order_id).collect();
    let users: Vec<_> = sales.iter().map(|sale| sale.pinned.user.as_str()).collect();
    let actors: Vec<_> = sales.iter().map(|sale| sale.actor.as_str()).collect();
    let emails: Vec<_> = sales.iter().map(|sale| sale.email.as_deref()).collect();
    let currencies: Vec<_> = sales.iter().map(|sale| sale.total.currency.to_string()).collect();
    let totals: Vec<_> = sales.iter().map(|sale| sale.total.minor).collect();
    let held_at: Vec<_> = sales.iter().map(|sale| sale.pinned.held_at).collect();
    let expires_at: Vec<_> = sales.iter().map(|sale| sale.pinned.expires_at).collect();
    let lines = Lines::of(sales)?;
    let rows = db
        .write(
            CONFIRM,
            &[
                &ids,
                &orders,
                &users,
                &actors,
                &emails,
                &currencies,
                &totals,
                &held_at,
                &expires_at,
                &lines.positions,
                &lines.products,
                &lines.quantities,
                &lines.tokens,
                &lines.epochs,
                &lines.caps,
                &lines.skus,
                &lines.names,
                &lines.prices,
            ],
        )
        .await?;
    rows.iter().map(decision).collect()
}

/// The lines of all sales as columns.
#[derive(Default)]
struct Lines<'a> {
    positions: Vec<i32>,
    products: Vec<i64>,
    quantities: Vec<i64>,
    tokens: Vec<&'a str>,
    epochs: Vec<i64>,
    caps: Vec<i64>,
    skus: Vec<&'a str>,
    names: Vec<&'a str>,
    prices: Vec<Option<i64>>,
}

impl<'a> Lines<'a> {
    fn of(sales: &'a [Sale]) -> Result<Self, Fault> {
        let mut lines = Self::default();
        for (position, sale) in (1..).zip(sales) {
            for line in &sale.pinned.lines {
                let offer = sale.offers.iter().find(|offer| offer.name.id == line.name.id);
                let offer = offer.ok_or_else(|| Fault::internal("pricing a pinned line"))?;
                lines.positions.push(position);
                lines.products.push(line.name.id.get());
                lines.quantities.push(line.quantity.get());
                lines.tokens.push(&line.token);
                lines.epochs.push(line.epoch);
                lines.caps.push(line.cap);
                lines.skus.push(line.name.sku.as_str());
                lines.names.push(&offer.title);
                lines.prices.push(offer.price.map(|price| price.minor));
            }
        }
        Ok(lines)
    }
}

pub(super) async fn order(db: &Db, id: OrderId, viewer: &Viewer) -> Result<Option<Order>, Fault> {
    let (user, merchant) = match viewer {
        Viewer::All => (None, false),
        Viewer::Buyer(user) => (Some(user), false),
        Viewer::Merchant(user) => (Some(user), true),
    };
    let rows = db.read(ORDER, &[&id, &user, &merchant]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let code: &str = first.get("currency");
    let currency: Currency =
        code.parse().map_err(|error| Fault::internal("reading a currency").because(error))?;
    let items = rows.iter().map(|row| OrderItem {
        product_id: row.get("product_id"),
        sku: row.get("sku"),
        name: row.get("name"),
        unit_price: row
            .get::<_, Option<i64>>("unit_price_minor")
            .map(|minor| Money::new(minor, currency)),
        quantity: row.get("quantity"),
    });
    Ok(Some(Order {
        id,
        user_id: first.get("user_id"),
        reservation_id: first.get("reservation_id"),
        status: first.get("status"),
        items: items.collect(),
        total: Money::new(first.get("total_minor"), currency),
        created_at: first.get("created_at"),
    }))
}
