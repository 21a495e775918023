//! Routes and bodies of reservations and stock.

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType, LOCATION};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::audit::reason;
use crate::catalogue::{Name, SkuOrId, owns};
use crate::identity::{Caller, Visitor};
use crate::kernel::page::Page;
use crate::kernel::{Instant, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::http::extract::{Pair, email};
use crate::platform::http::{Json, Object, PathOf, Problem, Query, bad_cursor, page_limit};
use crate::reservations::events_http::events;
use crate::reservations::{EndError, Hold, Item, Reservation, Reservations, ReserveError, Status};

/// Most lines of one reservation.
const MAX_LINES: usize = 20;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    reserve,
    read,
    extend,
    cancel,
    checkout_cancel,
    cancel_by_product,
    list,
    stock_by_id,
    stock_by_sku,
    super::events_http::events,
    super::holds_http::list,
    super::holds_http::read
))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/reserve").route(web::post().to(reserve)))
        .service(
            web::resource("/reserve/{user_id}/{product_id}")
                .route(web::delete().to(cancel_by_product)),
        )
        .service(
            web::resource("/reservations/{id}")
                .route(web::get().to(read))
                .route(web::delete().to(cancel)),
        )
        .service(web::resource("/reservations/{id}/extend").route(web::post().to(extend)))
        .service(web::resource("/users/{user_id}/reservations").route(web::get().to(list)))
        .service(web::resource("/checkout/cancel").route(web::post().to(checkout_cancel)))
        .service(web::resource("/products/{id}/status").route(web::get().to(stock_by_id)))
        .service(web::resource("/inventory/{sku}").route(web::get().to(stock_by_sku)))
        .service(web::resource("/inventory/{sku}/events").route(web::get().to(events)))
        .configure(super::holds_http::routes);
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LineRequest {
    sku: Option<Sku>,
    product_id: Option<ProductId>,
    #[schema(default = 1)]
    quantity: Option<Quantity>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReserveRequest {
    sku: Option<Sku>,
    product_id: Option<ProductId>,
    #[schema(default = 1)]
    quantity: Option<Quantity>,
    /// Several products, all or nothing, instead of one above.
    #[schema(value_type = Option<Vec<LineRequest>>, min_items = 1, max_items = 20)]
    items: Option<Vec<Object<LineRequest>>>,
    /// The buyer; service and admin must name one.
    user_id: Option<UserId>,
    /// At most the hold time of the product.
    #[schema(minimum = 1, maximum = 86400)]
    ttl_seconds: Option<i64>,
    /// Where order mail goes.
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
}

impl ReserveRequest {
    /// The lines as they were written, one way or the other.
    fn lines(self) -> Result<Vec<(String, SkuOrId, Quantity)>, Problem> {
        let Some(items) = self.items else {
            let product = SkuOrId::one_of(self.sku, self.product_id, "sku")?;
            return Ok(vec![("sku".to_owned(), product, self.quantity.unwrap_or(Quantity::ONE))]);
        };
        if self.sku.is_some() || self.product_id.is_some() || self.quantity.is_some() {
            return Err(Problem::invalid_field(
                "items",
                "name one product, or several in `items`, not both",
            ));
        }
        if items.is_empty() || items.len() > MAX_LINES {
            return Err(Problem::invalid_field(
                "items",
                format!("expected 1 to {MAX_LINES} lines"),
            ));
        }
        let line = |(at, Object(item)): (usize, Object<LineRequest>)| {
            let field = format!("items[{at}]");
            let product = SkuOrId::one_of(item.sku, item.product_id, &field)?;
            Ok((field, product, item.quantity.unwrap_or(Quantity::ONE)))
        };
        items.into_iter().enumerate().map(line).collect()
    }

    fn ttl(&self) -> Result<Option<u32>, Problem> {
        let refused =
            || Problem::invalid_field("ttl_seconds", "expected a whole number from 1 to 86400");
        let ttl = self
            .ttl_seconds
            .map(|ttl| u32::try_from(ttl).ok().filter(|ttl| (1..=86_400).contains(ttl)));
        ttl.map(|ttl| ttl.ok_or_else(refused)).transpose()
    }
}

/// Lines of one product are one line.
async fn merged(
    reservations: &Reservations,
    lines: Vec<(String, SkuOrId, Quantity)>,
) -> Result<Vec<(Arc<Name>, Quantity)>, Problem> {
    let mut merged: Vec<(Arc<Name>, Quantity)> = Vec::new();
    for (field, product, quantity) in lines {
        let name = product.find(reservations.catalogue()).await?.ok_or_else(unknown_product)?;
        match merged.iter_mut().find(|(known, _)| known.id == name.id) {
            None => merged.push((name, quantity)),
            Some((_, sum)) => {
                let too_many = || {
                    Problem::invalid_field(
                        format!("{field}.quantity"),
                        "the lines of this product add up to too many",
                    )
                };
                *sum = sum.plus(quantity).ok_or_else(too_many)?;
            }
        }
    }
    Ok(merged)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ReservationResponse {
    reservation_id: ReservationId,
    user_id: UserId,
    items: Vec<Item>,
    /// With one item also here.
    #[serde(skip_serializing_if = "Option::is_none")]
    product_id: Option<ProductId>,
    /// With one item also here.
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<Sku>,
    /// With one item also here.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Quantity>,
    status: Status,
    reason: Option<String>,
    expires_at: Instant,
    expires_in: i64,
    order_id: Option<OrderId>,
    created_at: Instant,
}

impl From<Reservation> for ReservationResponse {
    fn from(reservation: Reservation) -> Self {
        let left_ms = (reservation.expires_at.as_ms() - reservation.read_at.as_ms()).max(0);
        let only = if let [only] = reservation.items.as_slice() { Some(only) } else { None };
        let runs = matches!(reservation.status, Status::Held | Status::Confirming);
        Self {
            reservation_id: reservation.id,
            user_id: reservation.user,
            product_id: only.map(|only| only.product_id),
            sku: only.map(|only| only.sku.clone()),
            quantity: only.map(|only| only.quantity),
            items: reservation.items,
            status: reservation.status,
            reason: reservation.reason,
            expires_at: reservation.expires_at,
            expires_in: if runs { (left_ms + 999) / 1_000 } else { 0 },
            order_id: reservation.order_id,
            created_at: reservation.created_at,
        }
    }
}

pub(super) fn unknown_product() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_product", "there is no such product")
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        let detail = error.to_string();
        let conflict = |code| Self::conflict(code, detail.clone());
        match error {
            ReserveError::AlreadyHeld(id) => conflict("already_held").with("reservation_id", id),
            ReserveError::InsufficientStock { lines, soonest_expiry } => {
                let problem = conflict("insufficient_stock").with("lines", lines);
                match soonest_expiry {
                    Some(at) => problem.with("soonest_expiry", at),
                    None => problem,
                }
            }
            ReserveError::BuyerLimit { limit, held, bought } => conflict("buyer_limit")
                .with("limit", limit)
                .with("held", held)
                .with("bought", bought),
            ReserveError::SaleNotOpen { opens_at } => {
                conflict("sale_not_open").with("opens_at", opens_at)
            }
            ReserveError::SaleClosed => conflict("sale_closed"),
            ReserveError::SalePaused => conflict("sale_paused"),
            ReserveError::TtlTooLong { .. } => Self::invalid_field("ttl_seconds", detail),
            ReserveError::HoldChurn { retry_seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "hold_churn", detail)
                    .retry_after(retry_seconds)
            }
            ReserveError::UnknownProduct => unknown_product(),
            ReserveError::Fault(fault) => fault.into(),
        }
    }
}

