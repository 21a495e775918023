//! Routes and bodies of the clock by which holds expire, for admins.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::identity::Admin;
use crate::kernel::Instant;
use crate::platform::http::{MaybeJson, Problem};
use crate::reservations::ExpiryClock;
use crate::sales::Sales;
use crate::sales::http::{ReasonRequest, by};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(read, freeze, thaw))]
pub struct ExpiryOperations;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/api/admin/expiry").route(web::get().to(read)))
        .service(web::resource("/api/admin/expiry/freeze").route(web::post().to(freeze)))
        .service(web::resource("/api/admin/expiry/thaw").route(web::post().to(thaw)));
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ExpiryResponse {
    /// Whether no hold expires.
    frozen: bool,
    /// Since when it is as it is; none if it never was otherwise.
    since: Option<Instant>,
    /// Who made it so.
    by: Option<String>,
    reason: Option<String>,
}

impl From<ExpiryClock> for ExpiryResponse {
    fn from(clock: ExpiryClock) -> Self {
        Self {
            frozen: clock.frozen_ms.is_some(),
            since: clock.changed_by.is_some().then_some(clock.changed_at),
            by: clock.changed_by,
            reason: clock.reason,
        }
    }
}

/// Whether holds expire.
#[utoipa::path(
    get,
    path = "/api/admin/expiry",
    tag = "operations",
    operation_id = "readExpiry",
    responses((status = 200, description = "The clock", body = ExpiryResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn read(_: Admin, sales: web::Data<Sales>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(ExpiryResponse::from(sales.expiry().await?)))
}

/// Let no hold expire, anywhere, until `thaw`.
#[utoipa::path(
    post,
    path = "/api/admin/expiry/freeze",
    tag = "operations",
    operation_id = "freezeExpiry",
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The clock", body = ExpiryResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn freeze(
    admin: Admin,
    sales: web::Data<Sales>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    let clock = sales.set_expiry(true, by(&admin, body)?).await?;
    Ok(HttpResponse::Ok().json(ExpiryResponse::from(clock)))
}

/// Let holds expire again; each has the time that it had left at the freeze.
#[utoipa::path(
    post,
    path = "/api/admin/expiry/thaw",
    tag = "operations",
    operation_id = "thawExpiry",
    request_body = Option<ReasonRequest>,
    responses((status = 200, description = "The clock", body = ExpiryResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn thaw(
    admin: Admin,
    sales: web::Data<Sales>,
    MaybeJson(body): MaybeJson<ReasonRequest>,
) -> Result<HttpResponse, Problem> {
    let clock = sales.set_expiry(false, by(&admin, body)?).await?;
    Ok(HttpResponse::Ok().json(ExpiryResponse::from(clock)))
}
