//! The page and its files.

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH,
    VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::console::assets::{ASSETS, Asset};
use crate::platform::http::Problem;

/// The page's own files and calls to this service, nothing else; nothing that stands in the page itself runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// What a browser keeps for a year: another version has another address.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What it asks after each time.
const ASK: &str = "no-cache";

/// The routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/assets/{version}/{file:.*}").route(web::get().to(file)))
        .service(web::resource("/admin").route(web::get().to(page)))
        .service(web::resource("/admin/{view:.*}").route(web::get().to(page)));
}

/// Every view has an address of its own; the page finds out which.
async fn page(request: HttpRequest) -> HttpResponse {
    answer(&request, &ASSETS.page, ASK)
}

/// While replicas are replaced, a page may ask another version for its files: it gets what there is.
async fn file(
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (version, name) = path.into_inner();
    let asset = ASSETS.files.get(name.as_str()).ok_or_else(Problem::not_found)?;
    Ok(answer(&request, asset, if version == ASSETS.version { FOR_EVER } else { ASK }))
}

fn answer(request: &HttpRequest, asset: &Asset, keep: &str) -> HttpResponse {
    let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|tags| tags.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(',')).map(str::trim);
    let known = known.any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == asset.etag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, asset.etag.as_str()))
        .insert_header((CACHE_CONTROL, keep))
        .insert_header((VARY, "Accept-Encoding"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY));
    if known {
        return response.finish();
    }
    response.content_type(asset.content_type);
    match &asset.packed {
        Some(packed) if takes_gzip(request) => {
            response.insert_header((CONTENT_ENCODING, "gzip")).body(packed.clone())
        }
        _ => response.body(asset.bytes.clone()),
    }
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let mut lines =
        request.headers().get_all(ACCEPT_ENCODING).filter_map(|line| line.to_str().ok());
    lines.any(|line| {
        line.split(',').any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
    })
}
