//! The two stores of one command.

use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask::servers::{Postgres, PostgresOptions, Redis, RedisOptions};

use crate::progress::step;

/// The database the service works in.
const DATABASE: &str = "holdfast";

/// A private Redis and a private Postgres; dropping them ends both.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
}

impl Stores {
    /// Starts both in a temporary folder.
    pub(crate) fn temporary() -> Result<Self> {
        step("starting a private Redis and Postgres", || Self::start(None, false, false))
    }

    /// The same with Postgres's folder in memory, for tests.
    pub(crate) fn for_tests() -> Result<Self> {
        step("starting a private Redis and Postgres", || Self::start(None, false, true))
    }

    /// Starts both on the data that an earlier run left in `folder`, or on none if `fresh`.
    pub(crate) fn lasting(folder: &Path, fresh: bool) -> Result<Self> {
        step("starting a private Redis and Postgres", || Self::start(Some(folder), fresh, false))
    }

    fn start(folder: Option<&Path>, fresh: bool, in_memory: bool) -> Result<Self> {
        let below = |name: &str| -> Option<PathBuf> { folder.map(|folder| folder.join(name)) };
        let redis = RedisOptions { folder: below("redis"), fresh, ..RedisOptions::default() };
        let postgres = PostgresOptions {
            folder: below("postgres"),
            fresh,
            in_memory,
            ..PostgresOptions::default()
        };
        let stores = Self { redis: Redis::start(redis)?, postgres: Postgres::start(postgres)? };
        if !stores.postgres.has_database(DATABASE)? {
            stores.postgres.create_database(DATABASE, None)?;
        }
        Ok(stores)
    }

    /// Where the service's database is.
    pub(crate) fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// The maintenance database, from which tests make their own.
    pub(crate) fn maintenance_url(&self) -> String {
        self.postgres.url("postgres")
    }
}
