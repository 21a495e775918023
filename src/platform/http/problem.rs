//! Errors as RFC 9457 problem documents. `code` is what a program branches on; `detail` is for people; nothing of the
//! inside (SQL, keys, causes) is ever in either.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::platform::fault::{Fault, Kind, Outcome};

/// What is wrong with one field of a request.
#[derive(Clone, Debug, Serialize)]
pub struct FieldError {
    /// The field, as a path from the body's root: `items[2].quantity`.
    pub field: String,
    /// Stable, for programs.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

/// A problem document.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    outcome: Option<Outcome>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem with this status and code.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            detail: detail.into(),
            outcome: None,
            errors: Vec::new(),
            members: Map::new(),
            retry_after: None,
        }))
    }

    /// 404 for what is unknown, and for what is somebody else's: the two look the same.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here that you may see")
    }

    /// 401, the same for every way in which a token can be wrong.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "a valid bearer token is required")
    }

    /// 403 for a role that may not do this.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "your role may not do this")
    }

    /// 409 with this code.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422 for one field, with the general code `invalid_field`.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::field("invalid_field", field, message)
    }

    /// 422 for one field, with a code of its own.
    pub fn field(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), code: code.into(), message: message.into() };
        let detail = format!("{}: {}", error.field, error.message);
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        problem.0.errors.push(error);
        problem
    }

    /// Adds another field that is wrong.
    pub fn and_field(
        mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (field, message) = (field.into(), message.into());
        self.0.errors.push(FieldError { field, code: code.into(), message });
        self
    }

    /// Adds a member to the document.
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        // A value that cannot be JSON (there is none among ours) would only lose this member.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.0.members.insert(member.to_owned(), value);
        self
    }

    /// Says whether it may have had its effect, as every 5xx does.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        if outcome == Outcome::Unknown {
            metrics::counter!(crate::platform::metrics::UNKNOWN_OUTCOMES).increment(1);
        }
        self.0.outcome = Some(outcome);
        self
    }

    /// Says when to come again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// The answer, with the id of the request it answers.
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let parts = &*self.0;
        let mut body = Map::new();
        body.insert("type".into(), format!("/problems/{}", parts.code).into());
        body.insert("title".into(), title(&parts.code).into());
        body.insert("status".into(), parts.status.as_u16().into());
        body.insert("detail".into(), parts.detail.as_str().into());
        body.insert("code".into(), parts.code.as_ref().into());
        if let Some(id) = request_id {
            body.insert("request_id".into(), id.into());
        }
        if let Some(outcome) = parts.outcome {
            body.insert("outcome".into(), serde_json::to_value(outcome).unwrap_or_default());
        }
        if !parts.errors.is_empty() {
            body.insert("errors".into(), serde_json::to_value(&parts.errors).unwrap_or_default());
        }
        body.extend(parts.members.clone());
        let mut response = HttpResponseBuilder::new(parts.status);
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = parts.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if parts.status == StatusCode::UNAUTHORIZED {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.body(Value::Object(body).to_string())
    }
}

/// `sold_out` reads "Sold out".
pub(super) fn title(code: &str) -> String {
    let text = code.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        if fault.outcome() == Outcome::Unknown {
            metrics::counter!(crate::platform::metrics::UNKNOWN_OUTCOMES).increment(1);
        }
        let (status, code, detail) = match fault.kind() {
            Kind::Unavailable => {
                tracing::warn!(error = fault.chain(), "a store is unavailable");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_unavailable",
                    "a store did not answer; send it again",
                )
            }
            Kind::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "more is asked than fits right now; send it again",
            ),
            Kind::Internal => {
                tracing::error!(error = fault.chain(), "a request met a defect");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "something is wrong on our side",
                )
            }
        };
        let mut problem = Self::new(status, code, detail);
        problem.0.outcome = Some(fault.outcome());
        if fault.kind() == Kind::Internal { problem } else { problem.retry_after(1) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}
