//! Checks what operators are given with Prometheus' own tool: the alert rules, their tests, and every query of the
//! dashboard. No server of it is ever started.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::process::on_path;
use xtask::servers::install;

use crate::interrupt::Interrupt;
use crate::python;

const ALERTS: &str = "ops/prometheus/alerts.yml";
const CONFIG: &str = "ops/prometheus/prometheus.yml";
const ALERT_TESTS: &str = "ops/prometheus/alerts_test.yml";
const DASHBOARD: &str = "ops/grafana/holdfast.json";

/// Runs all checks in `workspace`; `scratch` is a folder for what is made on the way.
pub(crate) fn check(workspace: &Path, scratch: &Path, interrupt: &Interrupt) -> Result<()> {
    install::ensure_tools(on_path("promtool").is_some(), &["prometheus"])?;
    let promtool = on_path("promtool").context("promtool is installed, yet not to be found")?;
    let run = |what: &str, arguments: &[&str], file: &Path| {
        python::demand(what, &promtool, interrupt, |command| {
            command.args(arguments).arg(file);
        })
    };
    run("checking the alert rules", &["check", "rules"], &workspace.join(ALERTS))?;
    run("testing the alert rules", &["test", "rules"], &workspace.join(ALERT_TESTS))?;
    run("checking what Prometheus watches", &["check", "config"], &workspace.join(CONFIG))?;
    let dashboard = fs::read_to_string(workspace.join(DASHBOARD))?;
    let queries = queries(&serde_json::from_str(&dashboard)?);
    ensure!(!queries.is_empty(), "the dashboard asks for nothing");
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| json!({ "record": format!("panel:{number}"), "expr": query }))
        .collect();
    fs::create_dir_all(scratch)?;
    let file = scratch.join("dashboard.yml");
    // JSON is YAML, too.
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string())?;
    run("checking the dashboard's queries", &["check", "rules"], &file)
}

/// Every query below `value`, with what Grafana would put into it.
fn queries(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member.as_str() {
                Some(query) if name == "expr" => vec![filled(query)],
                _ => queries(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "5m").replace("$instance", ".*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found_at_any_depth() {
        let dashboard = json!({ "panels": [{ "targets": [{ "expr": "rate(x[$__rate_interval])" }] }], "expr": "up" });
        let mut found = queries(&dashboard);
        found.sort();
        assert_eq!(found, ["rate(x[5m])", "up"]);
    }
}
