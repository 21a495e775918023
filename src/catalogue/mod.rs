//! Products: what is for sale and on which terms. How much of it there is, is the reservations' business.

mod body;
mod edit;
mod edit_http;
mod http;
mod list_http;
mod sale;
mod store;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use moka::future::Cache as Memory;

use crate::kernel::{Currency, Instant, Money, ProductId, Quantity, Sku};
use crate::platform::cache::Cache;
use crate::platform::redis::Via;
use crate::platform::{Db, Fault};

pub use body::text;
pub use edit::{DeleteError, UpdateError};
pub use http::{Operations, SkuOrId, owns, routes};
pub use sale::{Ending, SaleState};
pub use store::STATEMENTS;

/// Names of products that are kept in this process; they never change.
const NAMES: u64 = 1_000_000;
/// How old a price may be when an order is made with it.
const OFFER_AGE: Duration = Duration::from_secs(1);

/// The number and the SKU of a product, which belong together for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The number.
    pub id: ProductId,
    /// The SKU.
    pub sku: Sku,
}

/// What an order needs to know of a product.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Which product.
    pub name: Arc<Name>,
    /// What it is called.
    pub title: String,
    /// The currency of its price; never changes.
    pub currency: Currency,
    /// Its price; none where the storefront sets it at checkout.
    pub price: Option<Money>,
}

/// A product as the API shows it.
#[derive(Clone, Debug)]
pub struct Product {
    /// Number and SKU.
    pub name: Name,
    /// Who created it.
    pub owner_id: Option<String>,
    /// Everything its owner may set.
    pub terms: Terms,
    /// Units that came in, net of what was taken out and given back.
    pub total_stock: i64,
    /// Counts edits, not sales.
    pub version: i32,
    /// When it was made.
    pub created_at: Instant,
    /// When it was edited last.
    pub updated_at: Instant,
}

/// What the owner of a product sets.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What it is called.
    pub title: String,
    /// What it is.
    pub description: String,
    /// For filtering.
    pub category: Option<String>,
    /// The currency of the price.
    pub currency: Currency,
    /// The price.
    pub price: Option<Money>,
    /// How long a hold of it lasts; the service's setting where it is absent.
    pub hold_ttl_seconds: Option<i32>,
    /// Most units that one buyer may hold and have bought.
    pub max_per_buyer: Option<Quantity>,
    /// No hold before.
    pub sale_starts_at: Option<Instant>,
    /// No hold from then on.
    pub sale_ends_at: Option<Instant>,
    /// Whether everybody sees it.
    pub published: bool,
    /// With so many units on hand the owner wants to be told.
    pub low_stock_threshold: Option<i64>,
    /// Where its owner buys it.
    pub supplier_id: Option<i64>,
}

/// What rules new holds of a product; 0 is none.
#[derive(Clone, Debug)]
pub struct SaleTerms {
    /// The longest hold.
    pub ttl_ms: i64,
    /// Most units of one buyer.
    pub cap: i64,
    /// No hold before.
    pub opens_at_ms: i64,
    /// No hold from then on.
    pub closes_at_ms: i64,
    /// `open`, `paused`, `draining`, `closed` or `hidden`.
    pub sale: String,
    /// The product's version that these are of.
    pub version: i32,
}

/// Whoever sells from the catalogue, and is told when the terms of a product changed.
pub trait Sale: Send + Sync {
    /// Makes the terms that Postgres has now rule new holds. With `idle`, only if nobody holds the product: false, and
    /// nothing changed, if somebody does.
    fn announce<'a>(
        &'a self,
        name: &'a Arc<Name>,
        idle: bool,
    ) -> BoxFuture<'a, Result<bool, Fault>>;
}

/// By what a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// The name.
    Name,
    /// The price, in minor units; products without one first.
    Price,
    /// When it was made.
    CreatedAt,
}

impl Ordering {
    fn column(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Price => "price",
            Self::CreatedAt => "created_at",
        }
    }
}

/// Which products to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Those of this owner, published or not.
    pub owner: Option<String>,
    /// Those that are not published too.
    pub every: bool,
    /// Those whose stock on hand is at or below their threshold.
    pub low_stock: bool,
    /// Those of this category.
    pub category: Option<String>,
    /// Those whose name or SKU has this in it.
    pub text: Option<String>,
    /// In this order.
    pub ordering: Ordering,
    /// Backwards.
    pub descending: bool,
    /// Those behind this one: what it is sorted by, and its number.
    pub after: Option<(String, ProductId)>,
    /// At most so many.
    pub limit: i64,
}

/// A product that does not exist yet.
#[derive(Clone, Debug)]
pub struct NewProduct {
    /// Its SKU; one is made up where its owner has none.
    pub sku: Sku,
    /// What its owner set.
    pub terms: Terms,
    /// Units to begin with.
    pub total_stock: i64,
    /// Who creates and owns it.
    pub owner_id: String,
    /// Who did it, for the record.
    pub actor: String,
    /// The hash of the request's Idempotency-Key.
    pub request_key: Option<Vec<u8>>,
}

