//! The route that holds units: its body, and what a refusal says.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::catalogue::{Name, SkuOrId};
use crate::identity::Caller;
use crate::kernel::{ProductId, Quantity, Sku, UserId};
use crate::platform::http::extract::email;
use crate::platform::http::{Json, Object, Problem};
use crate::reservations::http::{ReservationResponse, unknown_product};
use crate::reservations::{Hold, Reservations, ReserveError};

/// Most lines of one reservation.
const MAX_LINES: usize = 20;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LineRequest {
    sku: Option<Sku>,
    product_id: Option<ProductId>,
    #[schema(default = 1)]
    quantity: Option<Quantity>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveRequest {
    sku: Option<Sku>,
    product_id: Option<ProductId>,
    #[schema(default = 1)]
    quantity: Option<Quantity>,
    /// Several products, all or nothing, instead of one above.
    #[schema(value_type = Option<Vec<LineRequest>>, min_items = 1, max_items = 20)]
    items: Option<Vec<Object<LineRequest>>>,
    /// The buyer; service and admin must name one.
    user_id: Option<UserId>,
    /// At most the hold time of the product.
    #[schema(minimum = 1, maximum = 86400)]
    ttl_seconds: Option<i64>,
    /// Where order mail goes.
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
}

impl ReserveRequest {
    /// The lines as they were written, one way or the other.
    fn lines(self) -> Result<Vec<(String, SkuOrId, Quantity)>, Problem> {
        let Some(items) = self.items else {
            let product = SkuOrId::one_of(self.sku, self.product_id, "sku")?;
            return Ok(vec![("sku".to_owned(), product, self.quantity.unwrap_or(Quantity::ONE))]);
        };
        if self.sku.is_some() || self.product_id.is_some() || self.quantity.is_some() {
            return Err(Problem::invalid_field(
                "items",
                "name one product, or several in `items`, not both",
            ));
        }
        if items.is_empty() || items.len() > MAX_LINES {
            return Err(Problem::invalid_field(
                "items",
                format!("expected 1 to {MAX_LINES} lines"),
            ));
        }
        let line = |(at, Object(item)): (usize, Object<LineRequest>)| {
            let field = format!("items[{at}]");
            let product = SkuOrId::one_of(item.sku, item.product_id, &field)?;
            Ok((field, product, item.quantity.unwrap_or(Quantity::ONE)))
        };
        items.into_iter().enumerate().map(line).collect()
    }

    fn ttl(&self) -> Result<Option<u32>, Problem> {
        let refused =
            || Problem::invalid_field("ttl_seconds", "expected a whole number from 1 to 86400");
        let ttl = self
            .ttl_seconds
            .map(|ttl| u32::try_from(ttl).ok().filter(|ttl| (1..=86_400).contains(ttl)));
        ttl.map(|ttl| ttl.ok_or_else(refused)).transpose()
    }
}

/// Lines of one product are one line.
async fn merged(
    reservations: &Reservations,
    lines: Vec<(String, SkuOrId, Quantity)>,
) -> Result<Vec<(Arc<Name>, Quantity)>, Problem> {
    let mut merged: Vec<(Arc<Name>, Quantity)> = Vec::new();
    for (field, product, quantity) in lines {
        let name = product.find(reservations.catalogue()).await?.ok_or_else(unknown_product)?;
        match merged.iter_mut().find(|(known, _)| known.id == name.id) {
            None => merged.push((name, quantity)),
            Some((_, sum)) => {
                let too_many = || {
                    Problem::invalid_field(
                        format!("{field}.quantity"),
                        "the lines of this product add up to too many",
                    )
                };
                *sum = sum.plus(quantity).ok_or_else(too_many)?;
            }
        }
    }
    Ok(merged)
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        let detail = error.to_string();
        let conflict = |code| Self::conflict(code, detail.clone());
        match error {
            ReserveError::AlreadyHeld(id) => conflict("already_held").with("reservation_id", id),
            ReserveError::InsufficientStock { lines, soonest_expiry } => {
                let problem = conflict("insufficient_stock").with("lines", lines);
                match soonest_expiry {
                    Some(at) => problem.with("soonest_expiry", at),
                    None => problem,
                }
            }
            ReserveError::BuyerLimit { limit, held, bought } => conflict("buyer_limit")
                .with("limit", limit)
                .with("held", held)
                .with("bought", bought),
            ReserveError::SaleNotOpen { opens_at } => {
                conflict("sale_not_open").with("opens_at", opens_at)
            }
            ReserveError::SaleClosed => conflict("sale_closed"),
            ReserveError::SalePaused => conflict("sale_paused"),
            ReserveError::TtlTooLong { .. } => Self::invalid_field("ttl_seconds", detail),
            ReserveError::HoldChurn { retry_seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "hold_churn", detail)
                    .retry_after(retry_seconds)
            }
            ReserveError::UnknownProduct => unknown_product(),
            ReserveError::Fault(fault) => fault.into(),
        }
    }
}

/// Hold units for a buyer for a while.
#[utoipa::path(
    post,
    path = "/api/reserve",
    tag = "reservations",
    operation_id = "reserve",
    request_body = ReserveRequest,
    responses((status = 201, description = "The hold", body = ReservationResponse), (status = 200, description = "The hold that stood", body = ReservationResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours", "unknown_product", "insufficient_stock", "already_held", "buyer_limit", "sale_not_open", "sale_closed", "sale_paused", "hold_churn"]))),
)]
pub(super) async fn reserve(
    caller: Caller,
    reservations: web::Data<Reservations>,
    Json(mut body): Json<ReserveRequest>,
) -> Result<HttpResponse, Problem> {
    let hold = Hold {
        user: caller.buyer(body.user_id.take())?,
        ttl_seconds: body.ttl()?,
        email: email(body.email.take())?,
        actor: caller.actor(),
        lines: merged(&reservations, body.lines()?).await?,
    };
    let held = reservations.reserve(&hold).await?;
    let location = format!("/api/reservations/{}", held.reservation.id);
    let mut response = if held.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response
        .insert_header((LOCATION, location))
        .json(ReservationResponse::from(held.reservation)))
}
