//! What every request meets first: the route normaliser, its id, the safety headers, and the last look at what goes
//! out, so that each refusal is a problem document with the id of its request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use actix_cors::CorsError;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ALLOW, HOST, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpResponse};
use metrics::Histogram;

use crate::platform::http::extract::{RequestId, unreadable};
use crate::platform::http::probes::Readiness;
use crate::platform::http::{Problem, cors};
use crate::platform::metrics as names;

/// The header of request ids.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Second names of routes, and the first names they stand for.
pub const ALIASES: [(&str, &str); 4] = [
    ("/inventory/reserve", "/reserve"),
    ("/checkout/confirm", "/checkout"),
    ("/register", "/auth/register"),
    ("/login", "/auth/login"),
];

/// Headers that keep a browser from doing more with an answer than reading it; those of helmet
/// (<https://helmetjs.github.io>), stricter where nothing here is a page.
const SAFETY: [(HeaderName, HeaderValue); 13] = [
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY")),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")),
    (
        HeaderName::from_static("strict-transport-security"),
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    ),
    (HeaderName::from_static("x-dns-prefetch-control"), HeaderValue::from_static("off")),
    (HeaderName::from_static("x-download-options"), HeaderValue::from_static("noopen")),
    (
        HeaderName::from_static("x-permitted-cross-domain-policies"),
        HeaderValue::from_static("none"),
    ),
    (HeaderName::from_static("x-xss-protection"), HeaderValue::from_static("0")),
    (HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store")),
];

/// The one name of a path: without the `/api` in front (admin keeps it), without slashes at the end or twice, and
/// under the first name of its route. A second name can be read as something else: a product may be called `reserve`.
pub fn normal_path(method: &Method, path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.first() == Some(&"api") && segments.get(1) != Some(&"admin") {
        segments.remove(0);
    }
    let path = format!("/{}", segments.join("/"));
    let reads = [Method::GET, Method::HEAD].contains(method);
    match ALIASES.iter().find(|(alias, _)| *alias == path && !reads) {
        Some((_, first)) => (*first).to_owned(),
        None => path,
    }
}

