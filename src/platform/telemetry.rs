//! Logs: one subscriber for the process, readable or JSON, and the span of a request.

use std::io::IsTerminal;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};
use crate::platform::http::extract::RequestId;

/// Starts logging. A second call (tests) changes nothing.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stdout().is_terminal();
    let started = match settings.format {
        LogFormat::Pretty => registry
            .with(tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours))
            .try_init(),
        LogFormat::Json => registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(true))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
}

/// The span of a request, at debug level: at info level spans cost two fifths of the throughput. Its one line at the
/// end carries the id that the client got too.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        tracing::debug_span!("request", http.method = %request.method(), http.path = request.path())
    }

    fn on_request_end<B: MessageBody>(_span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let Ok(response) = outcome else { return };
        let id = RequestId::of(response.request()).unwrap_or_default();
        let status = response.status().as_u16();
        let (method, path) = (response.request().method(), response.request().path());
        if status >= 500 {
            tracing::warn!(request.id = id, http.method = %method, http.path = path, http.status = status, "answered");
        } else {
            tracing::debug!(request.id = id, http.method = %method, http.path = path, http.status = status, "answered");
        }
    }
}
