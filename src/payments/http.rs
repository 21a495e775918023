//! Routes and bodies of payments.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::{Bytes, PayloadConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::identity::{Caller, Role};
use crate::kernel::{OrderId, PaymentId, ReservationId};
use crate::orders::{Ask, Checkout, PayError, Payment, Provider, Till, Viewer, Which};
use crate::payments::callback::{Callback, Said};
use crate::payments::journal_store::Recorded;
use crate::payments::review_http;
use crate::payments::webhook::EventError;
use crate::payments::{Payments, WebhookError};
use crate::platform::http::{Json, PathOf, Problem, Query};
use crate::reservations::EndError;

/// The largest event that is read.
const LARGEST_EVENT: usize = 256 << 10;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    stripe_session,
    bkash_initiate,
    stripe_webhook,
    bkash_callback,
    read,
    review_http::list,
    review_http::resolve_review
))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let webhook = web::resource("/payment/stripe/webhook")
        .app_data(PayloadConfig::new(LARGEST_EVENT))
        .route(web::post().to(stripe_webhook));
    config
        .service(web::resource("/payment/stripe/session").route(web::post().to(stripe_session)))
        .service(web::resource("/payment/bkash/initiate").route(web::post().to(bkash_initiate)))
        .service(webhook)
        .service(web::resource("/payment/bkash/callback").route(web::get().to(bkash_callback)))
        .service(web::resource("/payments/{id}").route(web::get().to(read)))
        .configure(review_http::routes);
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Disabled => PayError::ProviderDisabled.into(),
            EventError::Forged(WebhookError::Malformed) => {
                Self::new(StatusCode::BAD_REQUEST, "malformed_json", "the body is no event")
            }
            EventError::Forged(error) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_signature", error.to_string())
            }
            EventError::Fault(fault) => fault.into(),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PayRequest {
    /// The hold to pay for; or the order that it became.
    reservation_id: Option<ReservationId>,
    /// The order that awaits its payment.
    order_id: Option<OrderId>,
    /// Where the buyer goes after paying; its origin must be one of `payments.return_origins`.
    #[schema(max_length = 2048)]
    success_url: String,
    /// Where the buyer goes after giving up.
    #[schema(max_length = 2048)]
    cancel_url: String,
}

/// A payment; an admin also sees what was said to and by the provider.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PaymentResponse {
    #[serde(flatten)]
    payment: Payment,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<Vec<Recorded>>,
}

async fn begin(
    provider: Provider,
    caller: Caller,
    payments: &Payments,
    body: PayRequest,
) -> Result<HttpResponse, Problem> {
    let PayRequest { reservation_id, order_id, success_url, cancel_url } = body;
    let ask = Ask { provider, success_url, cancel_url };
    let (payment, created) = match (reservation_id, order_id) {
        (Some(id), None) => {
            let checkout = Checkout {
                which: Which::ById(id),
                viewer: caller.sees().cloned(),
                total: None,
                may_set_total: false,
                email: None,
                own_email: if caller.acts_for_all() { None } else { caller.email.clone() },
                actor: caller.actor(),
            };
            let placed = payments.pay_hold(checkout, ask).await?;
            let payment = placed.order.payment.ok_or(EndError::AlreadyConfirmed)?;
            (*payment, placed.created)
        }
        (None, Some(id)) => {
            let viewer =
                if caller.acts_for_all() { Viewer::All } else { Viewer::Buyer(caller.sub.clone()) };
            let paid =
                payments.pay_order(id, &viewer, ask).await?.ok_or_else(Problem::not_found)?;
            (paid.row.view(), paid.created)
        }
        _ => {
            let message = "name either `reservation_id` or `order_id`";
            return Err(Problem::invalid_field("reservation_id", message));
        }
    };
    let location = format!("/api/payments/{}", payment.id);
    let mut response = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header((LOCATION, location)).json(payment))
}

/// Begin to pay a hold, or an order that awaits its payment, with Stripe Checkout. The hold is pinned until the deadline.
#[utoipa::path(
    post,
    path = "/api/payment/stripe/session",
    tag = "payments",
    operation_id = "payWithStripe",
    request_body = PayRequest,
    responses((status = 201, description = "The payment, with the URL to send the buyer to", body = Payment), (status = 200, description = "The payment that stood", body = Payment)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["provider_disabled", "not_found", "already_confirmed", "payment_in_progress", "order_paid", "order_cancelled", "order_refunded", "reservation_cancelled", "reservation_expired", "price_missing", "mixed_currency", "not_payable", "insufficient_stock", "buyer_limit", "payment_refused", "provider_unavailable"]))),
)]
async fn stripe_session(
    caller: Caller,
    payments: web::Data<Payments>,
    Json(body): Json<PayRequest>,
) -> Result<HttpResponse, Problem> {
    begin(Provider::Stripe, caller, &payments, body).await
}

