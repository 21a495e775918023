//! Redis: one multiplexed connection per worker (a lane) for requests, a small pool for background work, and the gate
//! that keeps both from a Redis that may have lost data until it was rebuilt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use deadpool_redis::{
    Hook, HookError, Manager, Metrics, Pool, PoolError, Runtime, TimeoutType, Timeouts,
};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind,
};
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, Notify};

use crate::config::RedisSettings;
use crate::platform::{Fault, Outcome, lua, metrics as names};

/// Which run of which data set a server is. It changes with every restart and every failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `run_id` of `INFO server`.
    pub run_id: String,
    /// `master_replid` of `INFO replication`.
    pub replid: String,
}

/// Lets connections through to the one incarnation whose data Postgres vouches for. The rebuild opens it.
#[derive(Debug, Default)]
pub struct Gate {
    blessed: ArcSwapOption<Blessed>,
    wanted: Notify,
}

#[derive(Debug)]
struct Blessed {
    identity: Identity,
    since: Instant,
}

impl Gate {
    /// Lets this incarnation through.
    pub fn bless(&self, identity: Identity) {
        if !self.is_blessed(&identity) {
            let since = Instant::now();
            self.blessed.store(Some(Arc::new(Blessed { identity, since })));
        }
    }

    /// Since when the incarnation that is let through has been so; a connection that is older may lead to another one.
    pub fn since(&self) -> Option<Instant> {
        self.blessed.load().as_ref().map(|blessed| blessed.since)
    }

    fn is_blessed(&self, identity: &Identity) -> bool {
        self.blessed.load().as_ref().is_some_and(|blessed| blessed.identity == *identity)
    }

    /// Whether this incarnation may be used; if not, whoever waits in `wanted` is told.
    pub fn admits(&self, identity: &Identity) -> bool {
        let admitted = self.is_blessed(identity);
        if !admitted {
            self.wanted.notify_one();
        }
        admitted
    }

    /// Asks whoever lets incarnations through to look again.
    pub fn doubt(&self) {
        self.wanted.notify_one();
    }

    /// Returns when somebody met an incarnation that is not blessed.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// What Redis is not needed for waits for this part of what a call may take.
const ASIDE: u32 = 3;

/// The Redis of this service.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    aside: Duration,
    prefix: String,
    gate: Arc<Gate>,
    pool: Pool,
}

/// A connection, which server it leads to.
#[derive(Clone)]
pub struct Link {
    /// The connection; clones share it.
    pub connection: MultiplexedConnection,
    /// The server behind it.
    pub identity: Identity,
    since: Instant,
}

impl Redis {
    /// Prepares for the server of these settings; connects to nothing yet.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let info = settings.url.expose_secret().into_connection_info()?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout))
            .set_pipeline_buffer_size(1024);
        let gate = Arc::new(Gate::default());
        let pool = pool(info.clone(), config.clone(), settings, gate.clone())?;
        let client = Client::open(info)?;
        let connect_timeout = settings.connect_timeout;
        let aside = settings.response_timeout / ASIDE;
        let prefix = settings.key_prefix.clone();
        let shared = Shared { client, config, connect_timeout, aside, prefix, gate, pool };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What every key begins with.
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The number of the database, which the names of expiry channels carry.
    pub fn database(&self) -> i64 {
        self.shared.client.get_connection_info().redis_settings().db()
    }

    /// The client, for connections of another kind (subscriptions).
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// A new connection that has not passed the gate: for the start-up checks and the rebuild alone.
    pub async fn connect(&self) -> Result<Link, RedisError> {
        let connecting =
            self.shared.client.get_multiplexed_async_connection_with_config(&self.shared.config);
        let mut connection = tokio::time::timeout(self.shared.connect_timeout * 2, connecting)
            .await
            .map_err(|late| RedisError::from((ErrorKind::Io, "connecting", late.to_string())))??;
        let identity = identify(&mut connection).await?;
        Ok(Link { connection, identity, since: Instant::now() })
    }

