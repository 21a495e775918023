//! Routes and bodies of accounts.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::accounts::{Account, Accounts, RegisterError, Registration, Session};
use crate::identity::{Caller, Role};
use crate::kernel::Instant;
use crate::platform::http::address::Address;
use crate::platform::http::limits::RateLimits;
use crate::platform::http::{Json, Problem};

/// Bytes of the longest name that somebody may sign in with: an address.
const NAME: usize = 254;
/// Characters that no password is longer than.
const PASSWORD: usize = 128;
/// Characters that no refresh token is longer than.
const REFRESH_TOKEN: usize = 128;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(register, login, refresh, logout, me))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/auth/register").route(web::post().to(register)))
        .service(web::resource("/auth/login").route(web::post().to(login)))
        .service(web::resource("/auth/refresh").route(web::post().to(refresh)))
        .service(web::resource("/auth/logout").route(web::post().to(logout)))
        .service(web::resource("/auth/me").route(web::get().to(me)));
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum OpenRole {
    Customer,
    Merchant,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisterRequest {
    #[schema(
        min_length = 3,
        max_length = 64,
        pattern = "^[A-Za-z0-9@.+_-]{3,64}$",
        example = "jay"
    )]
    username: String,
    #[schema(max_length = 254, format = Email, example = "jay@email.com")]
    email: String,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128, example = "strongpassword")]
    password: SecretString,
    role: Option<OpenRole>,
}

/// A name and its password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Either this or `email`.
    #[schema(max_length = 254, example = "jay")]
    username: Option<String>,
    #[schema(max_length = 254)]
    email: Option<String>,
    #[schema(value_type = String, format = Password, max_length = 128, example = "strongpassword")]
    password: SecretString,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshRequest {
    #[schema(max_length = 128)]
    refresh: String,
}

impl RefreshRequest {
    fn token(&self) -> Result<&str, Problem> {
        if self.refresh.len() > REFRESH_TOKEN {
            let message = format!("expected at most {REFRESH_TOKEN} characters");
            return Err(Problem::invalid_field("refresh", message));
        }
        Ok(&self.refresh)
    }
}

/// An account as its owner sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct UserResponse {
    id: String,
    username: Option<String>,
    email: Option<String>,
    role: Role,
    created_at: Option<Instant>,
}

impl From<Account> for UserResponse {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            username: Some(account.username),
            email: Some(account.email),
            role: account.role,
            created_at: Some(account.created_at),
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct SessionResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserResponse>,
    access: String,
    refresh: String,
    token_type: &'static str,
    expires_in: u64,
}

impl SessionResponse {
    fn new(session: Session, with_user: bool) -> Self {
        Self {
            user: with_user.then(|| session.account.into()),
            access: session.access,
            refresh: session.refresh,
            token_type: "Bearer",
            expires_in: session.expires_in.as_secs(),
        }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        let detail = error.to_string();
        match error {
            RegisterError::UsernameTaken => Self::conflict("username_taken", detail),
            RegisterError::EmailTaken => Self::conflict("email_taken", detail),
            RegisterError::Fault(fault) => fault.into(),
        }
    }
}

/// Make an account and sign in.
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "accounts",
    operation_id = "register",
    request_body = RegisterRequest,
    responses((status = 201, description = "The account and its first session", body = SessionResponse)),
    extensions(("x-codes" = json!(["username_taken", "email_taken"]))),
)]
async fn register(
    accounts: web::Data<Accounts>,
    Json(body): Json<RegisterRequest>,
) -> Result<HttpResponse, Problem> {
    let role = match body.role {
        None | Some(OpenRole::Customer) => Role::Customer,
        Some(OpenRole::Merchant) => Role::Merchant,
    };
    let password = body.password.expose_secret();
    let new = Registration::parse(&body.username, &body.email, password, role)
        .map_err(|(field, message)| Problem::invalid_field(field, message))?;
    let session = accounts.register(&new).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", "/api/auth/me"))
        .json(SessionResponse::new(session, true)))
}

/// Sign in.
///
/// An unknown name and a wrong password look the same and take the same time.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "accounts",
    operation_id = "login",
    request_body = LoginRequest,
    responses((status = 200, description = "A session", body = SessionResponse)),
    extensions(("x-codes" = json!(["unauthenticated"]))),
)]
async fn login(
    accounts: web::Data<Accounts>,
    limits: web::Data<RateLimits>,
    address: Address,
    Json(body): Json<LoginRequest>,
) -> Result<HttpResponse, Problem> {
    let session = sign_in(&accounts, &limits, address, body).await?;
    Ok(HttpResponse::Ok().json(SessionResponse::new(session, false)))
}

/// Signs in, as often as the limits allow; for every door there is.
pub async fn sign_in(
    accounts: &Accounts,
    limits: &RateLimits,
    address: Address,
    body: LoginRequest,
) -> Result<Session, Problem> {
    let (field, name) = match (body.username, body.email) {
        (Some(name), None) => ("username", name),
        (None, Some(name)) => ("email", name),
        _ => return Err(Problem::invalid_field("username", "name `username` or `email`")),
    };
    let at_most = |most| format!("expected at most {most} characters");
    if name.len() > NAME {
        return Err(Problem::invalid_field(field, at_most(NAME)));
    }
    if body.password.expose_secret().chars().count() > PASSWORD {
        return Err(Problem::invalid_field("password", at_most(PASSWORD)));
    }
    let name = if name.contains('\0') { String::new() } else { name };
    limits.login(&name, address).await?;
    let session = accounts.login(&name, body.password).await?;
    session.ok_or_else(|| refused("no account has this name and password"))
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}

/// Trade a refresh token for a new pair. The old one is spent; a spent one that comes again ends the session.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "accounts",
    operation_id = "refresh",
    request_body = RefreshRequest,
    responses((status = 200, description = "A session", body = SessionResponse)),
    extensions(("x-codes" = json!(["unauthenticated"]))),
)]
async fn refresh(
    accounts: web::Data<Accounts>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, Problem> {
    let session = accounts.refresh(body.token()?).await?;
    let session = session.ok_or_else(|| refused("the refresh token is not good any more"))?;
    Ok(HttpResponse::Ok().json(SessionResponse::new(session, false)))
}

/// End the session of a refresh token.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "accounts",
    operation_id = "logout",
    request_body = RefreshRequest,
    responses((status = 204, description = "The session has ended")),
)]
async fn logout(
    accounts: web::Data<Accounts>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, Problem> {
    accounts.logout(body.token()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who the token names.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "accounts",
    operation_id = "me",
    responses((status = 200, description = "The account, or what the token says where there is none", body = UserResponse)),
    security(("token" = [])),
)]
async fn me(caller: Caller, accounts: web::Data<Accounts>) -> Result<HttpResponse, Problem> {
    let user = match accounts.of(&caller.sub).await? {
        Some(account) => account.into(),
        None => UserResponse {
            id: caller.sub.to_string(),
            username: None,
            email: caller.email,
            role: caller.role,
            created_at: None,
        },
    };
    Ok(HttpResponse::Ok().json(user))
}
