//! Aims 6 and 7: latency at half of the peak, overload, and what the service takes for it.

use std::time::Duration;

use anyhow::Result;

use super::chart::{Across, Chart, Series, lines};
use super::crowd::{Crowd, Figures};
use super::references::Ceiling;
use super::report::{Part, Report, Target};
use super::rounds::Peaks;
use super::world::World;
use super::{Bench, footprint};

const CONNECTIONS: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// As the load test names them, and as people do.
const QUANTILES: [(&str, &str); 4] =
    [("p50", "50"), ("p90", "90"), ("p99", "99"), ("p999", "99.9")];
const RESERVE_P99_MS: f64 = 5.0;
const CONFIRM_P99_MS: f64 = 15.0;
const REFUSED_P99_MS: f64 = 5.0;
const OVERLOAD: f64 = 10.0;
/// Arrivals that can wait for an answer at the same time; further ones find the door shut.
const OVERLOAD_CONNECTIONS: usize = 512;
/// How long an arrival waits at that door: as long as the generator may be late by itself.
const OVERLOAD_PATIENCE: Duration = Duration::from_millis(1);

/// Measures them on one world.
pub(super) fn measure(bench: &Bench<'_>, peaks: &Peaks, report: &mut Report) -> Result<()> {
    let world = World::start(bench, "round")?;
    for sku in ["CURVE", "HALF", "HALF-CONFIRM", "OVERLOAD"] {
        world.make_product(sku)?;
    }
    // First, while Redis holds no more than a sale does: the rest fills it with millions.
    at_half_of_peak(bench, &world, peaks, report)?;
    curve(bench, &world, report)?;
    overload(bench, &world, peaks, report)?;
    footprint::measure(bench, world, report)
}

fn curve(bench: &Bench<'_>, world: &World, report: &mut Report) -> Result<()> {
    let mut points = Vec::new();
    for connections in CONNECTIONS {
        let crowd = Crowd::reserving("CURVE", bench.size.short_seconds);
        let rate = Crowd { connections, ..crowd }.visit(bench, world)?.rate("reserve");
        bench.interrupt.check()?;
        bench.say(&format!("  {connections} connections: {rate:.0} holds/s"));
        points.push((connections as f64, rate));
        if [Crowd::CONNECTIONS, 1_024].contains(&connections) {
            footprint::memory(bench, world, connections, report)?;
        }
    }
    let best = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let last = points.last().map_or(0.0, |point| point.1);
    let name = "holds/s over 1,024 connections / over the best number of them";
    bench.tell(report, Part::rounds(None, name, (&[last], &[best])));
    let title = "Holds per second over HTTP";
    let chart = Chart { title, x: "connections", y: "holds/s", across: Across::Doubling };
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
    for _ in 0..bench.size.repeats {
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
    bench.tell(report, Part::limit(6, name, &reserves, RESERVE_P99_MS));
    let name = "p99 of a checkout at half of the peak, ms";
    bench.tell(report, Part::limit(6, name, &confirms, CONFIRM_P99_MS));
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
            .filter_map(|(at, (name, _))| Some((at as f64, runs.last()?.latency_ms(kind, name))))
            .collect(),
    };
    let series: Vec<Series> = kinds.iter().map(line).collect();
    let title = "Latency at half of the peak, from when a request was due";
    let across = Across::Named(&QUANTILES.map(|(_, shown)| shown));
    lines(&Chart { title, x: "percentile", y: "ms", across }, &series)
}

fn overload(bench: &Bench<'_>, world: &World, peaks: &Peaks, report: &mut Report) -> Result<()> {
    bench.say("ten times the peak");
    let rate = (peaks.reserve * OVERLOAD).min(1e6);
    let peak_crowd = Crowd::reserving("OVERLOAD", bench.size.seconds);
    let connections = OVERLOAD_CONNECTIONS;
    let flood = Crowd { rate: Some(rate), connections, patience: OVERLOAD_PATIENCE, ..peak_crowd };
    let (mut peak, mut goodput, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.size.repeats {
        // The peak again, because the machine drifts.
        peak.push(peak_crowd.visit(bench, world)?.rate("reserve"));
        let figures = flood.visit(bench, world)?;
        let (held, sent_away) = (figures.rate("reserve"), figures.refused_per_second());
        goodput.push(held);
        // Where nobody was sent away, everybody waited: that wait counts instead.
        refused.push(match sent_away > 0.0 {
            true => figures.refused_latency_ms("reserve", "p99"),
            false => figures.latency_ms("reserve", "p99"),
        });
        let note = format!(
            "overload: {rate:.0} arrivals/s, of which {held:.0}/s were held, {sent_away:.0}/s \
             were refused with 503 and Retry-After ({:.0} % of what was answered), and the rest \
             found all of {connections} connections waiting; the load generator {}",
            sent_away / (held + sent_away).max(1.0) * 100.0,
            figures.generator()
        );
        bench.say(&format!("  {note}"));
        report.notes.push(note);
    }
    let aim = Some((6, Target::AtLeast(0.9)));
    bench.tell(report, Part::rounds(aim, "holds/s at 10 x overload / peak", (&goodput, &peak)));
    let name = "p99 of a refusal under overload, ms";
    bench.tell(report, Part::limit(6, name, &refused, REFUSED_P99_MS));
    overload_without_stores(bench, world, &flood, report)
}

/// What the same load shows of a server that refuses nobody and has nothing to do: with every
/// connection waiting for an answer, no service on this machine can be much quicker.
fn overload_without_stores(
    bench: &Bench<'_>,
    world: &World,
    flood: &Crowd<'_>,
    report: &mut Report,
) -> Result<()> {
    let flood = Crowd { seconds: bench.size.short_seconds, ..*flood };
    let figures = Ceiling::start(bench, world)?.take(bench, &flood)?;
    let note = format!(
        "the same overload on the HTTP server without stores: {:.0} answers/s, p50 {:.1} ms, \
         p99 {:.1} ms; the load generator {}",
        figures.rate("reserve"),
        figures.latency_ms("reserve", "p50"),
        figures.latency_ms("reserve", "p99"),
        figures.generator(),
    );
    bench.say(&format!("  {note}"));
    report.notes.push(note);
    Ok(())
}
