//! Accounts: who may sign in here, and sessions that last. Whoever comes with a token of another issuer needs none.
//!
//! A login gives an access token, which lives for minutes and is checked without a look-up, and a refresh token, which
//! is random, kept as a hash, and good once. One that comes twice ends its session: somebody has a copy (RFC 9700, 4.14.2).

mod http;
mod password;
mod store;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::AuthSettings;
use crate::identity::{Role, Tokens};
use crate::kernel::{Clock, Instant, UserId, ids};
use crate::platform::http::extract::is_email;
use crate::platform::{Db, Fault};
use password::{Checked, Passwords};

pub use http::{LoginRequest, Operations, UserResponse, routes, sign_in};
pub use store::STATEMENTS;

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id, which tokens carry as `sub`.
    pub id: Uuid,
    /// The name to sign in with.
    pub username: String,
    /// The address to sign in with, and to write to.
    pub email: String,
    /// What its bearer may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Instant,
    password: String,
}

/// An account that does not exist yet.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The name to sign in with.
    pub username: String,
    /// The address to sign in with.
    pub email: String,
    /// The password.
    pub password: SecretString,
    /// What its bearer may do.
    pub role: Role,
}

/// Which field is wrong, and what was expected of it.
type Wrong = (&'static str, &'static str);

impl Registration {
    /// A registration, if each field is as it must be: a username of 3 to 64 of `A-Za-z0-9@.+_-`, an e-mail address, a
    /// password of 8 to 128 characters of any script.
    ///
    /// # Errors
    ///
    /// The field that is not, and what was expected of it.
    pub fn parse(username: &str, email: &str, password: &str, role: Role) -> Result<Self, Wrong> {
        let plain = username.bytes().all(|b| b.is_ascii_alphanumeric() || b"@.+_-".contains(&b));
        if !plain || !(3..=64).contains(&username.len()) {
            return Err(("username", "expected 3 to 64 of A-Z a-z 0-9 @ . + _ -"));
        }
        if !is_email(email) {
            return Err(("email", "expected an e-mail address"));
        }
        if !(8..=128).contains(&password.chars().count()) || password.contains('\0') {
            return Err(("password", "expected 8 to 128 characters"));
        }
        let (username, email) = (username.to_owned(), email.to_owned());
        Ok(Self { username, email, password: password.into(), role })
    }
}

/// What a login gives.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub account: Account,
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// How long the access token lives.
    pub expires_in: Duration,
}

/// Why no account was made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another account has this name.
    #[error("the username belongs to another account")]
    UsernameTaken,
    /// Another account has this address.
    #[error("the e-mail address belongs to another account")]
    EmailTaken,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Accounts that are looked up at the same time: a crowd that signs in must not make Postgres open a connection for each.
const LOOK_UPS: usize = 2;

/// The accounts' handle.
#[derive(Clone)]
pub struct Accounts {
    db: Db,
    tokens: Tokens,
    clock: Clock,
    passwords: Passwords,
    look_ups: Arc<Semaphore>,
    access_lifetime: Duration,
    refresh_lifetime: Duration,
}

impl Accounts {
    /// Accounts in this database, whose tokens are signed with these keys. A password waits at most `patience`.
    pub fn new(
        db: Db,
        tokens: Tokens,
        clock: Clock,
        settings: &AuthSettings,
        patience: Duration,
    ) -> std::io::Result<Self> {
        Ok(Self {
            db,
            tokens,
            clock,
            passwords: Passwords::new(patience)?,
            look_ups: Arc::new(Semaphore::new(LOOK_UPS)),
            access_lifetime: settings.access_lifetime.min(settings.max_token_lifetime),
            refresh_lifetime: settings.refresh_lifetime,
        })
    }

    /// Makes an account.
    pub async fn create(&self, new: &Registration) -> Result<Account, RegisterError> {
        let place = self.passwords.place()?;
        let password = self.passwords.hash(&place, new.password.clone()).await?;
        store::create(&self.db, ids::random(), new, &password).await
    }

    /// Makes an account and signs in.
    pub async fn register(&self, new: &Registration) -> Result<Session, RegisterError> {
        let account = self.create(new).await?;
        Ok(self.sign_in(account).await?)
    }

    /// Signs in by username or address; none if there is no such account or the password is wrong, which look the
    /// same and take the same time.
    pub async fn login(
        &self,
        name: &str,
        password: SecretString,
    ) -> Result<Option<Session>, Fault> {
        let place = self.passwords.place()?;
        let found = {
            let turn = self.look_ups.acquire().await;
            let _turn = turn.map_err(|closed| Fault::internal("waiting").because(closed))?;
            store::find(&self.db, name).await?
        };
        let kept = found.as_ref().map(|account| account.password.clone());
        let checked = self.passwords.check(&place, password.clone(), kept).await?;
        let (Some(account), true) = (found, checked != Checked::Wrong) else { return Ok(None) };
        if checked == Checked::Outdated {
            let anew = self.passwords.hash(&place, password).await?;
            store::rehash(&self.db, account.id, &account.password, &anew).await?;
        }
        self.sign_in(account).await.map(Some)
    }

    async fn sign_in(&self, account: Account) -> Result<Session, Fault> {
        let refresh = fresh_token();
        let expires = self.refresh_expiry();
        store::sign_in(&self.db, ids::random(), account.id, &hash(&refresh), expires).await?;
        self.session(account, refresh)
    }

    /// A new pair for a refresh token that is good; none otherwise.
    pub async fn refresh(&self, spent: &str) -> Result<Option<Session>, Fault> {
        let next = fresh_token();
        let expires = self.refresh_expiry();
        let account = store::refresh(&self.db, &hash(spent), &hash(&next), expires).await?;
        account.map(|account| self.session(account, next)).transpose()
    }

    /// Ends the session of a refresh token, if it is one.
    pub async fn logout(&self, refresh: &str) -> Result<(), Fault> {
        store::sign_out(&self.db, &hash(refresh)).await
    }

    /// The account that a token's `sub` names, if it names one.
    pub async fn of(&self, sub: &UserId) -> Result<Option<Account>, Fault> {
        match sub.as_str().parse() {
            Ok(id) => store::read(&self.db, id).await,
            Err(_) => Ok(None),
        }
    }

    fn session(&self, account: Account, refresh: String) -> Result<Session, Fault> {
        let sub: UserId = account.id.to_string().parse().map_err(Fault::internal)?;
        let (email, now) = (Some(account.email.as_str()), self.clock.now());
        let access = self.tokens.sign(&sub, account.role, email, self.access_lifetime, now);
        let access = access.map_err(|error| Fault::internal("signing a token").because(error))?;
        Ok(Session { account, access, refresh, expires_in: self.access_lifetime })
    }

    /// How long a session lasts that nobody refreshes.
    pub fn refresh_lifetime(&self) -> Duration {
        self.refresh_lifetime
    }

    fn refresh_expiry(&self) -> Instant {
        Instant::from_ms(self.clock.now_ms() + self.refresh_lifetime.as_millis() as i64)
    }
}

/// 256 random bits.
fn fresh_token() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
