//! All SQL on `products`.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::catalogue::{
    CreateError, Ending, Listing, Name, NewProduct, Product, SaleState, SaleTerms, Terms,
    UpdateError,
};
use crate::kernel::{Currency, Instant, Money, ProductId, Quantity, Sku};
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
select * from shown_products where product_id = $1";

const PAGE: &str = "-- products.page
select * from products_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const CREATE: &str = "-- products.create
with product as (
    insert into products (sku, owner_id, name, description, category, price_minor, currency, published,
        hold_ttl_seconds, max_per_buyer, sale_starts_at, sale_ends_at, low_stock_threshold, request_key, supplier_id,
        changed_by)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::bigint::integer, $11, $12, $13, $14, $17, $16)
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

const UPDATE: &str = "-- products.update
update products
   set name = $3, description = $4, category = $5, price_minor = $6, published = $7, hold_ttl_seconds = $8,
       max_per_buyer = $9::bigint::integer, sale_starts_at = $10, sale_ends_at = $11, low_stock_threshold = $12,
       supplier_id = $13, changed_by = $14, version = version + 1, updated_at = now()
 where product_id = $1 and version = $2 and deleted_at is null
returning version";

const DELETE: &str = "-- products.delete
update products set deleted_at = now(), changed_by = $3, version = version + 1, updated_at = now()
 where product_id = $1 and version = $2 and deleted_at is null
returning version";

const RESTORE: &str = "-- products.restore
update products set deleted_at = null, version = version + 1, updated_at = now()
 where product_id = $1 and version = $2 and deleted_at is not null";

const SALE_TERMS: &str = "-- products.sale_terms
select coalesce(hold_ttl_seconds, 0)::bigint as hold_ttl_seconds, coalesce(max_per_buyer, 0)::bigint as max_per_buyer,
       sale_starts_at, sale_ends_at,
       case when published and deleted_at is null then sale else 'hidden' end as sale, version
  from products where product_id = $1";

const UNTOLD: &str = "-- products.untold
select product_id, sku from products where terms_told < version order by product_id limit $1";

const TOLD: &str = "-- products.told
update products set terms_told = $2 where product_id = $1 and terms_told < $2";

const SET_SALE: &str = "-- products.set_sale
select set_sale($1, $2, $3, $4, $5) as sale";

const SALE_STATES: &str = "-- products.sale_states
select product_id, sale from products where product_id = any ($1)";

const ENDING: &str = "-- products.ending
select product_id, sku, sale = 'draining' as draining, sale_closer from products
 where (sale = 'draining' or sale_closer is not null) and product_id > $1 order by product_id limit $2";

const RELEASED: &str = "-- products.released
update products set sale_closer = null where product_id = $1 and sale = 'closed'";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[
    NAME_BY_SKU,
    NAME_BY_ID,
    NAMES_AFTER,
    OFFER,
    PRODUCT,
    PAGE,
    CREATE,
    BY_REQUEST_KEY,
    UPDATE,
    DELETE,
    RESTORE,
    SALE_TERMS,
    UNTOLD,
    TOLD,
    SET_SALE,
    SALE_STATES,
    ENDING,
    RELEASED,
];

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
    db.read(PRODUCT, &[&id]).await?.first().map(shown).transpose()
}

