//! The route by which an admin sends news of an order again.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::identity::Admin;
use crate::kernel::OrderId;
use crate::notifications::Notifications;
use crate::notifications::events::Channel;
use crate::notifications::resend::ResendError;
use crate::platform::http::{Json, PathOf, Problem};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let again = web::resource("/api/admin/orders/{id}/resend");
    config.service(again.route(web::post().to(resend)));
}

impl From<ResendError> for Problem {
    fn from(error: ResendError) -> Self {
        match error {
            ResendError::NotFound => Self::not_found(),
            ResendError::Nothing(why) => Self::conflict("nothing_to_send", why),
            ResendError::Fault(fault) => fault.into(),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResendRequest {
    what: Channel,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ResendResponse {
    /// The event that is on its way again.
    queued: &'static str,
}

/// Send the last news of an order again: the mail to its buyer, or the event to storefronts (under a new `webhook-id`).
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/resend",
    tag = "notifications",
    operation_id = "resendOrderNews",
    params(("id" = OrderId, Path, description = "The order")),
    request_body = ResendRequest,
    responses((status = 200, description = "It is on its way", body = ResendResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "nothing_to_send"]))),
)]
pub(super) async fn resend(
    Admin(caller): Admin,
    notifications: web::Data<Notifications>,
    PathOf(id): PathOf<OrderId>,
    Json(body): Json<ResendRequest>,
) -> Result<HttpResponse, Problem> {
    let queued = notifications.resend(id, body.what, &caller.actor()).await?;
    Ok(HttpResponse::Ok().json(ResendResponse { queued }))
}
