//! The load: `holdfast loadtest`, and what it found.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::world::{World, log_to};
use crate::cargo;
use crate::settings::Settings;

/// One run of the load test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd<'a> {
    pub(super) sku: &'a str,
    pub(super) mix: &'a str,
    /// Over how many products named after the SKU it spreads.
    pub(super) across: Option<usize>,
    pub(super) connections: usize,
    /// Requests per second; as many as are answered without it.
    pub(super) rate: Option<f64>,
    /// How long such a request waits for a free connection before it is dropped.
    pub(super) patience: Duration,
    pub(super) prepare: u64,
    pub(super) seconds: u64,
}

/// What a run found.
#[derive(Debug, Clone)]
pub(super) struct Figures(Value);

impl Figures {
    /// Accepted requests of one kind per second.
    pub(super) fn rate(&self, kind: &str) -> f64 {
        self.of(kind, "/accepted_per_second")
    }

    /// A quantile of the latency of accepted requests, in milliseconds.
    pub(super) fn latency_ms(&self, kind: &str, quantile: &str) -> f64 {
        self.of(kind, &format!("/latency_ms/{quantile}"))
    }

    /// Refused requests per second.
    pub(super) fn refused_per_second(&self) -> f64 {
        self.0["refused_per_second"].as_f64().unwrap_or_default()
    }

    /// How busy the load generator was, in words.
    pub(super) fn generator(&self) -> String {
        let share = |what: &str| self.0["generator_percent"][what].as_f64();
        match share("working").zip(share("waiting")) {
            Some((working, waiting)) => {
                format!("worked {working:.0} % of the time and waited {waiting:.0} % for a core")
            }
            None => "does not know how busy it was".to_owned(),
        }
    }

    /// A quantile of the latency of refusals, in milliseconds.
    pub(super) fn refused_latency_ms(&self, kind: &str, quantile: &str) -> f64 {
        self.of(kind, &format!("/refused_latency_ms/{quantile}"))
    }

    fn of(&self, kind: &str, pointer: &str) -> f64 {
        let kinds = self.0["kinds"].as_array().into_iter().flatten();
        let found = kinds.into_iter().find(|found| found["kind"] == kind);
        found.and_then(|found| found.pointer(pointer)?.as_f64()).unwrap_or_default()
    }
}

impl Crowd<'_> {
    /// Of the load at the peak.
    pub(super) const CONNECTIONS: usize = 128;

    /// As many holds of one SKU as these connections can make.
    pub(super) fn reserving(sku: &str, seconds: u64) -> Crowd<'_> {
        Crowd {
            sku,
            mix: "reserve=1",
            across: None,
            connections: Self::CONNECTIONS,
            rate: None,
            patience: Duration::from_secs(1),
            prepare: 0,
            seconds,
        }
    }

    /// As many looks at the stock of one SKU as these connections can take.
    pub(super) fn looking(sku: &str, seconds: u64) -> Crowd<'_> {
        Crowd { mix: "look=1", ..Self::reserving(sku, seconds) }
    }

    /// As many readings of the first page of products as these connections can take.
    pub(super) fn listing(sku: &str, seconds: u64) -> Crowd<'_> {
        Crowd { mix: "list=1", ..Self::reserving(sku, seconds) }
    }

    /// Sends the crowd to a world's service.
    pub(super) fn visit(&self, bench: &Bench<'_>, world: &World) -> Result<Figures> {
        self.go_to(bench, &world.settings, world.service.authority())
    }

    /// Sends the crowd anywhere on this machine.
    pub(super) fn go_to(
        &self,
        bench: &Bench<'_>,
        settings: &Settings,
        authority: &str,
    ) -> Result<Figures> {
        let found = bench.folder.join("loadtest.json");
        // What is left there is of an earlier run.
        let _ = fs::remove_file(&found);
        let mut logged = Ok(());
        cargo::to_end(&bench.binary, bench.interrupt, |command| {
            command.arg("loadtest").arg("--json").arg(&found);
            command.args(["--url", &format!("http://{authority}"), "--sku", self.sku]);
            command.args(["--mix", self.mix, "--warmup", "500ms"]);
            command.args(["--duration", &format!("{}s", self.seconds)]);
            command.args(["--connections", &self.connections.to_string()]);
            command.args(["--requests", "20000000", "--prepare", &self.prepare.to_string()]);
            command.args(self.rate.map(|rate| format!("--rate={rate}")));
            command.arg(format!("--patience={}ms", self.patience.as_millis()));
            command.args(self.across.map(|count| format!("--across={count}")));
            command.env_clear().envs(settings.pairs());
            logged = log_to(bench, command);
        })?;
        logged?;
        let text = fs::read_to_string(found).context("the load test failed: see bench.log")?;
        let figures: Value = serde_json::from_str(&text)?;
        note_wrong(bench, &figures);
        Ok(Figures(figures))
    }
}

fn note_wrong(bench: &Bench<'_>, figures: &Value) {
    let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    bench.wrong(figures["wrong_answers"].as_u64().unwrap_or(1), &shown(&figures["examples"][0]));
    let contradictions = figures["proof"]["contradictions"].as_array();
    for contradiction in contradictions.into_iter().flatten() {
        bench.wrong(1, &shown(contradiction));
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_are_found_by_kind() {
        let figures = Figures(serde_json::json!({"kinds": [
            {"kind": "look", "accepted_per_second": 1.0},
            {"kind": "reserve", "accepted_per_second": 7.5, "latency_ms": {"p99": 2.0}},
        ]}));
        assert_eq!((figures.rate("reserve"), figures.rate("confirm")), (7.5, 0.0));
        assert_eq!(figures.latency_ms("reserve", "p99"), 2.0);
    }
}
