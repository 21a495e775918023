//! No test waits for ever: one that runs for too long is named, with where its threads wait, and ends the run.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Several times what the slowest test takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(600);

static RUNNING: LazyLock<Mutex<HashMap<ThreadId, (String, Instant)>>> = LazyLock::new(|| {
    thread::spawn(watch);
    Mutex::default()
});

struct Running(ThreadId);

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.lock().unwrap().remove(&self.0);
    }
}

thread_local! {
    static THIS: OnceCell<Running> = const { OnceCell::new() };
}

/// Counts the time of the test on this thread, from the first call to the end of the thread.
pub fn begin() {
    let thread = thread::current();
    let Some(name) = thread.name().filter(|name| name.contains("::")) else { return };
    THIS.with(|this| {
        this.get_or_init(|| {
            RUNNING.lock().unwrap().insert(thread.id(), (name.to_owned(), Instant::now()));
            Running(thread.id())
        });
    });
}

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap();
        let late = running.values().find(|(_, since)| since.elapsed() > LIMIT);
        if let Some((name, _)) = late {
            // Straight to the file: what a test prints is held back until its end.
            let message = format!("{name} runs for more than {LIMIT:?}\n{}", threads());
            let _ = std::io::stderr().write_all(message.as_bytes());
            std::process::abort();
        }
    }
}

/// Where each thread of this process waits, as far as the system tells.
fn threads() -> String {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let told = entries.map(|entry| {
        let of = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        format!("  {} {} {}\n", of("comm").trim(), of("wchan").trim(), of("syscall").trim())
    });
    told.collect()
}
