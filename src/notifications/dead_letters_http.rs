//! Routes and bodies of dead letters, for admins.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::Admin;
use crate::kernel::Instant;
use crate::kernel::page::Page;
use crate::notifications::events::webhook_id;
use crate::notifications::{DeadLetter, Notifications};
use crate::platform::http::{MaybeJson, PathOf, Problem, Query, bad_cursor, page_limit};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let all = web::resource("/api/admin/dead-letters");
    let again = web::resource("/api/admin/dead-letters/{id}/retry");
    config.service(all.route(web::get().to(list))).service(again.route(web::post().to(retry)));
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DeadLetterResponse {
    id: i64,
    /// `webhook` or `mail`.
    kind: &'static str,
    endpoint_id: Option<Uuid>,
    url: Option<String>,
    /// The `webhook-id` under which it is sent.
    event_id: String,
    event: String,
    attempts: i32,
    last_error: Option<String>,
    created_at: Instant,
    died_at: Instant,
}

impl From<DeadLetter> for DeadLetterResponse {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            kind: if letter.endpoint.is_some() { "webhook" } else { "mail" },
            endpoint_id: letter.endpoint,
            url: letter.url,
            event_id: webhook_id(letter.event),
            event: letter.topic,
            attempts: letter.attempts,
            last_error: letter.last_error,
            created_at: letter.created_at,
            died_at: letter.died_at,
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(minimum = 1, maximum = 281474976710655i64)]
    cursor: Option<i64>,
}

/// News that was given up, the newest first.
#[utoipa::path(
    get,
    path = "/api/admin/dead-letters",
    tag = "notifications",
    operation_id = "listDeadLetters",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<DeadLetterResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
pub(super) async fn list(
    _: Admin,
    notifications: web::Data<Notifications>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    if query.cursor.is_some_and(|cursor| !(1..1 << 48).contains(&cursor)) {
        return Err(bad_cursor());
    }
    let found = notifications.dead_letters(query.cursor, limit).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    let items: Vec<DeadLetterResponse> = page.items.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoRetryOptions {}

/// Send one again, with all its attempts before it. Answers it as it was.
#[utoipa::path(
    post,
    path = "/api/admin/dead-letters/{id}/retry",
    tag = "notifications",
    operation_id = "retryDeadLetter",
    params(("id" = i64, Path, description = "The number of the dead letter", minimum = 1)),
    request_body = Option<NoRetryOptions>,
    responses((status = 200, description = "It is on its way", body = DeadLetterResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
pub(super) async fn retry(
    _: Admin,
    notifications: web::Data<Notifications>,
    PathOf(id): PathOf<i64>,
    MaybeJson(_): MaybeJson<NoRetryOptions>,
) -> Result<HttpResponse, Problem> {
    let letter = notifications.retry(id).await?.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(DeadLetterResponse::from(letter)))
}
