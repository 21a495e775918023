//! Routes and bodies of the console's session.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, SET_COOKIE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::accounts::{self, Accounts, LoginRequest, Session, UserResponse};
use crate::console::cookies::{self, REFRESH_COOKIE, Way};
use crate::console::page_http;
use crate::identity::{Role, cookie, from_console};
use crate::platform::http::address::Address;
use crate::platform::http::limits::RateLimits;
use crate::platform::http::{Json, Problem};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(sign_in, refresh, sign_out))]
pub struct Operations;

/// The routes of this feature. The page's own come last: it answers whatever else stands below `/admin`.
pub fn routes(config: &mut web::ServiceConfig) {
    let session = web::resource("/admin/session")
        .route(web::post().to(sign_in))
        .route(web::delete().to(sign_out));
    config
        .service(session)
        .service(web::resource("/admin/session/refresh").route(web::post().to(refresh)))
        .configure(page_http::routes);
}

/// A request that the console's own page sent.
#[derive(Debug)]
struct OwnPage;

impl FromRequest for OwnPage {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let refused = || {
            let detail = "only the console's own page may do this, over HTTPS or on this machine";
            Problem::new(StatusCode::FORBIDDEN, "cross_site", detail)
        };
        ready(if from_console(request.headers()) { Ok(Self) } else { Err(refused()) })
    }
}

impl FromRequest for Way {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().host()).unwrap_or_default();
        let here = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        ready(Ok(Self::of(host, here)))
    }
}

/// Who is signed in. The tokens are in cookies, where no script reads them.
#[derive(Serialize, utoipa::ToSchema)]
struct ConsoleSessionResponse {
    user: UserResponse,
    /// Seconds after which the page has to refresh.
    expires_in: u64,
}

fn signed_in(session: Session, accounts: &Accounts, way: Way) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for cookie in cookies::of_session(&session, accounts.refresh_lifetime(), way) {
        response.append_header((SET_COOKIE, cookie));
    }
    let expires_in = session.expires_in.as_secs();
    response.json(ConsoleSessionResponse { user: session.account.into(), expires_in })
}

/// The session, if its account may be here; it ends otherwise.
async fn admitted(session: Session, accounts: &Accounts) -> Result<Session, Problem> {
    match session.account.role {
        Role::Admin | Role::Merchant => Ok(session),
        Role::Customer | Role::Service => {
            accounts.logout(&session.refresh).await?;
            let detail = "the console is for admins and merchants; this account is neither";
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
        }
    }
}

/// Sign in to the console.
///
/// For its page alone, which sends `X-Holdfast-Console: 1`; a browser adds `Sec-Fetch-Site: same-origin`. Admins and
/// merchants may. The answer sets two cookies, which count only beside the same two headers.
#[utoipa::path(
    post,
    path = "/admin/session",
    tag = "console",
    operation_id = "signInToConsole",
    request_body = LoginRequest,
    responses((status = 200, description = "Who is signed in", body = ConsoleSessionResponse)),
    extensions(("x-codes" = json!(["cross_site", "forbidden", "unauthenticated"]))),
)]
async fn sign_in(
    _: OwnPage,
    way: Way,
    accounts: web::Data<Accounts>,
    limits: web::Data<RateLimits>,
    address: Address,
    Json(body): Json<LoginRequest>,
) -> Result<HttpResponse, Problem> {
    let session = accounts::sign_in(&accounts, &limits, address, body).await?;
    let session = admitted(session, &accounts).await?;
    Ok(signed_in(session, &accounts, way))
}

/// Go on with a session of the console: new cookies for the ones that are about to end.
#[utoipa::path(
    post,
    path = "/admin/session/refresh",
    tag = "console",
    operation_id = "refreshConsole",
    responses((status = 200, description = "Who is signed in", body = ConsoleSessionResponse)),
    extensions(("x-codes" = json!(["cross_site", "forbidden", "unauthenticated"]))),
)]
async fn refresh(
    _: OwnPage,
    way: Way,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let ended = || {
        let detail = "the session has ended; sign in again";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    };
    let token = cookie(request.headers(), REFRESH_COOKIE).ok_or_else(ended)?;
    let session = accounts.refresh(token).await?.ok_or_else(ended)?;
    let session = admitted(session, &accounts).await?;
    Ok(signed_in(session, &accounts, way))
}

/// Sign out of the console.
#[utoipa::path(
    delete,
    path = "/admin/session",
    tag = "console",
    operation_id = "signOutOfConsole",
    responses((status = 204, description = "The session has ended, and the cookies with it")),
    extensions(("x-codes" = json!(["cross_site"]))),
)]
async fn sign_out(
    _: OwnPage,
    way: Way,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    if let Some(token) = cookie(request.headers(), REFRESH_COOKIE) {
        accounts.logout(token).await?;
    }
    let mut response = HttpResponse::NoContent();
    for cookie in cookies::none(way) {
        response.append_header((SET_COOKIE, cookie));
    }
    Ok(response.finish())
}
