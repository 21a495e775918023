//! Routes that put off the end of a hold, or end it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::audit::reason;
use crate::identity::Caller;
use crate::kernel::{ProductId, ReservationId, UserId};
use crate::platform::http::extract::Pair;
use crate::platform::http::{Json, PathOf, Problem, Query};
use crate::reservations::http::ReservationResponse;
use crate::reservations::{EndError, Reservations};

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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReasonQuery {
    /// Why, for the history of the hold.
    #[param(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendRequest {
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
pub(super) async fn extend(
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
pub(super) async fn cancel(
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
pub(super) struct CancelRequest {
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
pub(super) async fn checkout_cancel(
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
pub(super) async fn cancel_by_product(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(Pair(user, product)): PathOf<Pair<UserId, ProductId>>,
) -> Result<HttpResponse, Problem> {
    let user = caller.buyer(Some(user))?;
    let ended = reservations.cancel_by_product(&user, product, &caller.actor()).await?;
    Ok(HttpResponse::Ok().json(ReservationResponse::from(ended)))
}
