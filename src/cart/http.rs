//! Routes and bodies of the cart.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::cart::{AddError, Carts, Line};
use crate::identity::Caller;
use crate::kernel::money::sum;
use crate::kernel::{Currency, Money, ProductId, Quantity, Sku};
use crate::platform::Fault;
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, PathOf, Problem};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(read, add, set, remove))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/cart").route(web::get().to(read)))
        .service(web::resource("/cart/items").route(web::post().to(add)))
        .service(
            web::resource("/cart/items/{id}")
                .route(web::patch().to(set))
                .route(web::delete().to(remove)),
        );
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AddRequest {
    product_id: ProductId,
    quantity: Quantity,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SetRequest {
    quantity: Quantity,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CartResponse {
    items: Vec<LineResponse>,
    /// None while a line has no price.
    total_amount: Option<Money>,
    currency: Currency,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LineResponse {
    id: i64,
    product_id: ProductId,
    sku: Sku,
    name: String,
    unit_price: Option<Money>,
    quantity: Quantity,
    line_total: Option<Money>,
    available: i64,
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        let detail = error.to_string();
        match error {
            AddError::UnknownProduct => Self::new(StatusCode::NOT_FOUND, "unknown_product", detail),
            AddError::MixedCurrency => Self::field("mixed_currency", "product_id", detail),
            AddError::Full => Self::conflict("cart_full", detail),
            AddError::TooMany => Self::invalid_field("quantity", detail),
            AddError::Fault(fault) => fault.into(),
        }
    }
}

/// A cart belongs to whoever the token names; a storefront's own token has none.
fn buyer(caller: &Caller) -> Result<(), Problem> {
    if caller.acts_for_all() { Err(Problem::forbidden()) } else { Ok(()) }
}

async fn cart(carts: &Carts, caller: &Caller) -> Result<CartResponse, Problem> {
    let lines = carts.lines(&caller.sub).await?;
    let items = try_join_all(lines.iter().map(|line| shown(carts, line))).await?;
    let currency = lines
        .first()
        .map_or(carts.reservations.catalogue().default_currency(), |line| line.currency);
    let totals: Option<Vec<Money>> = items.iter().map(|item| item.line_total).collect();
    let total_amount = totals.and_then(|totals| sum(totals.into_iter(), currency));
    Ok(CartResponse { items, total_amount, currency })
}

async fn shown(carts: &Carts, line: &Line) -> Result<LineResponse, Fault> {
    let catalogue = carts.reservations.catalogue();
    let available = match catalogue.by_id(line.product_id).await? {
        Some(name) if line.for_sale => carts.reservations.stock(&name).await?.available_stock,
        _ => 0,
    };
    Ok(LineResponse {
        id: line.id,
        product_id: line.product_id,
        sku: line.sku.clone(),
        name: line.title.clone(),
        unit_price: line.price,
        quantity: line.quantity,
        line_total: line.price.and_then(|price| price.times(line.quantity.get())),
        available,
    })
}

/// The cart, at the prices of now.
#[utoipa::path(
    get,
    path = "/api/cart",
    tag = "cart",
    operation_id = "readCart",
    responses((status = 200, description = "The cart", body = CartResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn read(caller: Caller, carts: web::Data<Carts>) -> Result<HttpResponse, Problem> {
    buyer(&caller)?;
    Ok(HttpResponse::Ok().json(cart(&carts, &caller).await?))
}

/// Put units of a product into the cart; the same product adds up.
#[utoipa::path(
    post,
    path = "/api/cart/items",
    tag = "cart",
    operation_id = "addToCart",
    request_body = AddRequest,
    responses((status = 201, description = "The cart, with a new line", body = CartResponse), (status = 200, description = "The cart, with more in a line", body = CartResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "mixed_currency", "cart_full"]))),
)]
async fn add(
    request: HttpRequest,
    caller: Caller,
    carts: web::Data<Carts>,
    Json(body): Json<AddRequest>,
) -> Result<HttpResponse, Problem> {
    buyer(&caller)?;
    let key = request.extensions().get::<RequestKey>().map(|key| key.0.clone());
    let created = carts.add(&caller.sub, body.product_id, body.quantity, key.as_deref()).await?;
    let mut response = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header((LOCATION, "/api/cart")).json(cart(&carts, &caller).await?))
}

/// Change the quantity of a line.
#[utoipa::path(
    patch,
    path = "/api/cart/items/{id}",
    tag = "cart",
    operation_id = "setCartLine",
    params(("id" = i64, Path, description = "The line", minimum = 1)),
    request_body = SetRequest,
    responses((status = 200, description = "The cart", body = CartResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn set(
    caller: Caller,
    carts: web::Data<Carts>,
    PathOf(id): PathOf<i64>,
    Json(body): Json<SetRequest>,
) -> Result<HttpResponse, Problem> {
    buyer(&caller)?;
    if !carts.set(&caller.sub, id, body.quantity).await? {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::Ok().json(cart(&carts, &caller).await?))
}

/// Take a line out.
#[utoipa::path(
    delete,
    path = "/api/cart/items/{id}",
    tag = "cart",
    operation_id = "removeCartLine",
    params(("id" = i64, Path, description = "The line", minimum = 1)),
    responses((status = 204, description = "It is gone")),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn remove(
    caller: Caller,
    carts: web::Data<Carts>,
    PathOf(id): PathOf<i64>,
) -> Result<HttpResponse, Problem> {
    buyer(&caller)?;
    if !carts.remove(&caller.sub, id).await? {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::NoContent().finish())
}
