//! The scripts in `lua/`: compiled in, called by their hash, loaded when the server does not have them.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, Value};

/// One script of `lua/`.
pub struct Script {
    /// The file's name without `.lua`; also the label of its metric.
    pub name: &'static str,
    source: String,
    hash: String,
}

impl Script {
    /// Joins the script's first line (flags), the shared part, and its body.
    fn new(name: &'static str, file: &'static str) -> Self {
        let (flags, body) = file.split_once('\n').unwrap_or((file, ""));
        let source = format!("{flags}\n{}\n{body}", include_str!("../../lua/record.lua"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self { name, source, hash }
    }

    /// What the server is given: the script with the shared part in it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A call of this script with these keys; append the arguments to it.
    pub fn call<K: redis::ToRedisArgs>(&self, keys: &[K]) -> Cmd {
        let mut cmd = Cmd::with_capacity(16 + keys.len(), 512);
        cmd.arg("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys);
        cmd
    }

    /// Runs `cmd`, a call of this script, on `connection`.
    pub async fn run<T: FromRedisValue>(
        &self,
        cmd: &Cmd,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<T> {
        match cmd.query_async::<Value>(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // Not there means not run, so running it again cannot do it twice.
                self.load(connection).await?;
                cmd.query_async(connection).await
            }
            answer => Ok(T::from_redis_value(answer?)?),
        }
    }

    /// Hands the script to the server.
    pub async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        redis::cmd("SCRIPT").arg("LOAD").arg(&self.source).query_async(connection).await
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub static $constant: LazyLock<Script> =
            LazyLock::new(|| Script::new($name, include_str!(concat!("../../lua/", $name, ".lua"))));)*

        /// Every script, for loading them before the first request.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&$constant),*]
        }
    };
}

scripts! {
    /// Brings the stock after a movement.
    APPLY_STOCK = "apply_stock";
    /// Gives a line of several its real deadline.
    ARM = "arm";
    /// Counters of a SKU.
    AUDIT = "audit";
    /// Ends a hold at its buyer's wish.
    CANCEL = "cancel";
    /// Announces a rebuild.
    CLAIM = "claim";
    /// Hands out old pins.
    CLAIM_PINS = "claim_pins";
    /// Brings the expiry clock.
    CLOCK = "clock";
    /// Releases the holds of a closed sale.
    CLOSE_ALL = "close_all";
    /// Lists tombstones.
    ENDED = "ended";
    /// Releases what is due.
    EXPIRE = "expire";
    /// Moves a deadline.
    EXTEND = "extend";
    /// Moves all deadlines of a SKU.
    EXTEND_ALL = "extend_all";
    /// A buyer's live hold.
    FIND = "find";
    /// Drops tombstones.
    FORGET = "forget";
    /// Pins units for their owner.
    GRAB = "grab";
    /// A page of live records.
    HOLDS = "holds";
    /// Claims and ends idempotency keys.
    IDEMPOTENCY = "idempotency";
    /// Counts requests.
    LIMIT = "limit";
    /// Pins units for money that came late.
    LATE = "late";
    /// Takes a hold out of the clock's reach.
    PIN = "pin";
    /// What is sold, and what is pinned.
    PINNED = "pinned";
    /// Reads records.
    READ = "read";
    /// Makes a SKU right again.
    REBUILD = "rebuild";
    /// Moves deadlines to a changed hold time.
    RETIME = "retime";
    /// Holds units.
    RESERVE = "reserve";
    /// Applies a decision.
    SETTLE = "settle";
    /// Brings the buyers for a rebuild.
    STAGE = "stage";
    /// Brings the terms of a product.
    TERMS = "terms";
    /// Adds up the records of a SKU.
    WEIGH = "weigh";
}
