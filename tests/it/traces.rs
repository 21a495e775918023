//! Traces, read by a collector in the test process that speaks OTLP over HTTP.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::app::{Stores, until};
use crate::process::ServiceProcess;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A running collector; it ends with the test.
struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let known = taken.clone();
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, known.clone()));
            }
        });
        Self { endpoint, taken, task }
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// What every batch says of who sent it.
    fn services(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        let of = |attributes: &[KeyValue]| attribute(attributes, "service.name").unwrap();
        resources.map(|each| of(&each.resource.as_ref().unwrap().attributes)).collect()
    }
}

async fn serve(stream: TcpStream, taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>) -> Option<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        assert!(line.starts_with("POST /v1/traces "), "{line}");
        let (mut length, mut kind) = (0, String::new());
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "content-type" => kind = value.to_owned(),
                _ => {}
            }
        }
        assert_eq!(kind, "application/x-protobuf");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        taken.lock().unwrap().push(ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.clone()?.value? {
        Any::StringValue(text) => Some(text),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every text in the attributes of these spans.
fn texts(spans: &[Span]) -> Vec<String> {
    let attributes = spans.iter().flat_map(|span| &span.attributes);
    let text = |value: &AnyValue| format!("{value:?}");
    let values = attributes.filter_map(|attribute| attribute.value.as_ref().map(text));
    values.chain(spans.iter().map(|span| span.name.clone())).collect()
}

async fn reserve(service: &ServiceProcess, buyer: &str, parent: Option<&str>) -> String {
    let request = service.request(Method::POST, "/api/reserve");
    let request = request.bearer_auth(service.customer(buyer)).json(&json!({ "sku": "SECRETSKU" }));
    let request = match parent {
        Some(parent) => request.header("traceparent", parent),
        None => request,
    };
    let reply = service.send(request).await;
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.expect(201);
    id
}

async fn stop(service: &ServiceProcess) {
    service.signal(Signal::TERM);
    let end = service.ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_joins_the_trace_of_its_caller_and_everything_it_waits_for_joins_it() {
    let (collector, stores) = (Collector::start().await, Stores::fresh().await);
    let settings = [
        ("HOLDFAST__TELEMETRY__OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("HOLDFAST__TELEMETRY__SAMPLING_RATIO", "0.0"),
    ];
    let service = ServiceProcess::start(&stores, &settings).await;
    service.product("SECRETSKU", 9, json!({})).await;
    reserve(&service, "secretbuyer", None).await;
    reserve(&service, "bob", Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    reserve(&service, "bert", Some("00-what-ever-01")).await;
    let id = reserve(&service, "carol", Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    let held = service.held("dave", "SECRETSKU", 1).await;
    let checkout = service.request(Method::POST, "/api/checkout");
    let checkout = checkout.bearer_auth(service.customer("dave"));
    let checkout = checkout.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    service.send(checkout.json(&json!({ "reservation_id": held }))).await.expect(201);
    // What waits is sent before the end.
    stop(&service).await;

    let spans = collector.spans();
    assert!(collector.services().iter().all(|name| name == "holdfast"));
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "one trace: {spans:#?}");
    let (roots, calls): (Vec<Span>, Vec<Span>) =
        spans.into_iter().partition(|span| hex(&span.parent_span_id) == CALLER);
    let mut names: Vec<&str> = roots.iter().map(|root| root.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["POST /checkout", "POST /reserve"]);
    let root = |name: &str| roots.iter().find(|root| root.name == name).unwrap();
    let reserving = root("POST /reserve");
    assert_eq!(reserving.kind(), SpanKind::Server);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/reserve"),
        ("http.response.status_code", "201"),
        ("request.id", &id),
    ] {
        assert_eq!(attribute(&reserving.attributes, name).as_deref(), Some(value), "{name}");
    }
    let below = |root: &Span| {
        let mut found = Vec::new();
        let mut parents = vec![root.span_id.clone()];
        while let Some(parent) = parents.pop() {
            for call in calls.iter().filter(|call| call.parent_span_id == parent) {
                assert!(call.start_time_unix_nano >= root.start_time_unix_nano);
                let of = attribute(&call.attributes, "peer.service").unwrap();
                found.push(format!("{of} {}", call.name));
                parents.push(call.span_id.clone());
            }
        }
        found
    };
    assert!(below(reserving).contains(&"batch reserve".to_owned()), "{:?}", below(reserving));
    let confirming = below(root("POST /checkout"));
    for call in ["batch pin", "batch confirm", "batch settle"] {
        assert!(confirming.contains(&call.to_owned()), "{confirming:?}");
    }
    assert_eq!(below(reserving).len() + confirming.len(), calls.len(), "none stands alone");
    for text in texts(&roots).iter().chain(&texts(&calls)) {
        for private in ["SECRETSKU", "carol", "dave", &held] {
            assert!(!text.contains(private), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_decides_where_callers_are_not_followed_and_background_work_is_not_traced() {
    let (collector, stores) = (Collector::start().await, Stores::fresh().await);
    let settings = [
        ("HOLDFAST__TELEMETRY__OTLP_ENDPOINT", &*format!("{}/v1/traces", collector.endpoint)),
        ("HOLDFAST__TELEMETRY__SAMPLING_RATIO", "1.0"),
        ("HOLDFAST__TELEMETRY__FOLLOW_PARENT", "false"),
    ];
    let service = ServiceProcess::start(&stores, &settings).await;
    service.product("SECRETSKU", 9, json!({})).await;
    reserve(&service, "bob", Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    let refused = service.request(Method::GET, "/api/nothing/here/secretpath");
    service.send(refused).await.expect_problem(404, "not_found");
    until("traces come without a stop", || async {
        collector.spans().iter().any(|span| hex(&span.parent_span_id) == CALLER)
    })
    .await;
    stop(&service).await;

    let spans = collector.spans();
    let known = |id: &[u8]| spans.iter().any(|span| span.span_id == id);
    for span in &spans {
        let parent = &span.parent_span_id;
        let root = span.kind() == SpanKind::Server;
        assert_eq!(root, parent.is_empty() || hex(parent) == CALLER, "{span:#?}");
        assert!(root || known(parent), "{span:#?}");
    }
    let joined: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    assert!(joined.iter().any(|span| span.name == "POST /reserve"), "{joined:#?}");
    assert!(spans.iter().all(|span| span.name != "postgres.probe"));
    assert!(spans.iter().any(|span| span.name == "GET"), "what no route knows has no name");
    assert!(texts(&spans).iter().all(|text| !text.contains("secretpath")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let stores = Stores::fresh().await;
    // Nobody listens there any more.
    let gone = Collector::start().await.endpoint.clone();
    let settings = [
        ("HOLDFAST__TELEMETRY__OTLP_ENDPOINT", gone.as_str()),
        ("HOLDFAST__TELEMETRY__SAMPLING_RATIO", "1.0"),
        ("HOLDFAST__TELEMETRY__TIMEOUT", "500ms"),
    ];
    let service = ServiceProcess::start(&stores, &settings).await;
    service.product("SECRETSKU", 9, json!({})).await;
    reserve(&service, "bob", None).await;
    until("the loss is counted", || async {
        service.metrics().await.contains("holdfast_trace_spans_total{outcome=\"refused\"}")
    })
    .await;
    assert!(service.has_said("traces were not taken by the collector"));
    service.signal(Signal::TERM);
    let end = service.ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_is_an_error_of_its_trace() {
    let (collector, stores) = (Collector::start().await, Stores::fresh().await);
    let settings = [
        ("HOLDFAST__TELEMETRY__OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("HOLDFAST__TELEMETRY__SAMPLING_RATIO", "1.0"),
    ];
    let service = ServiceProcess::start(&stores, &settings).await;
    service.product("SECRETSKU", 9, json!({})).await;
    let held = service.held("bob", "SECRETSKU", 1).await;
    // Nobody may sell any more: the checkout is refused by Postgres.
    let postgres = stores.postgres().await;
    postgres.batch_execute("alter table orders rename to orders_away").await.unwrap();
    let reply = service.checkout("bob", &held).await;
    assert!(reply.status.is_server_error(), "{reply:#?}");
    postgres.batch_execute("alter table orders_away rename to orders").await.unwrap();
    stop(&service).await;
    let spans = collector.spans();
    let failed = spans.iter().find(|span| span.name == "POST /checkout").unwrap();
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error, "{failed:#?}");
}
