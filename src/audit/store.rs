//! All SQL on `audit_log`.

use serde_json::Value;
use tokio_postgres::Row;

use crate::audit::{AuditEntry, Filter};
use crate::platform::{Db, Fault};

const NOTE: &str = "-- audit.note
select note_audit($1, $2, $3, $4)";

const PAGE: &str = "-- audit.page
select audit_id, at, actor, action, subject, detail from audit_log
 where ($1::bigint is null or audit_id < $1) and ($2::text is null or action = $2)
   and ($3::text is null or subject = $3) and ($4::text is null or actor = $4)
 order by audit_id desc limit $5";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[NOTE, PAGE];

fn entry(row: &Row) -> AuditEntry {
    AuditEntry {
        id: row.get("audit_id"),
        at: row.get("at"),
        actor: row.get("actor"),
        action: row.get("action"),
        subject: row.get("subject"),
        detail: row.get("detail"),
    }
}

pub(super) async fn note(
    db: &Db,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Result<(), Fault> {
    db.write(NOTE, &[&actor, &action, &subject, detail]).await.map(drop)
}

pub(super) async fn page(
    db: &Db,
    filter: &Filter,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<AuditEntry>, Fault> {
    let Filter { action, subject, actor } = filter;
    Ok(db.read(PAGE, &[&before, action, subject, actor, &most]).await?.iter().map(entry).collect())
}
