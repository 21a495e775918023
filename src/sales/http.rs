//! Routes and bodies of sales, for admins.

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::audit::reason;
use crate::catalogue::{SaleState, text};
use crate::identity::Admin;
use crate::kernel::page::Page;
use crate::kernel::{Instant, ProductId};
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, MaybeJson, PathOf, Problem, Query, bad_cursor, page_limit};
use crate::reservations::By;
use crate::sales::show::Wanted;
use crate::sales::{HistoryPoint, Sale, Sales, SteerError, expiry_http};

/// Letters and digits that a search has at least.
const LETTERS: usize = 3;
/// The moments that a cursor may name, in ms: what Postgres and jiff both know.
const MOMENTS: std::ops::RangeInclusive<i64> = 0..=253_402_207_200_000;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, read, history, open, pause, drain, close, extend_holds))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let at = |path: &str| web::resource(format!("/api/admin/sales{path}"));
    config
        .service(at("").route(web::get().to(list)))
        .service(at("/{product_id}").route(web::get().to(read)))
        .service(at("/{product_id}/history").route(web::get().to(history)))
        .service(at("/{product_id}/open").route(web::post().to(open)))
        .service(at("/{product_id}/pause").route(web::post().to(pause)))
        .service(at("/{product_id}/drain").route(web::post().to(drain)))
        .service(at("/{product_id}/close").route(web::post().to(close)))
        .service(at("/{product_id}/extend-holds").route(web::post().to(extend_holds)))
        .configure(expiry_http::routes);
}

impl From<SteerError> for Problem {
    fn from(error: SteerError) -> Self {
        match error {
            SteerError::UnknownProduct => unknown_product(),
            SteerError::Fault(fault) => fault.into(),
        }
    }
}

fn unknown_product() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_product", "there is no such product")
}

/// Why something is done.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonRequest {
    /// For the audit.
    #[schema(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

pub(super) fn by(admin: &Admin, given: Option<ReasonRequest>) -> Result<By, Problem> {
    Ok(By { actor: admin.0.actor(), reason: reason(given.unwrap_or_default().reason)? })
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SalesQuery {
    /// Of products whose name or SKU has this in it; at least three letters or digits.
    #[param(min_length = 3, max_length = 200)]
    q: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(max_length = 64)]
    cursor: Option<String>,
}

fn place(cursor: &str) -> Option<(Instant, ProductId)> {
    let (at, id) = cursor.split_once('.')?;
    let at = at.parse().ok().filter(|at| MOMENTS.contains(at))?;
    Some((Instant::from_ms(at), id.parse().ok()?))
}

