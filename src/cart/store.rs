//! All SQL on `cart_items`.

use crate::cart::{AddError, Line, MAX_LINES};
use crate::kernel::{Currency, Money, ProductId, Quantity, UserId};
use crate::platform::{Db, Fault};

const LINES: &str = "-- cart_items.lines
select c.cart_item_id, c.product_id, p.sku, p.name, p.currency, p.price_minor, c.quantity,
       p.published and p.deleted_at is null as for_sale
  from cart_items c join products p using (product_id)
 where c.user_id = $1
 order by c.cart_item_id";

const ADD: &str = "-- cart_items.add
select refused, created from cart_add($1, $2, $3, $4, $5)";

const SET: &str = "-- cart_items.set
update cart_items set quantity = $3 where user_id = $1 and cart_item_id = $2 returning cart_item_id";

const REMOVE: &str = "-- cart_items.remove
delete from cart_items where user_id = $1 and cart_item_id = $2 returning cart_item_id";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[LINES, ADD, SET, REMOVE];

pub(super) async fn lines(db: &Db, user: &UserId) -> Result<Vec<Line>, Fault> {
    let mut lines = Vec::new();
    for row in db.read(LINES, &[user]).await? {
        let code: &str = row.get("currency");
        let currency: Currency =
            code.parse().map_err(|error| Fault::internal("reading a currency").because(error))?;
        let minor: Option<i64> = row.get("price_minor");
        lines.push(Line {
            id: row.get("cart_item_id"),
            product_id: row.get("product_id"),
            sku: row.get("sku"),
            title: row.get("name"),
            currency,
            price: minor.map(|minor| Money::new(minor, currency)),
            quantity: row.get("quantity"),
            for_sale: row.get("for_sale"),
        });
    }
    Ok(lines)
}

pub(super) async fn add(
    db: &Db,
    user: &UserId,
    product: ProductId,
    quantity: Quantity,
    request_key: Option<&[u8]>,
) -> Result<bool, AddError> {
    let rows = db.write(ADD, &[user, &product, &quantity, &MAX_LINES, &request_key]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("adding to a cart"))?;
    match row.get::<_, Option<&str>>("refused") {
        None => Ok(row.get("created")),
        Some("unknown_product") => Err(AddError::UnknownProduct),
        Some("mixed_currency") => Err(AddError::MixedCurrency),
        Some("cart_full") => Err(AddError::Full),
        Some(_) => Err(AddError::TooMany),
    }
}

pub(super) async fn set(
    db: &Db,
    user: &UserId,
    id: i64,
    quantity: Quantity,
) -> Result<bool, Fault> {
    Ok(!db.write(SET, &[user, &id, &quantity]).await?.is_empty())
}

pub(super) async fn remove(db: &Db, user: &UserId, id: i64) -> Result<bool, Fault> {
    Ok(!db.write(REMOVE, &[user, &id]).await?.is_empty())
}