/// Why a product was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another product has or had this SKU.
    #[error("the SKU belongs to another product")]
    SkuTaken,
    /// The owner has no such supplier.
    #[error("the owner has no such supplier")]
    UnknownSupplier,
    /// Something else went wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The catalogue's handle.
#[derive(Clone)]
pub struct Catalogue {
    db: Db,
    default_currency: Currency,
    by_sku: Memory<Sku, Arc<Name>>,
    by_id: Memory<ProductId, Arc<Name>>,
    offers: Memory<ProductId, Arc<Offer>>,
    shown: Cache,
}

impl Catalogue {
    /// A catalogue in this database; products without a currency get the default one. `shown` keeps what everybody sees.
    pub fn new(db: Db, default_currency: Currency, shown: Cache) -> Self {
        Self {
            db,
            default_currency,
            by_sku: Memory::new(NAMES),
            by_id: Memory::new(NAMES),
            offers: Memory::builder().max_capacity(NAMES).time_to_live(OFFER_AGE).build(),
            shown,
        }
    }

    /// The same catalogue over another way to Redis.
    pub fn over(&self, via: Via) -> Self {
        Self { shown: self.shown.over(via), ..self.clone() }
    }

    /// Makes all replicas forget what everybody saw: call it after every change of what a product shows.
    pub async fn changed(&self) {
        self.shown.forget().await;
    }

    /// The currency of products that name none.
    pub fn default_currency(&self) -> Currency {
        self.default_currency
    }

    /// The product with this SKU. Asks Postgres once in the life of the process.
    pub async fn by_sku(&self, sku: &Sku) -> Result<Option<Arc<Name>>, Fault> {
        if let Some(name) = self.by_sku.get(sku).await {
            return Ok(Some(name));
        }
        Box::pin(async { Ok(self.remember(store::name_by_sku(&self.db, sku).await?).await) }).await
    }

    /// The product with this number. Asks Postgres once in the life of the process.
    pub async fn by_id(&self, id: ProductId) -> Result<Option<Arc<Name>>, Fault> {
        if let Some(name) = self.by_id.get(&id).await {
            return Ok(Some(name));
        }
        Box::pin(async { Ok(self.remember(store::name_by_id(&self.db, id).await?).await) }).await
    }

    async fn remember(&self, name: Option<Name>) -> Option<Arc<Name>> {
        let name = Arc::new(name?);
        self.by_sku.insert(name.sku.clone(), name.clone()).await;
        self.by_id.insert(name.id, name.clone()).await;
        Some(name)
    }

    /// What an order needs to know of this product, at most a second old.
    pub async fn offer(&self, id: ProductId) -> Result<Option<Arc<Offer>>, Fault> {
        if let Some(offer) = self.offers.get(&id).await {
            return Ok(Some(offer));
        }
        self.fresh_offer(id).await
    }

    /// The same as it is now.
    pub async fn fresh_offer(&self, id: ProductId) -> Result<Option<Arc<Offer>>, Fault> {
        let Some(name) = self.by_id(id).await? else { return Ok(None) };
        let Some((title, currency, price)) = store::offer(&self.db, id).await? else {
            return Ok(None);
        };
        let offer = Arc::new(Offer { name, title, currency, price });
        self.offers.insert(id, offer.clone()).await;
        Ok(Some(offer))
    }

    /// The whole product.
    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, Fault> {
        store::product(&self.db, id).await
    }

    /// Creates a product with its stock and the movement that brought it, in one transaction.
    pub async fn create(&self, product: &NewProduct) -> Result<Product, CreateError> {
        let id = store::create(&self.db, product).await?;
        self.changed().await;
        let missing = || Fault::internal("reading a product that was just created");
        Ok(self.product(id).await?.ok_or_else(missing)?)
    }

    /// Names of products with a number above `after`, in order.
    pub async fn names_after(&self, after: i64, limit: i64) -> Result<Vec<Name>, Fault> {
        store::names_after(&self.db, after, limit).await
    }

    /// A page of products, and one more if there is another page.
    pub async fn page(&self, listing: &Listing) -> Result<Vec<Product>, Fault> {
        store::page(&self.db, listing).await
    }

    /// What rules new holds of this product, deleted ones included.
    pub async fn sale_terms(&self, id: ProductId) -> Result<Option<SaleTerms>, Fault> {
        store::sale_terms(&self.db, id).await
    }

    /// Products whose terms Redis has not confirmed.
    pub async fn untold(&self, limit: i64) -> Result<Vec<Arc<Name>>, Fault> {
        Ok(store::untold(&self.db, limit).await?.into_iter().map(Arc::new).collect())
    }

    /// Redis has the terms of this version.
    pub async fn told(&self, id: ProductId, version: i32) -> Result<(), Fault> {
        store::told(&self.db, id, version).await
    }
}
