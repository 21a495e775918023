//! `/openapi.json`, and `/docs`, a page that shows it without any network but the service itself.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use crate::openapi::document;
use crate::platform::http::Problem;

/// The page's own scripts and styles, and calls to this service.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(Config::from("/openapi.json").try_it_out_enabled(true).persist_authorization(false))
});

/// The routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/openapi.json").route(web::get().to(json)))
        .service(web::resource("/docs").route(web::get().to(to_page)))
        .service(web::resource("/docs/{file}").route(web::get().to(file)));
}

async fn json() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=60"))
        .content_type("application/json")
        .body(DOCUMENT.clone())
}

/// Names in the page are relative to its folder.
async fn to_page() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, "/docs/index.html")).finish()
}

async fn file(path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = utoipa_swagger_ui::serve(&path, CONFIG.clone()).ok().flatten();
    let file = found.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .content_type(file.content_type)
        .body(file.bytes.into_owned()))
}
