//! Routes and bodies of webhook endpoints. A storefront sees its own, an admin all.

use std::str::FromStr;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::{Caller, Role, Storefront};
use crate::kernel::Instant;
use crate::kernel::page::Page;
use crate::notifications::{
    EVENTS, KEEP, KEEP_MOST, Notifications, RegisterError, Registration, Stored, UrlError,
};
use crate::notifications::{dead_letters_http as dead_letters, resend_http};
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, MaybeJson, PathOf, Problem, Query, page_limit};

/// Longest description, in characters.
const DESCRIPTION: usize = 200;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    list,
    create,
    read,
    delete,
    rotate,
    dead_letters::list,
    dead_letters::retry,
    resend_http::resend
))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let all = web::resource("/webhook-endpoints");
    let one = web::resource("/webhook-endpoints/{id}");
    let rotation = web::resource("/webhook-endpoints/{id}/rotate-secret");
    config
        .service(all.route(web::get().to(list)).route(web::post().to(create)))
        .service(one.route(web::get().to(read)).route(web::delete().to(delete)))
        .service(rotation.route(web::post().to(rotate)))
        .configure(dead_letters::routes)
        .configure(resend_http::routes);
}

/// The id of an endpoint, in its one form.
#[derive(Clone, Copy, Debug)]
struct EndpointId(Uuid);

impl FromStr for EndpointId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text.len() == 36;
        text.parse().ok().filter(|_| whole).map(Self).ok_or("expected a UUID")
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointRequest {
    /// Where to call: a public address, by https.
    #[schema(max_length = 2048, format = "uri", example = "https://shop.example/hooks")]
    url: String,
    /// What to tell; left out or empty means everything.
    #[schema(max_items = 11, example = json!(["order.paid", "order.refunded"]))]
    events: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 200)]
    description: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EndpointResponse {
    id: Uuid,
    /// Whose it is: the subject of the token that made it.
    subscriber: String,
    url: String,
    /// What it is told; empty means everything.
    events: Vec<String>,
    description: Option<String>,
    /// Until when the secret before this one signs too.
    previous_secret_until: Option<Instant>,
    created_at: Instant,
}

/// An endpoint with its secret, which is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
struct SecretResponse {
    #[serde(flatten)]
    endpoint: EndpointResponse,
    /// What its receiver verifies calls with.
    #[schema(
        pattern = "^whsec_[A-Za-z0-9+/]+=*$",
        example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )]
    secret: String,
}

impl From<Stored> for EndpointResponse {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id,
            subscriber: stored.owner,
            url: stored.url,
            events: stored.events,
            description: stored.description,
            previous_secret_until: stored.previous_until,
            created_at: stored.created_at,
        }
    }
}

impl SecretResponse {
    fn new(stored: Stored, secret: &SecretString) -> Self {
        Self { endpoint: stored.into(), secret: secret.expose_secret().to_owned() }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        let detail = error.to_string();
        match error {
            RegisterError::Url(UrlError::Malformed) => Self::invalid_field("url", detail),
            RegisterError::Url(UrlError::NotHttps | UrlError::Refused) => {
                Self::field("url_not_allowed", "url", detail)
            }
            RegisterError::TooMany => Self::conflict("endpoint_limit", detail),
            RegisterError::Fault(fault) => fault.into(),
        }
    }
}

/// Each known event once.
fn events(named: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let mut events = named.unwrap_or_default();
    if let Some(at) = events.iter().position(|event| !EVENTS.contains(&event.as_str())) {
        let message = format!("expected some of {}", EVENTS.join(", "));
        return Err(Problem::invalid_field(format!("events[{at}]"), message));
    }
    events.sort();
    events.dedup();
    Ok(events)
}

fn description(text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text)
            if !(1..=DESCRIPTION).contains(&text.chars().count())
                || text.chars().any(char::is_control) =>
        {
            let message = format!("expected 1 to {DESCRIPTION} characters without line breaks");
            Err(Problem::invalid_field("description", message))
        }
        text => Ok(text),
    }
}

