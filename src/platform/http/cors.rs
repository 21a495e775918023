//! Calls of pages of other origins, for their browsers (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use actix_cors::Cors;
use actix_web::http::{StatusCode, header};

use crate::config::{CorsSettings, Current};
use crate::platform::http::Problem;

/// The layer. Which origins may call is asked for each request, because it may change while the service runs.
pub fn cors(settings: &CorsSettings, current: Current) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
        ])
        .allowed_headers(["idempotency-key", "x-request-id"])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .expose_headers(["idempotency-replayed", "ratelimit", "ratelimit-policy", "x-request-id"])
        .max_age(settings.max_age.as_secs() as usize)
        .allowed_origin_fn(move |origin, _| current.load().cors.allows(origin.as_bytes()));
    if settings.credentials { cors.supports_credentials() } else { cors }
}

/// A preflight request that asked for too much.
pub fn refused() -> Problem {
    let detail = "pages of this origin may not make this call";
    Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail)
}
