//! The OpenAPI document says what the service does: the snapshot, the routes, the codes, and the page that shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast::platform::http::codes::CODES;
use reqwest::Method;
use serde_json::Value;

use crate::app::TestApp;
use crate::architecture::sources;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// The document itself and its page, and the console's page.
const OWN: [&str; 6] = [
    "/openapi.json",
    "/docs",
    "/docs/{file}",
    "/admin",
    "/admin/{view:.*}",
    "/admin/assets/{version}/{file:.*}",
];
/// Of these, only what no operation describes can bring one about.
const OF_NO_OPERATION: [&str; 2] = ["method_not_allowed", "origin_not_allowed"];

fn operations(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        METHODS
            .iter()
            .filter(|method| item.get(method).is_some())
            .map(|method| method.to_uppercase())
            .collect()
    };
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// Every operation, by method and path.
pub fn each(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        METHODS
            .iter()
            .filter_map(move |method| Some((format!("{method} {path}"), item.get(method)?)))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_the_one_that_is_checked_in() {
    let app = TestApp::start().await;
    let served = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(served == kept, "renew it: cargo run -- openapi > docs/openapi.json");
    assert_eq!(
        served["openapi"].as_str().unwrap().split('.').take(2).collect::<Vec<_>>(),
        ["3", "1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_every_route_and_no_other() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    for (path, methods) in operations(&document) {
        if document["paths"][&path]["post"]["deprecated"] == true {
            // A second name is one of POST alone; without a token or a body it is refused, and known.
            let status = app.anonymous(Method::POST, &path).await.status;
            assert!([401, 415].contains(&status.as_u16()), "{path}: {status}");
            continue;
        }
        let concrete: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        let probe = Method::from_bytes(b"PROBE").unwrap();
        let reply = app.anonymous(probe, &concrete.join("/")).await;
        let allowed = reply.headers.get("allow").unwrap_or_else(|| panic!("{path}: {reply:#?}"));
        let allowed: BTreeSet<String> =
            allowed.to_str().unwrap().split(',').map(|one| one.trim().to_owned()).collect();
        let allowed =
            allowed.into_iter().filter(|method| method != "HEAD").collect::<BTreeSet<_>>();
        reply.expect_problem(405, "method_not_allowed");
        assert_eq!(methods, allowed, "{path}");
    }
    let mut routes = BTreeSet::new();
    for (file, text) in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        if !file.to_string_lossy().ends_with("http.rs")
            && !file.to_string_lossy().contains("platform/http")
        {
            continue;
        }
        for opening in ["web::resource(\"", "probe(\""] {
            let found = text.split(opening).skip(1).map(|rest| rest.split('"').next().unwrap());
            routes.extend(found.map(str::to_owned));
        }
        let flat = text.split_whitespace().collect::<String>();
        let found =
            flat.split("web::resource(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        routes.extend(found.map(str::to_owned));
    }
    assert!(routes.len() > 30, "routes are made in another way now: {routes:?}");
    let documented = operations(&document);
    for route in routes.iter().filter(|route| !OWN.contains(&route.as_str())) {
        let known =
            documented.contains_key(&format!("/api{route}")) || documented.contains_key(route);
        assert!(known, "{route} is not in the document");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_described_and_every_code_has_one() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let (mut ids, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for (name, operation) in each(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{name}: {id} twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{name}");
        for (status, response) in responses {
            assert!(!response["description"].as_str().unwrap().is_empty(), "{name} {status}");
            let examples = &response["content"]["application/problem+json"]["examples"];
            for code in examples.as_object().into_iter().flat_map(|codes| codes.keys()) {
                let example = &document["components"]["examples"][code]["value"];
                assert_eq!(example["status"].to_string(), *status, "{name} {code}");
                codes.insert(code.clone());
            }
        }
        assert!(operation.get("x-codes").is_none(), "{name}");
    }
    let known: BTreeSet<String> = CODES
        .iter()
        .map(|code| code.code.to_owned())
        .filter(|code| !OF_NO_OPERATION.contains(&code.as_str()))
        .collect();
    assert_eq!(codes, known);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nobody_but_the_service() {
    let app = TestApp::start().await;
    let client = reqwest::Client::new();
    let page = client.get(format!("{}/docs/", app.url)).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/docs/index.html"));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = page.text().await.unwrap();
    let names = page.split(['"', '\'']).filter_map(|name| name.strip_prefix("./"));
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.len() >= 3, "{page}");
    for name in names {
        let file = client.get(format!("{}/docs/{name}", app.url)).send().await.unwrap();
        assert_eq!(file.status().as_u16(), 200, "{name}");
        if name.ends_with("initializer.js") {
            assert!(file.text().await.unwrap().contains("/openapi.json"));
        }
    }
    for outside in ["src=\"http", "href=\"http", "src=\"//", "<script>"] {
        assert!(!page.contains(outside), "{outside}: {page}");
    }
    app.anonymous(Method::GET, "/docs/nothing.js").await.expect_problem(404, "not_found");
}

/// Every request of a collection, however deep its folder.
fn requests(item: &Value) -> Vec<&Value> {
    match item["item"].as_array() {
        Some(inner) => inner.iter().flat_map(requests).collect(),
        None => vec![item],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_tried_by_the_postman_collection() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("postman/holdfast.postman_collection.json");
    let collection: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let requests = requests(&collection);
    let mut tried = BTreeSet::new();
    for request in &requests {
        let name = request["name"].as_str().unwrap();
        let events = request["event"].as_array().unwrap_or_else(|| panic!("{name} tests nothing"));
        let scripts = events.iter().filter(|event| event["listen"] == "test");
        let tests = scripts.flat_map(|event| event["script"]["exec"].as_array().unwrap());
        let tests = tests.filter(|line| line.as_str().unwrap().contains("pm.test(")).count();
        assert!(tests > 0, "{name} tests nothing");
        let url = request["request"]["url"].as_str().unwrap();
        let path = url.strip_prefix("{{baseUrl}}").unwrap_or_else(|| panic!("{name}: {url}"));
        let path = path.split('?').next().unwrap().trim_end_matches('/');
        tried.insert((request["request"]["method"].as_str().unwrap(), path.to_owned()));
    }
    let is_of = |path: &str, tried: &str| {
        let (path, tried): (Vec<_>, Vec<_>) =
            (path.split('/').collect(), tried.split('/').collect());
        let same = |(part, tried): (&&str, &&str)| part == tried || part.starts_with('{');
        path.len() == tried.len() && path.iter().zip(&tried).all(same)
    };
    let mut missing = Vec::new();
    for (name, _) in each(&document) {
        let (method, path) = name.split_once(' ').unwrap();
        let is_it =
            |(other, tried): &(&str, String)| *other == method.to_uppercase() && is_of(path, tried);
        if !tried.iter().any(is_it) {
            missing.push(name.clone());
        }
    }
    assert!(missing.is_empty(), "the collection tries none of these: {missing:?}");
    assert!(requests.len() > 180, "{}", requests.len());
}
