//! The load: `holdfast loadtest`, and what it found.

use std::fs;

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
    pub(super) connections: usize,
    /// Requests per second; as many as are answered without it.
    pub(super) rate: Option<f64>,
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

    /// Refused requests of one kind.
    pub(super) fn refused(&self, kind: &str) -> f64 {
        self.of(kind, "/refused")
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
    /// As many holds of one SKU as 64 connections can make.
    pub(super) fn reserving(sku: &str, seconds: u64) -> Crowd<'_> {
        Crowd { sku, mix: "reserve=1", connections: 64, rate: None, prepare: 0, seconds }
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
