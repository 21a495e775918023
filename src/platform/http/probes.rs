//! `/healthz` (the process answers) and `/readyz` (each part by name, 503 while one is not ready).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{HttpResponse, web};
use serde::Serialize;

/// What the parts of the service say of themselves.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    leaving: Arc<AtomicBool>,
    parts: Arc<Mutex<BTreeMap<&'static str, Part>>>,
}

/// One part.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Part {
    /// Whether it can do its work.
    pub ready: bool,
    /// Whether it does its work in another way than it should, or later.
    pub degraded: bool,
    /// What it waits for, or what is wrong.
    pub detail: String,
}

impl Readiness {
    /// Sets what a part says.
    pub fn set(&self, part: &'static str, ready: bool, detail: impl Into<String>) {
        self.put(part, Part { ready, degraded: false, detail: detail.into() });
    }

    /// Says that a part does its work, but not as it should.
    pub fn degrade(&self, part: &'static str, detail: impl Into<String>) {
        self.put(part, Part { ready: true, degraded: true, detail: detail.into() });
    }

    /// Says that the service is about to stop, and takes requests a little longer.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.set("server", false, "stopping");
    }

    /// Whether it is.
    pub fn leaves(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn put(&self, name: &'static str, part: Part) {
        metrics::gauge!(crate::platform::metrics::READY, "part" => name).set(f64::from(part.ready));
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, part);
    }

    /// All parts by name.
    pub fn report(&self) -> BTreeMap<&'static str, Part> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    status: &'static str,
    version: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Report {
    /// `ready`, `degraded` (it takes requests) or `not_ready`.
    status: &'static str,
    parts: BTreeMap<&'static str, Part>,
}

/// Whether the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    operation_id = "healthz",
    responses((status = 200, description = "It does", body = Health)),
)]
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether each part can do its work. One that is degraded does it, but not as it should.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    operation_id = "readyz",
    responses((status = 200, description = "All can", body = Report), (status = 503, description = "Some cannot", body = Report)),
)]
async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    let parts = readiness.report();
    if parts.values().all(|part| part.ready) {
        let degraded = parts.values().any(|part| part.degraded);
        let status = if degraded { "degraded" } else { "ready" };
        HttpResponse::Ok().json(Report { status, parts })
    } else {
        HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "1"))
            .json(Report { status: "not_ready", parts })
    }
}

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(healthz, readyz))]
pub struct Operations;

/// Both probes.
pub fn routes(config: &mut web::ServiceConfig) {
    // Uptime probes like to ask with HEAD.
    let probe = |path: &str| web::resource(path.to_owned());
    config
        .service(probe("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(probe("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)));
}
