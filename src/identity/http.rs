//! Who is calling, as extractors: a handler that names one in its signature cannot forget the check.

use std::future::{Ready, ready};

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use crate::identity::{Role, Tokens};
use crate::kernel::{Clock, UserId};
use crate::platform::http::Problem;
use crate::platform::http::limits::Subject;

/// The cookie that carries the access token of the console's page, which cannot read it.
pub const CONSOLE_COOKIE: &str = "holdfast_access";
/// The header that the console's page sends with everything, and a forged request cannot.
const CONSOLE_HEADER: &str = "x-holdfast-console";

/// What the extractors need.
#[derive(Clone)]
pub struct Authenticator {
    /// The keys.
    pub tokens: Tokens,
    /// The time by which `exp` is judged.
    pub clock: Clock,
}

/// Anybody with a valid token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's `sub`.
    pub sub: UserId,
    /// The token's `role`.
    pub role: Role,
    /// The token's `email`.
    pub email: Option<String>,
}

impl Caller {
    /// Whether this caller acts for all buyers.
    pub fn acts_for_all(&self) -> bool {
        matches!(self.role, Role::Service | Role::Admin)
    }

    /// Whose things this caller may see: everybody's for service and admin.
    pub fn sees(&self) -> Option<&UserId> {
        if self.acts_for_all() { None } else { Some(&self.sub) }
    }

    /// The buyer that a request means: one's own self, or whom service and admin must name.
    pub fn buyer(&self, named: Option<UserId>) -> Result<UserId, Problem> {
        match named {
            Some(user) if self.acts_for_all() || user == self.sub => Ok(user),
            Some(_) => Err(not_yours()),
            None if self.acts_for_all() => Err(Problem::invalid_field(
                "user_id",
                "a service or admin token must name the buyer",
            )),
            None => Ok(self.sub.clone()),
        }
    }

    /// Who did it, for the record: `customer:alice`.
    pub fn actor(&self) -> String {
        format!("{}:{}", self.role, self.sub)
    }
}

fn not_yours() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not_yours", "you may act only for yourself")
}

/// Says who asks. A request's layers and its handler ask one after the other; the token is verified for the first.
fn authenticate(request: &HttpRequest) -> Result<Caller, Problem> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        return Ok(caller.clone());
    }
    let caller = verify(request)?;
    request.extensions_mut().insert(caller.clone());
    Ok(caller)
}

fn verify(request: &HttpRequest) -> Result<Caller, Problem> {
    let authenticator =
        request.app_data::<Data<Authenticator>>().ok_or_else(Problem::unauthenticated)?;
    let token = if request.headers().contains_key(AUTHORIZATION) {
        bearer(request.headers())
    } else {
        console_token(request.headers())
    };
    let token = token.ok_or_else(Problem::unauthenticated)?;
    let verified = authenticator.tokens.verify(token, authenticator.clock.now());
    let claims = verified.ok().ok_or_else(Problem::unauthenticated)?;
    Ok(Caller { sub: claims.sub, role: claims.role, email: claims.email })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(AUTHORIZATION);
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Whether the console's own page sent this. Browsers let no page of another site write either header, and a form or an
/// image of our own site cannot write the second.
pub fn from_console(headers: &HeaderMap) -> bool {
    let only = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name);
        values.next().is_some_and(|value| value == wanted) && values.next().is_none()
    };
    only("sec-fetch-site", "same-origin") && only(CONSOLE_HEADER, "1")
}

/// The token of the console's cookie. To whoever else lets a browser send it, there is none.
fn console_token(headers: &HeaderMap) -> Option<&str> {
    if from_console(headers) { cookie(headers, CONSOLE_COOKIE) } else { None }
}

/// A cookie of the request, unless it came twice: then somebody else has set one of the two.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    let value = found.next()?;
    found.next().is_none().then_some(value)
}

/// Who asks, for layers that work before a handler does; none without a valid token.
pub fn caller_of(request: &ServiceRequest) -> Option<String> {
    authenticate(request.request()).ok().map(|caller| caller.actor())
}

/// Whom limits count.
pub fn subject_of(request: &ServiceRequest) -> Subject {
    match authenticate(request.request()) {
        Ok(caller) if caller.acts_for_all() => Subject::Trusted,
        Ok(caller) => Subject::Named(caller.actor()),
        Err(_) => Subject::Nobody,
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request))
    }
}

/// Anybody at all; a token that is there must be valid.
#[derive(Clone, Debug)]
pub struct Visitor(pub Option<Caller>);

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let headers = request.headers();
        if headers.contains_key(AUTHORIZATION) || console_token(headers).is_some() {
            ready(authenticate(request).map(|caller| Self(Some(caller))))
        } else {
            ready(Ok(Self(None)))
        }
    }
}

/// A merchant or an admin.
#[derive(Clone, Debug)]
pub struct Merchant(pub Caller);

impl FromRequest for Merchant {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request).and_then(|caller| match caller.role {
            Role::Merchant | Role::Admin => Ok(Self(caller)),
            Role::Customer | Role::Service => Err(Problem::forbidden()),
        }))
    }
}

/// A storefront's backend or an admin.
#[derive(Clone, Debug)]
pub struct Storefront(pub Caller);

impl FromRequest for Storefront {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request).and_then(|caller| match caller.role {
            Role::Service | Role::Admin => Ok(Self(caller)),
            Role::Customer | Role::Merchant => Err(Problem::forbidden()),
        }))
    }
}

/// An admin.
#[derive(Clone, Debug)]
pub struct Admin(pub Caller);

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request).and_then(|caller| match caller.role {
            Role::Admin => Ok(Self(caller)),
            Role::Customer | Role::Merchant | Role::Service => Err(Problem::forbidden()),
        }))
    }
}
