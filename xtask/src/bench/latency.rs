//! Aims 6 and 7: latency at half of the peak, overload, and what the service takes for it.

use anyhow::Result;

use super::chart::{Chart, Series, lines};
use super::crowd::{Crowd, Figures};
use super::report::{Aim, Report, Target};
use super::rounds::Peaks;
use super::world::World;
use super::{Bench, footprint};

const CONNECTIONS: [usize; 6] = [1, 4, 16, 64, 256, 1_024];
const QUANTILES: [&str; 4] = ["p50", "p90", "p99", "p999"];
const RESERVE_P99_MS: f64 = 5.0;
const CONFIRM_P99_MS: f64 = 15.0;
const REFUSED_P99_MS: f64 = 5.0;
const OVERLOAD: f64 = 10.0;

/// Measures them on one world.
pub(super) fn measure(bench: &Bench<'_>, peaks: &Peaks, report: &mut Report) -> Result<()> {
    let world = World::start(bench, "round")?;
    for sku in ["CURVE", "HALF", "HALF-CONFIRM", "OVERLOAD"] {
        world.make_product(sku)?;
    }
    curve(bench, &world, report)?;
    at_half_of_peak(bench, &world, peaks, report)?;
    overload(bench, &world, peaks, report)?;
    footprint::measure(bench, world, report)
}

fn curve(bench: &Bench<'_>, world: &World, report: &mut Report) -> Result<()> {
    let mut points = Vec::new();
    for connections in CONNECTIONS {
        let crowd = Crowd::reserving("CURVE", bench.size.short_seconds);
        let rate = Crowd { connections, ..crowd }.visit(bench, world)?.rate("reserve");
        bench.say(&format!("  {connections} connections: {rate:.0} holds/s"));
        points.push((connections as f64, rate));
    }
    let title = "Holds per second over HTTP";
    let chart = Chart { title, x: "connections", y: "holds/s", doubling: true };
    let series = [Series { name: "reserve".to_owned(), points }];
    report.charts.push(("throughput.svg", lines(&chart, &series)));
    Ok(())
}

fn at_half_of_peak(
    bench: &Bench<'_>,
    world: &World,
    peaks: &Peaks,
    report: &mut Report,
) -> Result<()> {
    bench.say("latency at half of the peak");
    let (mut reserve, mut confirm) = (Vec::new(), Vec::new());
    for _ in 0..bench.size.rounds {
        let crowd = Crowd::reserving("HALF", bench.size.seconds);
        let crowd = Crowd { rate: Some(peaks.reserve / 2.0), connections: 256, ..crowd };
        reserve.push(crowd.visit(bench, world)?);
        let rate = peaks.confirm / 2.0;
        let prepare = (rate * (bench.size.seconds + 1) as f64) as u64 + 1;
        let crowd = Crowd { sku: "HALF-CONFIRM", mix: "confirm=1", prepare, ..crowd };
        confirm.push(Crowd { rate: Some(rate), ..crowd }.visit(bench, world)?);
    }
    let p99 = |runs: &[Figures], kind| -> Vec<f64> {
        runs.iter().map(|run| run.latency_ms(kind, "p99")).collect()
    };
    let (reserves, confirms) = (p99(&reserve, "reserve"), p99(&confirm, "confirm"));
    let name = "p99 of a hold at half of the peak, ms";
    bench.tell(report, Aim::limit(6, name, &reserves, RESERVE_P99_MS));
    let name = "p99 of a checkout at half of the peak, ms";
    bench.tell(report, Aim::limit(6, name, &confirms, CONFIRM_P99_MS));
    report.charts.push(("latency.svg", quantiles(&[("reserve", &reserve), ("confirm", &confirm)])));
    Ok(())
}

/// The last run of each kind, by quantile.
fn quantiles(kinds: &[(&str, &[Figures])]) -> String {
    let line = |(kind, runs): &(&str, &[Figures])| Series {
        name: (*kind).to_owned(),
        points: QUANTILES
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at as f64, runs.last()?.latency_ms(kind, name))))
            .collect(),
    };
    let series: Vec<Series> = kinds.iter().map(line).collect();
    let x = "0: p50, 1: p90, 2: p99, 3: p99.9";
    let title = "Latency at half of the peak, from when a request was due";
    lines(&Chart { title, x, y: "ms", doubling: false }, &series)
}

fn overload(bench: &Bench<'_>, world: &World, peaks: &Peaks, report: &mut Report) -> Result<()> {
    bench.say("ten times the peak");
    let (mut peak, mut goodput, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.size.rounds {
        // The peak again, because the machine drifts.
        let crowd = Crowd::reserving("OVERLOAD", bench.size.seconds);
        peak.push(crowd.visit(bench, world)?.rate("reserve"));
        let rate = Some((peaks.reserve * OVERLOAD).min(1e6));
        let figures = Crowd { rate, connections: 1_024, ..crowd }.visit(bench, world)?;
        goodput.push(figures.rate("reserve"));
        if figures.refused("reserve") > 0.0 {
            refused.push(figures.refused_latency_ms("reserve", "p99"));
        }
    }
    let name = "holds/s at 10 x overload / peak";
    bench.tell(report, Aim::rounds(6, name, (&goodput, &peak), Target::AtLeast(0.9)));
    if refused.is_empty() {
        // As many as can wait on this machine were served: nobody had to be sent away.
        refused.push(0.0);
    }
    let name = "p99 of a refusal under overload, ms";
    bench.tell(report, Aim::limit(6, name, &refused, REFUSED_P99_MS));
    Ok(())
}