/// Sales, the newest product first.
#[utoipa::path(
    get,
    path = "/api/admin/sales",
    tag = "operations",
    operation_id = "listSales",
    params(SalesQuery),
    responses((status = 200, description = "A page", body = Page<Sale>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn list(
    _: Admin,
    sales: web::Data<Sales>,
    Query(query): Query<SalesQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)? as usize;
    let search = query.q.map(|q| text("q", &q, 200)).transpose()?;
    let letters = |q: &String| q.chars().filter(|letter| letter.is_alphanumeric()).count();
    if search.as_ref().is_some_and(|q| letters(q) < LETTERS) {
        let detail = format!("expected at least {LETTERS} letters or digits");
        return Err(Problem::invalid_field("q", detail));
    }
    let after = query.cursor.map(|cursor| place(&cursor).ok_or_else(bad_cursor)).transpose()?;
    let found = sales.list(Wanted { text: search, after, limit }).await?;
    let page = Page::cut(found, limit, |(_, (at, id))| format!("{}.{id}", at.as_ms()));
    let items: Vec<Sale> = page.items.into_iter().map(|(sale, _)| sale).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

/// How a sale stands.
#[utoipa::path(
    get,
    path = "/api/admin/sales/{product_id}",
    tag = "operations",
    operation_id = "readSale",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    responses((status = 200, description = "The sale", body = Sale)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn read(
    _: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(sales.look(id).await?.ok_or_else(unknown_product)?))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct HistoryResponse {
    /// Seconds between two points.
    step_s: i64,
    /// The oldest first.
    points: Vec<HistoryPoint>,
}

/// The last fifteen minutes of a sale, over all replicas.
#[utoipa::path(
    get,
    path = "/api/admin/sales/{product_id}/history",
    tag = "operations",
    operation_id = "readSaleHistory",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    responses((status = 200, description = "The points", body = HistoryResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn history(
    _: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    let points = sales.history(id).await?.ok_or_else(unknown_product)?;
    Ok(HttpResponse::Ok().json(HistoryResponse { step_s: crate::reservations::STEP_S, points }))
}

async fn steer(
    admin: Admin,
    sales: web::Data<Sales>,
    id: ProductId,
    to: SaleState,
    body: Option<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(sales.steer(id, to, by(&admin, body)?).await?))
}

/// Let a sale take holds again, within its window.
#[utoipa::path(
    post,
    path = "/api/admin/sales/{product_id}/open",
    tag = "operations",
    operation_id = "openSale",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The sale", body = Sale)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn open(
    admin: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    steer(admin, sales, id, SaleState::Open, body).await
}

/// Let a sale take no holds for now. Everything else goes on.
#[utoipa::path(
    post,
    path = "/api/admin/sales/{product_id}/pause",
    tag = "operations",
    operation_id = "pauseSale",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The sale", body = Sale)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn pause(
    admin: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    steer(admin, sales, id, SaleState::Paused, body).await
}

/// Let a sale take no holds any more. Holds that run may still be bought; when none is left the sale is closed.
#[utoipa::path(
    post,
    path = "/api/admin/sales/{product_id}/drain",
    tag = "operations",
    operation_id = "drainSale",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The sale", body = Sale)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn drain(
    admin: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    steer(admin, sales, id, SaleState::Draining, body).await
}

/// End a sale: no holds any more, and those that are not being confirmed are released.
#[utoipa::path(
    post,
    path = "/api/admin/sales/{product_id}/close",
    tag = "operations",
    operation_id = "closeSale",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The sale", body = Sale)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn close(
    admin: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    steer(admin, sales, id, SaleState::Closed, body).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtendHoldsRequest {
    /// How much more time.
    #[schema(minimum = 1, maximum = 86400)]
    seconds: i64,
    /// For the audit.
    #[schema(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ExtendHoldsResponse {
    product_id: ProductId,
    /// Holds that have more time.
    extended: i64,
    /// Holds that may not live longer (`reservation.max_lifetime`), or ended meanwhile.
    skipped: i64,
}

/// Give every live hold of a product more time.
#[utoipa::path(
    post,
    path = "/api/admin/sales/{product_id}/extend-holds",
    tag = "operations",
    operation_id = "extendHolds",
    params(("product_id" = ProductId, Path, description = "The number of the product")),
    request_body = ExtendHoldsRequest,
    responses((status = 200, description = "How many have more time", body = ExtendHoldsResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "not_found"]))),
)]
async fn extend_holds(
    request: HttpRequest,
    admin: Admin,
    sales: web::Data<Sales>,
    PathOf(id): PathOf<ProductId>,
    Json(body): Json<ExtendHoldsRequest>,
) -> Result<HttpResponse, Problem> {
    let seconds = u32::try_from(body.seconds).ok().filter(|seconds| (1..=86_400).contains(seconds));
    let refused = || Problem::invalid_field("seconds", "expected a whole number from 1 to 86400");
    let seconds = seconds.ok_or_else(refused)?;
    let by = By { actor: admin.0.actor(), reason: reason(body.reason)? };
    // The same key is the same operation, also where its answer was lost.
    let operation = request
        .extensions()
        .get::<RequestKey>()
        .map(|key| key.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let (name, done) = sales.extend_holds(id, seconds, operation, by).await?;
    Ok(HttpResponse::Ok().json(ExtendHoldsResponse {
        product_id: name.id,
        extended: done.extended,
        skipped: done.skipped,
    }))
}
