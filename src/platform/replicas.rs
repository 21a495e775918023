//! Which replicas there are: each says so in Redis every few seconds, in one hash that is gone when nobody does. Only for
//! people to see; nothing is decided by it.

use crate::platform::Fault;
use crate::platform::redis::Redis;

/// When the hash of a service that was stopped is forgotten, seconds.
const FORGOTTEN_S: i64 = 120;

/// The replicas of one installation.
#[derive(Clone)]
pub struct Replicas {
    redis: Redis,
    key: String,
}

impl Replicas {
    /// Replicas that share this Redis and its prefix.
    pub fn new(redis: Redis) -> Self {
        let key = format!("{}replicas", redis.prefix());
        Self { redis, key }
    }

    /// Says what a replica says of itself.
    pub async fn beat(&self, id: &str, text: &str) -> Result<(), Fault> {
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(&self.key).arg(id).arg(text).ignore();
        pipe.cmd("EXPIRE").arg(&self.key).arg(FORGOTTEN_S).ignore();
        self.run(pipe).await
    }

    /// Takes replicas that are gone off the list.
    pub async fn forget(&self, ids: &[String]) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        pipe.cmd("HDEL").arg(&self.key).arg(ids).ignore();
        self.run(pipe).await
    }

    /// What all of them said last.
    pub async fn all(&self) -> Result<Vec<(String, String)>, Fault> {
        let mut pipe = redis::pipe();
        pipe.cmd("HGETALL").arg(&self.key);
        let (all,): (Vec<(String, String)>,) = self.run(pipe).await?;
        Ok(all)
    }

    async fn run<T: redis::FromRedisValue>(&self, pipe: redis::Pipeline) -> Result<T, Fault> {
        use crate::platform::redis::Via;
        let via = Via::Pool(self.redis.clone());
        let mut connection = via.connection().await?;
        let answer = pipe.query_async(&mut connection).await;
        answer.map_err(|error| via.fault("telling of replicas", error))
    }
}
