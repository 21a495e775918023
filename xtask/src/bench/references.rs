//! What ours is compared with: plain Redis, plain Postgres, and an HTTP server without stores.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::process::{Ending, Launch, Process, on_path};
use xtask::servers::{Redis, RedisOptions, free_port, install};

use super::Bench;
use super::crowd::{Crowd, Figures};
use super::plain_redis::PlainRedis;
use super::world::{World, log_to};
use crate::http;
use crate::settings::Settings;

/// A hold as one would write it first: is there enough, so many less, and who has them until when.
/// Two writes, and a key for each buyer that Redis forgets by itself.
const HOLD: &str = "\
local stock = tonumber(redis.call('GET', KEYS[1])) \
if not stock or stock < tonumber(ARGV[1]) then return 0 end \
redis.call('DECRBY', KEYS[1], ARGV[1]) \
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) \
return 1";
/// What `redis-benchmark` calls it with: stock, one reservation for each buyer, quantity, seconds.
const HOLD_ARGUMENTS: [&str; 5] = ["2", "stock:1", "reservation:1:__rand_int__", "1", "600"];
const STOCK: u64 = 1_000_000_000;
/// Buyers that `redis-benchmark` draws from.
const BUYERS: u64 = 2_000_000_000;
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

/// Plain holds per second: `redis-benchmark`, one call at a time on each of 50 connections, to a
/// Redis of its own that is set up like ours and reached in the same way, through a socket.
pub(super) fn redis(bench: &Bench<'_>) -> Result<f64> {
    let folder = bench.folder.join("stores/reference");
    let server = RedisOptions { folder: Some(folder), fresh: true, ..RedisOptions::default() };
    let server = Redis::start(server)?;
    let mut redis = PlainRedis::connect(&server.socket())?;
    let sha = redis.ask(&["SCRIPT", "LOAD", HOLD])?;
    redis.ask(&["SET", "stock:1", &STOCK.to_string()])?;
    let trial = redis_benchmark(&server.socket(), &sha, TRIAL)?;
    bench.interrupt.check()?;
    let calls = (trial * bench.size.seconds as f64) as u64;
    let rate = redis_benchmark(&server.socket(), &sha, calls)?;
    let calls = TRIAL + calls;
    let left: u64 = redis.ask(&["GET", "stock:1"])?.parse()?;
    bench.wrong(u64::from(left != STOCK - calls), "plain Redis lost a unit");
    let holds = redis.ask(&["DBSIZE"])?.parse::<u64>()? - 1;
    bench.wrong(u64::from(!all_made(calls, holds)), "plain Redis did not make every hold");
    Ok(rate)
}

/// Whether so many calls made so many holds: a few buyers are drawn twice.
fn all_made(calls: u64, holds: u64) -> bool {
    let drawn_twice = (calls as f64).powi(2) / (2.0 * BUYERS as f64);
    calls >= holds && ((calls - holds) as f64) < 2.0 * drawn_twice + 20.0
}

/// What the references are, for the report.
pub(super) fn notes() -> [String; 2] {
    let call = HOLD_ARGUMENTS.join(" ");
    [
        format!(
            "plain EVALSHA: redis-benchmark -c {REDIS_CLIENTS} -r {BUYERS} evalsha <hash> {call}, \
             one thread, no pipelining, through the same kind of socket as ours, AOF everysec; \
             keys and stock are counted afterwards. The script: {HOLD}"
        ),
        format!(
            "one order per transaction: pgbench -M prepared -c {POSTGRES_CLIENTS} -j 2, fsync on, \
             one hot row: {}",
            ORDER.trim_end().replace('\n', " ")
        ),
    ]
}

fn redis_benchmark(socket: &Path, sha: &str, calls: u64) -> Result<f64> {
    let program = on_path("redis-benchmark").context("redis-benchmark is missing")?;
    let mut command = Command::new(program);
    command.arg("-s").arg(socket).args(["-c", REDIS_CLIENTS, "-n", &calls.to_string()]);
    command.args(["-r", &BUYERS.to_string(), "--csv", "evalsha", sha]).args(HOLD_ARGUMENTS);
    let printed = printed_by(&mut command)?;
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

/// An HTTP server that verifies tokens and has no store.
#[derive(Debug)]
pub(super) struct Ceiling {
    _server: Process,
    settings: Settings,
    authority: String,
}

impl Ceiling {
    /// Starts it; it takes the tokens of this world.
    pub(super) fn start(bench: &Bench<'_>, world: &World) -> Result<Self> {
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
        Ok(Self { _server: server, settings: world.settings.clone(), authority })
    }

    /// Sends a crowd there; its SKU may be any.
    pub(super) fn take(&self, bench: &Bench<'_>, crowd: &Crowd<'_>) -> Result<Figures> {
        crowd.go_to(bench, &self.settings, &self.authority)
    }
}

fn printed_by(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::all_made;

    #[test]
    fn a_hold_is_missed_unless_its_buyer_was_drawn_twice() {
        assert!(all_made(1_000_000, 1_000_000) && all_made(1_000_000, 999_750));
        for holds in [0, 1, 900_000, 1_000_001] {
            assert!(!all_made(1_000_000, holds), "{holds}");
        }
    }
}
