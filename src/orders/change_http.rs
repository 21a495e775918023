//! Routes that change an order: it is cancelled, fulfilled or refunded.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::identity::{Caller, Role};
use crate::kernel::OrderId;
use crate::orders::http::{OrderResponse, one, viewer};
use crate::orders::{Orders, Till, Viewer};
use crate::platform::http::extract::MaybeJson;
use crate::platform::http::{PathOf, Problem};
use crate::stock::Units;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) fn wrong_state(status: &str) -> Problem {
    let (code, detail) = match status {
        "pending_payment" => ("payment_in_progress", "a payment of the order is under way"),
        "cancelled" => ("order_cancelled", "the order is cancelled"),
        "refunded" => ("order_refunded", "the order is refunded"),
        _ => ("order_paid", "the order is paid"),
    };
    Problem::conflict(code, detail)
}

/// Cancel an order that is not paid. A payment that is under way is ended at its provider first; if it turns out to be
/// paid, so is the order.
#[utoipa::path(
    post,
    path = "/api/orders/{id}/cancel",
    tag = "orders",
    operation_id = "cancelOrder",
    params(("id" = OrderId, Path, description = "The order")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "The order", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found", "order_paid", "order_refunded", "payment_in_progress", "provider_unavailable"]))),
)]
pub(super) async fn cancel(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    PathOf(id): PathOf<OrderId>,
    MaybeJson(_): MaybeJson<Nothing>,
) -> Result<HttpResponse, Problem> {
    let actor = caller.actor();
    let buyer = if caller.acts_for_all() { Viewer::All } else { Viewer::Buyer(caller.sub) };
    let mut order = orders.get(id, &buyer).await?.ok_or_else(Problem::not_found)?;
    if order.status == "pending_payment" {
        till.give_up(id, actor).await?;
        order = orders.get(id, &buyer).await?.ok_or_else(Problem::not_found)?;
    }
    match order.status.as_str() {
        "cancelled" => one(&**till, order).await,
        status => Err(wrong_state(status)),
    }
}

/// Note that an order was delivered.
#[utoipa::path(
    post,
    path = "/api/orders/{id}/fulfil",
    tag = "orders",
    operation_id = "fulfilOrder",
    params(("id" = OrderId, Path, description = "The order")),
    request_body = Option<Nothing>,
    responses((status = 200, description = "The order", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "order_cancelled", "order_refunded", "payment_in_progress"]))),
)]
pub(super) async fn fulfil(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    PathOf(id): PathOf<OrderId>,
    MaybeJson(_): MaybeJson<Nothing>,
) -> Result<HttpResponse, Problem> {
    if caller.role == Role::Customer {
        return Err(Problem::forbidden());
    }
    let fulfilled = orders.fulfil(id, &viewer(&caller), &caller.actor()).await?;
    let order = fulfilled.ok_or_else(Problem::not_found)?;
    match order.status.as_str() {
        "fulfilled" => one(&**till, order).await,
        // It is being refunded.
        "paid" => Err(wrong_state("pending_payment")),
        status => Err(wrong_state(status)),
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundRequest {
    /// Whether the units are for sale again.
    restock: Option<bool>,
}

/// Refund an order: what was paid here goes back, then its units come back, and the buyer may buy as many again.
#[utoipa::path(
    post,
    path = "/api/orders/{id}/refund",
    tag = "orders",
    operation_id = "refundOrder",
    params(("id" = OrderId, Path, description = "The order")),
    request_body = Option<RefundRequest>,
    responses((status = 200, description = "The order, after stock and cap have changed", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "order_cancelled", "payment_in_progress", "refund_refused", "provider_unavailable"]))),
)]
pub(super) async fn refund(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    PathOf(id): PathOf<OrderId>,
    MaybeJson(body): MaybeJson<RefundRequest>,
) -> Result<HttpResponse, Problem> {
    if caller.role != Role::Admin {
        return Err(Problem::forbidden());
    }
    let units = match body.and_then(|body| body.restock) {
        Some(false) => Units::WrittenOff,
        None | Some(true) => Units::Restocked,
    };
    // Where the money was taken here, it goes back before the units do.
    let here = till.pay_back(id, units, caller.actor()).await?;
    let order = if here {
        orders.get(id, &Viewer::All).await?
    } else {
        orders.refund(id, units, caller.actor()).await?
    };
    let order = order.ok_or_else(Problem::not_found)?;
    match order.status.as_str() {
        "refunded" => one(&**till, order).await,
        status => Err(wrong_state(status)),
    }
}
