//! The route that lists the reservations of a buyer.

use std::fmt;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::identity::Caller;
use crate::kernel::page::Page;
use crate::kernel::{Instant, ReservationId, UserId};
use crate::platform::http::{PathOf, Problem, Query, bad_cursor, page_limit};
use crate::reservations::http::ReservationResponse;
use crate::reservations::{Reservation, Reservations, Status};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// `all` adds those that have ended.
    #[param(pattern = "^all$")]
    status: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(max_length = 128)]
    cursor: Option<String>,
}

/// The last one of a page, and where the next page goes on: live holds come first, then those that have ended.
#[derive(Clone, Copy)]
enum Cursor {
    Live(Instant, ReservationId),
    Ended(Instant, ReservationId),
}

impl Cursor {
    fn after(last: &Reservation) -> Self {
        match last.status {
            Status::Held | Status::Confirming => Self::Live(last.created_at, last.id),
            Status::Confirmed | Status::Cancelled | Status::Expired => {
                Self::Ended(last.read_at, last.id)
            }
        }
    }
}

/// `live.<made at, ms>.<reservation id>` or `ended.<ended at, ms>.<reservation id>`.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(at, id) => write!(f, "live.{}.{id}", at.as_ms()),
            Self::Ended(at, id) => write!(f, "ended.{}.{id}", at.as_ms()),
        }
    }
}

fn parse_cursor(cursor: &str) -> Result<Cursor, Problem> {
    let parse = || {
        let (kind, rest) = cursor.split_once('.')?;
        let (at, id) = rest.split_once('.')?;
        let (at, id) = (Instant::from_ms(at.parse().ok()?), id.parse().ok()?);
        match kind {
            "live" => Some(Cursor::Live(at, id)),
            "ended" => Some(Cursor::Ended(at, id)),
            _ => None,
        }
    };
    parse().ok_or_else(bad_cursor)
}

/// The live holds of a buyer, with `status=all` those that have ended too.
#[utoipa::path(
    get,
    path = "/api/users/{user_id}/reservations",
    tag = "reservations",
    operation_id = "listReservations",
    params(("user_id" = UserId, Path, description = "The buyer"), ListQuery),
    responses((status = 200, description = "A page", body = Page<ReservationResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["not_yours", "not_found"]))),
)]
pub(super) async fn list(
    caller: Caller,
    reservations: web::Data<Reservations>,
    PathOf(user): PathOf<UserId>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let user = caller.buyer(Some(user))?;
    let limit = page_limit(query.limit)? as usize;
    let history = match query.status.as_deref() {
        None => false,
        Some("all") => true,
        Some(_) => {
            return Err(Problem::invalid_field(
                "status",
                "expected `all`, or nothing for live holds",
            ));
        }
    };
    let cursor = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let mut items = match cursor {
        Some(Cursor::Ended(..)) => Vec::new(),
        Some(Cursor::Live(..)) | None => reservations.live_of(&user).await?,
    };
    let mut ended_before = None;
    match cursor {
        Some(Cursor::Live(at, id)) => items.retain(|live| (live.created_at, live.id) < (at, id)),
        Some(Cursor::Ended(at, id)) => ended_before = Some((at, id)),
        None => {}
    }
    if history && items.len() <= limit {
        let wanted = limit + 1 - items.len();
        items.extend(reservations.history_of(&user, ended_before, wanted).await?);
    }
    let page = Page::cut(items, limit, |last| Cursor::after(last).to_string());
    Ok(HttpResponse::Ok().json(responses(page)))
}

fn responses(page: Page<Reservation>) -> Page<ReservationResponse> {
    Page { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next_cursor }
}
