//! The real binary in a process of its own, which a test may kill, stop and start again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xtask::process::{Ending, Launch, Process};
use xtask::servers::{Postgres, PostgresOptions, Redis, RedisOptions};

use crate::app::{Api, Stores, until};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs what blocks this thread, and lets the others work on.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// A running `holdfast serve`; it dies with the test.
pub struct ServiceProcess {
    pub api: Api,
    process: Mutex<Process>,
    log: Log,
}

/// What it printed: output and errors, in files that are deleted at the end.
struct Log {
    out: PathBuf,
    err: PathBuf,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct End {
    pub code: Option<i32>,
    pub stderr: String,
}

impl Log {
    fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("service-{}-{number}", std::process::id()));
        Self { out: stem.with_extension("out"), err: stem.with_extension("err") }
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = |path| fs::read_to_string(path).unwrap_or_default();
            eprintln!("the service printed:\n{}{}", text(&self.out), text(&self.err));
        }
        let _ = (fs::remove_file(&self.out), fs::remove_file(&self.err));
    }
}

fn spawn(environment: &[(String, String)], log: &Log) -> Process {
    spawn_as(env!("CARGO_BIN_EXE_holdfast"), environment, log)
}

fn spawn_as(program: &str, environment: &[(String, String)], log: &Log) -> Process {
    let program = Path::new(program);
    let launched = Launch::new(program, Ending::Kill).spawn(|command| {
        command.arg("serve").env_clear().envs(environment.iter().cloned());
        command.env("HOLDFAST__LOG__FORMAT", "json");
        command.env("HOLDFAST__LOG__FILTER", "info,actix_server=warn");
        command.stdout(File::create(&log.out).unwrap()).stderr(File::create(&log.err).unwrap());
    });
    launched.unwrap()
}

impl ServiceProcess {
    /// Starts a service on these stores and waits until it is ready.
    pub async fn start(stores: &Stores, more: &[(&str, &str)]) -> Self {
        Self::start_as(None, stores, more).await
    }

    /// The same with another build of the program.
    pub async fn start_as(program: Option<&str>, stores: &Stores, more: &[(&str, &str)]) -> Self {
        let log = Log::new();
        let program = program.unwrap_or(env!("CARGO_BIN_EXE_holdfast"));
        let process = Mutex::new(spawn_as(program, &stores.environment(more), &log));
        until("the service serves", || async {
            assert!(process.lock().unwrap().exited().unwrap().is_none(), "it ended at once");
            log.lines().iter().any(|line| line["message"] == "serving")
        })
        .await;
        let lines = log.lines();
        let serving = lines.iter().find(|line| line["message"] == "serving").unwrap();
        let url = format!("http://{}", serving["address"].as_str().unwrap());
        let api = Api::new(url, &stores.settings(more));
        until("the service is ready", || async {
            let reply = api.try_send(api.request(Method::GET, "/readyz")).await;
            reply.is_ok_and(|reply| reply.status == StatusCode::OK)
        })
        .await;
        Self { api, process, log }
    }

    /// What `/metrics` shows of it.
    pub async fn metrics(&self) -> String {
        let lines = self.log.lines();
        let serving = lines.iter().find(|line| line["message"] == "serving").unwrap();
        let address = serving["management_address"].as_str().unwrap();
        reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap()
    }

    /// Starts a service that must refuse to start.
    pub async fn refused(stores: &Stores, more: &[(&str, &str)]) -> End {
        let log = Log::new();
        let mut process = spawn(&stores.environment(more), &log);
        let status = blocking(|| process.wait(Duration::from_secs(60)).unwrap());
        let stderr = fs::read_to_string(&log.err).unwrap();
        let status = status.unwrap_or_else(|| panic!("it serves: {stderr}"));
        End { code: status.code(), stderr }
    }

    /// Whether it said this.
    pub fn has_said(&self, message: &str) -> bool {
        self.log.lines().iter().any(|line| line["message"] == message)
    }

    pub fn signal(&self, signal: Signal) {
        signal_to(self.pid(), signal);
    }

    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().pid()
    }

    /// Kills it on the spot.
    pub async fn kill9(&self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Waits for its end, however it comes.
    pub async fn ended(&self) -> End {
        let status = blocking(|| self.process.lock().unwrap().wait(Duration::from_secs(60)));
        let status = status.unwrap().unwrap();
        let stderr = fs::read_to_string(&self.log.err).unwrap();
        End { code: status.code(), stderr }
    }
}

impl std::ops::Deref for ServiceProcess {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Sends a signal to a process that a test started.
pub fn signal_to(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A Redis of the test's own, and stores that use it.
pub async fn own_redis(settings: &[(&str, &str)]) -> (Redis, Stores) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = RedisOptions { settings: settings.collect(), ..RedisOptions::default() };
    let redis = blocking(|| Redis::start(options).unwrap());
    let stores = Stores { redis_url: redis.url(), ..Stores::fresh().await };
    (redis, stores)
}

/// A Postgres of the test's own with a database of this schema, and stores that use it.
pub async fn own_postgres() -> (Postgres, Stores) {
    let postgres = blocking(|| {
        let postgres = Postgres::start(PostgresOptions::default()).unwrap();
        postgres.create_database("own", None).unwrap();
        postgres
    });
    let stores = Stores { database_url: postgres.url("own"), ..Stores::fresh().await };
    stores.migrate().await;
    (postgres, stores)
}
