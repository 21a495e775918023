//! The arrows between folders point one way, and each driver is named only where it belongs.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up: a folder may use those before it.
const FLOORS: [&str; 20] = [
    "kernel",
    "config",
    "platform",
    "identity",
    "audit",
    "accounts",
    "catalogue",
    "suppliers",
    "reservations",
    "sales",
    "stock",
    "cart",
    "orders",
    "payments",
    "notifications",
    "settings",
    "reconcile",
    "health",
    "console",
    "app",
];

pub fn sources(below: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// Every source file, by its path below `src`.
fn all() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src).into_iter();
    files
        .map(|(path, text)| (path.strip_prefix(&src).unwrap().display().to_string(), text))
        .collect()
}

#[test]
fn a_folder_uses_only_those_below_it() {
    let mut seen = 0;
    for (file, text) in all() {
        let Some(floor) = FLOORS.iter().position(|folder| file.starts_with(&format!("{folder}/")))
        else {
            continue;
        };
        for used in text.match_indices("crate::").map(|(at, _)| &text[at + "crate::".len()..]) {
            let Some(below) = FLOORS.iter().position(|folder| {
                used.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
            }) else {
                continue;
            };
            seen += 1;
            assert!(below <= floor, "{file} uses {}, which stands above it", FLOORS[below]);
        }
    }
    assert!(seen > 100, "the folders have other names now");
}

#[test]
fn drivers_are_named_only_where_they_belong() {
    let is_http = |file: &str| {
        file.ends_with("http.rs") || file.starts_with("platform/http/") || file.starts_with("app/")
            // The span of a request, and which request a token came with.
            || file == "platform/telemetry.rs"
    };
    let is_sql = |file: &str| file.ends_with("store.rs") || file == "platform/postgres.rs";
    let is_redis = |file: &str| {
        file.starts_with("platform/") || file.starts_with("reservations/ledger/")
            // The token that replicas share.
            || file == "payments/bkash/cache.rs"
            // The rebuild stays on one connection; the start-up reads the configuration.
            || file == "reservations/rebuild.rs" || file == "reservations/startup.rs"
            // Its section of that name.
            || file == "config/mod.rs"
    };
    type Rule<'a> = (&'a str, &'a dyn Fn(&str) -> bool);
    let rules: [Rule<'_>; 3] =
        [("actix_web::", &is_http), ("tokio_postgres::", &is_sql), ("redis::", &is_redis)];
    for (file, text) in all() {
        for (driver, allowed) in rules {
            let named = text.match_indices(driver).any(|(at, _)| {
                // `platform::redis::` is ours.
                !text[..at].ends_with("::")
            });
            assert!(!named || allowed(&file), "{file} names {driver}");
        }
    }
}

#[test]
fn no_loop_is_spawned_past_shutdown() {
    let spawning: Vec<String> = all()
        .into_iter()
        .filter(|(_, text)| text.contains("tokio::spawn"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(spawning, ["platform/coalescer.rs"]);
}
