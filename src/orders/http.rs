//! The routes of orders, what an order looks like, and those that show it. The others stand in the files of this ending,
//! by what they do.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::identity::{Caller, Role};
use crate::kernel::page::Page;
use crate::kernel::{
    Currency, Instant, Money, OrderId, ProductId, Quantity, ReservationId, Sku, UserId,
};
use crate::orders::change_http::{cancel, fulfil, refund};
use crate::orders::checkout_http::checkout;
use crate::orders::place_http::place;
use crate::orders::{Order, Orders, Payment, Placed, Till, Viewer, line_total};
use crate::platform::http::{PathOf, Problem, Query, page_limit};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    super::checkout_http::checkout,
    super::place_http::place,
    list,
    read,
    super::change_http::cancel,
    super::change_http::fulfil,
    super::change_http::refund
))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/checkout").route(web::post().to(checkout)))
        .service(web::resource("/orders").route(web::get().to(list)).route(web::post().to(place)))
        .service(web::resource("/orders/{id}").route(web::get().to(read)))
        .service(web::resource("/orders/{id}/cancel").route(web::post().to(cancel)))
        .service(web::resource("/orders/{id}/fulfil").route(web::post().to(fulfil)))
        .service(web::resource("/orders/{id}/refund").route(web::post().to(refund)));
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct OrderResponse {
    id: OrderId,
    user_id: String,
    reservation_id: Option<ReservationId>,
    status: String,
    items: Vec<ItemResponse>,
    total_amount: Money,
    currency: Currency,
    /// The payment that stands, or the last one. There is none where the storefront took the money.
    payment: Option<Payment>,
    created_at: Instant,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ItemResponse {
    product_id: ProductId,
    sku: Sku,
    name: String,
    unit_price: Option<Money>,
    quantity: Quantity,
    line_total: Option<Money>,
}

impl From<Order> for OrderResponse {
    fn from(order: Order) -> Self {
        let items = order.items.into_iter().map(|item| ItemResponse {
            line_total: line_total(item.unit_price, item.quantity),
            product_id: item.product_id,
            sku: item.sku,
            name: item.name,
            unit_price: item.unit_price,
            quantity: item.quantity,
        });
        Self {
            id: order.id,
            user_id: order.user_id,
            reservation_id: order.reservation_id,
            status: order.status,
            items: items.collect(),
            total_amount: order.total,
            currency: order.total.currency,
            payment: order.payment.map(|payment| *payment),
            created_at: order.created_at,
        }
    }
}

/// The order with its payment: 201 if it was made now.
pub(super) async fn answer(till: &dyn Till, placed: Placed) -> Result<HttpResponse, Problem> {
    let location = format!("/api/orders/{}", placed.order.id);
    let mut response = if placed.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    // An order made now has its payment with it, or none.
    let orders =
        if placed.created { vec![placed.order] } else { paid(till, vec![placed.order]).await? };
    let body = orders.into_iter().next().map(OrderResponse::from);
    Ok(response.insert_header((LOCATION, location)).json(body))
}

/// The orders with their payments.
async fn paid(till: &dyn Till, mut orders: Vec<Order>) -> Result<Vec<Order>, Problem> {
    let ids: Vec<OrderId> = orders.iter().map(|order| order.id).collect();
    for payment in till.payments_of(&ids).await? {
        if let Some(order) = orders.iter_mut().find(|order| order.id == payment.order_id) {
            order.payment = Some(Box::new(payment));
        }
    }
    Ok(orders)
}

pub(super) async fn one(till: &dyn Till, order: Order) -> Result<HttpResponse, Problem> {
    let body = paid(till, vec![order]).await?.into_iter().next().map(OrderResponse::from);
    Ok(HttpResponse::Ok().json(body))
}

/// One order.
#[utoipa::path(
    get,
    path = "/api/orders/{id}",
    tag = "orders",
    operation_id = "readOrder",
    params(("id" = OrderId, Path, description = "The order")),
    responses((status = 200, description = "The order", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn read(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    PathOf(id): PathOf<OrderId>,
) -> Result<HttpResponse, Problem> {
    let order = orders.get(id, &viewer(&caller)).await?.ok_or_else(Problem::not_found)?;
    one(&**till, order).await
}

pub(super) fn viewer(caller: &Caller) -> Viewer {
    match caller.role {
        Role::Admin | Role::Service => Viewer::All,
        Role::Merchant => Viewer::Merchant(caller.sub.clone()),
        Role::Customer => Viewer::Buyer(caller.sub.clone()),
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Those in this state.
    #[param(pattern = "^(pending_payment|paid|fulfilled|cancelled|refunded)$")]
    status: Option<String>,
    /// Those of this buyer. Service and admin.
    user_id: Option<UserId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<OrderId>,
}

/// Own orders, the newest first; a merchant also sees those with own products, service and admin all.
#[utoipa::path(
    get,
    path = "/api/orders",
    tag = "orders",
    operation_id = "listOrders",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<OrderResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours"]))),
)]
async fn list(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    const STATUSES: [&str; 5] = ["pending_payment", "paid", "fulfilled", "cancelled", "refunded"];
    let limit = page_limit(query.limit)?;
    if query.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Problem::invalid_field("status", "expected the status of an order"));
    }
    let viewer = match query.user_id {
        Some(user) => Viewer::Buyer(caller.buyer(Some(user))?),
        None => viewer(&caller),
    };
    let found = orders.list(&viewer, query.status.as_deref(), query.cursor, limit).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    let items = paid(&**till, page.items).await?;
    let items: Vec<OrderResponse> = items.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}
