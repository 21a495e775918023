//! How busy the load generator itself is: one that never rests is measured along with the service.

use std::fs;
use std::time::Instant;

use serde::Serialize;

/// Shares of the time of the run, in percent.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Busy {
    /// Working, on one core.
    pub(super) working: f64,
    /// Having work, but no core to do it on.
    pub(super) waiting: f64,
}

/// The beginning of a run.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    times: Option<[f64; 2]>,
}

impl Watch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), times: times() }
    }

    /// The shares since the start, where the kernel tells them (Linux).
    pub(super) fn busy(&self) -> Option<Busy> {
        let (before, after) = (self.times?, times()?);
        let elapsed_ns = self.started.elapsed().as_secs_f64() * 1e9;
        let [working, waiting] = [0, 1].map(|at| (after[at] - before[at]) / elapsed_ns * 100.0);
        Some(Busy { working, waiting })
    }
}

/// Nanoseconds that this thread ran, and that it waited for a core.
fn times() -> Option<[f64; 2]> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut times = text.split_whitespace().map(|time| time.parse().ok());
    Some([times.next()??, times.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_within_the_time_that_passed() {
        let watch = Watch::start();
        if let Some(Busy { working, waiting }) = watch.busy() {
            assert!(working >= 0.0 && waiting >= 0.0, "{working} {waiting}");
        }
    }
}
