//! All SQL on `suppliers`.

use tokio_postgres::Row;

use crate::platform::postgres::Params;
use crate::platform::{Db, Fault};
use crate::suppliers::{Details, Supplier, Whose};

// The update touches nothing: it makes the row of an earlier run of the same request come back.
const CREATE: &str = "-- suppliers.create
insert into suppliers as s (owner_id, name, email, phone, address, request_key, changed_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (request_key) do update set request_key = excluded.request_key
returning supplier_id, name, email, phone, address";

const PAGE: &str = "-- suppliers.page
select supplier_id, name, email, phone, address from suppliers
 where ($1::text is null or owner_id = $1) and supplier_id > $2 order by supplier_id limit $3";

const GET: &str = "-- suppliers.get
select supplier_id, name, email, phone, address from suppliers
 where supplier_id = $2 and ($1::text is null or owner_id = $1)";

const UPDATE: &str = "-- suppliers.update
update suppliers set name = $3, email = $4, phone = $5, address = $6, changed_by = $7, updated_at = now()
 where supplier_id = $2 and ($1::text is null or owner_id = $1)
returning supplier_id, name, email, phone, address";

const DELETE: &str = "-- suppliers.delete
delete from suppliers where supplier_id = $2 and ($1::text is null or owner_id = $1) returning supplier_id";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[CREATE, PAGE, GET, UPDATE, DELETE];

fn supplier(row: &Row) -> Supplier {
    Supplier {
        id: row.get("supplier_id"),
        details: Details {
            name: row.get("name"),
            email: row.get("email"),
            phone: row.get("phone"),
            address: row.get("address"),
        },
    }
}

pub(super) async fn create(
    db: &Db,
    owner: &str,
    details: &Details,
    request_key: Option<&[u8]>,
    actor: &str,
) -> Result<Supplier, Fault> {
    let Details { name, email, phone, address } = details;
    let values: Params<'_> = &[&owner, name, email, phone, address, &request_key, &actor];
    let rows = db.write(CREATE, values).await?;
    rows.first().map(supplier).ok_or_else(|| Fault::internal("creating a supplier"))
}

pub(super) async fn page(
    db: &Db,
    whose: Whose<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<Supplier>, Fault> {
    Ok(db.read(PAGE, &[&whose, &after, &limit]).await?.iter().map(supplier).collect())
}

pub(super) async fn get(db: &Db, whose: Whose<'_>, id: i64) -> Result<Option<Supplier>, Fault> {
    Ok(db.read(GET, &[&whose, &id]).await?.first().map(supplier))
}

pub(super) async fn update(
    db: &Db,
    whose: Whose<'_>,
    id: i64,
    details: &Details,
    actor: &str,
) -> Result<Option<Supplier>, Fault> {
    let Details { name, email, phone, address } = details;
    let rows = db.write(UPDATE, &[&whose, &id, name, email, phone, address, &actor]).await?;
    Ok(rows.first().map(supplier))
}

pub(super) async fn delete(db: &Db, whose: Whose<'_>, id: i64) -> Result<bool, Fault> {
    Ok(!db.write(DELETE, &[&whose, &id]).await?.is_empty())
}
