//! What a token says, and which of it is believed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::AuthSettings;
use crate::kernel::UserId;

use super::SignError;

/// What a caller may do, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Own cart, reservations and orders.
    Customer,
    /// Also own products and stock.
    Merchant,
    /// Everything.
    Admin,
    /// A storefront's backend, trusted for all buyers.
    Service,
}

/// No role has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is customer, merchant, admin or service")]
pub struct UnknownRole;

/// What a believed token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who is calling; needs no account here.
    pub sub: UserId,
    /// What they may do.
    pub role: Role,
    /// Where mail for them goes.
    pub email: Option<String>,
    /// Name of this one token.
    pub jti: String,
    /// When it was signed, in seconds since 1970.
    pub iat: i64,
    /// When it ceases to be believed, in seconds since 1970.
    pub exp: i64,
}

/// What was wrong with a token; for the log only.
pub(super) type Flaw = &'static str;

/// A token's claims as they stand in it. Anything of another type, or there twice, is refused
/// while reading.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Payload {
    iss: String,
    aud: String,
    sub: UserId,
    role: Role,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    // These two narrow what a token is good for: null must not pass for absent.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(rename = "use", default, deserialize_with = "given")]
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
}

/// Which claims are believed.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    leeway_s: i64,
    max_lifetime_s: i64,
}

const LONGEST_ID: usize = 128;
const LONGEST_EMAIL: usize = 254;

impl Rules {
    /// The rules of settings for tokens of this issuer.
    pub(super) fn of(settings: &AuthSettings, issuer: &str, audience: &str) -> Rules {
        Rules {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            leeway_s: whole_seconds(settings.leeway),
            max_lifetime_s: whole_seconds(settings.max_token_lifetime),
        }
    }

    /// Believes the claims, or says why not.
    pub(super) fn check(&self, payload: Payload, now: Timestamp) -> Result<Claims, Flaw> {
        self.check_times(&payload, now.as_second())?;
        if payload.iss != self.issuer {
            return Err("another issuer");
        }
        if payload.aud != self.audience {
            return Err("another audience");
        }
        if payload.purpose.is_some_and(|purpose| purpose != "access") {
            return Err("not for calling the API");
        }
        if !is_token_id(&payload.jti) {
            return Err("malformed jti");
        }
        if payload.email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err("malformed email");
        }
        let Payload { sub, role, email, jti, iat, exp, .. } = payload;
        Ok(Claims { sub, role, email, jti, iat, exp })
    }

    /// Whether a token that expires at this second is believed no longer.
    pub(super) fn is_over(&self, exp: i64, now: Timestamp) -> bool {
        now.as_second() >= exp.saturating_add(self.leeway_s)
    }

    fn check_times(&self, payload: &Payload, now_s: i64) -> Result<(), Flaw> {
        let &Payload { iat, exp, nbf, .. } = payload;
        let latest_s = now_s.saturating_add(self.leeway_s);
        if now_s >= exp.saturating_add(self.leeway_s) {
            return Err("expired");
        }
        if iat < 0 || iat > latest_s {
            return Err("from the future, or from before 1970");
        }
        if nbf.is_some_and(|nbf| nbf > latest_s) {
            return Err("not valid yet");
        }
        // `exp` is recent and `iat` not negative here, so that the difference cannot overflow.
        if !(1..=self.max_lifetime_s).contains(&(exp - iat)) {
            return Err("lives too long");
        }
        Ok(())
    }

    /// Claims that [`Rules::check`] will believe.
    pub(super) fn payload(
        &self,
        sub: &UserId,
        role: Role,
        email: Option<&str>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Payload, SignError> {
        let lifetime_s = whole_seconds(lifetime);
        if !(1..=self.max_lifetime_s).contains(&lifetime_s) {
            return Err(SignError::Lifetime(Duration::from_secs(
                self.max_lifetime_s.unsigned_abs(),
            )));
        }
        if email.is_some_and(|email| !is_email(email)) {
            return Err(SignError::Email);
        }
        let iat = now.as_second();
        Ok(Payload {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: sub.clone(),
            role,
            iat,
            exp: iat + lifetime_s,
            jti: format!("{:032x}", rand::random::<u128>()),
            email: email.map(str::to_owned),
            nbf: None,
            purpose: None,
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Customer => "customer",
            Role::Merchant => "merchant",
            Role::Admin => "admin",
            Role::Service => "service",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Role, UnknownRole> {
        let all = [Role::Customer, Role::Merchant, Role::Admin, Role::Service];
        all.into_iter().find(|role| role.to_string() == name).ok_or(UnknownRole)
    }
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn is_token_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Only what keeps an address from breaking out of a mail's header; whether it exists, mail tells.
fn is_email(text: &str) -> bool {
    let unfit =
        |letter: char| letter.is_control() || letter.is_whitespace() || "<>,;".contains(letter);
    let (name, host) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty() && !host.is_empty() && text.len() <= LONGEST_EMAIL && !text.contains(unfit)
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
