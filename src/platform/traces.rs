//! Traces of requests for a collector (OTLP over HTTP), while `telemetry.otlp_endpoint` is set; without it a request pays
//! one look at an atomic. Which request is traced is decided when it arrives; the others make no span at all. Nothing that
//! a client chose stands in a span but the method: no path, no id of a buyer, no SKU.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::TelemetrySettings;
use crate::platform::metrics::SPANS;

/// The target of all spans that are meant for the collector.
pub const TARGET: &str = "holdfast::trace";

/// Time between two batches.
const PACE: Duration = Duration::from_secs(2);
/// Spans of a batch.
const BATCH: usize = 512;
/// More than this of a collector's answer is not read.
const LONGEST_ANSWER: usize = 64 << 10;
/// How long the last batch may take when the service stops.
const LAST: Duration = Duration::from_secs(3);

/// Which requests are traced.
struct Sampling {
    ratio: f64,
    follow_parent: bool,
}

static SAMPLING: OnceLock<Sampling> = OnceLock::new();

/// What is left to send when the service stops.
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Of a service that sends none.
    pub(super) fn none() -> Self {
        Self { provider: None }
    }

    /// Sends what waits, a few seconds at most.
    pub async fn stop(self) {
        let Some(provider) = self.provider else { return };
        let stopping = move || provider.shutdown_with_timeout(LAST);
        match tokio::task::spawn_blocking(stopping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not sent"),
            Err(error) => tracing::warn!(%error, "the last traces were not sent"),
        }
    }
}

/// A layer that sends spans by these settings, and what is to be stopped at the end.
pub(super) fn layer<S>(
    settings: &TelemetrySettings,
) -> anyhow::Result<(impl Layer<S> + use<S>, Traces)>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = provider(settings)?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("holdfast"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false);
    let sampling =
        Sampling { ratio: settings.sampling_ratio, follow_parent: settings.follow_parent };
    // Only the first start of a process counts, as with the log.
    drop(SAMPLING.set(sampling));
    let ours = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == TARGET;
    let filter =
        dynamic_filter_fn(move |metadata, context| {
            // What is not part of a traced request (background work, requests that are not traced) makes no trace of its own.
            ours(metadata) && (metadata.name() == REQUEST || context.lookup_current().is_some())
        })
        .with_callsite_filter(move |metadata| {
            if ours(metadata) { Interest::sometimes() } else { Interest::never() }
        })
        .with_max_level_hint(LevelFilter::DEBUG);
    Ok((layer.with_filter(filter), Traces { provider: Some(provider) }))
}

/// What gathers spans and sends them to the collector.
fn provider(settings: &TelemetrySettings) -> anyhow::Result<SdkTracerProvider> {
    let client = reqwest::Client::builder()
        .connect_timeout(settings.timeout)
        .timeout(settings.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Courier { client, runtime: Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(&settings.otlp_endpoint))
        .with_timeout(settings.timeout)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(settings.queue)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(PACE)
        .build();
    let processor =
        BatchSpanProcessor::builder(Counted(exporter)).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name("holdfast")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        // What is not sampled never becomes a span.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(processor)
        .with_resource(resource)
        .build())
}

/// The endpoint is that of a collector, or of its traces.
fn traces_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with("/v1/traces") {
        endpoint.to_owned()
    } else {
        format!("{endpoint}/v1/traces")
    }
}

/// The name of a request's span in the source; collectors see method and route.
const REQUEST: &str = "request";

/// The span of a request that has just arrived with these headers, none if it is not traced; `None` when nothing is sent
/// at all.
pub(super) fn request_span(method: &str, headers: &impl Extractor) -> Option<Span> {
    let sampling = SAMPLING.get()?;
    let parent = TraceContextPropagator::new().extract(headers);
    let caller = parent.span().span_context().clone();
    let traced = if caller.is_valid() && sampling.follow_parent {
        caller.is_sampled()
    } else {
        rand::random::<f64>() < sampling.ratio
    };
    if !traced {
        return Some(Span::none());
    }
    let span = tracing::debug_span!(
        target: TARGET, REQUEST,
        otel.kind = "server", otel.status_code = Empty,
        http.request.method = method, http.route = Empty,
        http.response.status_code = Empty, request.id = Empty,
    );
    if caller.is_valid() {
        // Fails only for a span that has begun to be sent.
        drop(span.set_parent(parent));
    }
    Some(span)
}

/// What is known of a request when it is answered.
pub(super) fn answered(span: &Span, method: &str, route: Option<&str>, status: u16, id: &str) {
    if span.is_disabled() || SAMPLING.get().is_none() {
        return;
    }
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    // By the span's own hand: the name of one that has begun is not recorded any more.
    span.context().span().update_name(name);
    if let Some(route) = route {
        span.record("http.route", route);
    }
    span.record("http.response.status_code", status);
    span.record("request.id", id);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// A call of something else on behalf of a request: a store, a provider, or the batch that its question joins.
pub fn call(of: &'static str, name: &'static str) -> Span {
    tracing::debug_span!(target: TARGET, "call", otel.name = name, otel.kind = "client", peer.service = of)
}

/// Carries batches over the client that everything else uses. Batches leave from a thread of their own; connections
/// belong to the service's runtime.
#[derive(Debug)]
struct Courier {
    client: reqwest::Client,
    runtime: Handle,
}

impl HttpClient for Courier {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> BoxFuture<'async_trait, Result<Response<Bytes>, HttpError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let mut answer = client.execute(request.try_into()?).await?;
            let (status, mut body) = (answer.status(), Vec::new());
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > LONGEST_ANSWER {
                    return Err("the collector's answer is too long".into());
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status;
            std::mem::swap(response.headers_mut(), answer.headers_mut());
            Ok::<_, HttpError>(response)
        });
        Box::pin(async move { sending.await? })
    }
}

/// Counts what was sent and what was not.
struct Counted(opentelemetry_otlp::SpanExporter);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.0.export(batch).await;
        let outcome = match &sent {
            Ok(()) => "sent",
            Err(error) => {
                tracing::warn!(%error, spans, "traces were not taken by the collector");
                "refused"
            }
        };
        metrics::counter!(SPANS, "outcome" => outcome).increment(spans);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_may_be_the_collector_or_its_traces() {
        for endpoint in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://c:4318/v1/traces");
        }
        assert_eq!(traces_url("https://c/otlp"), "https://c/otlp/v1/traces");
    }
}
