//! Private Redis and Postgres servers: found or installed, started on sockets of their own, ended
//! with the process that started them. Servers of the machine are never touched.
//!
//! ```no_run
//! use xtask::servers::{Postgres, PostgresOptions, Redis, RedisOptions};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut redis = Redis::start(RedisOptions::default())?;
//! let postgres = Postgres::start(PostgresOptions::default())?;
//! postgres.create_database("shop", None)?;
//! println!("{} {}", redis.url(), postgres.url("shop"));
//! redis.kill9()?;
//! redis.restart()?;
//! # Ok(())
//! # }
//! ```

mod apt;
mod folder;
mod identity;
pub mod install;
mod lock;
pub mod mail;
mod postgres;
mod psql;
mod redis;

pub use folder::random_hex;
pub use lock::Lock;
pub use mail::Mail;
pub use postgres::{INITDB_FLAGS, POSTGRES_FLAGS, Postgres, PostgresOptions};
pub use redis::{Fsync, Listen, REDIS_FLAGS, Redis, RedisOptions, free_port};
