//! Routes and bodies of looking at holds, for admins.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::Admin;
use crate::kernel::page::Page;
use crate::kernel::{Instant, ReservationId, Sku, UserId};
use crate::platform::http::{PathOf, Problem, Query, bad_cursor, page_limit};
use crate::reservations::http::{ReservationResponse, unknown_product};
use crate::reservations::{FoundHold, Happened, HoldPlace, HoldsOf, Reservations, Status};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/api/admin/holds").route(web::get().to(list)))
        .service(web::resource("/api/admin/holds/{id}").route(web::get().to(read)));
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HoldsQuery {
    /// Those of this buyer.
    user_id: Option<UserId>,
    /// Those of this product.
    sku: Option<Sku>,
    /// This one alone.
    reservation_id: Option<ReservationId>,
    /// Those that stand so.
    status: Option<Status>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(max_length = 128)]
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HoldResponse {
    #[serde(flatten)]
    reservation: ReservationResponse,
    /// Who ended it, as `role:sub`, `clock` or a part of the service.
    actor: Option<String>,
}

impl From<FoundHold> for HoldResponse {
    fn from(found: FoundHold) -> Self {
        Self { reservation: found.reservation.into(), actor: found.actor }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HappenedResponse {
    at: Instant,
    /// `held`, `extended`, `released`, `paying`, `refused`, `confirmed`, `cancelled`, `expired`; or what was done to its sale
    /// (`sale.extend_holds`, `sale.closed`) or to the clock (`expiry.freeze`, `expiry.thaw`).
    event: String,
    actor: Option<String>,
    reason: Option<String>,
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<Happened> for HappenedResponse {
    fn from(happened: Happened) -> Self {
        let Happened { at, event, actor, reason, detail } = happened;
        Self { at, event, actor, reason, detail }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HoldWithHistory {
    #[serde(flatten)]
    hold: HoldResponse,
    /// The oldest first.
    history: Vec<HappenedResponse>,
}

/// Holds of a buyer, of a product, or one alone; without a criterion some of the products that were wanted lately.
#[utoipa::path(
    get,
    path = "/api/admin/holds",
    tag = "operations",
    operation_id = "listHolds",
    params(HoldsQuery),
    responses((status = 200, description = "A page", body = Page<HoldResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product"]))),
)]
pub(super) async fn list(
    _: Admin,
    reservations: web::Data<Reservations>,
    Query(query): Query<HoldsQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)? as usize;
    let after = query.cursor.map(|cursor| cursor.parse::<HoldPlace>());
    let after = after.transpose().map_err(|_unreadable| bad_cursor())?;
    let name = match &query.sku {
        Some(sku) => {
            let found = reservations.catalogue().by_sku(sku).await?;
            Some(found.ok_or_else(unknown_product)?)
        }
        None => None,
    };
    let found = match (query.reservation_id, query.user_id, name) {
        (Some(id), user, name) => {
            let fits = |found: &FoundHold| {
                let reservation = &found.reservation;
                let has = |id| reservation.items.iter().any(|item| item.product_id == id);
                user.as_ref().is_none_or(|user| *user == reservation.user)
                    && name.as_ref().is_none_or(|name| has(name.id))
                    && query.status.is_none_or(|status| status == reservation.status)
            };
            reservations.hold(id).await?.into_iter().filter(fits).collect()
        }
        (None, Some(user), name) => {
            let of = HoldsOf::Buyer(user, name);
            reservations.holds(&of, query.status, after.as_ref(), limit + 1).await?
        }
        (None, None, Some(name)) => {
            let of = HoldsOf::Product(name);
            reservations.holds(&of, query.status, after.as_ref(), limit + 1).await?
        }
        (None, None, None) => {
            reservations.holds(&HoldsOf::Active, query.status, None, limit).await?
        }
    };
    let page = Page::cut(found, limit, |last| last.place.to_string());
    let items: Vec<HoldResponse> = page.items.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

/// One hold with all that happened to it.
#[utoipa::path(
    get,
    path = "/api/admin/holds/{id}",
    tag = "operations",
    operation_id = "readHold",
    params(("id" = ReservationId, Path, description = "The reservation")),
    responses((status = 200, description = "The hold", body = HoldWithHistory)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
pub(super) async fn read(
    _: Admin,
    reservations: web::Data<Reservations>,
    PathOf(id): PathOf<ReservationId>,
) -> Result<HttpResponse, Problem> {
    let found = reservations.hold(id).await?.ok_or_else(Problem::not_found)?;
    let history = reservations.hold_history(&found).await?;
    let history = history.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(HoldWithHistory { hold: found.into(), history }))
}
