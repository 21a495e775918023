//! Aim 4: how soon an expired unit is seen as available, without expiry events.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::Bench;
use super::chart::{Across, Chart, bars};
use super::crowd::Crowd;
use super::report::{Part, Report};
use super::spread::quantile;
use super::world::World;
use crate::service::Service;

const ALIVE_MS: f64 = 150.0;
const DEAD_MS: f64 = 6_000.0;
const SKU: &str = "LAG";
const ORPHANED: &str = "ORPHANED";
/// Holds last from this long to this long, so that they end one after the other.
const LAST_S: std::ops::Range<usize> = 3..9;
const ORPHANS: usize = 200;
const LOOK: Duration = Duration::from_millis(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// Edges of the bars of lag, in milliseconds.
const EDGES_MS: [f64; 8] = [10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 300.0, 1e9];

/// Measures with the replica that made the holds alive, and after it was killed.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<()> {
    let others = bench.size.other_holds;
    bench.say(&format!("restore lag beside {others} live holds, without events"));
    let world = World::start(bench, "lag")?;
    world.make_product(SKU)?;
    world.make_product(ORPHANED)?;
    let look = Crowd { mix: "look=1", connections: 1, prepare: others, ..Crowd::reserving(SKU, 1) };
    look.visit(bench, &world)?;
    set_events(&world, "")?;
    let alive = while_alive(bench, &world)?;
    let p99 = quantile(&alive, 0.99);
    bench.tell(report, Part::limit(4, "p99 of the restore lag, ms", &[p99], ALIVE_MS));
    let dead = after_death(bench, world)?;
    let name = "longest restore lag after kill -9 of the replica, ms";
    bench.tell(report, Part::limit(4, name, &[quantile(&dead, 1.0)], DEAD_MS));
    let title = "From a deadline until the unit is seen as available";
    let chart = Chart { title, x: "milliseconds", y: "share, %", across: Across::Even };
    report.charts.push(("restore-lag.svg", bars(&chart, &shares(&alive))));
    Ok(())
}

fn while_alive(bench: &Bench<'_>, world: &World) -> Result<Vec<f64>> {
    let token = world.service.token("service", "bench")?;
    let deadlines = make_holds(&world.service, &token, SKU, bench.size.watched_holds)?;
    watch(bench, deadlines, || world.available(SKU))
}

fn after_death(bench: &Bench<'_>, world: World) -> Result<Vec<f64>> {
    // A service does not start on a Redis that is not set up for it.
    set_events(&world, "Ex")?;
    let survivor = world.replica(bench)?;
    set_events(&world, "")?;
    let token = world.service.token("service", "bench")?;
    let deadlines = make_holds(&world.service, &token, ORPHANED, ORPHANS)?;
    let mut redis = world.redis()?;
    // Dropping a service kills it with SIGKILL.
    drop(world.service);
    // In Redis itself: asking the survivor for this SKU would draw its attention to it.
    let key = format!("hf:s:{{{ORPHANED}}}");
    let lags = watch(bench, deadlines, || Ok(redis.ask(&["HGET", &key, "avail"])?.parse()?))?;
    drop(survivor);
    Ok(lags)
}

fn set_events(world: &World, which: &str) -> Result<()> {
    world.redis()?.ask(&["CONFIG", "SET", "notify-keyspace-events", which]).map(drop)
}

/// Makes holds that end one after the other; their deadlines, in milliseconds since 1970.
fn make_holds(service: &Service, token: &str, sku: &str, count: usize) -> Result<Vec<i64>> {
    let make = |number: usize| {
        let ttl = LAST_S.start + number % LAST_S.len();
        let body = format!(
            r#"{{"sku":"{sku}","quantity":1,"user_id":"lag-{number}","ttl_seconds":{ttl}}}"#
        );
        let answer = service.post("/api/inventory/reserve", token, &body)?;
        if answer.status != 201 {
            bail!("cannot hold {sku}: {} {}", answer.status, answer.body);
        }
        let held: Value = serde_json::from_str(&answer.body)?;
        let deadline = held["expires_at"].as_str().context("a hold without a deadline")?;
        Ok(deadline.parse::<Timestamp>()?.as_millisecond())
    };
    (0..count).map(make).collect()
}

/// Looks until all units are back; how long after its deadline each was seen, in milliseconds.
fn watch(
    bench: &Bench<'_>,
    mut deadlines: Vec<i64>,
    mut available: impl FnMut() -> Result<i64>,
) -> Result<Vec<f64>> {
    deadlines.sort_unstable();
    // A stock that is shown may be a moment old: wait until it cannot be from before the holds.
    thread::sleep(Duration::from_millis(100));
    let (begin, started) = (available()?, Instant::now());
    let mut lags: Vec<f64> = Vec::with_capacity(deadlines.len());
    while lags.len() < deadlines.len() {
        let back = usize::try_from(available()? - begin).unwrap_or(0);
        let now = now_ms();
        let seen = lags.len()..back.min(deadlines.len());
        lags.extend(deadlines[seen].iter().map(|deadline| (now - deadline) as f64));
        bench.interrupt.check()?;
        if started.elapsed() > PATIENCE {
            bail!("{} of {} units did not come back", deadlines.len() - back, deadlines.len());
        }
        thread::sleep(LOOK);
    }
    let early = lags.iter().filter(|lag| **lag < -1.0).count();
    bench.wrong(early as u64, "a unit came back before its deadline");
    Ok(lags)
}

#[expect(clippy::disallowed_methods, reason = "deadlines are compared with this machine's clock")]
fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The share of lags up to each edge and over the one before, in percent.
fn shares(lags: &[f64]) -> Vec<(String, f64)> {
    let mut least = f64::MIN;
    let share = |edge: f64| {
        let count = lags.iter().filter(|lag| (least..edge).contains(*lag)).count();
        let name = if edge > 1e6 { "more".to_owned() } else { format!("< {edge}") };
        least = edge;
        (name, count as f64 / lags.len().max(1) as f64 * 100.0)
    };
    EDGES_MS.map(share).into()
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn every_lag_is_in_one_bar() {
        let shares = shares(&[0.0, 10.0, 60.0, 5_000.0]);
        assert_eq!(shares[0], ("< 10".to_owned(), 25.0));
        assert_eq!(shares[7], ("more".to_owned(), 25.0));
        assert!((shares.iter().map(|bar| bar.1).sum::<f64>() - 100.0).abs() < 1e-9);
    }
}
