//! The route that turns a hold into an order: its body, and what a refusal says.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::config::Current;
use crate::identity::Caller;
use crate::kernel::money::Amount;
use crate::kernel::{ProductId, Quantity, ReservationId, UserId};
use crate::orders::change_http::wrong_state;
use crate::orders::http::{OrderResponse, answer};
use crate::orders::{Ask, Checkout, CheckoutError, Orders, PayError, Provider, Till, Which};
use crate::platform::http::extract::email;
use crate::platform::http::{Json, Object, Problem};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentRequest {
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
pub(super) struct CheckoutRequest {
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
pub(super) fn payment_required() -> Problem {
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
pub(super) async fn checkout(
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