impl From<EndError> for Problem {
    fn from(error: EndError) -> Self {
        let detail = error.to_string();
        match error {
            EndError::NotFound => Self::not_found(),
            EndError::PaymentInProgress => Self::conflict("payment_in_progress", detail),
            EndError::AlreadyConfirmed => Self::conflict("already_confirmed", detail),
            EndError::Cancelled => Self::conflict("reservation_cancelled", detail),
            EndError::Expired => Self::new(StatusCode::GONE, "reservation_expired", detail),
            EndError::ExtensionLimit => Self::conflict("extension_limit", detail),
            EndError::Fault(fault) => fault.into(),
        }
    }
}

/// Hold units for a buyer for a while.
#[utoipa::path(
    post,
    path = "/api/reserve",
    tag = "reservations",
    operation_id = "reserve",
    request_body = ReserveRequest,
    responses((status = 201, description = "The hold", body = ReservationResponse), (status = 200, description = "The hold that stood", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours", "unknown_product", "insufficient_stock", "already_held", "buyer_limit", "sale_not_open", "sale_closed", "sale_paused", "hold_churn"]))),
)]
async fn reserve(
    caller: Caller,
    reservations: web::Data<Reservations>,
    Json(mut body): Json<ReserveRequest>,
) -> Result<HttpResponse, Problem> {
    let hold = Hold {
        user: caller.buyer(body.user_id.take())?,
        ttl_seconds: body.ttl()?,
        email: email(body.email.take())?,
        actor: caller.actor(),
        lines: merged(&reservations, body.lines()?).await?,
    };
    let held = reservations.reserve(&hold).await?;
    let location = format!("/api/reservations/{}", held.reservation.id);
    let mut response = if held.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response
        .insert_header((LOCATION, location))
        .json(ReservationResponse::from(held.reservation)))
}

