//! The routes of reservations and stock, what a reservation looks like, and one of them. The others stand in the files of
//! this ending, by what they do.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::identity::Caller;
use crate::kernel::{Instant, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::platform::http::{PathOf, Problem};
use crate::reservations::end_http::{cancel, cancel_by_product, checkout_cancel, extend};
use crate::reservations::events_http::events;
use crate::reservations::list_http::list;
use crate::reservations::reserve_http::reserve;
use crate::reservations::stock_http::{stock_by_id, stock_by_sku};
use crate::reservations::{Item, Reservation, Reservations, Status};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    super::reserve_http::reserve,
    read,
    super::end_http::extend,
    super::end_http::cancel,
    super::end_http::checkout_cancel,
    super::end_http::cancel_by_product,
    super::list_http::list,
    super::stock_http::stock_by_id,
    super::stock_http::stock_by_sku,
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
