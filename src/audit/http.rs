//! The route of the audit, for admins.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::audit::{Audit, AuditEntry, Filter, MOST_REASON};
use crate::identity::Admin;
use crate::kernel::page::Page;
use crate::platform::http::{Problem, Query, bad_cursor, page_limit};

const MOST_TEXT: usize = 200;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/api/admin/audit").route(web::get().to(list)));
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// What was done, e.g. `settings.change`.
    #[param(min_length = 1, max_length = 200)]
    action: Option<String>,
    /// What it was done to.
    #[param(min_length = 1, max_length = 200)]
    subject: Option<String>,
    /// Who did it, as `role:sub`.
    #[param(min_length = 1, max_length = 200)]
    actor: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(minimum = 1, maximum = 281474976710655i64)]
    cursor: Option<i64>,
}

/// A text to look for; Postgres takes no NUL.
fn wanted(field: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    let fits = |text: &String| {
        (1..=MOST_TEXT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if text.as_ref().is_some_and(|text| !fits(text)) {
        return Err(Problem::invalid_field(field, "expected 1 to 200 characters"));
    }
    Ok(text)
}

/// What was done to the service, the newest first.
#[utoipa::path(
    get,
    path = "/api/admin/audit",
    tag = "operations",
    operation_id = "listAudit",
    params(AuditQuery),
    responses((status = 200, description = "A page", body = Page<AuditEntry>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn list(
    _: Admin,
    audit: web::Data<Audit>,
    Query(query): Query<AuditQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    if query.cursor.is_some_and(|cursor| !(1..1 << 48).contains(&cursor)) {
        return Err(bad_cursor());
    }
    let filter = Filter {
        action: wanted("action", query.action)?,
        subject: wanted("subject", query.subject)?,
        actor: wanted("actor", query.actor)?,
    };
    let found = audit.page(&filter, query.cursor, limit).await?;
    Ok(HttpResponse::Ok().json(Page::cut(found, limit as usize, |last| last.id.to_string())))
}

/// A reason as somebody gave it.
pub fn reason(given: Option<String>) -> Result<Option<String>, Problem> {
    let fits = |text: &String| {
        (1..=MOST_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if given.as_ref().is_some_and(|text| !fits(text)) {
        let detail = format!("expected 1 to {MOST_REASON} characters");
        return Err(Problem::invalid_field("reason", detail));
    }
    Ok(given)
}
