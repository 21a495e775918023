//! Private stores with a service on them, begun empty.

use std::fs::OpenOptions;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::servers::free_port;

use super::Bench;
use super::plain_redis::PlainRedis;
use crate::service::Service;
use crate::settings::Settings;
use crate::stores::Stores;

/// Units of every product: more than any run can hold.
const STOCK: u64 = 1_000_000_000;

/// Stores and a service; dropping it ends both.
#[derive(Debug)]
pub(super) struct World {
    // Dropped in this order: the service ends before its stores.
    pub(super) service: Service,
    pub(super) settings: Settings,
    pub(super) admin: String,
    pub(super) stores: Stores,
}

impl World {
    /// Starts stores and service; worlds that live at the same time need different names.
    pub(super) fn start(bench: &Bench<'_>, name: &str) -> Result<Self> {
        // Below the target folder: a temporary one may be memory, where fsync costs nothing.
        let folder = bench.folder.join("stores").join(name);
        let stores = Stores::lasting(&folder, true)?;
        let settings = settings(bench, &stores)?;
        let service = serve(bench, &settings)?;
        let admin = service.token("admin", "bench")?;
        Ok(Self { service, settings, admin, stores })
    }

    /// Another replica on the same stores.
    pub(super) fn replica(&self, bench: &Bench<'_>) -> Result<Service> {
        serve(bench, &settings(bench, &self.stores)?)
    }

    /// Makes a product with as much stock as it takes.
    pub(super) fn make_product(&self, sku: &str) -> Result<()> {
        make_product(&self.service, &self.admin, sku)
    }

    /// Redis, spoken to directly.
    pub(super) fn redis(&self) -> Result<PlainRedis> {
        PlainRedis::connect(&self.stores.redis.socket())
    }

    /// Reads the stock that the service shows as available.
    pub(super) fn available(&self, sku: &str) -> Result<i64> {
        let answer = self.service.get(&format!("/api/inventory/{sku}"))?;
        let stock: Value = serde_json::from_str(&answer.body).context("not a stock")?;
        stock["available_stock"].as_i64().context("a stock without availability")
    }
}

/// Makes a product through a service.
pub(super) fn make_product(service: &Service, token: &str, sku: &str) -> Result<()> {
    let body = format!(
        r#"{{"sku":"{sku}","name":"A product of the benchmark","price":"10.00","total_stock":{STOCK}}}"#
    );
    let answer = service.post("/api/products", token, &body)?;
    if answer.status != 201 {
        bail!("cannot make {sku}: {} {}", answer.status, answer.body);
    }
    Ok(())
}

/// Sends what a command prints to the log of the benchmark.
pub(super) fn log_to(bench: &Bench<'_>, command: &mut Command) -> Result<()> {
    let log = OpenOptions::new().create(true).append(true).open(bench.folder.join("bench.log"))?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok(())
}

fn settings(bench: &Bench<'_>, stores: &Stores) -> Result<Settings> {
    let mut settings = Settings::new(&bench.workspace, stores, free_port()?, &bench.secret)?;
    // Ten thousand products are looked at without a token; limits are not what is measured.
    settings.set("HOLDFAST__RATE_LIMIT__ANONYMOUS_PER_MINUTE", "0");
    Ok(settings)
}

fn serve(bench: &Bench<'_>, settings: &Settings) -> Result<Service> {
    let mut service = launch(bench, settings)?;
    service.await_ready(bench.interrupt)?;
    Ok(service)
}

/// Starts a service without waiting for it.
pub(super) fn launch(bench: &Bench<'_>, settings: &Settings) -> Result<Service> {
    let authority = format!("127.0.0.1:{}", settings.get("PORT").unwrap_or_default());
    let mut logged = Ok(());
    let service = Service::start_with(&bench.binary, settings, &authority, |command| {
        logged = log_to(bench, command);
    })?;
    logged?;
    Ok(service)
}
