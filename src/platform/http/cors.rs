//! Calls of pages of other origins, for their browsers (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use actix_cors::Cors;
use actix_web::http::{StatusCode, header};

use crate::config::CorsSettings;
use crate::platform::http::Problem;

/// The layer.
pub fn cors(settings: &CorsSettings) -> Cors {
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
        .max_age(settings.max_age.as_secs() as usize);
    let cors = if settings.credentials { cors.supports_credentials() } else { cors };
    settings.origins.iter().fold(cors, |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin().send_wildcard(),
        origin => cors.allowed_origin(origin),
    })
}

/// A preflight request that asked for too much.
pub fn refused() -> Problem {
    let detail = "pages of this origin may not make this call";
    Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail)
}
