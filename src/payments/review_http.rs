//! Routes and bodies for those who look after payments.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::audit;
use crate::identity::Admin;
use crate::kernel::page::Page;
use crate::kernel::{OrderId, PaymentId, UserId};
use crate::orders::{PayError, Provider};
use crate::payments::Payments;
use crate::payments::review::{AdminPayment, Resolution, ReviewError};
use crate::payments::review_store::Wanted;
use crate::payments::store::Status;
use crate::platform::Outcome;
use crate::platform::http::{Json, PathOf, Problem, Query, page_limit};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let resolve = web::resource("/api/admin/payments/{id}/resolve");
    config
        .service(web::resource("/api/admin/payments").route(web::get().to(list)))
        .service(resolve.route(web::post().to(resolve_review)));
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let detail = error.to_string();
        match error {
            ReviewError::NotFound => Self::not_found(),
            ReviewError::NotInReview => Self::conflict("not_in_review", detail),
            ReviewError::NotPaid => Self::conflict("not_paid", detail),
            ReviewError::GivenUp => Self::conflict("refund_decided", detail),
            ReviewError::ProviderUnavailable => PayError::ProviderUnavailable(Outcome::None).into(),
            ReviewError::Fault(fault) => fault.into(),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Those in this state; `review` are those that wait for a person.
    #[param(
        pattern = "^(initiated|pending|paid|failed|cancelled|expired|late|refunding|refunded|review)$"
    )]
    status: Option<String>,
    /// Those of this provider.
    provider: Option<Provider>,
    /// Those of this buyer.
    user_id: Option<UserId>,
    /// Those of this order.
    order_id: Option<OrderId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<PaymentId>,
}

/// Payments, the newest first.
#[utoipa::path(
    get,
    path = "/api/admin/payments",
    tag = "payments",
    operation_id = "listPayments",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<AdminPayment>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
pub(super) async fn list(
    _: Admin,
    payments: web::Data<Payments>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    let status = query.status.as_deref().map(Status::parse).transpose();
    let status = status
        .map_err(|_unknown| Problem::invalid_field("status", "expected the status of a payment"))?;
    let wanted = Wanted {
        status,
        provider: query.provider.map(Into::into),
        user: query.user_id,
        order: query.order_id,
    };
    let found = payments.list(&wanted, query.cursor, limit).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    let items: Vec<AdminPayment> = page.items.iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolveRequest {
    outcome: Resolution,
    /// Why, for the record.
    #[schema(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

/// Decide about a payment whose money does not fit. `accept` sells it all the same, `refund` gives units and money back,
/// `release` only the units. The provider is asked first whether it has the money.
#[utoipa::path(
    post,
    path = "/api/admin/payments/{id}/resolve",
    tag = "payments",
    operation_id = "resolvePayment",
    params(("id" = PaymentId, Path, description = "The payment")),
    request_body = ResolveRequest,
    responses((status = 200, description = "The payment as it stands now", body = AdminPayment)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "not_in_review", "not_paid", "refund_decided", "provider_unavailable"]))),
)]
pub(super) async fn resolve_review(
    Admin(caller): Admin,
    payments: web::Data<Payments>,
    PathOf(id): PathOf<PaymentId>,
    Json(body): Json<ResolveRequest>,
) -> Result<HttpResponse, Problem> {
    let reason = audit::reason(body.reason)?;
    let row = payments.resolve(id, body.outcome, caller.actor(), reason).await?;
    Ok(HttpResponse::Ok().json(AdminPayment::from(&row)))
}
