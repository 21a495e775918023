//! Routes and bodies of checkout and orders.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::config::Current;
use crate::identity::{Caller, Role};
use crate::kernel::money::Amount;
use crate::kernel::page::Page;
use crate::kernel::{
    Currency, Instant, Money, OrderId, ProductId, Quantity, ReservationId, Sku, UserId,
};
use crate::orders::{
    Ask, Checkout, CheckoutError, Order, Orders, PayError, Payment, Place, PlaceError, Placed,
    Provider, Till, Viewer, Which, line_total,
};
use crate::platform::http::extract::{MaybeJson, email};
use crate::platform::http::{Json, Object, PathOf, Problem, Query, page_limit};
use crate::stock::Units;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(checkout, place, list, read, cancel, fulfil, refund))]
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

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PaymentRequest {
    provider: Provider,
    /// Where the buyer goes after paying; its origin must be one of `payments.return_origins`.
    #[schema(max_length = 2048)]
    success_url: String,
    /// Where the buyer goes after giving up.
    #[schema(max_length = 2048)]
    cancel_url: String,
}

impl From<PaymentRequest> for Ask {
    fn from(request: PaymentRequest) -> Self {
        let PaymentRequest { provider, success_url, cancel_url } = request;
        Self { provider, success_url, cancel_url }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckoutRequest {
    reservation_id: Option<ReservationId>,
    user_id: Option<UserId>,
    product_id: Option<ProductId>,
    quantity: Option<Quantity>,
    total_amount: Option<Amount>,
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
    #[schema(value_type = Option<PaymentRequest>)]
    payment: Option<Object<PaymentRequest>>,
}

impl CheckoutRequest {
    fn which(&self, caller: &Caller) -> Result<Which, Problem> {
        match (self.reservation_id, self.product_id) {
            (Some(id), None) if self.quantity.is_none() => {
                if let Some(user) = &self.user_id {
                    caller.buyer(Some(user.clone()))?;
                }
                Ok(Which::ById(id))
            }
            (None, Some(product)) => {
                let missing =
                    || Problem::invalid_field("quantity", "how many units the hold must be of");
                let quantity = self.quantity.ok_or_else(missing)?;
                Ok(Which::ByProduct {
                    user: caller.buyer(self.user_id.clone())?,
                    product,
                    quantity,
                })
            }
            _ => {
                let message = "name the hold by `reservation_id`, or by `user_id`, `product_id` and `quantity`";
                Err(Problem::invalid_field("reservation_id", message))
            }
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OrderResponse {
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

impl From<CheckoutError> for Problem {
    fn from(error: CheckoutError) -> Self {
        let detail = error.to_string();
        match error {
            CheckoutError::Ended(ended) => ended.into(),
            CheckoutError::QuantityMismatch { held } => {
                Self::conflict("quantity_mismatch", detail).with("held", held)
            }
            CheckoutError::TotalMismatch { expected } => {
                Self::field("total_mismatch", "total_amount", format!("it costs {expected}"))
                    .with("total_amount", expected)
            }
            CheckoutError::BadTotal(message) => Self::invalid_field("total_amount", message),
            CheckoutError::PriceMissing { sku } => {
                Self::field("price_missing", "total_amount", format!("{sku} has no price"))
                    .with("sku", sku)
            }
            CheckoutError::MixedCurrency => Self::field("mixed_currency", "items", detail),
            CheckoutError::NotPayable(_) => Self::field("not_payable", "payment", detail),
            CheckoutError::Refused(refused) => refused.into(),
            CheckoutError::Fault(fault) => fault.into(),
        }
    }
}

impl From<PayError> for Problem {
    fn from(error: PayError) -> Self {
        let detail = error.to_string();
        match error {
            PayError::ProviderDisabled => {
                Self::new(StatusCode::NOT_FOUND, "provider_disabled", detail)
            }
            PayError::ReturnUrl(field) => Self::invalid_field(
                field,
                "expected an address below one of the origins that buyers may be sent to",
            ),
            PayError::Place(error) => error.into(),
            PayError::OrderState(status) => wrong_state(&status),
            PayError::Refused(reason) => {
                Self::conflict("payment_refused", detail).with("reason", reason)
            }
            PayError::ProviderUnavailable(outcome) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "provider_unavailable", detail).outcome(outcome).retry_after(2)
            }
            PayError::RefundRefused(reason) => {
                Self::conflict("refund_refused", detail).with("reason", reason)
            }
        }
    }
}

/// The buyer's own token may not say that the money was taken elsewhere.
fn payment_required() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "payment_required",
        "pay here, or let the storefront confirm",
    )
}

/// Turn a hold into an order.
#[utoipa::path(
    post,
    path = "/api/checkout",
    tag = "orders",
    operation_id = "checkout",
    request_body = CheckoutRequest,
    responses((status = 201, description = "The order", body = OrderResponse), (status = 200, description = "The order that the hold became before", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours", "payment_required", "provider_disabled", "not_found", "payment_in_progress", "reservation_cancelled", "reservation_expired", "quantity_mismatch", "total_mismatch", "price_missing", "mixed_currency", "not_payable", "insufficient_stock", "buyer_limit", "payment_refused", "provider_unavailable"]))),
)]
async fn checkout(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    settings: web::Data<Current>,
    Json(body): Json<CheckoutRequest>,
) -> Result<HttpResponse, Problem> {
    let which = body.which(&caller)?;
    if body.payment.is_none()
        && settings.load().checkout.customers_must_pay_here
        && !caller.acts_for_all()
    {
        return Err(payment_required());
    }
    let checkout = Checkout {
        which,
        viewer: body.user_id.or_else(|| caller.sees().cloned()),
        total: body.total_amount,
        may_set_total: caller.acts_for_all(),
        email: email(body.email)?,
        own_email: if caller.acts_for_all() { None } else { caller.email.clone() },
        actor: caller.actor(),
    };
    let placed = match body.payment {
        None => orders.checkout(checkout).await?,
        Some(Object(payment)) => till.pay_hold(checkout, payment.into()).await?,
    };
    answer(&**till, placed).await
}

/// The order with its payment: 201 if it was made now.
async fn answer(till: &dyn Till, placed: Placed) -> Result<HttpResponse, Problem> {
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

async fn one(till: &dyn Till, order: Order) -> Result<HttpResponse, Problem> {
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

fn viewer(caller: &Caller) -> Viewer {
    match caller.role {
        Role::Admin | Role::Service => Viewer::All,
        Role::Merchant => Viewer::Merchant(caller.sub.clone()),
        Role::Customer => Viewer::Buyer(caller.sub.clone()),
    }
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceRequest {
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
    #[schema(value_type = Option<PaymentRequest>)]
    payment: Option<Object<PaymentRequest>>,
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        let detail = error.to_string();
        match error {
            PlaceError::CartEmpty => Self::conflict("cart_empty", detail),
            PlaceError::CartChanged => Self::conflict("cart_changed", detail),
            PlaceError::Refused(refused) => refused.into(),
            PlaceError::Checkout(error) => error.into(),
        }
    }
}

/// Order the whole cart, all or nothing.
#[utoipa::path(
    post,
    path = "/api/orders",
    tag = "orders",
    operation_id = "placeOrder",
    request_body = Option<PlaceRequest>,
    responses((status = 201, description = "The order", body = OrderResponse), (status = 200, description = "The order that this request made before", body = OrderResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "payment_required", "provider_disabled", "cart_empty", "cart_changed", "unknown_product", "insufficient_stock", "already_held", "buyer_limit", "sale_not_open", "sale_closed", "sale_paused", "payment_in_progress", "price_missing", "mixed_currency", "not_payable", "hold_churn", "payment_refused", "provider_unavailable"]))),
)]
async fn place(
    caller: Caller,
    orders: web::Data<Orders>,
    till: web::Data<dyn Till>,
    settings: web::Data<Current>,
    MaybeJson(body): MaybeJson<PlaceRequest>,
) -> Result<HttpResponse, Problem> {
    if caller.acts_for_all() {
        return Err(Problem::forbidden());
    }
    let body = body.unwrap_or_default();
    if body.payment.is_none() && settings.load().checkout.customers_must_pay_here {
        return Err(payment_required());
    }
    let actor = caller.actor();
    let email = email(body.email)?.or(caller.email);
    let place = Place { user: caller.sub, email, actor };
    let placed = match body.payment {
        None => orders.place(place).await?,
        Some(Object(payment)) => till.pay_cart(place, payment.into()).await?,
    };
    answer(&**till, placed).await
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

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn wrong_state(status: &str) -> Problem {
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
async fn cancel(
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
async fn fulfil(
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
struct RefundRequest {
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
async fn refund(
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
