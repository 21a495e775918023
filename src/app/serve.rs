//! The two servers, one for everybody and one for operators.

use std::net::SocketAddr;

use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App as HttpApp, HttpResponse, HttpServer};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tracing_actix_web::TracingLogger;

use crate::app::handles::Handles;
use crate::config::Settings;
use crate::platform::http::cors::cors;
use crate::platform::http::edge::edge;
use crate::platform::http::idempotency::idempotent;
use crate::platform::http::limits::limited;
use crate::platform::http::probes::{self, Readiness};
use crate::platform::redis::Redis;
use crate::platform::telemetry::RequestSpan;

pub(super) fn serve_api(
    settings: &Settings,
    handles: Handles,
    redis: Redis,
) -> anyhow::Result<(actix_web::dev::Server, SocketAddr)> {
    let wanted = (settings.server.host.clone(), settings.server.port);
    let origins = (settings.cors.clone(), handles.current.clone());
    let server = HttpServer::new(move || {
        let handles = handles.on_lane(&redis);
        HttpApp::new()
            .configure(|config| handles.routes(config))
            .wrap(from_fn(idempotent))
            .wrap(from_fn(limited))
            .wrap(Compress::default())
            .wrap(cors(&origins.0, origins.1.clone()))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(from_fn(edge))
    });
    let workers = match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let server = server
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(settings.server.shutdown_timeout.as_secs())
        .bind(&wanted)
        .with_context(|| format!("cannot listen on {}:{}", wanted.0, wanted.1))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

pub(super) fn serve_management(
    settings: &Settings,
    readiness: &Readiness,
    recorder: PrometheusHandle,
) -> anyhow::Result<(actix_web::dev::Server, SocketAddr)> {
    let readiness = readiness.clone();
    let server = HttpServer::new(move || {
        HttpApp::new()
            .app_data(Data::new(readiness.clone()))
            .app_data(Data::new(recorder.clone()))
            .configure(probes::routes)
            .route("/metrics", web::get().to(render_metrics))
    });
    let wanted = &settings.server.management_bind;
    let server = server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(wanted)
        .with_context(|| format!("cannot listen on {wanted} (server.management_bind)"))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

async fn render_metrics(recorder: Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(recorder.render())
}
