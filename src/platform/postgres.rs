//! Postgres: two pools (requests and background work), errors told apart by whether they can have had an effect, a
//! breaker that answers at once while the server is known to be down, and migrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tokio::time::Instant as Started;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{NoTls, Row};
use tracing::Instrument;

use crate::config::DatabaseSettings;
use crate::kernel::{
    Clock, Instant, OrderId, PaymentId, ProductId, Quantity, ReservationId, Sku, UserId,
};
use crate::platform::metrics::{POOL_REFUSALS, STATEMENT_SECONDS};
use crate::platform::{Fault, Outcome, traces};

/// A connection of a pool.
pub type Connection = Object;
/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How long the breaker stays open after a failed connection.
const BREAKER_MS: i64 = 250;
/// What the network may add to the server's own statement timeout.
const MARGIN: Duration = Duration::from_millis(50);

/// A pool of connections.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
    clock: Clock,
    down_until: Arc<AtomicI64>,
    patience: Duration,
    name: &'static str,
    outbox: Arc<Notify>,
}

impl Db {
    /// The pool of requests.
    pub fn new(settings: &DatabaseSettings, clock: &Clock) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            pool: pool(settings, settings.pool_size)?,
            clock: clock.clone(),
            down_until: Arc::new(AtomicI64::new(0)),
            patience: settings.statement_timeout + MARGIN,
            name: "requests",
            outbox: Arc::default(),
        })
    }

    /// A pool of its own for work that other work must not starve. The pools know together when the server is down.
    pub fn another(
        &self,
        name: &'static str,
        settings: &DatabaseSettings,
        size: usize,
    ) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { pool: pool(settings, size)?, name, ..self.clone() })
    }

    /// The same, for statements that a person waits for and that may take this long.
    pub fn patient(
        &self,
        settings: &DatabaseSettings,
        size: usize,
        longest: Duration,
    ) -> Result<Self, tokio_postgres::Error> {
        let settings = DatabaseSettings { statement_timeout: longest, ..settings.clone() };
        let pool = pool(&settings, size)?;
        Ok(Self { pool, patience: longest + MARGIN, name: "patient", ..self.clone() })
    }

    /// Refuses at once while the server is known to be down.
    pub fn available(&self) -> Result<(), Fault> {
        if self.clock.now_ms() < self.down_until.load(Ordering::Relaxed) {
            return Err(Fault::unavailable("postgres was not there a moment ago", Outcome::None));
        }
        Ok(())
    }

    /// A connection.
    pub async fn get(&self) -> Result<Connection, Fault> {
        self.available()?;
        match self.pool.get().await {
            Ok(client) => Ok(client),
            Err(PoolError::Timeout(deadpool_postgres::TimeoutType::Wait)) => {
                self.refused("busy");
                Err(Fault::overloaded("all postgres connections are busy"))
            }
            Err(error) => {
                self.refused("down");
                self.down_until.store(self.clock.now_ms() + BREAKER_MS, Ordering::Relaxed);
                Err(Fault::unavailable("connecting to postgres", Outcome::None).because(error))
            }
        }
    }

    /// Runs a statement that changes nothing.
    pub async fn read(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        self.write(sql, params).await.map_err(|fault| fault.with_outcome(Outcome::None))
    }

    /// Runs one statement, which is one transaction.
    pub async fn write(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        // The wait for the connection and the statement have one limit together.
        let begun = Started::now();
        let client = self.get().await?;
        let running = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let running = running.instrument(traces::call("postgres", name_of(sql)));
        let ended = tokio::time::timeout_at(begun + self.patience, running).await;
        metrics::histogram!(STATEMENT_SECONDS, "statement" => name_of(sql)).record(begun.elapsed());
        match ended {
            Ok(answer) => answer.map_err(|error| fault(sql, error)),
            Err(elapsed) => {
                // The connection may still be busy with it: it must not go back to the pool.
                drop(Object::take(client));
                Err(Fault::unavailable(name_of(sql), Outcome::Unknown).because(elapsed))
            }
        }
    }

    /// Wakes whoever sends what stands in the outbox: call it after a change that wrote there. Only a hint; without it
    /// the next look finds the row as well.
    pub fn outbox(&self) -> &Notify {
        &self.outbox
    }

    fn refused(&self, why: &'static str) {
        metrics::counter!(POOL_REFUSALS, "pool" => self.name, "why" => why).increment(1);
    }

    /// Its name, and how its connections stand.
    pub fn status(&self) -> (&'static str, deadpool_postgres::Status) {
        (self.name, self.pool.status())
    }

    /// Closes the pool; connections in use finish first.
    pub fn close(&self) {
        self.pool.close();
    }
}

