//! How the process itself is: its pools, and what the system says of it. Measured once in a while, never on the way of a
//! request.

use std::fs;

use metrics::gauge;

use crate::platform::redis::Redis;
use crate::platform::{Db, metrics as names};

/// What is measured.
pub struct Vitals {
    pools: Vec<Db>,
    redis: Redis,
    started_s: Option<f64>,
}

impl Vitals {
    /// Of a process with these stores.
    pub fn new(pools: Vec<Db>, redis: Redis) -> Self {
        Self { pools, redis, started_s: started() }
    }

    /// Measures the pools: they move quickly.
    pub fn measure_pools(&self) {
        for pool in &self.pools {
            let (name, status) = pool.status();
            note_pool(name, status.max_size, status.size, status.available, status.waiting);
        }
        let status = self.redis.status();
        note_pool("redis", status.max_size, status.size, status.available, status.waiting);
    }

    /// Measures the process, where the system keeps `/proc`.
    pub fn measure_process(&self) {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        if let Some(stat) = read("stat").as_deref().and_then(Stat::read) {
            gauge!(names::RESIDENT).set(stat.resident_bytes);
            gauge!(names::THREADS).set(stat.threads);
            // The counter takes whole seconds only, which is enough for a rate over minutes.
            metrics::counter!(names::CPU).absolute(stat.cpu_s as u64);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge!(names::OPEN_FDS).set(open.count() as f64);
        }
        if let Some(most) = read("limits").as_deref().and_then(most_fds) {
            gauge!(names::MAX_FDS).set(most);
        }
        if let Some(started_s) = self.started_s {
            gauge!(names::STARTED).set(started_s);
        }
    }
}

fn note_pool(name: &'static str, most: usize, size: usize, idle: usize, waiting: usize) {
    let of = |state| gauge!(names::POOL_CONNECTIONS, "pool" => name, "state" => state);
    of("in_use").set(size.saturating_sub(idle) as f64);
    of("idle").set(idle as f64);
    gauge!(names::POOL_LIMIT, "pool" => name).set(most as f64);
    gauge!(names::POOL_WAITING, "pool" => name).set(waiting as f64);
}

/// What `/proc/self/stat` tells.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_s: f64,
    threads: f64,
    started_ticks: f64,
    resident_bytes: f64,
}

impl Stat {
    /// The name of the program, in brackets, may hold spaces and brackets: fields are counted after the last one.
    fn read(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Numbered as in proc(5), where the state is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Self {
            cpu_s: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started_ticks: field(22)?,
            resident_bytes: field(24)? * rustix::param::page_size() as f64,
        })
    }
}

/// When this process started, unix time in seconds.
fn started() -> Option<f64> {
    let stat = Stat::read(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + stat.started_ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// The soft limit of open files.
fn most_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_behind_the_name() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 150 0 0 20 0 12 0 900 4096 3 18446744073709551615";
        let stat = Stat::read(text).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((stat.threads, stat.started_ticks), (12.0, 900.0));
        assert_eq!(stat.cpu_s, 400.0 / ticks);
        assert_eq!(stat.resident_bytes, 3.0 * rustix::param::page_size() as f64);
        assert_eq!(Stat::read("7 (short) S 1"), None);
    }

    #[test]
    fn limits_are_read_from_their_line() {
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files     1024      524288     files\n";
        assert_eq!(most_fds(text), Some(1024.0));
        assert_eq!(most_fds("Max open files  unlimited unlimited files"), None);
    }
}
