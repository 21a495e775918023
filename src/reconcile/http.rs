//! The route of reconciling, for admins.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::identity::Admin;
use crate::platform::http::{MaybeJson, Problem};
use crate::reconcile::{Reconcile, Reconciled};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(reconcile))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/api/admin/reconcile").route(web::post().to(reconcile)));
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReconcileRequest {
    /// Whether to look only.
    #[serde(default)]
    dry_run: bool,
}

/// Look whether everything agrees, and put right what can be. With many products it takes seconds.
#[utoipa::path(
    post,
    path = "/api/admin/reconcile",
    tag = "operations",
    operation_id = "reconcile",
    request_body = Option<ReconcileRequest>,
    responses((status = 200, description = "What was found", body = Reconciled)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn reconcile(
    Admin(caller): Admin,
    reconcile: web::Data<Reconcile>,
    MaybeJson(body): MaybeJson<ReconcileRequest>,
) -> Result<HttpResponse, Problem> {
    let dry_run = body.unwrap_or_default().dry_run;
    let report = reconcile.run_apart(dry_run, caller.actor()).await?;
    Ok(HttpResponse::Ok().json(report))
}