fn pool(settings: &DatabaseSettings, size: usize) -> Result<Pool, tokio_postgres::Error> {
    let config = session_config(settings, &settings.url)?;
    let manager = Manager::from_config(
        config,
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let timeouts = Timeouts {
        wait: Some(settings.pool_wait),
        create: Some(settings.connect_timeout),
        recycle: Some(settings.connect_timeout),
    };
    // An asynchronous commit would make a 2xx a promise that a crash can break.
    let durable = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let off =
                "select from pg_settings where name = 'synchronous_commit' and setting = 'off'";
            match client.query_opt(off, &[]).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(HookError::message("synchronous_commit is off")),
                Err(error) => Err(HookError::Backend(error)),
            }
        })
    });
    Ok(Pool::builder(manager)
        .max_size(size)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .post_create(durable)
        .build()
        .unwrap_or_else(|error| unreachable!("a pool with a runtime can be built: {error}")))
}

fn session_config(
    settings: &DatabaseSettings,
    url: &SecretString,
) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = url.expose_secret().parse()?;
    let statement = settings.statement_timeout.as_millis();
    let lock = settings.lock_timeout.as_millis();
    config.options(format!(
        "-c statement_timeout={statement} -c lock_timeout={lock} \
         -c idle_in_transaction_session_timeout={statement} -c default_transaction_isolation=read\\ committed"
    ));
    config.application_name("holdfast");
    config.connect_timeout(settings.connect_timeout);
    config.keepalives_idle(Duration::from_secs(10));
    config.tcp_user_timeout(Duration::from_secs(10));
    Ok(config)
}