    /// A connection of the pool, for background work; it has passed the gate.
    pub async fn pooled(&self) -> Result<MultiplexedConnection, Fault> {
        let unavailable = || Fault::unavailable("connecting to redis", Outcome::None);
        // The pool's object is let go at once: clones of its connection share it, and nothing here blocks on it.
        let object = self.shared.pool.get().await.map_err(|error| {
            let busy = matches!(error, PoolError::Timeout(TimeoutType::Wait));
            let why = if busy { "busy" } else { "down" };
            metrics::counter!(names::POOL_REFUSALS, "pool" => "redis", "why" => why).increment(1);
            unavailable().because(error)
        })?;
        Ok(MultiplexedConnection::clone(&object))
    }

    /// Whether this Redis takes what is written: an error if it takes nothing, a reason if only nothing new fits in. It is
    /// asked by a write that writes nothing.
    pub async fn takes_writes(&self) -> Result<Option<String>, Fault> {
        let mut connection = self.pooled().await?;
        let mut nothing = redis::cmd("SETRANGE");
        nothing.arg(format!("{}probe", self.shared.prefix)).arg(0).arg("");
        match nothing.query_async::<()>(&mut connection).await {
            Ok(()) => Ok(None),
            Err(error) if error.code() == Some("OOM") => Ok(Some(error.to_string())),
            Err(error) => Err(Fault::unavailable("writing to redis", Outcome::None).because(error)),
        }
    }

    /// How the connections of the pool stand.
    pub fn status(&self) -> deadpool_redis::Status {
        self.shared.pool.status()
    }
}

fn pool(
    info: redis::ConnectionInfo,
    config: AsyncConnectionConfig,
    settings: &RedisSettings,
    gate: Arc<Gate>,
) -> Result<Pool, RedisError> {
    let manager = Manager::new_with_config(info, config)?;
    let known = gate.clone();
    // A master that became a replica, or lost its address to another one, may go on answering those who know it.
    let same = Hook::sync_fn(move |_: &mut MultiplexedConnection, metrics: &Metrics| {
        if known.since().is_none_or(|since| since <= metrics.created) {
            Ok(())
        } else {
            Err(HookError::message("redis is another one by now"))
        }
    });
    let check = Hook::async_fn(move |connection: &mut MultiplexedConnection, _| {
        let gate = gate.clone();
        Box::pin(async move {
            let identity = identify(connection).await.map_err(HookError::Backend)?;
            if gate.admits(&identity) {
                Ok(())
            } else {
                Err(HookError::message("redis must be rebuilt first"))
            }
        })
    });
    let timeouts = Timeouts {
        wait: Some(settings.pool_wait),
        create: Some(settings.connect_timeout),
        recycle: Some(settings.response_timeout),
    };
    Pool::builder(manager)
        .max_size(settings.pool_size)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .post_create(check)
        .pre_recycle(same)
        .build()
        .map_err(|error| {
            RedisError::from((ErrorKind::InvalidClientConfig, "pool", error.to_string()))
        })
}

async fn identify(connection: &mut MultiplexedConnection) -> Result<Identity, RedisError> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("server").cmd("INFO").arg("replication");
    let (server, replication): (String, String) = pipe.query_async(connection).await?;
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
    };
    if field(&replication, "role").as_deref() != Some("master") {
        return Err(
            (ErrorKind::Server(ServerErrorKind::ReadOnly), "this redis is not a master").into()
        );
    }
    let missing = || {
        RedisError::from((ErrorKind::UnexpectedReturnType, "INFO without run_id or master_replid"))
    };
    Ok(Identity {
        run_id: field(&server, "run_id").ok_or_else(missing)?,
        replid: field(&replication, "master_replid").ok_or_else(missing)?,
    })
}

/// How soon a lane looks again which server answers, while it is not let through.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn closed() -> Fault {
    Fault::unavailable("redis is being rebuilt", Outcome::None)
}

/// One connection, made anew when it breaks; nothing runs on it before it has passed the gate.
pub struct Lane {
    redis: Redis,
    link: ArcSwapOption<Link>,
    /// Held by the one who connects; when the last attempt failed.
    connecting: Mutex<Option<Instant>>,
}

impl Lane {
    /// A lane that connects at its first use.
    pub fn new(redis: Redis) -> Self {
        Self { redis, link: ArcSwapOption::empty(), connecting: Mutex::default() }
    }

