//! Named points where a test kills or stops this very process. Only with the cargo feature `fault-points`; without
//! it the calls are empty and no trace of them is in the binary.

/// Dies or stops here if `HOLDFAST_FAULT` says `<name>:kill` or `<name>:stop`.
#[cfg(feature = "fault-points")]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's switch, not a setting; absent from a release"
)]
pub fn reach(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};

    const MARKER: &str = "holdfast-fault-point";
    let Ok(wanted) = std::env::var("HOLDFAST_FAULT") else { return };
    let Some((point, action)) = wanted.split_once(':') else { return };
    if point != name {
        return;
    }
    tracing::warn!(marker = MARKER, point, action, "fault point reached");
    let signal = if action == "stop" { Signal::STOP } else { Signal::KILL };
    if let Err(error) = kill_process(getpid(), signal) {
        tracing::error!(%error, "the fault point could not signal its own process");
    }
    if action == "stop" {
        // Any thread may take the signal that stops all: this one must not get on with its work before.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Nothing: fault points are not compiled in.
#[cfg(not(feature = "fault-points"))]
pub fn reach(_name: &str) {}
