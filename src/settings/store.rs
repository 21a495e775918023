//! All SQL on `live_settings`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::platform::{Db, Fault};
use crate::settings::Row;

const VERSION: &str = "-- live_settings.version
select version, holds_asked > holds_done as moving from live_settings_state";

// One statement sees one state: the version is that of the rows.
const READ: &str = "-- live_settings.read
select s.version, s.holds_asked > s.holds_done as moving, l.name, l.value, l.changed_by, l.changed_at
  from live_settings_state s left join live_settings l on true";

const CHANGE: &str = "-- live_settings.change
select change_live_settings($1, $2, $3, $4, $5) as version";

// One replica at a time; one that has not been heard of for half a minute is taken for dead.
const CLAIM_HOLDS: &str = "-- live_settings.claim_holds
update live_settings_state set holds_begun = now()
 where holds_asked > holds_done and (holds_begun is null or holds_begun < now() - interval '30 seconds')
returning holds_asked";

const RENEW_HOLDS: &str = "-- live_settings.renew_holds
update live_settings_state set holds_begun = now() where holds_asked = $1";

const HOLDS_DONE: &str = "-- live_settings.holds_done
update live_settings_state set holds_done = greatest(holds_done, $1)";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[VERSION, READ, CHANGE, CLAIM_HOLDS, RENEW_HOLDS, HOLDS_DONE];

/// Live settings of one version.
pub(super) struct Stored {
    pub(super) version: i64,
    pub(super) moving: bool,
    pub(super) rows: BTreeMap<String, Row>,
}

fn lost() -> Fault {
    Fault::internal("the live settings have lost their version")
}

/// The version, and whether holds are to be moved.
pub(super) async fn version(db: &Db) -> Result<(i64, bool), Fault> {
    let rows = db.read(VERSION, &[]).await?;
    let row = rows.first().ok_or_else(lost)?;
    Ok((row.get("version"), row.get("moving")))
}

pub(super) async fn read(db: &Db) -> Result<Stored, Fault> {
    let found = db.read(READ, &[]).await?;
    let first = found.first().ok_or_else(lost)?;
    let rows = found.iter().filter_map(|row| {
        let name: Option<String> = row.get("name");
        let row = Row {
            value: row.get::<_, Option<Value>>("value")?,
            changed_by: row.get::<_, Option<String>>("changed_by")?,
            changed_at: row.get::<_, Option<_>>("changed_at")?,
        };
        Some((name?, row))
    });
    Ok(Stored { version: first.get("version"), moving: first.get("moving"), rows: rows.collect() })
}

/// None: `seen` is no longer the version.
pub(super) async fn change(
    db: &Db,
    seen: i64,
    changes: &Value,
    holds: bool,
    actor: &str,
    details: &Value,
) -> Result<Option<i64>, Fault> {
    let rows = db.write(CHANGE, &[&seen, changes, &holds, &actor, details]).await?;
    Ok(rows.first().and_then(|row| row.get("version")))
}

/// The version whose hold time running holds are to take, if nobody else is at it.
pub(super) async fn claim_holds(db: &Db) -> Result<Option<i64>, Fault> {
    Ok(db.write(CLAIM_HOLDS, &[]).await?.first().map(|row| row.get("holds_asked")))
}

pub(super) async fn renew_holds(db: &Db, version: i64) -> Result<(), Fault> {
    db.write(RENEW_HOLDS, &[&version]).await.map(drop)
}

pub(super) async fn holds_done(db: &Db, version: i64) -> Result<(), Fault> {
    db.write(HOLDS_DONE, &[&version]).await.map(drop)
}
