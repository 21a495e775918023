//! Puts the service together, starts it and stops it. Here is the only place that builds handles, and the route table.

mod ground;
mod handles;
mod routes;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;

use crate::config::Loaded;
use crate::kernel::Clock;
use crate::payments::Payments;
use crate::platform::http::probes::Readiness;
use crate::platform::vitals::Vitals;
use crate::platform::{Db, Tasks, metrics, postgres};
use crate::reservations::{self, Reservations};
use crate::settings::LiveSettings;

use ground::Ground;
use handles::Handles;
use serve::{serve_api, serve_management};

pub use ground::reconcile;

/// A running service.
pub struct App {
    /// Where it answers.
    pub address: SocketAddr,
    /// Where it answers its operators.
    pub management_address: SocketAddr,
    reservations: Reservations,
    payments: Payments,
    live_settings: LiveSettings,
    servers: Vec<ServerHandle>,
    ended: Arc<Ended>,
    readiness: Readiness,
    tasks: Tasks,
    pools: Vec<Db>,
    shutdown_timeout: Duration,
    shutdown_delay: Duration,
}

#[derive(Default)]
struct Ended {
    flag: AtomicBool,
    notify: Notify,
}

impl App {
    /// Checks the stores, starts the background work, and serves. Ready when `/readyz` says so.
    pub async fn start(loaded: Loaded, clock: Clock) -> anyhow::Result<Self> {
        let recorder = metrics::install()?;
        let ground = Ground::new(&loaded.settings, clock).await?;
        reservations::check_redis(&ground.redis).await.context("redis is not as it must be")?;
        let readiness = Readiness::default();
        readiness.set("postgres", true, "answering");
        readiness.set("migrations", true, "all applied");
        let handles = Handles::new(loaded, &ground, &readiness)?;
        let live_settings = handles.live_settings.clone();
        live_settings.begin().await.context("the live settings cannot be read")?;
        let reservations = handles.reservations.clone();
        let payments = handles.payments.clone();
        let notifications = handles.notifications.clone();
        let health = handles.health.clone();
        let Ground { settings, pools, redis, tasks, .. } = ground;
        let (api, address) = serve_api(&settings, handles, redis.clone())?;
        let (management, management_address) =
            serve_management(&settings, &readiness, recorder.clone())?;
        let servers = vec![api.handle(), management.handle()];
        let ended = run(&tasks, [api, management]);
        reservations.start(&readiness);
        payments.start();
        notifications.start();
        live_settings.start();
        health.start(address.to_string());
        let db = pools.requests.clone();
        let pools = pools.all();
        let vitals = Vitals::new(pools.clone(), redis);
        drop(tasks.spawn(upkeep(tasks.clone(), recorder, vitals, db, readiness.clone())));
        tracing::info!(%address, %management_address, "serving");
        Ok(Self {
            address,
            management_address,
            reservations,
            payments,
            live_settings,
            servers,
            ended,
            readiness,
            tasks,
            pools,
            shutdown_timeout: settings.server.shutdown_timeout,
            shutdown_delay: settings.server.shutdown_delay,
        })
    }

    /// The reservations behind it, for steps that tests take by hand.
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// The payments in it, for steps that tests take by hand.
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    /// Looks at the settings files at once, as a signal (SIGHUP) asks for.
    pub fn read_files(&self) {
        self.live_settings.read_files();
    }

    /// Returns if a server ended without being told to.
    pub async fn failed(&self) {
        let notified = self.ended.notify.notified();
        if !self.ended.flag.load(Ordering::Relaxed) {
            notified.await;
        }
    }

    /// Lets balancers see that this replica leaves, while it still takes requests.
    pub async fn leave(&self) {
        self.readiness.leave();
        tokio::time::sleep(self.shutdown_delay).await;
    }

    /// Stops taking requests, finishes those in flight and everything they began, then lets the stores go.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.readiness.leave();
        self.reservations.end_streams();
        let stopping = self.servers.iter().map(|server| server.stop(true));
        let stopped = futures_util::future::join_all(stopping);
        if tokio::time::timeout(self.shutdown_timeout, stopped).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        let finished = self.tasks.shut_down(self.shutdown_timeout).await;
        for pool in &self.pools {
            pool.close();
        }
        anyhow::ensure!(finished, "some background work did not finish in time");
        tracing::info!("stopped");
        Ok(())
    }
}

/// Lets the servers run, and notes if one of them ends.
fn run(tasks: &Tasks, servers: [Server; 2]) -> Arc<Ended> {
    let ended = Arc::new(Ended::default());
    for server in servers {
        let ended = ended.clone();
        drop(tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "an HTTP server failed");
            }
            ended.flag.store(true, Ordering::Relaxed);
            ended.notify.notify_waiters();
        }));
    }
    ended
}

/// Keeps histograms small, asks Postgres how it is, and measures the process.
async fn upkeep(
    tasks: Tasks,
    recorder: PrometheusHandle,
    vitals: Vitals,
    db: Db,
    readiness: Readiness,
) {
    const PROBE: Duration = Duration::from_secs(1);
    let turns = metrics::UPKEEP.as_secs() / PROBE.as_secs();
    let mut turn = 0;
    loop {
        match postgres::is_writable(&db).await {
            Ok(true) => readiness.set("postgres", true, "answering"),
            Ok(false) => {
                readiness.set("postgres", false, "read-only: a standby that was not promoted?");
            }
            Err(fault) => readiness.set("postgres", false, fault.to_string()),
        }
        vitals.measure_pools();
        if turn % turns == 0 {
            recorder.run_upkeep();
            vitals.measure_process();
        }
        metrics::turned("upkeep");
        turn += 1;
        if !tasks.pause(PROBE).await {
            return;
        }
    }
}