/// One reservation.
#[utoipa::path(
    get,
    path = "/api/reservations/{id}",
    tag = "reservations",
    operation_id = "readReservation",
    params(("id" = ReservationId, Path, description = "The reservation")),
    responses((status = 200, description = "The reservation", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn read(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(id): PathOf<ReservationId>,
) -> Result<HttpResponse, Problem> {
    let found = reservations.get(id, caller.sees()).await?.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(ReservationResponse::from(found)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReasonQuery {
    /// Why, for the history of the hold.
    #[param(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtendRequest {
    #[schema(minimum = 1, maximum = 86400)]
    seconds: i64,
}

/// Add seconds to the deadline of a hold.
#[utoipa::path(
    post,
    path = "/api/reservations/{id}/extend",
    tag = "reservations",
    operation_id = "extendReservation",
    params(("id" = ReservationId, Path, description = "The reservation"), ReasonQuery),
    request_body = ExtendRequest,
    responses((status = 200, description = "The hold with its new deadline", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found", "payment_in_progress", "already_confirmed", "reservation_cancelled", "reservation_expired", "extension_limit"]))),
)]
async fn extend(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(id): PathOf<ReservationId>,
    Query(query): Query<ReasonQuery>,
    Json(body): Json<ExtendRequest>,
) -> Result<HttpResponse, Problem> {
    let seconds = u32::try_from(body.seconds).ok().filter(|seconds| (1..=86_400).contains(seconds));
    let refused = || Problem::invalid_field("seconds", "expected a whole number from 1 to 86400");
    let seconds = seconds.ok_or_else(refused)?;
    let reason = reason(query.reason)?;
    let extended = reservations.extend(id, caller.sees(), seconds).await?;
    reservations.note_extension(&extended, seconds, &caller.actor(), reason);
    Ok(HttpResponse::Ok().json(ReservationResponse::from(extended)))
}

/// End a hold. Repeating it gives the same.
#[utoipa::path(
    delete,
    path = "/api/reservations/{id}",
    tag = "reservations",
    operation_id = "cancelReservation",
    params(("id" = ReservationId, Path, description = "The reservation"), ReasonQuery),
    responses((status = 200, description = "The ended reservation", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found", "payment_in_progress", "already_confirmed", "reservation_expired"]))),
)]
async fn cancel(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(id): PathOf<ReservationId>,
    Query(query): Query<ReasonQuery>,
) -> Result<HttpResponse, Problem> {
    let reason = reason(query.reason)?;
    let ended = reservations.cancel(id, caller.sees(), &caller.actor()).await?;
    reservations.note_release(&ended, &caller.actor(), reason);
    Ok(HttpResponse::Ok().json(ReservationResponse::from(ended)))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelRequest {
    reservation_id: ReservationId,
}

/// End a hold. Repeating it gives the same.
#[utoipa::path(
    post,
    path = "/api/checkout/cancel",
    tag = "reservations",
    operation_id = "cancelCheckout",
    request_body = CancelRequest,
    responses((status = 200, description = "The ended reservation", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found", "payment_in_progress", "already_confirmed", "reservation_expired"]))),
)]
async fn checkout_cancel(
    caller: Caller,
    reservations: web::Data<Reservations>,
    Json(body): Json<CancelRequest>,
) -> Result<HttpResponse, Problem> {
    let ended = reservations.cancel(body.reservation_id, caller.sees(), &caller.actor()).await?;
    Ok(HttpResponse::Ok().json(ReservationResponse::from(ended)))
}

/// End the hold that a buyer has of a product.
#[utoipa::path(
    delete,
    path = "/api/reserve/{user_id}/{product_id}",
    tag = "reservations",
    operation_id = "cancelReservationOfProduct",
    params(("user_id" = UserId, Path, description = "The buyer"), ("product_id" = ProductId, Path, description = "The number of the product")),
    responses((status = 200, description = "The ended reservation", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found", "payment_in_progress", "already_confirmed", "reservation_expired", "not_yours"]))),
)]
async fn cancel_by_product(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(Pair(user, product)): PathOf<Pair<UserId, ProductId>>,
) -> Result<HttpResponse, Problem> {
    let user = caller.buyer(Some(user))?;
    let ended = reservations.cancel_by_product(&user, product, &caller.actor()).await?;
    Ok(HttpResponse::Ok().json(ReservationResponse::from(ended)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `all` adds those that have ended.
    #[param(pattern = "^all$")]
    status: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(max_length = 128)]
    cursor: Option<String>,
}

/// The last one of a page, and where the next page goes on: live holds come first, then those that have ended.
#[derive(Clone, Copy)]
enum Cursor {
    Live(Instant, ReservationId),
    Ended(Instant, ReservationId),
}

impl Cursor {
    fn after(last: &Reservation) -> Self {
        match last.status {
            Status::Held | Status::Confirming => Self::Live(last.created_at, last.id),
            Status::Confirmed | Status::Cancelled | Status::Expired => {
                Self::Ended(last.read_at, last.id)
            }
        }
    }
}

/// `live.<made at, ms>.<reservation id>` or `ended.<ended at, ms>.<reservation id>`.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(at, id) => write!(f, "live.{}.{id}", at.as_ms()),
            Self::Ended(at, id) => write!(f, "ended.{}.{id}", at.as_ms()),
        }
    }
}

fn parse_cursor(cursor: &str) -> Result<Cursor, Problem> {
    let parse = || {
        let (kind, rest) = cursor.split_once('.')?;
        let (at, id) = rest.split_once('.')?;
        let (at, id) = (Instant::from_ms(at.parse().ok()?), id.parse().ok()?);
        match kind {
            "live" => Some(Cursor::Live(at, id)),
            "ended" => Some(Cursor::Ended(at, id)),
            _ => None,
        }
    };
    parse().ok_or_else(bad_cursor)
}

/// The live holds of a buyer, with `status=all` those that have ended too.
#[utoipa::path(
    get,
    path = "/api/users/{user_id}/reservations",
    tag = "reservations",
    operation_id = "listReservations",
    params(("user_id" = UserId, Path, description = "The buyer"), ListQuery),
    responses((status = 200, description = "A page", body = Page<ReservationResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours", "not_found"]))),
)]
async fn list(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(user): PathOf<UserId>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let user = caller.buyer(Some(user))?;
    let limit = page_limit(query.limit)? as usize;
    let history = match query.status.as_deref() {
        None => false,
        Some("all") => true,
        Some(_) => {
            return Err(Problem::invalid_field(
                "status",
                "expected `all`, or nothing for live holds",
            ));
        }
    };
    let cursor = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let mut items = match cursor {
        Some(Cursor::Ended(..)) => Vec::new(),
        Some(Cursor::Live(..)) | None => reservations.live_of(&user).await?,
    };
    let mut ended_before = None;
    match cursor {
        Some(Cursor::Live(at, id)) => items.retain(|live| (live.created_at, live.id) < (at, id)),
        Some(Cursor::Ended(at, id)) => ended_before = Some((at, id)),
        None => {}
    }
    if history && items.len() <= limit {
        let wanted = limit + 1 - items.len();
        items.extend(reservations.history_of(&user, ended_before, wanted).await?);
    }
    let page = Page::cut(items, limit, |last| Cursor::after(last).to_string());
    Ok(HttpResponse::Ok().json(responses(page)))
}

fn responses(page: Page<Reservation>) -> Page<ReservationResponse> {
    Page { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next_cursor }
}

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
async fn stock_by_id(
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
async fn stock_by_sku(
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