/// Rewrites the request's path to its one name. Runs outside the router.
pub fn normalise(request: &mut ServiceRequest) {
    let normal = normal_path(request.method(), request.path());
    if normal == request.path() {
        return;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(uri) = format!("{normal}{query}").parse::<Uri>() {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// Whoever can GET a thing can ask for its HEAD (RFC 9110, 9.3.2); the server keeps the body to itself. A stream has no
/// end to wait for.
fn answer_head_as_get(request: &mut ServiceRequest) {
    if request.method() == Method::HEAD && !request.path().ends_with("/events") {
        request.head_mut().method = Method::GET;
    }
}

/// The middleware.
pub async fn edge<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    normalise(&mut request);
    answer_head_as_get(&mut request);
    let begun = Instant::now();
    let id = request_id(&request);
    let leaves = request.app_data::<Data<Readiness>>().is_some_and(|readiness| readiness.leaves());
    request.extensions_mut().insert(RequestId(id.clone()));
    // No clone of the request may be alive here: the router changes it.
    let answered = match misdirected(&request) {
        Some(problem) => {
            Ok(request.into_response(problem.response(Some(&id))).map_into_right_body())
        }
        None => next.call(request).await.map(ServiceResponse::map_into_left_body),
    };
    let mut response = match answered {
        Ok(response) => match problem_of(&response) {
            Some(problem) => {
                let allow = response.headers().get(ALLOW).cloned();
                let mut response =
                    response.into_response(problem.response(Some(&id))).map_into_right_body();
                if let Some(allow) = allow {
                    response.headers_mut().insert(ALLOW, allow);
                }
                response
            }
            None => response,
        },
        Err(error) => {
            let response = problem_of_error(&error).response(Some(&id));
            return Err(InternalError::from_response(error, response).into());
        }
    };
    measure(&response, begun);
    if leaves {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    for (name, value) in SAFETY {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    Ok(response)
}

thread_local! {
    /// Where each kind of answer is counted, found once by each worker: the recorder's own look-up takes a lock.
    static HISTOGRAMS: RefCell<HashMap<(String, &'static str, StatusCode), Histogram>> =
        RefCell::default();
}

/// Labels are the route's pattern and the status, never what the client wrote.
fn measure<B>(response: &ServiceResponse<B>, begun: Instant) {
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = method_name(response.request().method());
    HISTOGRAMS.with_borrow_mut(|known| {
        let histogram = known.entry((route, method, response.status())).or_insert_with_key(
            |(route, method, status)| {
                let (route, status) = (route.clone(), status.as_str().to_owned());
                metrics::histogram!(names::HTTP_SECONDS, "route" => route, "method" => *method, "status" => status)
            },
        );
        histogram.record(begun.elapsed());
    });
}

/// Clients may make up methods; a label may not grow with them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The client's own id if it is sane, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    let sane = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned)
}

/// The problem that a response is about to tell, if it tells one.
fn problem_of<B>(response: &ServiceResponse<B>) -> Option<Problem> {
    if let Some(error) = response.response().error() {
        return Some(problem_of_error(error));
    }
    // The router's own answers have no error attached and no body of ours.
    let bare = !response.headers().contains_key("content-type");
    match response.status() {
        StatusCode::NOT_FOUND if bare => Some(Problem::not_found()),
        StatusCode::METHOD_NOT_ALLOWED if bare => Some(method_not_allowed()),
        _ => None,
    }
}

fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this resource does not take that method",
    )
}

fn problem_of_error(error: &Error) -> Problem {
    if let Some(problem) = error.as_error::<Problem>() {
        return problem.clone();
    }
    if error.as_error::<CorsError>().is_some() {
        return cors::refused();
    }
    let status = error.as_response_error().status_code();
    if status.is_client_error() {
        return unreadable(error);
    }
    tracing::error!(%error, "a request met an error that no feature knows");
    crate::platform::Fault::internal("answering a request").into()
}

/// The names by which clients may call the service; none means any. One that begins with a dot stands for it and all
/// below it.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(pub Vec<String>);

impl AllowedHosts {
    fn allow(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        self.0.is_empty()
            || self.0.iter().any(|allowed| match allowed.strip_prefix('.') {
                Some(parent) => name == parent || name.ends_with(allowed),
                None => name == *allowed,
            })
    }
}

/// A request that was meant for somebody else (RFC 9110, 15.5.20). Whoever asks for health knows an address only.
fn misdirected(request: &ServiceRequest) -> Option<Problem> {
    let hosts = request.app_data::<Data<AllowedHosts>>()?;
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().host()).unwrap_or_default();
    if hosts.allow(host) || ["/healthz", "/readyz"].contains(&request.path()) {
        return None;
    }
    let detail = "this service is not called by that name";
    Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", detail))
}

/// What answers when no route does.
pub async fn no_route() -> HttpResponse {
    HttpResponse::NotFound().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_by_name_or_parent() {
        let hosts = AllowedHosts(vec!["shop.example.org".into(), ".example.net".into()]);
        for host in
            ["shop.example.org", "SHOP.example.org:8080", "example.net", "a.b.example.net:1"]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["", "example.org", "shop.example.org.evil", "evilexample.net", "[::1]:80"] {
            assert!(!hosts.allow(host), "{host}");
        }
        assert!(AllowedHosts::default().allow("anything"));
    }

    #[test]
    fn a_route_has_one_name() {
        for (path, normal) in [
            ("/api/reserve", "/reserve"),
            ("/api/reserve/", "/reserve"),
            ("/inventory/reserve", "/reserve"),
            ("/api/inventory/reserve/", "/reserve"),
            ("//api//checkout/confirm", "/checkout"),
            ("/api/admin/settings/", "/api/admin/settings"),
            ("/admin", "/admin"),
            ("/", "/"),
            ("/api", "/"),
            ("/api/api/reserve", "/api/reserve"),
        ] {
            assert_eq!(normal_path(&Method::POST, path), normal, "{path}");
        }
        assert_eq!(normal_path(&Method::OPTIONS, "/api/login"), "/auth/login");
        // A product may be called `reserve`.
        let stock = "/inventory/reserve";
        assert_eq!(normal_path(&Method::GET, stock), stock);
    }
}
