//! The private servers, for real: started, killed, started again, and gone afterwards.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::process::{Ending, Launch, is_running};
use xtask::servers::{Fsync, Listen, Postgres, PostgresOptions, Redis, RedisOptions};

/// One inline command, and the beginning of its answer.
fn ask(redis: &Redis, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(redis.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 512];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn redis_keeps_what_it_synced_when_it_is_killed() -> Result<()> {
    let mut redis = Redis::start(RedisOptions { fsync: Fsync::Always, ..RedisOptions::default() })?;
    assert_eq!(redis.url(), format!("unix://{}", redis.socket().display()));
    assert!(redis.socket().as_os_str().len() < 100);
    assert_eq!(ask(&redis, "SET kept 1")?, "+OK\r\n");
    redis.kill9()?;
    redis.restart()?;
    assert_eq!(ask(&redis, "GET kept")?, "$1\r\n1\r\n");
    assert!(ask(&redis, "CONFIG GET maxmemory-policy")?.contains("noeviction"));
    assert!(ask(&redis, "CONFIG GET appendfsync")?.contains("always"));
    Ok(())
}

#[test]
fn redis_keeps_its_port_over_a_restart() -> Result<()> {
    let options = RedisOptions { listen: Listen::Both, ..RedisOptions::default() };
    let mut redis = Redis::start(options)?;
    let port = redis.port().context("no port")?;
    redis.restart()?;
    assert_eq!(redis.port(), Some(port));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    Ok(())
}

#[test]
fn postgres_comes_back_after_a_kill_with_what_was_committed() -> Result<()> {
    let mut postgres = Postgres::start(PostgresOptions::default())?;
    postgres.create_database("shop", None)?;
    assert!(postgres.has_database("shop")?);
    postgres.psql("shop", "create table kept (id int); insert into kept values (7)")?;
    postgres.create_database("copy", Some("shop"))?;
    postgres.kill9()?;
    postgres.restart()?;
    assert_eq!(postgres.psql("copy", "select id from kept")?, "7\n");
    assert_eq!(postgres.psql("shop", "show server_encoding")?, "UTF8\n");
    assert!(postgres.url("shop").starts_with("postgresql://holdfast@/shop?host=/tmp/hf-"));
    Ok(())
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_folder() -> Result<()> {
    let redis = Redis::start(RedisOptions::default())?;
    let postgres = Postgres::start(PostgresOptions::default())?;
    let pids = [redis.pid(), postgres.pid()].map(|pid| pid.unwrap_or_default());
    let folders = [redis.data_dir(), postgres.data_dir()];
    drop((redis, postgres));
    assert!(!pids.into_iter().any(is_running));
    assert!(!folders.iter().any(|folder| folder.exists()));
    Ok(())
}

#[test]
fn a_folder_in_use_is_refused() -> Result<()> {
    let first = Redis::start(RedisOptions::default())?;
    let folder = first.data_dir().parent().map(Path::to_owned);
    let second = Redis::start(RedisOptions { folder, ..RedisOptions::default() });
    let message = second.err().context("two servers share a folder")?.to_string();
    assert!(message.contains("in use"), "{message}");
    Ok(())
}

#[test]
fn a_process_that_ignores_its_end_is_killed() -> Result<()> {
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let mut process =
        Launch::new(Path::new("sh"), Ending::Kill).whole_group().spawn(|command| {
            command.args(["-c", script]);
        })?;
    assert!(process.wait(Duration::from_millis(100))?.is_none());
    let status = process.stop(Ending::Terminate, Duration::from_millis(100))?;
    assert!(!status.success());
    Ok(())
}