    /// The connection, if its server is the blessed one.
    pub async fn connection(&self) -> Result<MultiplexedConnection, Fault> {
        if let Some(link) = &*self.link.load() {
            if self.redis.gate().admits(&link.identity) {
                return Ok(link.connection.clone());
            }
            // Its server is gone, or not let through yet: look which one answers now, but not for every request.
            if link.since.elapsed() < LOOK_AGAIN {
                return Err(closed());
            }
            self.let_go();
        }
        let link = self.reconnect().await?;
        if self.redis.gate().admits(&link.identity) {
            Ok(link.connection.clone())
        } else {
            Err(closed())
        }
    }

    /// One attempt for all who wait for it: were each to make its own, the last of a crowd would wait for them all.
    async fn reconnect(&self) -> Result<Arc<Link>, Fault> {
        let unavailable = || Fault::unavailable("connecting to redis", Outcome::None);
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(link) = &*self.link.load() {
            return Ok(link.clone());
        }
        if failed.is_some_and(|failed| failed >= asked) {
            return Err(unavailable());
        }
        let limit = self.redis.shared.connect_timeout;
        let attempt = tokio::time::timeout(limit, self.connect()).await;
        let link = match attempt {
            Ok(Ok(link)) => Ok(Arc::new(link)),
            Ok(Err(error)) => Err(unavailable().because(error)),
            Err(late) => Err(unavailable().because(late)),
        };
        let outcome = match &link {
            Ok(link) => {
                if self.link.swap(Some(link.clone())).is_none() {
                    metrics::gauge!(names::LANES).increment(1.0);
                }
                "ok"
            }
            Err(_) => {
                *failed = Some(Instant::now());
                "failed"
            }
        };
        metrics::counter!(names::LANE_CONNECTS, "outcome" => outcome).increment(1);
        link
    }

    /// A connection whose server has all scripts.
    async fn connect(&self) -> Result<Link, RedisError> {
        let mut link = self.redis.connect().await?;
        for script in lua::all() {
            script.load(&mut link.connection).await?;
        }
        Ok(link)
    }

    /// Looks at an error that a call on this lane met; a connection that is of no more use is let go.
    pub fn observe(&self, error: &RedisError) {
        let dead = error.is_unrecoverable_error()
            || error.is_timeout()
            || matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading)
            );
        if dead {
            self.let_go();
        }
    }

    fn let_go(&self) {
        if self.link.swap(None).is_some() {
            metrics::gauge!(names::LANES).decrement(1.0);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// How calls reach Redis: on a worker's own lane, or through the pool.
#[derive(Clone)]
pub enum Via {
    /// For requests.
    Lane(Arc<Lane>),
    /// For background work.
    Pool(Redis),
}

impl Via {
    /// A connection that has passed the gate.
    pub async fn connection(&self) -> Result<MultiplexedConnection, Fault> {
        match self {
            Self::Lane(lane) => lane.connection().await,
            Self::Pool(redis) => redis.pooled().await,
        }
    }

    /// How long to wait for what can be done without Redis.
    pub fn aside(&self) -> Duration {
        match self {
            Self::Lane(lane) => lane.redis.shared.aside,
            Self::Pool(redis) => redis.shared.aside,
        }
    }

    /// Turns an error of a call into a fault, and lets a dead connection go.
    pub fn fault(&self, what: &'static str, error: RedisError) -> Fault {
        if let Self::Lane(lane) = self {
            lane.observe(&error);
        }
        Fault::unavailable(what, outcome(&error)).because(error)
    }
}

/// Whether a call that failed may have run: not if the server refused it before it began.
fn outcome(error: &RedisError) -> Outcome {
    let refused = matches!(
        error.code(),
        Some(
            "OOM"
                | "MISCONF"
                | "READONLY"
                | "NOREPLICAS"
                | "LOADING"
                | "BUSY"
                | "NOPERM"
                | "NOAUTH"
        )
    );
    if refused || error.is_connection_refusal() { Outcome::None } else { Outcome::Unknown }
}

/// Whether a script stumbled over what it found, which a rebuild of the SKU mends.
pub fn is_broken_data(error: &RedisError) -> bool {
    matches!(error.code(), Some("WRONGTYPE"))
        || (error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
            && error.detail().is_some_and(|detail| detail.contains("script")))
}
