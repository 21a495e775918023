//! Routes and bodies of movements. Somebody else's product looks like none.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::catalogue::text;
use crate::identity::{Caller, Merchant, Role};
use crate::kernel::page::Page;
use crate::kernel::{Instant, ProductId, Quantity};
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, Problem, Query, bad_cursor, page_limit};
use crate::stock::{Listing, MoveError, Movements, Wish};

/// Longest note, in characters.
const NOTE: usize = 500;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(create, list))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let stock = web::resource("/stock").route(web::get().to(list)).route(web::post().to(create));
    config.service(stock);
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        let detail = error.to_string();
        match error {
            MoveError::UnknownProduct => {
                Self::new(StatusCode::NOT_FOUND, "unknown_product", detail)
            }
            MoveError::UnknownSupplier => Self::invalid_field("supplier_id", detail),
            MoveError::TooMuch => Self::invalid_field("quantity", detail),
            MoveError::InsufficientStock { lines, soonest_expiry } => {
                let problem = Self::conflict("insufficient_stock", detail).with("lines", lines);
                match soonest_expiry {
                    Some(at) => problem.with("soonest_expiry", at),
                    None => problem,
                }
            }
            MoveError::Fault(fault) => fault.into(),
        }
    }
}

/// What its owner may do to stock by hand.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(rename_all = "UPPERCASE")]
enum Direction {
    In,
    Out,
}

impl TryFrom<String> for Direction {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        match word.as_str() {
            "IN" => Ok(Self::In),
            "OUT" => Ok(Self::Out),
            _ => Err("expected `IN` or `OUT`"),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MovementRequest {
    product_id: ProductId,
    movement_type: Direction,
    quantity: Quantity,
    #[schema(min_length = 1, max_length = 500)]
    note: Option<String>,
    #[schema(minimum = 1, maximum = 281474976710655i64)]
    supplier_id: Option<i64>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Those of this product.
    product_id: Option<ProductId>,
    /// Not before.
    from: Option<Instant>,
    /// Before.
    to: Option<Instant>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// Whose stock a caller may see and move: everybody's for an admin.
fn owner(caller: &Caller) -> Option<String> {
    (caller.role != Role::Admin).then(|| caller.sub.to_string())
}

/// Bring goods in, or take out what is neither held nor sold.
#[utoipa::path(
    post,
    path = "/api/stock",
    tag = "stock",
    operation_id = "moveStock",
    request_body = MovementRequest,
    responses((status = 201, description = "The movement, after stock has changed", body = crate::stock::Movement)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product", "insufficient_stock"]))),
)]
async fn create(
    request: HttpRequest,
    Merchant(caller): Merchant,
    movements: web::Data<Movements>,
    Json(body): Json<MovementRequest>,
) -> Result<HttpResponse, Problem> {
    let wish = Wish {
        owner: owner(&caller),
        product: body.product_id,
        quantity: body.quantity,
        note: body.note.map(|note| text("note", &note, NOTE)).transpose()?,
        supplier_id: body.supplier_id,
        actor: caller.actor(),
        request_key: request.extensions().get::<RequestKey>().map(|key| key.0.clone()),
    };
    let moved = match body.movement_type {
        Direction::In => movements.bring_in(wish).await?,
        Direction::Out => movements.take_out(wish).await?,
    };
    let location = format!("/api/stock?product_id={}", moved.product_id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(moved))
}

/// Movements of own products, the newest first; all for an admin.
#[utoipa::path(
    get,
    path = "/api/stock",
    tag = "stock",
    operation_id = "listMovements",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<crate::stock::Movement>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "unknown_product"]))),
)]
async fn list(
    Merchant(caller): Merchant,
    movements: web::Data<Movements>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    let before = match query.cursor {
        None => i64::MAX,
        Some(cursor) => cursor.parse().ok().filter(|before| *before > 0).ok_or_else(bad_cursor)?,
    };
    let listing = Listing {
        owner: owner(&caller),
        product: query.product_id,
        from: query.from,
        to: query.to,
        before,
        limit,
    };
    let found = movements.page(&listing).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    Ok(HttpResponse::Ok().json(page))
}
