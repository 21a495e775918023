//! How sales stand.

use std::sync::Arc;

use serde::Serialize;

use crate::catalogue::{Listing, Name, Ordering, Product, SaleState};
use crate::kernel::{Instant, ProductId, Sku};
use crate::platform::Fault;
use crate::reservations::{Audit, Point, Stock, outlook};
use crate::sales::Sales;

/// Where a sale stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its window has not begun.
    Scheduled,
    /// It takes holds.
    Open,
    /// It takes none for now.
    Paused,
    /// It takes none any more, and is closed when the last hold has ended.
    Draining,
    /// It is over.
    Closed,
    /// The product is not published.
    Hidden,
}

/// Units or requests a second.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RatesShown {
    /// Units held.
    reserved_per_s: f64,
    /// Requests refused.
    refused_per_s: f64,
    /// Units sold.
    sold_per_s: f64,
    /// Units given back.
    restored_per_s: f64,
}

/// A sale as an operator sees it; always `total = available + reserved + sold`.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Sale {
    product_id: ProductId,
    sku: Sku,
    name: String,
    state: State,
    opens_at: Option<Instant>,
    closes_at: Option<Instant>,
    total_stock: i64,
    available_stock: i64,
    reserved_stock: i64,
    /// Units of the reserved ones that a checkout or a payment has pinned.
    paying_stock: i64,
    sold_stock: i64,
    /// Reservations that are held or being confirmed.
    live_holds: i64,
    hold_ttl_seconds: u32,
    max_per_buyer: Option<i64>,
    rates: RatesShown,
    /// How late units are given back, of all sales: what one in a hundred exceeded in the last minute.
    restore_lag_ms: Option<i64>,
    /// Seconds until the last unit is gone, as the last minute went; 0 when it is.
    sold_out_in_s: Option<i64>,
    as_of: Instant,
}

impl Sale {
    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }
}

fn state(product: &Product, sale: SaleState, now: Instant) -> State {
    let terms = &product.terms;
    match sale {
        _ if !terms.published => State::Hidden,
        SaleState::Paused => State::Paused,
        SaleState::Draining => State::Draining,
        SaleState::Closed => State::Closed,
        SaleState::Open if terms.sale_starts_at.is_some_and(|at| now < at) => State::Scheduled,
        SaleState::Open if terms.sale_ends_at.is_some_and(|at| now >= at) => State::Closed,
        SaleState::Open => State::Open,
    }
}

/// Which sales to list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of products whose name or SKU has this in it.
    pub text: Option<String>,
    /// Behind this one.
    pub after: Option<(Instant, ProductId)>,
    /// At most so many.
    pub limit: usize,
}

impl Sales {
    /// A page of sales, the newest product first, and one more if there is another page; each with where the next page
    /// begins.
    pub async fn list(&self, wanted: Wanted) -> Result<Vec<(Sale, (Instant, ProductId))>, Fault> {
        let listing = Listing {
            owner: None,
            every: true,
            low_stock: false,
            category: None,
            text: wanted.text,
            ordering: Ordering::CreatedAt,
            descending: true,
            after: wanted.after.map(|(at, id)| (at.to_string(), id)),
            limit: wanted.limit as i64,
        };
        let products = self.reservations.catalogue().page(&listing).await?;
        let places: Vec<_> =
            products.iter().map(|product| (product.created_at, product.name.id)).collect();
        Ok(self.show(products).await?.into_iter().zip(places).collect())
    }

    /// The sale of this product.
    pub async fn sale(&self, id: ProductId) -> Result<Option<Sale>, Fault> {
        let product = self.reservations.catalogue().product(id).await?;
        Ok(self.show(product.into_iter().collect()).await?.pop())
    }

    /// The same for onlookers, all of whom share a reading that is a little old.
    pub async fn look(&self, id: ProductId) -> Result<Option<Arc<Sale>>, Fault> {
        let read = async { Ok(self.sale(id).await?.map(Arc::new)) };
        self.shown.try_get_with(id, read).await.map_err(|fault: Arc<Fault>| fault.repeat())
    }

    async fn show(&self, products: Vec<Product>) -> Result<Vec<Sale>, Fault> {
        if products.is_empty() {
            return Ok(Vec::new());
        }
        let catalogue = self.reservations.catalogue();
        let ids: Vec<ProductId> = products.iter().map(|product| product.name.id).collect();
        let states = catalogue.sale_states(&ids).await?;
        let names: Vec<Arc<Name>> =
            products.iter().map(|product| Arc::new(product.name.clone())).collect();
        let audits = self.reservations.audits(&names).await?;
        let series = self.reservations.latest(&names).await?;
        let restore_lag_ms = self.reservations.restore_lag_ms().await?;
        let mut sales = Vec::new();
        for (((product, name), audit), points) in
            products.iter().zip(&names).zip(audits).zip(series)
        {
            let known = states.iter().find(|(id, _)| *id == name.id);
            let sale = known.map_or(SaleState::Open, |(_, state)| *state);
            sales.push(self.one(product, sale, &audit, &points, restore_lag_ms));
        }
        Ok(sales)
    }

    fn one(
        &self,
        product: &Product,
        sale: SaleState,
        audit: &Audit,
        points: &[Point],
        restore_lag_ms: Option<i64>,
    ) -> Sale {
        let stock = Stock::of(&product.name, audit);
        let (rates, sold_out_in_s) = outlook(points, audit.now_ms);
        let own = product.terms.hold_ttl_seconds.and_then(|seconds| u32::try_from(seconds).ok());
        Sale {
            product_id: stock.product_id,
            sku: stock.sku,
            name: product.terms.title.clone(),
            state: state(product, sale, stock.as_of),
            opens_at: product.terms.sale_starts_at,
            closes_at: product.terms.sale_ends_at,
            total_stock: stock.total_stock,
            available_stock: stock.available_stock,
            reserved_stock: stock.reserved_stock,
            paying_stock: audit.pinned,
            sold_stock: stock.sold_stock,
            live_holds: audit.live,
            hold_ttl_seconds: own.unwrap_or_else(|| self.reservations.default_ttl_seconds()),
            max_per_buyer: product.terms.max_per_buyer.map(|most| most.get()),
            rates: RatesShown {
                reserved_per_s: rates.reserved,
                refused_per_s: rates.refused,
                sold_per_s: rates.sold,
                restored_per_s: rates.restored,
            },
            restore_lag_ms,
            sold_out_in_s,
            as_of: stock.as_of,
        }
    }
}
