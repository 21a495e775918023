//! All SQL on `products`.

use tokio_postgres::Row;

use crate::catalogue::{CreateError, Name, NewProduct, Product, Terms};
use crate::kernel::{Currency, Money, ProductId, Sku};
use crate::platform::postgres::violated_constraint;
use crate::platform::{Db, Fault};

const NAME_BY_SKU: &str = "-- products.name_by_sku
select product_id, sku from products where sku = $1";

const NAME_BY_ID: &str = "-- products.name_by_id
select product_id, sku from products where product_id = $1";

const NAMES_AFTER: &str = "-- products.names_after
select product_id, sku from products where product_id > $1 order by product_id limit $2";

const OFFER: &str = "-- products.offer
select name, currency, price_minor from products where product_id = $1";

const PRODUCT: &str = "-- products.product
select p.product_id, p.sku, p.owner_id, p.name, p.description, p.category, p.price_minor, p.currency, p.published,
       p.hold_ttl_seconds, p.max_per_buyer::bigint, p.sale_starts_at, p.sale_ends_at, p.low_stock_threshold,
       p.version, p.created_at, p.updated_at, s.stocked - s.returned as total_stock
  from products p join sku_stock s using (product_id)
 where p.product_id = $1";

const CREATE: &str = "-- products.create
with product as (
    insert into products (sku, owner_id, name, description, category, price_minor, currency, published,
        hold_ttl_seconds, max_per_buyer, sale_starts_at, sale_ends_at, low_stock_threshold, request_key)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::bigint::integer, $11, $12, $13, $14)
    returning product_id
), stock as (
    insert into sku_stock (product_id, stocked) select product_id, $15 from product
), movement as (
    insert into stock_movements (product_id, movement_type, quantity, stock_after, note, actor)
    select product_id, 'IN', $15, $15, 'opening stock', $16 from product where $15::bigint > 0
)
select product_id from product";

const BY_REQUEST_KEY: &str = "-- products.by_request_key
select product_id from products where request_key = $1";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] =
    &[NAME_BY_SKU, NAME_BY_ID, NAMES_AFTER, OFFER, PRODUCT, CREATE, BY_REQUEST_KEY];

fn name(row: &Row) -> Name {
    Name { id: row.get("product_id"), sku: row.get("sku") }
}

pub(super) async fn name_by_sku(db: &Db, sku: &Sku) -> Result<Option<Name>, Fault> {
    Ok(db.read(NAME_BY_SKU, &[sku]).await?.first().map(name))
}

pub(super) async fn name_by_id(db: &Db, id: ProductId) -> Result<Option<Name>, Fault> {
    Ok(db.read(NAME_BY_ID, &[&id]).await?.first().map(name))
}

pub(super) async fn names_after(db: &Db, after: i64, limit: i64) -> Result<Vec<Name>, Fault> {
    Ok(db.read(NAMES_AFTER, &[&after, &limit]).await?.iter().map(name).collect())
}

fn price(row: &Row) -> Result<(Currency, Option<Money>), Fault> {
    let code: &str = row.get("currency");
    let currency: Currency =
        code.parse().map_err(|error| Fault::internal("reading a currency").because(error))?;
    let minor: Option<i64> = row.get("price_minor");
    Ok((currency, minor.map(|minor| Money::new(minor, currency))))
}

pub(super) async fn offer(
    db: &Db,
    id: ProductId,
) -> Result<Option<(String, Currency, Option<Money>)>, Fault> {
    let rows = db.read(OFFER, &[&id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (currency, price) = price(row)?;
    Ok(Some((row.get("name"), currency, price)))
}

pub(super) async fn product(db: &Db, id: ProductId) -> Result<Option<Product>, Fault> {
    let rows = db.read(PRODUCT, &[&id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (currency, price) = price(row)?;
    let terms = Terms {
        title: row.get("name"),
        description: row.get("description"),
        category: row.get("category"),
        currency,
        price,
        hold_ttl_seconds: row.get("hold_ttl_seconds"),
        max_per_buyer: row.get("max_per_buyer"),
        sale_starts_at: row.get("sale_starts_at"),
        sale_ends_at: row.get("sale_ends_at"),
        low_stock_threshold: row.get("low_stock_threshold"),
    };
    Ok(Some(Product {
        name: name(row),
        owner_id: row.get("owner_id"),
        terms,
        published: row.get("published"),
        total_stock: row.get("total_stock"),
        version: row.get("version"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }))
}

pub(super) async fn create(db: &Db, product: &NewProduct) -> Result<ProductId, CreateError> {
    let terms = &product.terms;
    let price_minor = terms.price.map(|price| price.minor);
    let currency = terms.currency.to_string();
    let created = db
        .write(
            CREATE,
            &[
                &product.sku,
                &product.owner_id,
                &terms.title,
                &terms.description,
                &terms.category,
                &price_minor,
                &currency,
                &product.published,
                &terms.hold_ttl_seconds,
                &terms.max_per_buyer,
                &terms.sale_starts_at,
                &terms.sale_ends_at,
                &terms.low_stock_threshold,
                &product.request_key,
                &product.total_stock,
                &product.actor,
            ],
        )
        .await;
    match created {
        Ok(rows) => Ok(rows[0].get("product_id")),
        Err(fault) => match violated_constraint(&fault) {
            Some("products_sku_key") => replayed(db, product).await?.ok_or(CreateError::SkuTaken),
            Some("products_request_key_key") => Ok(replayed(db, product).await?.ok_or(fault)?),
            _ => Err(fault.into()),
        },
    }
}

/// The product that an earlier run of the same request made.
async fn replayed(db: &Db, product: &NewProduct) -> Result<Option<ProductId>, Fault> {
    let Some(key) = &product.request_key else { return Ok(None) };
    Ok(db.read(BY_REQUEST_KEY, &[key]).await?.first().map(|row| row.get("product_id")))
}
