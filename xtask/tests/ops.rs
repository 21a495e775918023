//! What operators are given: the dashboard is one, and it, the alerts and the runbook speak of metrics that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

const DASHBOARD: &str = "ops/grafana/holdfast.json";
const ALERTS: &str = "ops/prometheus/alerts.yml";
const ALERT_TESTS: &str = "ops/prometheus/alerts_test.yml";
const RUNBOOK: &str = "docs/runbook.md";

/// Metrics that Prometheus makes itself.
const OF_PROMETHEUS: [&str; 1] = ["up"];

fn read(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn yaml(path: &str) -> Result<Yaml> {
    YamlLoader::load_from_str(&read(path)?)?.into_iter().next().context("an empty file")
}

/// The documented metrics, and whether each is a histogram.
fn documented() -> Result<BTreeMap<String, bool>> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.starts_with("histogram")))
    };
    Ok(read("docs/metrics.md")?.lines().filter_map(row).collect())
}

/// Words of `text` that can only be metrics of ours.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = |word: &&str| word.starts_with("holdfast_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

/// Those that are not documented; the series of a histogram are its own.
fn unknown(text: &str, documented: &BTreeMap<String, bool>) -> Vec<String> {
    let known = |word: &str| {
        let series = ["_bucket", "_sum", "_count"];
        let base = series.iter().find_map(|ending| word.strip_suffix(ending));
        documented.contains_key(word) && documented.get(word) != Some(&true)
            || base.is_some_and(|base| documented.get(base) == Some(&true))
    };
    metrics(text).into_iter().filter(|word| !known(word)).collect()
}

/// One alert: name, query, severity, summary, link.
struct Alert {
    name: String,
    query: String,
    severity: String,
    summary: String,
    runbook: String,
}

fn alerts() -> Result<Vec<Alert>> {
    let rules = yaml(ALERTS)?;
    let groups = rules["groups"].as_vec().context("no groups")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_vec().into_iter().flatten());
    let text = |value: &Yaml| value.as_str().unwrap_or_default().to_owned();
    let alert = |rule: &Yaml| Alert {
        name: text(&rule["alert"]),
        query: text(&rule["expr"]),
        severity: text(&rule["labels"]["severity"]),
        summary: text(&rule["annotations"]["summary"]),
        runbook: text(&rule["annotations"]["runbook_url"]),
    };
    Ok(rules.map(alert).collect())
}

/// Headings of a page, as the links to them are written.
fn anchors(page: &str) -> BTreeSet<String> {
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
        kept.collect::<String>().replace(' ', "-")
    };
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn the_dashboard_is_one() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("ops/grafana/dashboard.schema.json")?)?;
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)?)?;
    let validator = jsonschema::validator_for(&schema)?;
    let wrong: Vec<String> = validator
        .iter_errors(&dashboard)
        .map(|error| format!("{}: {error:.300}", error.instance_path()))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let ids: BTreeSet<Option<i64>> = panels.iter().map(|panel| panel["id"].as_i64()).collect();
    ensure!(ids.len() == panels.len(), "two panels with one id");
    for (at, panel) in panels.iter().enumerate() {
        for other in &panels[at + 1..] {
            ensure!(!overlap(&panel["gridPos"], &other["gridPos"]), "{panel:#} lies on {other:#}");
        }
    }
    Ok(())
}

fn overlap(one: &Value, other: &Value) -> bool {
    let of = |place: &Value, name: &str| place[name].as_i64().unwrap_or_default();
    let meet = |from, length| {
        of(one, from) < of(other, from) + of(other, length)
            && of(other, from) < of(one, from) + of(one, length)
    };
    meet("x", "w") && meet("y", "h")
}

#[test]
fn a_dashboard_that_is_none_is_found() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("ops/grafana/dashboard.schema.json")?)?;
    let validator = jsonschema::validator_for(&schema)?;
    let sound: Value = serde_json::from_str(&read(DASHBOARD)?)?;
    let breaks: [fn(&mut Value); 6] = [
        |dashboard| dashboard["panels"][1]["targets"][0]["exprs"] = "up".into(),
        |dashboard| dashboard["panels"][1]["type"] = "graph".into(),
        |dashboard| dashboard["panels"][1]["gridPos"]["w"] = 25.into(),
        |dashboard| dashboard["panels"][1]["targets"] = Value::Array(Vec::new()),
        |dashboard| dashboard["panels"][1]["datasource"]["uid"] = "mine".into(),
        |dashboard| dashboard["title"] = Value::Null,
    ];
    for (number, spoil) in breaks.iter().enumerate() {
        let mut broken = sound.clone();
        spoil(&mut broken);
        ensure!(!validator.is_valid(&broken), "break {number} is not found");
    }
    Ok(())
}