/// Begin to pay a hold, or an order that awaits its payment, with bKash. The hold is pinned until the deadline.
#[utoipa::path(
    post,
    path = "/api/payment/bkash/initiate",
    tag = "payments",
    operation_id = "payWithBkash",
    request_body = PayRequest,
    responses((status = 201, description = "The payment, with the URL to send the buyer to", body = Payment), (status = 200, description = "The payment that stood", body = Payment)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["provider_disabled", "not_found", "already_confirmed", "payment_in_progress", "order_paid", "order_cancelled", "order_refunded", "reservation_cancelled", "reservation_expired", "price_missing", "mixed_currency", "not_payable", "insufficient_stock", "buyer_limit", "payment_refused", "provider_unavailable"]))),
)]
async fn bkash_initiate(
    caller: Caller,
    payments: web::Data<Payments>,
    Json(body): Json<PayRequest>,
) -> Result<HttpResponse, Problem> {
    begin(Provider::Bkash, caller, &payments, body).await
}

/// What Stripe tells: signed events, each taken once, in any order.
#[utoipa::path(
    post,
    path = "/api/payment/stripe/webhook",
    tag = "payments",
    operation_id = "takeStripeEvent",
    params(("Stripe-Signature" = Option<String>, Header, description = "Time and signature over the body as it came")),
    request_body(content = String, content_type = "application/json", description = "An event of Stripe"),
    responses((status = 200, description = "The event is kept", body = Value)),
    extensions(("x-codes" = json!(["invalid_signature", "malformed_json", "provider_disabled"]))),
)]
async fn stripe_webhook(
    request: HttpRequest,
    payments: web::Data<Payments>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let signature = request.headers().get("stripe-signature");
    let signature = signature.and_then(|value| value.to_str().ok());
    payments.take_event(&body, signature).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "received": true })))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CallbackQuery {
    /// The payment, in bKash's words.
    #[serde(rename = "paymentID")]
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9]+$")]
    payment_id: String,
    /// `success`, `failure` or `cancel`: a hint, nothing more.
    #[param(pattern = "^(success|failure|cancel)$")]
    status: String,
    /// What bKash put into the address.
    #[param(max_length = 1024)]
    signature: Option<String>,
}

/// The buyer comes back from bKash, and is sent on to the storefront with `payment_id` and `status` in the address.
#[utoipa::path(
    get,
    path = "/api/payment/bkash/callback",
    tag = "payments",
    operation_id = "returnFromBkash",
    params(CallbackQuery),
    responses((status = 303, description = "To the storefront")),
    extensions(("x-codes" = json!(["not_found", "provider_disabled"]))),
)]
async fn bkash_callback(
    payments: web::Data<Payments>,
    Query(query): Query<CallbackQuery>,
) -> Result<HttpResponse, Problem> {
    let said = match query.status.as_str() {
        "success" => Said::Success,
        "failure" => Said::Failure,
        "cancel" => Said::Cancel,
        _ => {
            let message = "expected success, failure or cancel";
            return Err(Problem::invalid_field("status", message));
        }
    };
    let CallbackQuery { payment_id, signature, .. } = query;
    let named = (1..=64).contains(&payment_id.len())
        && payment_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !named {
        return Err(Problem::invalid_field("paymentID", "expected 1 to 64 letters and digits"));
    }
    if signature.as_ref().is_some_and(|signature| signature.len() > 1_024) {
        return Err(Problem::invalid_field("signature", "expected at most 1024 characters"));
    }
    if !payments.takes(Provider::Bkash) {
        return Err(PayError::ProviderDisabled.into());
    }
    let callback = Callback { provider_payment_id: payment_id, said, signature };
    let url = payments.take_callback(callback).await?.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, url)).finish())
}

/// One payment.
#[utoipa::path(
    get,
    path = "/api/payments/{id}",
    tag = "payments",
    operation_id = "readPayment",
    params(("id" = PaymentId, Path, description = "The payment")),
    responses((status = 200, description = "The payment; for an admin with `exchanges`", body = PaymentResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn read(
    caller: Caller,
    payments: web::Data<Payments>,
    PathOf(id): PathOf<PaymentId>,
) -> Result<HttpResponse, Problem> {
    let payment = payments.get(id, caller.sees()).await?.ok_or_else(Problem::not_found)?;
    let exchanges = match caller.role {
        Role::Admin => Some(payments.exchanges(id).await?),
        Role::Customer | Role::Merchant | Role::Service => None,
    };
    Ok(HttpResponse::Ok().json(PaymentResponse { payment, exchanges }))
}
