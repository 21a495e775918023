//! The metrics, three times over: the names in the source, what `docs/metrics.md` tells, what a service shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::Stores;
use crate::process::ServiceProcess;

/// What the page says of one metric.
#[derive(Debug)]
struct Documented {
    kind: String,
    /// Values by label; none where the page describes them instead of listing them.
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
}

/// What a service shows of one metric.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    labels: BTreeSet<String>,
    values: BTreeSet<(String, String)>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn in_the_source() -> BTreeSet<String> {
    let source = read("src/platform/metrics.rs");
    let constant = |line: &str| {
        let (_, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        Some(value.trim_end_matches("\";").to_owned())
    };
    source.lines().filter_map(constant).collect()
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Rows like "| `name` | counter, unit | `label`: `value`, `value`; `label`: words | … | … |".
fn documented() -> BTreeMap<String, Documented> {
    let page = read("docs/metrics.md");
    let mut found: BTreeMap<String, Documented> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [name, kind, labels, meaning, watch] = cells.as_slice() else {
            panic!("not five cells: {line}")
        };
        assert!(!meaning.trim().is_empty() && !watch.trim().is_empty(), "{line}");
        let name = name.trim_matches('`').to_owned();
        let mut by_label = BTreeMap::new();
        for part in labels.split(';').filter(|_| *labels != "none") {
            let label =
                quoted(part).next().unwrap_or_else(|| panic!("a label without a name: {line}"));
            let listed = part.trim_start().starts_with(&format!("`{label}`: `"));
            let values = listed.then(|| quoted(part).skip(1).collect());
            by_label.insert(label, values);
        }
        let kind = kind.split(',').next().unwrap().to_owned();
        let before = found.insert(name, Documented { kind, labels: by_label });
        assert!(before.is_none(), "twice: {line}");
    }
    found
}

/// Reads the Prometheus text format.
fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut found: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            found.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let known = found.keys().find(|known| {
                let rest = name.strip_prefix(known.as_str());
                rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            });
            let name = known.unwrap_or_else(|| panic!("no type: {line}")).clone();
            let shown = found.get_mut(&name).unwrap();
            for pair in labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
                let (label, value) = pair.split_once("=\"").unwrap();
                if label != "le" {
                    shown.labels.insert(label.to_owned());
                    shown.values.insert((label.to_owned(), value.trim_end_matches('"').to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn the_documented_metrics_are_those_of_the_source() {
    let documented: BTreeSet<String> = documented().into_keys().collect();
    assert_eq!(documented, in_the_source());
}

/// What a day without trouble, without payments and without storefronts never touches.
const RARE: [&str; 6] = [
    "holdfast_delivery_seconds",
    "holdfast_deliveries_total",
    "holdfast_event_streams",
    "holdfast_payments_total",
    "holdfast_provider_call_seconds",
    "holdfast_trace_spans_total",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_service_shows_what_is_documented_and_nothing_else() {
    let stores = Stores::fresh().await;
    let limit = ("HOLDFAST__RATE_LIMIT__LOGIN_PER_MINUTE", "1");
    // Nobody pays, so nobody is asked.
    let stripe = [
        ("STRIPE_SECRET_KEY", "sk_test_nobody"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_nobodynobodynobody"),
    ];
    let service = ServiceProcess::start(&stores, &[limit, stripe[0], stripe[1]]).await;
    service.product("LAMP", 2, json!({})).await;
    let bought = service.held("alice", "LAMP", 1).await;
    service.checkout("alice", &bought).await.expect(201);
    let brief = json!({ "sku": "LAMP", "quantity": 1, "ttl_seconds": 5 });
    service.post("/api/reserve", &service.customer("bob"), brief).await.expect(201);
    service.reserve("carol", "LAMP", 1).await.expect_problem(409, "insufficient_stock");
    for status in [401, 429] {
        let login = json!({ "username": "nobody", "password": "not the right one" });
        let request = service.request(reqwest::Method::POST, "/api/auth/login").json(&login);
        service.send(request).await.expect(status);
    }

    let documented = documented();
    let wanted: BTreeSet<&str> =
        documented.keys().map(String::as_str).filter(|name| !RARE.contains(name)).collect();
    let service = &service;
    let missing = async || {
        let seen = shown(&service.metrics().await);
        let missing = wanted.iter().filter(|name| !seen.contains_key(**name));
        missing.map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    // The brief hold must have been given back, too.
    let begun = Instant::now();
    loop {
        let missing = missing().await;
        if missing.is_empty() && service.metrics().await.contains("{end=\"expired\"}") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never shown: {missing:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    for (name, shown) in shown(&service.metrics().await) {
        let documented =
            documented.get(&name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!(shown.kind, documented.kind, "{name}");
        let labels: BTreeSet<String> = documented.labels.keys().cloned().collect();
        assert_eq!(shown.labels, labels, "{name}");
        for (label, value) in shown.values {
            if let Some(values) = &documented.labels[&label] {
                assert!(values.contains(&value), "{name}: {label} is {value}");
            }
        }
    }
}