/// The name that a statement carries in its first line, `-- orders.insert`.
fn name_of(sql: &'static str) -> &'static str {
    sql.lines().next().and_then(|line| line.strip_prefix("-- ")).unwrap_or("a statement")
}

/// An error that the server sent rolled the statement back: nothing happened. A broken connection leaves it open.
fn fault(sql: &'static str, error: tokio_postgres::Error) -> Fault {
    use tokio_postgres::error::SqlState;
    let what = name_of(sql);
    match error.code() {
        None if error.is_closed()
            || error.as_db_error().is_none() && std::error::Error::source(&error).is_some() =>
        {
            Fault::unavailable(what, Outcome::Unknown).because(error)
        }
        None => Fault::internal(what).because(error),
        Some(code) if is_passing(code) => Fault::unavailable(what, Outcome::None).because(error),
        // The server may be shut down between a commit and its answer.
        Some(&SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN) => {
            Fault::unavailable(what, Outcome::Unknown).because(error)
        }
        Some(_) => Fault::internal(what).with_outcome(Outcome::None).because(error),
    }
}

fn is_passing(code: &tokio_postgres::error::SqlState) -> bool {
    use tokio_postgres::error::SqlState;
    let passing = [
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::DISK_FULL,
        SqlState::OUT_OF_MEMORY,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    passing.contains(code)
}

/// The unique constraint that a statement ran into, if that was it.
pub fn violated_constraint(fault: &Fault) -> Option<&str> {
    let error = std::error::Error::source(fault)?.downcast_ref::<tokio_postgres::Error>()?;
    error.as_db_error()?.constraint()
}

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Numbers any two migrating processes agree on, so that they take turns.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

/// What `migrate` did.
pub struct Migrated {
    /// Names of the migrations that were applied now.
    pub applied: Vec<String>,
}

/// Brings the schema up to this binary. Several at once take turns.
pub async fn migrate(settings: &DatabaseSettings) -> anyhow::Result<Migrated> {
    let url = settings.migrate_url.as_ref().unwrap_or(&settings.url);
    let config: tokio_postgres::Config = url.expose_secret().parse()?;
    let (mut client, connection) = config.connect(NoTls).await?;
    let running = async {
        // The lock belongs to the session: it goes with the connection, however this ends.
        client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        if client.query_one(EXISTS, &[]).await?.get("known") {
            let found: Option<i32> = client.query_one(VERSION, &[]).await?.get("version");
            refuse_newer(found.map_or(0, i64::from))?;
        }
        let report = embedded::migrations::runner().run_async(&mut client).await?;
        anyhow::Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
    };
    tokio::select! {
        applied = running => Ok(Migrated { applied: applied? }),
        end = connection => { end?; anyhow::bail!("postgres closed the connection while migrating") }
    }
}

/// Refuses a schema that this binary does not know, and an unsafe server.
pub async fn check(db: &Db) -> anyhow::Result<()> {
    const FSYNC: &str = "-- postgres.fsync\nselect current_setting('fsync') as fsync";
    let fsync: String = db.read(FSYNC, &[]).await?[0].get("fsync");
    anyhow::ensure!(
        fsync == "on",
        "postgres runs with fsync = off, so a crash could lose confirmed orders; set fsync = on"
    );
    let known: bool = db.read(EXISTS, &[]).await?[0].get("known");
    let found =
        if known { db.read(VERSION, &[]).await?[0].get::<_, Option<i32>>("version") } else { None };
    let (found, expected) = (i64::from(found.unwrap_or(0)), expected_version());
    anyhow::ensure!(
        found >= expected,
        "the database schema is at version {found}, this binary needs {expected}; run `holdfast migrate` (or `serve --migrate`)"
    );
    refuse_newer(found)
}

/// Whether it answers, and takes what is written.
pub async fn is_writable(db: &Db) -> Result<bool, Fault> {
    const WRITABLE: &str = "-- postgres.probe\n\
         select current_setting('transaction_read_only') = 'off' as writable";
    Ok(db.read(WRITABLE, &[]).await?[0].get("writable"))
}

const EXISTS: &str = "-- postgres.schema_exists\n\
     select to_regclass('refinery_schema_history') is not null as known";
const VERSION: &str =
    "-- postgres.schema_version\nselect max(version) as version from refinery_schema_history";

/// The version that this binary makes of a schema.
fn expected_version() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter().map(refinery::Migration::version);
    versions.max().map_or(0, i64::from)
}

fn refuse_newer(found: i64) -> anyhow::Result<()> {
    let expected = expected_version();
    anyhow::ensure!(
        found <= expected,
        "the database schema is at version {found}, newer than the {expected} this binary knows; start the newer binary"
    );
    Ok(())
}

macro_rules! sql_text {
    ($($type:ty),*) => { $(
        impl ToSql for $type {
            fn to_sql(
                &self,
                ty: &Type,
                out: &mut tokio_postgres::types::private::BytesMut,
            ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
                self.as_str().to_sql(ty, out)
            }
            fn accepts(ty: &Type) -> bool { <&str as ToSql>::accepts(ty) }
            to_sql_checked!();
        }
        impl<'a> FromSql<'a> for $type {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                Ok(<&str as FromSql>::from_sql(ty, raw)?.parse()?)
            }
            fn accepts(ty: &Type) -> bool { <&str as FromSql>::accepts(ty) }
        }
    )* };
}

macro_rules! sql_value {
    ($($type:ty as $inner:ty: $into:expr, $from:expr);* $(;)?) => { $(
        impl ToSql for $type {
            fn to_sql(
                &self,
                ty: &Type,
                out: &mut tokio_postgres::types::private::BytesMut,
            ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
                let into: fn($type) -> $inner = $into;
                into(*self).to_sql(ty, out)
            }
            fn accepts(ty: &Type) -> bool { <$inner as ToSql>::accepts(ty) }
            to_sql_checked!();
        }
        impl<'a> FromSql<'a> for $type {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                let from: fn($inner) -> Result<$type, &'static str> = $from;
                Ok(from(<$inner as FromSql>::from_sql(ty, raw)?)?)
            }
            fn accepts(ty: &Type) -> bool { <$inner as FromSql>::accepts(ty) }
        }
    )* };
}

sql_text!(Sku, UserId);
sql_value! {
    ProductId as i64: ProductId::get, ProductId::try_from;
    Quantity as i64: Quantity::get, Quantity::try_from;
    ReservationId as uuid::Uuid: ReservationId::uuid, |uuid| Ok(uuid.into());
    OrderId as uuid::Uuid: OrderId::uuid, |uuid| Ok(uuid.into());
    PaymentId as uuid::Uuid: PaymentId::uuid, |uuid| Ok(uuid.into());
    Instant as jiff::Timestamp: Instant::timestamp, |timestamp| Ok(timestamp.into());
}
