//! The SQL of endpoints: who hears of what, and the secrets it is signed with.

use std::time::Duration;

use tokio_postgres::Row as Record;
use uuid::Uuid;

use crate::kernel::Instant;
use crate::notifications::endpoints::{Registration, Stored};
use crate::platform::{Db, Fault};

// The update touches nothing: it makes the row of an earlier run of the same request come back.
const REGISTER: &str = "-- webhook_endpoints.register
insert into webhook_endpoints as w (endpoint_id, owner_id, url, description, events, secret, request_key)
select $1, $2, $3, $4, $5, $6, $7
 where (select count(*) from webhook_endpoints) < $8
    or exists (select from webhook_endpoints known where known.request_key = $7)
on conflict (request_key) do update set request_key = excluded.request_key
returning endpoint_id, owner_id, url, description, events, secret, previous_secret, previous_until, created_at";

const ALL: &str = "-- webhook_endpoints.all
select endpoint_id, owner_id, url, description, events, secret, previous_secret, previous_until, created_at
  from webhook_endpoints order by endpoint_id";

const PAGE: &str = "-- webhook_endpoints.page
select endpoint_id, owner_id, url, description, events, secret, previous_secret, previous_until, created_at
  from webhook_endpoints
 where ($1::text is null or owner_id = $1) and ($2::uuid is null or endpoint_id > $2)
 order by endpoint_id limit $3";

const GET: &str = "-- webhook_endpoints.get
select endpoint_id, owner_id, url, description, events, secret, previous_secret, previous_until, created_at
  from webhook_endpoints where endpoint_id = $2 and ($1::text is null or owner_id = $1)";

// What waits for it goes with it.
const DELETE: &str = "-- webhook_endpoints.delete
with gone as (
    delete from webhook_endpoints where endpoint_id = $2 and ($1::text is null or owner_id = $1) returning endpoint_id
), waiting as (
    delete from deliveries d using gone where d.endpoint_id = gone.endpoint_id
)
select endpoint_id from gone";

const ROTATE: &str = "-- webhook_endpoints.rotate
update webhook_endpoints
   set previous_secret = secret, previous_until = now() + $4::bigint * interval '1 s', secret = $3
 where endpoint_id = $2 and ($1::text is null or owner_id = $1)
returning endpoint_id, owner_id, url, description, events, secret, previous_secret, previous_until, created_at";

const RESEAL: &str = "-- webhook_endpoints.reseal
update webhook_endpoints set secret = $3, previous_secret = coalesce($4, previous_secret)
 where endpoint_id = $1 and secret = $2";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[REGISTER, ALL, PAGE, GET, DELETE, ROTATE, RESEAL];

/// Makes an endpoint; none if there are as many as there may be.
pub(super) async fn register(
    db: &Db,
    id: Uuid,
    new: &Registration,
    sealed: &[u8],
    most: i64,
) -> Result<Option<Stored>, Fault> {
    let Registration { owner, url, description, events, request_key } = new;
    let url = url.as_str();
    let rows = db
        .write(REGISTER, &[&id, owner, &url, description, events, &sealed, request_key, &most])
        .await?;
    Ok(rows.first().map(stored))
}

fn stored(row: &Record) -> Stored {
    Stored {
        id: row.get("endpoint_id"),
        owner: row.get("owner_id"),
        url: row.get("url"),
        description: row.get("description"),
        events: row.get("events"),
        secret: row.get("secret"),
        previous_secret: row.get("previous_secret"),
        previous_until: row.get::<_, Option<Instant>>("previous_until"),
        created_at: row.get("created_at"),
    }
}

pub(super) async fn all(db: &Db) -> Result<Vec<Stored>, Fault> {
    Ok(db.read(ALL, &[]).await?.iter().map(stored).collect())
}

/// At most `limit` endpoints and one more, those after this one.
pub(super) async fn page(
    db: &Db,
    owner: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Stored>, Fault> {
    Ok(db.read(PAGE, &[&owner, &after, &(limit + 1)]).await?.iter().map(stored).collect())
}

pub(super) async fn get(db: &Db, owner: Option<&str>, id: Uuid) -> Result<Option<Stored>, Fault> {
    Ok(db.read(GET, &[&owner, &id]).await?.first().map(stored))
}

pub(super) async fn delete(db: &Db, owner: Option<&str>, id: Uuid) -> Result<bool, Fault> {
    Ok(!db.write(DELETE, &[&owner, &id]).await?.is_empty())
}

pub(super) async fn rotate(
    db: &Db,
    owner: Option<&str>,
    id: Uuid,
    sealed: &[u8],
    keep: Duration,
) -> Result<Option<Stored>, Fault> {
    let keep_s = keep.as_secs() as i64;
    let rows = db.write(ROTATE, &[&owner, &id, &sealed, &keep_s]).await?;
    Ok(rows.first().map(stored))
}

/// Keeps the same secrets under another seal, unless somebody rotated them meanwhile.
pub(super) async fn reseal(
    db: &Db,
    id: Uuid,
    known: &[u8],
    secret: &[u8],
    previous: Option<&[u8]>,
) -> Result<(), Fault> {
    db.write(RESEAL, &[&id, &known, &secret, &previous]).await.map(drop)
}
