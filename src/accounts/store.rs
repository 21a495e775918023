//! All SQL on `accounts`, `sessions` and `refresh_tokens`.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::accounts::{Account, RegisterError, Registration};
use crate::kernel::Instant;
use crate::platform::postgres::violated_constraint;
use crate::platform::{Db, Fault};

const CREATE: &str = "-- accounts.create
insert into accounts (account_id, username, email, password, role) values ($1, $2, $3, $4, $5)
returning account_id, username, email, password, role, created_at";

const FIND: &str = "-- accounts.find
select account_id, username, email, password, role, created_at from accounts
 where lower(username) = lower($1) or lower(email) = lower($1)
 order by lower(username) = lower($1) desc limit 1";

const READ: &str = "-- accounts.read
select account_id, username, email, password, role, created_at from accounts where account_id = $1";

const REHASH: &str = "-- accounts.rehash
update accounts set password = $3 where account_id = $1 and password = $2";

// Sessions that ran out go when their owner signs in again, so that a row does not outlive its use for long.
const SIGN_IN: &str = "-- sessions.sign_in
with gone as (
    delete from sessions where account_id = $2 and expires_at <= now()
), session as (
    insert into sessions (session_id, account_id, expires_at) values ($1, $2, $4) returning session_id
)
insert into refresh_tokens (token_hash, session_id, expires_at) select $3, session_id, $4 from session";

const REFRESH: &str = "-- sessions.refresh
select account_id, username, email, password, role, created_at from refresh_spend($1, $2, $3)";

const SIGN_OUT: &str = "-- sessions.sign_out
update sessions set ended_at = coalesce(ended_at, now())
 where session_id = (select session_id from refresh_tokens where token_hash = $1)";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[CREATE, FIND, READ, REHASH, SIGN_IN, REFRESH, SIGN_OUT];

fn account(row: &Row) -> Result<Account, Fault> {
    let role: &str = row.get("role");
    Ok(Account {
        id: row.get("account_id"),
        username: row.get("username"),
        email: row.get("email"),
        password: row.get("password"),
        role: role.parse().map_err(|error| Fault::internal("reading a role").because(error))?,
        created_at: row.get("created_at"),
    })
}

pub(super) async fn create(
    db: &Db,
    id: Uuid,
    new: &Registration,
    password: &str,
) -> Result<Account, RegisterError> {
    let role = new.role.to_string();
    let created = db.write(CREATE, &[&id, &new.username, &new.email, &password, &role]).await;
    match created {
        Ok(rows) => {
            let missing = || Fault::internal("creating an account");
            Ok(account(rows.first().ok_or_else(missing)?)?)
        }
        Err(fault) => Err(match violated_constraint(&fault) {
            Some("accounts_username_key") => RegisterError::UsernameTaken,
            Some("accounts_email_key") => RegisterError::EmailTaken,
            _ => fault.into(),
        }),
    }
}

pub(super) async fn find(db: &Db, name: &str) -> Result<Option<Account>, Fault> {
    db.read(FIND, &[&name]).await?.first().map(account).transpose()
}

pub(super) async fn read(db: &Db, id: Uuid) -> Result<Option<Account>, Fault> {
    db.read(READ, &[&id]).await?.first().map(account).transpose()
}

pub(super) async fn rehash(db: &Db, id: Uuid, old: &str, new: &str) -> Result<(), Fault> {
    db.write(REHASH, &[&id, &old, &new]).await?;
    Ok(())
}

pub(super) async fn sign_in(
    db: &Db,
    session: Uuid,
    account: Uuid,
    token_hash: &[u8],
    expires: Instant,
) -> Result<(), Fault> {
    db.write(SIGN_IN, &[&session, &account, &token_hash, &expires]).await?;
    Ok(())
}

pub(super) async fn refresh(
    db: &Db,
    spent: &[u8],
    next: &[u8],
    expires: Instant,
) -> Result<Option<Account>, Fault> {
    db.write(REFRESH, &[&spent, &next, &expires]).await?.first().map(account).transpose()
}

pub(super) async fn sign_out(db: &Db, token_hash: &[u8]) -> Result<(), Fault> {
    db.write(SIGN_OUT, &[&token_hash]).await?;
    Ok(())
}
