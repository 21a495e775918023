//! The benchmark: what the service does, beside what a plain use of its stores does, in one run.
//!
//! Everything is a ratio taken in turn on the same machine; nothing here is a test, and no figure
//! fails the run. A wrong answer does.

#[path = "../../../src/cli/loadtest/chart.rs"]
mod chart;
mod crowd;
mod footprint;
mod growth;
mod lag;
mod latency;
mod logins;
mod plain_redis;
mod references;
mod report;
mod rounds;
mod skus;
mod spread;
mod world;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use xtask::servers::{Lock, random_hex};

use crate::cargo;
use crate::interrupt::Interrupt;
use report::{Part, Report};

/// How long things are measured, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Rounds in which ours and the references take turns.
    pub(crate) rounds: usize,
    /// Whether it is the shorter one.
    pub(crate) quick: bool,
    /// How often everything else is measured.
    pub(crate) repeats: usize,
    /// Length of each measurement of a round, in seconds.
    pub(crate) seconds: u64,
    /// Length of the measurements that only make up a curve.
    pub(crate) short_seconds: u64,
    /// Live holds among which holds are made.
    pub(crate) live_holds: [u64; 3],
    /// Holds whose release is watched, and other live ones meanwhile.
    pub(crate) watched_holds: usize,
    pub(crate) other_holds: u64,
    /// How long products at rest are watched, in seconds.
    pub(crate) rest_seconds: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        quick: false,
        rounds: 5,
        repeats: 3,
        seconds: 10,
        short_seconds: 5,
        live_holds: [1_000, 100_000, 1_000_000],
        watched_holds: 1_000,
        other_holds: 100_000,
        rest_seconds: 20,
    };
    pub(crate) const QUICK: Self = Self {
        quick: true,
        rounds: 2,
        repeats: 2,
        seconds: 3,
        short_seconds: 2,
        live_holds: [1_000, 30_000, 150_000],
        watched_holds: 300,
        other_holds: 100_000,
        rest_seconds: 10,
    };

    fn note(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let run = if self.quick { "a quick run, more noise than a full one" } else { "a full run" };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("not known");
        format!(
            "{run}; {cores} cores carried load generator, service, Redis and Postgres together; \
             load average of the machine before it began: {load}"
        )
    }
}

/// What every part of the benchmark needs.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    size: Size,
    interrupt: &'a Interrupt,
    binary: PathBuf,
    workspace: PathBuf,
    /// Where stores, logs and reports go.
    folder: PathBuf,
    secret: String,
    started: Instant,
    wrong_answers: Cell<u64>,
    _lock: Lock,
}

impl<'a> Bench<'a> {
    /// Builds the service as it is released.
    pub(crate) fn prepare(size: Size, interrupt: &'a Interrupt) -> Result<Self> {
        let binary = cargo::release_binary(interrupt)?;
        let folder = cargo::target()?.join("bench");
        let lock =
            Lock::take(&folder)?.context("another benchmark of this checkout is going on")?;
        remove_stores(&folder);
        let _ = std::fs::remove_file(folder.join("bench.log"));
        Ok(Self {
            size,
            interrupt,
            binary,
            workspace: cargo::workspace()?,
            folder,
            secret: random_hex(32)?,
            started: Instant::now(),
            wrong_answers: Cell::new(0),
            _lock: lock,
        })
    }

    /// Measures everything, writes the report, and says how many answers were wrong.
    pub(crate) fn run(&self) -> Result<u64> {
        let mut report = Report::default();
        report.notes.push(self.size.note());
        let peaks = rounds::measure(self, &mut report)?;
        latency::measure(self, &peaks, &mut report)?;
        logins::measure(self, peaks.reserve, &mut report)?;
        growth::measure(self, &mut report)?;
        lag::measure(self, &mut report)?;
        skus::measure(self, &mut report)?;
        report.write(&self.folder, self.wrong_answers.get())?;
        self.say(&format!("report, figures and charts: {}", self.folder.display()));
        Ok(self.wrong_answers.get())
    }

    /// One line of progress.
    fn say(&self, what: &str) {
        let elapsed = self.started.elapsed().as_secs();
        eprintln!("bench {:>2}:{:02}  {what}", elapsed / 60, elapsed % 60);
    }

    /// One part of an aim, as soon as it is known.
    fn tell(&self, report: &mut Report, part: Part) {
        self.say(&format!("  {}", part.line()));
        report.parts.push(part);
    }

    /// Counts what must not happen, and shows it.
    fn wrong(&self, count: u64, example: &str) {
        if count > 0 {
            self.wrong_answers.set(self.wrong_answers.get() + count);
            self.say(&format!("WRONG: {example}"));
        }
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        remove_stores(&self.folder);
    }
}

/// Deletes what the stores held: nobody reads it again, and it is large.
fn remove_stores(folder: &Path) {
    // What cannot be deleted is deleted or reported by the next run.
    let _ = std::fs::remove_dir_all(folder.join("stores"));
}
