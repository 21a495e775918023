//! The route that orders a whole cart.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::config::Current;
use crate::identity::Caller;
use crate::orders::checkout_http::{PaymentRequest, payment_required};
use crate::orders::http::{OrderResponse, answer};
use crate::orders::{Orders, Place, PlaceError, Till};
use crate::platform::http::extract::{MaybeJson, email};
use crate::platform::http::{Object, Problem};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceRequest {
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
pub(super) async fn place(
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
