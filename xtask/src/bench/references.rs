//! What ours is compared with: plain Redis, plain Postgres, and an HTTP server without stores.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::process::{Ending, Launch, on_path};
use xtask::servers::{free_port, install};

use super::Bench;
use super::crowd::Crowd;
use super::world::{World, log_to};
use crate::http;

/// A hold as one would write it first: is there enough, one less, and who has it.
const HOLD: &str = "\
    if tonumber(redis.call('GET', KEYS[1])) < tonumber(ARGV[1]) then return 0 end \
    redis.call('DECRBY', KEYS[1], ARGV[1]) \
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[1]) \
    return 1";
const STOCK: u64 = 1_000_000_000;
const REDIS_CLIENTS: &str = "50";
/// Calls from which the length of the run is reckoned.
const TRIAL: u64 = 20_000;

/// One order in one transaction, as one would write it first.
const ORDER: &str = "\
begin;
update products set sold = sold + 1 where product_id = 1 and sold < total;
insert into orders (user_id, total_cents) values ('buyer-' || :client_id, 1000) returning order_id \\gset
insert into order_items (order_id, product_id, quantity, unit_cents) values (:order_id, 1, 1, 1000);
commit;
";
const TABLES: &str = "
create table products (product_id bigint primary key, total bigint not null, sold bigint not null);
create table orders (order_id bigserial primary key, user_id text not null,
  total_cents bigint not null, created_at timestamptz not null default now());
create table order_items (order_item_id bigserial primary key,
  order_id bigint not null references orders, product_id bigint not null references products,
  quantity int not null, unit_cents bigint not null);
insert into products values (1, 1000000000, 0);";
const DATABASE: &str = "reference";
const POSTGRES_CLIENTS: &str = "32";

/// Plain holds per second: `redis-benchmark`, one call at a time on each of 50 connections.
pub(super) fn redis(bench: &Bench<'_>, world: &World) -> Result<f64> {
    let mut redis = world.redis()?;
    let sha = redis.ask(&["SCRIPT", "LOAD", HOLD])?;
    redis.ask(&["SET", "bench:stock", &STOCK.to_string()])?;
    let socket = world.stores.redis.socket();
    let trial = redis_benchmark(&socket, &sha, TRIAL)?;
    bench.interrupt.check()?;
    let calls = (trial * bench.size.seconds as f64) as u64;
    let rate = redis_benchmark(&socket, &sha, calls)?;
    let left: u64 = redis.ask(&["GET", "bench:stock"])?.parse()?;
    bench.wrong(u64::from(left != STOCK - TRIAL - calls), "plain Redis lost a unit");
    redis.ask(&["UNLINK", "bench:stock", "bench:holds"])?;
    Ok(rate)
}

fn redis_benchmark(socket: &Path, sha: &str, calls: u64) -> Result<f64> {
    let program = on_path("redis-benchmark").context("redis-benchmark is missing")?;
    let mut command = Command::new(program);
    command.arg("-s").arg(socket).args(["-c", REDIS_CLIENTS, "-n", &calls.to_string()]);
    command.args(["-r", "1000000000", "--csv", "evalsha", sha, "2", "bench:stock", "bench:holds"]);
    let printed = printed_by(command.args(["1", "buyer:__rand_int__"]))?;
    // "name","rps","avg_latency_ms",…
    let last = printed.lines().last().unwrap_or_default();
    let rate = last.split("\",\"").nth(1).and_then(|rate| rate.parse().ok());
    rate.with_context(|| format!("redis-benchmark printed {printed}"))
}

/// Orders per second: `pgbench`, one transaction each, 32 connections, one hot row.
pub(super) fn postgres(bench: &Bench<'_>, world: &World) -> Result<f64> {
    let postgres = &world.stores.postgres;
    if !postgres.has_database(DATABASE)? {
        postgres.create_database(DATABASE, None)?;
        postgres.psql(DATABASE, TABLES)?;
    }
    let script = bench.folder.join("order.sql");
    std::fs::write(&script, ORDER)?;
    let mut command = Command::new(pgbench()?);
    command.args(["-n", "-M", "prepared", "-c", POSTGRES_CLIENTS, "-j", "2"]);
    command.args(["-T", &bench.size.seconds.to_string(), "-f"]).arg(script);
    let printed = printed_by(command.arg(postgres.url(DATABASE)))?;
    let sums = "select (select sold from products) - (select count(*) from order_items)";
    let lost = postgres.psql(DATABASE, sums)?;
    bench.wrong(u64::from(lost.trim() != "0"), "plain Postgres lost an order");
    let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    let rate = rate.and_then(|rate| rate.parse().ok());
    rate.with_context(|| format!("pgbench printed {printed}"))
}

fn pgbench() -> Result<PathBuf> {
    let beside = install::ensure()?.postgres_folder.join("pgbench");
    let found = if beside.is_file() { Some(beside) } else { on_path("pgbench") };
    found.context("pgbench is missing; it comes with postgresql-contrib on some systems")
}

/// Requests per second of an HTTP server that verifies tokens and has no store.
pub(super) fn ceiling(bench: &Bench<'_>, world: &World) -> Result<f64> {
    let port = free_port()?;
    let authority = format!("127.0.0.1:{port}");
    let mut logged = Ok(());
    let mut server = Launch::new(&bench.binary, Ending::Kill).spawn(|command| {
        command.args(["ceiling", "--port", &port.to_string()]);
        command.env_clear().envs(world.settings.pairs());
        logged = log_to(bench, command);
    })?;
    logged?;
    while http::get(&authority, "/api/inventory/A").is_err() {
        bench.interrupt.check()?;
        if let Some(status) = server.wait(xtask::process::POLL)? {
            bail!("the ceiling ended by itself: {status}");
        }
    }
    let crowd = Crowd::reserving("A", bench.size.seconds);
    Ok(crowd.go_to(bench, &world.settings, &authority)?.rate("reserve"))
}

fn printed_by(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
