//! Logs: one subscriber for the process, readable or JSON, with traces beside them if they are wanted, and the span of a
//! request.

use std::io::IsTerminal;
use std::sync::OnceLock;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::Extractor;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, LogSettings, TelemetrySettings};
use crate::platform::http::extract::RequestId;
use crate::platform::traces::{self, Traces};

type Reload = tracing_subscriber::reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// By which the filter is changed, once logging has started.
static FILTER: OnceLock<Reload> = OnceLock::new();

/// Starts logging, and sending traces if the settings name a collector. A second call (tests) changes nothing.
pub fn start(settings: &LogSettings, traces: &TelemetrySettings) -> anyhow::Result<Traces> {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, reload) = tracing_subscriber::reload::Layer::new(filter);
    let registry = tracing_subscriber::registry();
    let (started, traces) = if traces.otlp_endpoint.is_empty() {
        // One filter before everything: what it leaves out costs least.
        (registry.with(filter).with(lines(settings.format)).try_init(), Traces::none())
    } else {
        let (layer, sending) = traces::layer(traces)?;
        let lines = lines(settings.format).with_filter(filter);
        (registry.with(lines).with(layer).try_init(), sending)
    };
    match started {
        Ok(()) => drop(FILTER.set(reload)),
        Err(_) => tracing::debug!("logging had been started before"),
    }
    Ok(traces)
}

/// Logs by another filter from now on; one that is none was refused with the settings.
pub fn set_filter(filter: &str) {
    let (Some(reload), Ok(filter)) = (FILTER.get(), EnvFilter::try_new(filter)) else { return };
    if let Err(error) = reload.reload(filter) {
        tracing::error!(%error, "the log filter was not changed");
    }
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Pretty => {
            layer.with_target(false).with_ansi(std::io::stdout().is_terminal()).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).with_target(true).boxed(),
    }
}

/// The span of a request, at debug level: at info level spans cost two fifths of the throughput. Its one line at the
/// end carries the id that the client got too.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let headers = Headers(request.headers());
        traces::request_span(request.method().as_str(), &headers).unwrap_or_else(|| {
            tracing::debug_span!("request", http.method = %request.method(), http.path = request.path())
        })
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let Ok(response) = outcome else { return };
        let id = RequestId::of(response.request()).unwrap_or_default();
        let status = response.status().as_u16();
        let (method, path) = (response.request().method(), response.request().path());
        if !span.is_disabled() {
            let route = response.request().match_pattern();
            traces::answered(&span, method.as_str(), route.as_deref(), status, &id);
        }
        if status >= 500 {
            tracing::warn!(request.id = id, http.method = %method, http.path = path, http.status = status, "answered");
        } else {
            tracing::debug!(request.id = id, http.method = %method, http.path = path, http.status = status, "answered");
        }
    }
}

/// Where a request says to which trace it belongs.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
