//! Says what is being done, and how long it took.

use std::time::Instant;

use anyhow::Result;

/// Announces a step and reports its duration.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("xtask: {what} …");
    let started = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "done" } else { "failed" };
    eprintln!("xtask: {what}: {word} in {:.1} s", started.elapsed().as_secs_f32());
    outcome
}