fn shown(row: &Row) -> Result<Product, Fault> {
    let (currency, price) = price(row)?;
    let terms = Terms {
        title: row.get("name"),
        description: row.get("description"),
        category: row.get("category"),
        currency,
        price,
        published: row.get("published"),
        hold_ttl_seconds: row.get("hold_ttl_seconds"),
        max_per_buyer: quantity(row)?,
        sale_starts_at: row.get("sale_starts_at"),
        sale_ends_at: row.get("sale_ends_at"),
        low_stock_threshold: row.get("low_stock_threshold"),
        supplier_id: row.get("supplier_id"),
    };
    Ok(Product {
        name: name(row),
        owner_id: row.get("owner_id"),
        terms,
        total_stock: row.get("total_stock"),
        version: row.get("version"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

fn quantity(row: &Row) -> Result<Option<Quantity>, Fault> {
    let units: Option<i32> = row.get("max_per_buyer");
    let broken = |error| Fault::internal("reading max_per_buyer").because(error);
    units.map(|units| Quantity::try_from(i64::from(units)).map_err(broken)).transpose()
}

/// At most `listing.limit` products and one more, which says that there is another page.
pub(super) async fn page(db: &Db, listing: &Listing) -> Result<Vec<Product>, Fault> {
    // What stands for itself in a pattern.
    let literal = |text: &String| {
        let text = text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
        format!("%{text}%")
    };
    let pattern = listing.text.as_ref().map(literal);
    let (after_key, after_id) = listing.after.clone().unzip();
    let rows = db
        .read(
            PAGE,
            &[
                &listing.owner,
                &listing.every,
                &listing.low_stock,
                &listing.category,
                &pattern,
                &listing.ordering.column(),
                &listing.descending,
                &after_key,
                &after_id,
                &(listing.limit + 1),
            ],
        )
        .await?;
    rows.iter().map(shown).collect()
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
                &terms.published,
                &terms.hold_ttl_seconds,
                &terms.max_per_buyer,
                &terms.sale_starts_at,
                &terms.sale_ends_at,
                &terms.low_stock_threshold,
                &product.request_key,
                &product.total_stock,
                &product.actor,
                &terms.supplier_id,
            ],
        )
        .await;
    match created {
        Ok(rows) => Ok(rows[0].get("product_id")),
        Err(fault) => match violated_constraint(&fault) {
            Some("products_sku_key") => replayed(db, product).await?.ok_or(CreateError::SkuTaken),
            Some("products_supplier_fkey") => Err(CreateError::UnknownSupplier),
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

/// The version after the edit; none when `version` is no longer the product's.
pub(super) async fn update(
    db: &Db,
    id: ProductId,
    version: i32,
    terms: &Terms,
    actor: &str,
) -> Result<Option<i32>, UpdateError> {
    let updated = db
        .write(
            UPDATE,
            &[
                &id,
                &version,
                &terms.title,
                &terms.description,
                &terms.category,
                &terms.price.map(|price| price.minor),
                &terms.published,
                &terms.hold_ttl_seconds,
                &terms.max_per_buyer,
                &terms.sale_starts_at,
                &terms.sale_ends_at,
                &terms.low_stock_threshold,
                &terms.supplier_id,
                &actor,
            ],
        )
        .await;
    match updated {
        Ok(rows) => Ok(rows.first().map(|row| row.get("version"))),
        Err(fault) if violated_constraint(&fault) == Some("products_supplier_fkey") => {
            Err(UpdateError::UnknownSupplier)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// The version of the tombstone; none when `version` is no longer the product's.
pub(super) async fn delete(
    db: &Db,
    id: ProductId,
    version: i32,
    actor: &str,
) -> Result<Option<i32>, Fault> {
    let deleted = db.write(DELETE, &[&id, &version, &actor]).await?;
    Ok(deleted.first().map(|row| row.get("version")))
}

pub(super) async fn restore(db: &Db, id: ProductId, version: i32) -> Result<(), Fault> {
    db.write(RESTORE, &[&id, &version]).await.map(drop)
}

pub(super) async fn sale_terms(db: &Db, id: ProductId) -> Result<Option<SaleTerms>, Fault> {
    let rows = db.read(SALE_TERMS, &[&id]).await?;
    let ms = |moment: Option<Instant>| moment.map_or(0, Instant::as_ms);
    Ok(rows.first().map(|row| SaleTerms {
        ttl_ms: row.get::<_, i64>("hold_ttl_seconds") * 1_000,
        cap: row.get("max_per_buyer"),
        opens_at_ms: ms(row.get("sale_starts_at")),
        closes_at_ms: ms(row.get("sale_ends_at")),
        sale: row.get("sale"),
        version: row.get("version"),
    }))
}

pub(super) async fn untold(db: &Db, limit: i64) -> Result<Vec<Name>, Fault> {
    Ok(db.read(UNTOLD, &[&limit]).await?.iter().map(name).collect())
}

pub(super) async fn told(db: &Db, id: ProductId, version: i32) -> Result<(), Fault> {
    db.write(TOLD, &[&id, &version]).await.map(drop)
}

/// The state that stands after it; none where there is no such product.
pub(super) async fn set_sale(
    db: &Db,
    id: ProductId,
    from: Option<SaleState>,
    to: SaleState,
    actor: &str,
    reason: Option<&str>,
) -> Result<Option<SaleState>, Fault> {
    let from = from.map(SaleState::as_str);
    let rows = db.write(SET_SALE, &[&id, &from, &to.as_str(), &actor, &reason]).await?;
    let state: Option<&str> = rows.first().and_then(|row| row.get("sale"));
    state.map(SaleState::of).transpose()
}

pub(super) async fn sale_states(
    db: &Db,
    ids: &[ProductId],
) -> Result<Vec<(ProductId, SaleState)>, Fault> {
    let rows = db.read(SALE_STATES, &[&ids]).await?;
    rows.iter().map(|row| Ok((row.get("product_id"), SaleState::of(row.get("sale"))?))).collect()
}

pub(super) async fn ending(db: &Db, after: i64, limit: i64) -> Result<Vec<Ending>, Fault> {
    let rows = db.read(ENDING, &[&after, &limit]).await?;
    let ending = |row: &Row| Ending {
        name: Arc::new(name(row)),
        draining: row.get("draining"),
        closer: row.get("sale_closer"),
    };
    Ok(rows.iter().map(ending).collect())
}

pub(super) async fn released(db: &Db, id: ProductId) -> Result<(), Fault> {
    db.write(RELEASED, &[&id]).await.map(drop)
}
