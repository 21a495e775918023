//! What the service refuses to start on, and what it says then.

use serde_json::json;
use xtask::servers::Redis;

use crate::app::{Stores, maintenance_url};
use crate::conservation;
use crate::process::{End, ServiceProcess, own_redis};

#[track_caller]
fn refused(end: &End, says: &[&str]) {
    assert_eq!(end.code, Some(1), "{end:?}");
    for words in says {
        assert!(end.stderr.contains(words), "{words}: {end:?}");
    }
}

async fn with(redis: &Redis, stores: &Stores, name: &str, value: &str) -> End {
    assert!(redis.pid().is_some());
    let mut connection = stores.redis().await;
    let mut get = redis::cmd("CONFIG");
    let right: (String, String) =
        get.arg("GET").arg(name).query_async(&mut connection).await.unwrap();
    let set = async |value: &str| {
        let mut set = redis::cmd("CONFIG");
        let mut connection = stores.redis().await;
        set.arg("SET").arg(name).arg(value).exec_async(&mut connection).await.unwrap();
    };
    set(value).await;
    let end = ServiceProcess::refused(stores, &[]).await;
    set(&right.1).await;
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loses_holds_is_refused_with_the_command_that_helps() {
    let (redis, stores) = own_redis(&[]).await;
    for (name, value, says) in [
        ("maxmemory-policy", "allkeys-lru", "config set maxmemory-policy noeviction"),
        ("appendonly", "no", "config set appendonly yes"),
        ("appendfsync", "no", "config set appendfsync everysec"),
        ("notify-keyspace-events", "", "config set notify-keyspace-events Ex"),
        ("notify-keyspace-events", "Kx", "config set notify-keyspace-events Ex"),
    ] {
        refused(&with(&redis, &stores, name, value).await, &["redis", name, says]);
    }
    let right = ServiceProcess::start(&stores, &[]).await;
    right.product("PHONE", 1, json!({})).await;
    right.held("alice", "PHONE", 1).await;
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_only_follows_or_is_away_is_refused() {
    let (mut redis, stores) = own_redis(&[]).await;
    let mut follow = redis::cmd("REPLICAOF");
    let mut connection = stores.redis().await;
    follow.arg("127.0.0.1").arg(1).exec_async(&mut connection).await.unwrap();
    refused(&ServiceProcess::refused(&stores, &[]).await, &["redis", "not a master"]);
    redis.kill9().unwrap();
    let end = ServiceProcess::refused(&stores, &[]).await;
    refused(&end, &["cannot reach redis"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_version_is_refused() {
    let stores = Stores::fresh().await;
    let postgres = stores.postgres().await;
    let newer = "insert into refinery_schema_history (version, name, applied_on, checksum)
                 select max(version) + 1, 'later', now()::text, '1' from refinery_schema_history";
    postgres.batch_execute(newer).await.unwrap();
    let end = ServiceProcess::refused(&stores, &[]).await;
    refused(&end, &["newer than", "start the newer binary"]);

    let older = "delete from refinery_schema_history where version > 2";
    postgres.batch_execute(older).await.unwrap();
    let end = ServiceProcess::refused(&stores, &[]).await;
    refused(&end, &["at version 2", "holdfast migrate"]);

    let empty = Stores { database_url: maintenance_url(), ..stores };
    let end = ServiceProcess::refused(&empty, &[]).await;
    refused(&end, &["at version 0", "holdfast migrate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_is_refused() {
    let stores = Stores {
        database_url: "postgres://nobody@127.0.0.1:1/x".to_owned(),
        ..Stores::fresh().await
    };
    let end = ServiceProcess::refused(&stores, &[]).await;
    refused(&end, &["postgres"]);
    assert!(!end.stderr.contains("nobody@"), "no address of a store: {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_secrets_and_unknown_settings_are_refused_together() {
    let stores = Stores::fresh().await;
    let weak = [
        ("HOLDFAST__AUTH__JWT_SECRET", "changeme"),
        ("HOLDFAST__SWEEPER__TICKS", "1s"),
        ("HOLDFAST__SWEEPER__PIN_GRACE", "10ms"),
    ];
    let end = ServiceProcess::refused(&stores, &weak).await;
    refused(&end, &["auth.jwt_secret", "HOLDFAST__SWEEPER__TICKS", "sweeper.pin_grace"]);
    assert!(!end.stderr.contains("changeme"), "no secret is shown: {end:?}");
}
