//! Aim 7: memory and start.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Bench;
use super::crowd::Crowd;
use super::report::{Part, Report};
use super::world::{World, launch};
use crate::service::Service;

const RSS_MIB: f64 = 64.0;
const START_MS: f64 = 300.0;
const STARTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);
/// Ticks of `/proc/<pid>/stat` in a second, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// The greatest memory of a service until now, where the system tells it; a part of the aim at the load of all others.
pub(super) fn memory(
    bench: &Bench<'_>,
    world: &World,
    connections: usize,
    report: &mut Report,
) -> Result<()> {
    if Path::new("/proc/self/status").exists() {
        let rss = [peak_rss_mib(world.service.pid())?];
        let name = format!("greatest RSS with up to {connections} connections, MiB");
        let part = match connections {
            Crowd::CONNECTIONS => Part::limit(7, &name, &rss, RSS_MIB),
            _ => Part::rounds(None, &name, (&rss, &[RSS_MIB])),
        };
        bench.tell(report, part);
    }
    Ok(())
}

/// How soon a service that has just been loaded starts again.
pub(super) fn measure(bench: &Bench<'_>, world: World, report: &mut Report) -> Result<()> {
    let mut world = world;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (restarted, took) = restart(bench, world)?;
        world = restarted;
        starts.push(took);
    }
    bench.tell(report, Part::limit(7, "cold start to ready, ms", &starts, START_MS));
    Ok(())
}

fn restart(bench: &Bench<'_>, world: World) -> Result<(World, f64)> {
    let World { service, settings, admin, stores } = world;
    service.stop()?;
    let started = Instant::now();
    let mut service = launch(bench, &settings)?;
    let ready = |service: &Service| service.get("/readyz").is_ok_and(|answer| answer.status == 200);
    while !ready(&service) && started.elapsed() < PATIENCE {
        thread::sleep(LOOK);
    }
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    service.await_ready(bench.interrupt)?;
    Ok((World { service, settings, admin, stores }, took))
}

fn peak_rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    peak_rss(&status).context("no VmHWM")
}

fn peak_rss(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// What a process has used of the cores so far.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    cpu(&stat).context("no times")
}

/// User and system time: the 14th and 15th field, counted behind the name, which may hold blanks.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_memory_and_time() {
        let status = "Name:\tholdfast\nVmHWM:\t   65536 kB\nVmRSS:\t   1 kB\n";
        assert_eq!(peak_rss(status), Some(64.0));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100";
        assert_eq!(cpu(stat), Some(3.0));
    }
}
