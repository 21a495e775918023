//! The route of the health of all replicas, for admins.

use actix_web::{HttpResponse, web};

use crate::health::{Health, Overview};
use crate::identity::Admin;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(read))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/api/admin/health").route(web::get().to(read)));
}

/// How every replica is, what audits found, and what waits to be sent.
#[utoipa::path(
    get,
    path = "/api/admin/health",
    tag = "operations",
    operation_id = "readHealth",
    responses((status = 200, description = "How everything is", body = Overview)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn read(_: Admin, health: web::Data<Health>) -> HttpResponse {
    HttpResponse::Ok().json(health.overview().await)
}
