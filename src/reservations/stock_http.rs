//! Routes that show the stock of a product, to everybody who may see the product.

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, web};

use crate::catalogue::{SkuOrId, owns};
use crate::identity::{Caller, Visitor};
use crate::kernel::{ProductId, Sku};
use crate::platform::http::{PathOf, Problem};
use crate::reservations::Reservations;
use crate::reservations::http::unknown_product;

/// The stock of a product, a moment old at most.
#[utoipa::path(
    get,
    path = "/api/products/{id}/status",
    tag = "reservations",
    operation_id = "readStockOfProduct",
    params(("id" = ProductId, Path, description = "The number of the product")),
    responses((status = 200, description = "The stock", body = crate::reservations::Stock)),
    security((), ("token" = [])),
    extensions(("x-codes" = json!(["unknown_product", "not_found"]))),
)]
pub(super) async fn stock_by_id(
    Visitor(caller): Visitor,
    reservations: web::Data<Reservations>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    stock(caller, &reservations, SkuOrId::Id(id)).await
}

/// The stock of a SKU, a moment old at most.
#[utoipa::path(
    get,
    path = "/api/inventory/{sku}",
    tag = "reservations",
    operation_id = "readStock",
    params(("sku" = Sku, Path, description = "The SKU")),
    responses((status = 200, description = "The stock", body = crate::reservations::Stock)),
    security((), ("token" = [])),
    extensions(("x-codes" = json!(["unknown_product", "not_found"]))),
)]
pub(super) async fn stock_by_sku(
    Visitor(caller): Visitor,
    reservations: web::Data<Reservations>,
    PathOf(sku): PathOf<Sku>,
) -> Result<HttpResponse, Problem> {
    stock(caller, &reservations, SkuOrId::Sku(sku)).await
}

async fn stock(
    caller: Option<Caller>,
    reservations: &Reservations,
    product: SkuOrId,
) -> Result<HttpResponse, Problem> {
    let catalogue = reservations.catalogue();
    let name = product.find(catalogue).await?.ok_or_else(unknown_product)?;
    let snapshot = reservations.snapshot(&name).await?;
    let mut cached = "public, max-age=0, must-revalidate";
    if snapshot.stock.hidden {
        let product = catalogue.product(name.id).await?.ok_or_else(unknown_product)?;
        if !owns(caller.as_ref(), &product) {
            return Err(unknown_product());
        }
        cached = "no-store";
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, cached)).content_type(ContentType::json());
    Ok(response.body(snapshot.json.clone()))
}
