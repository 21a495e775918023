//! The SQL of what there is once for all SKUs: which Redis it was, and the clock by which holds expire. That of
//! decisions, of the history and of stock stands in the other files of this ending.

use crate::platform::redis::Identity;
use crate::platform::{Db, Fault};
use crate::reservations::clock::ExpiryClock;
use crate::reservations::{decision_store, history_store, hold_events_store, stock_store};

const INCARNATION: &str = "-- redis_incarnations.read
select run_id, replid from redis_incarnations where shard = 0";

const STORE_INCARNATION: &str = "-- redis_incarnations.store
insert into redis_incarnations (shard, run_id, replid) values (0, $1, $2)
on conflict (shard) do update set run_id = excluded.run_id, replid = excluded.replid, created_at = now()";

const EXPIRY_CLOCK: &str = "-- expiry_clock.read
select version, lag_ms, frozen_ms, told, changed_by, reason, changed_at from expiry_clock";

const SET_EXPIRY: &str = "-- expiry_clock.set
select set_expiry($1, $2, $3, $4)";

const CLOCK_TOLD: &str = "-- expiry_clock.told
update expiry_clock set told = $1 where told < $1";

const OWN: &[&str] = &[INCARNATION, STORE_INCARNATION, EXPIRY_CLOCK, SET_EXPIRY, CLOCK_TOLD];

/// All statements of the reservations.
pub const STATEMENTS: &[&[&str]] = &[
    OWN,
    decision_store::STATEMENTS,
    history_store::STATEMENTS,
    hold_events_store::STATEMENTS,
    stock_store::STATEMENTS,
];

pub(super) async fn incarnation(db: &Db) -> Result<Option<Identity>, Fault> {
    let rows = db.read(INCARNATION, &[]).await?;
    Ok(rows.first().map(|row| Identity { run_id: row.get("run_id"), replid: row.get("replid") }))
}

pub(super) async fn store_incarnation(db: &Db, identity: &Identity) -> Result<(), Fault> {
    db.write(STORE_INCARNATION, &[&identity.run_id, &identity.replid]).await?;
    Ok(())
}

pub(super) async fn expiry_clock(db: &Db) -> Result<ExpiryClock, Fault> {
    let rows = db.read(EXPIRY_CLOCK, &[]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("reading the expiry clock"))?;
    Ok(ExpiryClock {
        version: row.get("version"),
        lag_ms: row.get("lag_ms"),
        frozen_ms: row.get("frozen_ms"),
        told: row.get("told"),
        changed_by: row.get("changed_by"),
        reason: row.get("reason"),
        changed_at: row.get("changed_at"),
    })
}

pub(super) async fn set_expiry(
    db: &Db,
    frozen: bool,
    now_ms: i64,
    actor: &str,
    reason: Option<&str>,
) -> Result<(), Fault> {
    db.write(SET_EXPIRY, &[&frozen, &now_ms, &actor, &reason]).await.map(drop)
}

pub(super) async fn clock_told(db: &Db, version: i64) -> Result<(), Fault> {
    db.write(CLOCK_TOLD, &[&version]).await.map(drop)
}