#[test]
fn everything_speaks_of_metrics_that_exist() -> Result<()> {
    let documented = documented()?;
    ensure!(documented.len() > 30, "the page of metrics cannot be read");
    for path in [DASHBOARD, ALERTS, ALERT_TESTS, RUNBOOK] {
        let mut unknown = unknown(&read(path)?, &documented);
        // Prose may call a histogram by its name; a query that does finds nothing.
        unknown.retain(|name| path != RUNBOOK || !documented.contains_key(name));
        ensure!(unknown.is_empty(), "{path} names what docs/metrics.md does not: {unknown:?}");
    }
    ensure!(unknown("rate(holdfast_made_up_total[5m])", &documented).len() == 1);
    ensure!(unknown("holdfast_rebuild_seconds", &documented).len() == 1, "its series are others");
    Ok(())
}

#[test]
fn the_dashboard_shows_every_metric() -> Result<()> {
    let shown = metrics(&read(DASHBOARD)?);
    let hidden = |(name, histogram): &(&String, &bool)| {
        let series = |name: &str| shown.contains(name);
        !(series(name)
            || **histogram
                && (series(&format!("{name}_bucket")) || series(&format!("{name}_count"))))
    };
    let documented = documented()?;
    let hidden: Vec<_> = documented.iter().filter(hidden).map(|(name, _)| name).collect();
    ensure!(hidden.is_empty(), "{hidden:?}");
    Ok(())
}

#[test]
fn every_alert_says_how_grave_it_is_and_what_to_do() -> Result<()> {
    let alerts = alerts()?;
    let page = read(RUNBOOK)?;
    let anchors = anchors(&page);
    for Alert { name, query, severity, summary, runbook } in &alerts {
        ensure!(name.starts_with("Holdfast"), "{name}");
        ensure!(["critical", "warning", "info"].contains(&severity.as_str()), "{name}: {severity}");
        ensure!(!summary.is_empty(), "{name} has no summary");
        let anchor = runbook.strip_prefix(&format!("{RUNBOOK}#"));
        ensure!(anchor.is_some_and(|anchor| anchors.contains(anchor)), "{name}: {runbook}");
        let own = OF_PROMETHEUS.iter().any(|metric| query.contains(metric));
        ensure!(own || !metrics(query).is_empty(), "{name} asks for nothing");
    }
    // And the other way round: no section of an alert that is gone, each with its three parts.
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    ensure!(names.len() == alerts.len(), "two alerts of one name");
    let mut sections = BTreeSet::new();
    for section in page.split("\n### Holdfast").skip(1) {
        let (title, body) = section.split_once('\n').context("a section without text")?;
        let body = body.split("\n#").next().unwrap_or_default();
        sections.insert(format!("Holdfast{title}"));
        for part in ["**Means.**", "**Look.**", "**Do.**"] {
            ensure!(body.contains(part), "the section of Holdfast{title} has no {part}");
        }
    }
    let sections: BTreeSet<&str> = sections.iter().map(String::as_str).collect();
    ensure!(sections == names, "{:?}", sections.symmetric_difference(&names));
    Ok(())
}

#[test]
fn every_alert_is_tested_both_ways() -> Result<()> {
    let tests = yaml(ALERT_TESTS)?;
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in tests["tests"].as_vec().context("no tests")? {
        for rule in test["alert_rule_test"].as_vec().context("a test of nothing")? {
            let name = rule["alertname"].as_str().context("a test of no alert")?.to_owned();
            let expected = rule["exp_alerts"].as_vec().is_some_and(|alerts| !alerts.is_empty());
            if expected {
                fires.insert(name)
            } else {
                quiet.insert(name)
            };
        }
    }
    let names: BTreeSet<String> = alerts()?.into_iter().map(|alert| alert.name).collect();
    ensure!(fires == names, "do not fire in a test: {:?}", names.difference(&fires));
    ensure!(quiet == names, "are not quiet in a test: {:?}", names.difference(&quiet));
    Ok(())
}