/// A storefront's own; everybody's for an admin.
fn whose(caller: &Caller) -> Option<&str> {
    if caller.role == Role::Admin { None } else { Some(caller.sub.as_str()) }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<Uuid>,
}

/// Own webhook endpoints; all for an admin.
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints",
    tag = "notifications",
    operation_id = "listEndpoints",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<EndpointResponse>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn list(
    Storefront(caller): Storefront,
    notifications: web::Data<Notifications>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    let found = notifications.endpoints(whose(&caller), query.cursor, limit).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    let items: Vec<EndpointResponse> = page.items.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next_cursor }))
}

/// Ask to be told of events. The answer has the secret, which is shown this once.
#[utoipa::path(
    post,
    path = "/api/webhook-endpoints",
    tag = "notifications",
    operation_id = "createEndpoint",
    request_body = EndpointRequest,
    responses((status = 201, description = "The endpoint with its secret", body = SecretResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "endpoint_limit", "url_not_allowed"]))),
)]
async fn create(
    request: HttpRequest,
    Storefront(caller): Storefront,
    notifications: web::Data<Notifications>,
    Json(body): Json<EndpointRequest>,
) -> Result<HttpResponse, Problem> {
    let new = Registration {
        owner: caller.sub.to_string(),
        url: notifications.parse_url(&body.url).map_err(RegisterError::Url)?,
        events: events(body.events)?,
        description: description(body.description)?,
        request_key: request.extensions().get::<RequestKey>().map(|key| key.0.clone()),
    };
    let (stored, secret) = notifications.register(&new).await?;
    let location = format!("/api/webhook-endpoints/{}", stored.id);
    let body = SecretResponse::new(stored, &secret);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(body))
}

/// One webhook endpoint, without its secret.
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints/{id}",
    tag = "notifications",
    operation_id = "readEndpoint",
    params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint", body = EndpointResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn read(
    Storefront(caller): Storefront,
    notifications: web::Data<Notifications>,
    PathOf(EndpointId(id)): PathOf<EndpointId>,
) -> Result<HttpResponse, Problem> {
    let found = notifications.endpoint(whose(&caller), id).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(EndpointResponse::from(found)))
}

/// Be told no longer. What waits to be told is dropped.
#[utoipa::path(
    delete,
    path = "/api/webhook-endpoints/{id}",
    tag = "notifications",
    operation_id = "deleteEndpoint",
    params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 204, description = "It is gone")),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn delete(
    Storefront(caller): Storefront,
    notifications: web::Data<Notifications>,
    PathOf(EndpointId(id)): PathOf<EndpointId>,
) -> Result<HttpResponse, Problem> {
    if notifications.unregister(whose(&caller), id).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found())
    }
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    /// How long the old secret signs too, in seconds; 0 ends it at once.
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    keep_seconds: Option<i64>,
}

/// Replace the secret. Calls carry the signatures of both for a while, so that a receiver can change over.
#[utoipa::path(
    post,
    path = "/api/webhook-endpoints/{id}/rotate-secret",
    tag = "notifications",
    operation_id = "rotateSecret",
    params(("id" = Uuid, Path, description = "The endpoint")),
    request_body = Option<RotateRequest>,
    responses((status = 200, description = "The endpoint with its new secret", body = SecretResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn rotate(
    Storefront(caller): Storefront,
    notifications: web::Data<Notifications>,
    PathOf(EndpointId(id)): PathOf<EndpointId>,
    MaybeJson(body): MaybeJson<RotateRequest>,
) -> Result<HttpResponse, Problem> {
    let keep = match body.unwrap_or_default().keep_seconds {
        None => KEEP,
        Some(seconds) => {
            let keep = u64::try_from(seconds).ok().map(Duration::from_secs);
            let expected = || {
                let message = format!("expected a whole number from 0 to {}", KEEP_MOST.as_secs());
                Problem::invalid_field("keep_seconds", message)
            };
            keep.filter(|keep| *keep <= KEEP_MOST).ok_or_else(expected)?
        }
    };
    let rotated = notifications.rotate(whose(&caller), id, keep).await?;
    let (stored, secret) = rotated.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(SecretResponse::new(stored, &secret)))
}
