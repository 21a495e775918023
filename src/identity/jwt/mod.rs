//! Signed tokens (JWT): made, and believed or not.
//!
//! One key has one algorithm, set by configuration; a token's header only picks among the keys we
//! hold. Nothing a token names is ever fetched. Whatever is wrong with a token, its bearer hears
//! the same; the reason goes to the debug log, without the token.

#[cfg(test)]
mod attacks;
mod claims;
#[cfg(test)]
mod forge;
mod outside;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;
use jiff::Timestamp;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::config::AuthSettings;
use crate::kernel::UserId;

pub use claims::{Claims, Role, UnknownRole};
use claims::{Flaw, Payload, Rules};
pub use outside::KeysError;
use outside::Outside;

/// Longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 8 * 1024;

/// The token is not to be believed. One value for every reason, so that none can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// Why no token was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It would be refused for living too long, or expire at once.
    #[error(
        "a token lives at least 1s and at most {} (auth.max_token_lifetime)",
        format_duration(*.0)
    )]
    Lifetime(Duration),
    /// It would be refused for its e-mail address.
    #[error("the e-mail address is not one")]
    Email,
    /// The key could not sign.
    #[error("the token could not be signed")]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// The keys and rules by which tokens are signed and believed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Rules,
    outside: Option<Outside>,
    verifying: Vec<VerifyingKey>,
    signing: EncodingKey,
    header: Header,
    /// `header` as our own tokens begin: most tokens are our own, and need not be taken apart.
    header_text: Option<String>,
}

/// A key that tokens are checked with, tied to its one algorithm.
#[derive(Debug)]
struct VerifyingKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Tokens {
    /// Takes the keys from settings: the secret in force, the one before it, and those of an outside provider.
    ///
    /// # Errors
    ///
    /// The file of the outside provider's keys cannot be used.
    pub fn new(settings: &AuthSettings) -> Result<Tokens, KeysError> {
        let secrets = [Some(&settings.jwt_secret), settings.previous_jwt_secret.as_ref()];
        let signing = EncodingKey::from_secret(settings.jwt_secret.expose_secret().as_bytes());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key_id(&settings.jwt_secret));
        Ok(Tokens(Arc::new(Inner {
            rules: Rules::of(settings, &settings.issuer, &settings.audience),
            outside: Outside::load(settings)?,
            verifying: secrets.into_iter().flatten().map(VerifyingKey::hs256).collect(),
            header_text: header_text(&header, &signing),
            signing,
            header,
        })))
    }

    /// Says who a token's bearer is.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`], whatever is wrong with it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        self.examine(token, now).map_err(|flaw| {
            tracing::debug!(token.flaw = flaw, "token refused");
            InvalidToken
        })
    }

    /// Signs a token that [`Tokens::verify`] will believe from `now` on, for `lifetime`.
    ///
    /// # Errors
    ///
    /// When the token would not be believed.
    pub fn sign(
        &self,
        sub: &UserId,
        role: Role,
        email: Option<&str>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let payload = self.0.rules.payload(sub, role, email, lifetime, now)?;
        Ok(jsonwebtoken::encode(&self.0.header, &payload, &self.0.signing)?)
    }

    fn examine(&self, token: &str, now: Timestamp) -> Result<Claims, Flaw> {
        if token.len() > LONGEST_TOKEN {
            return Err("longer than 8 KiB");
        }
        let (message, signature) = token.rsplit_once('.').ok_or("no token")?;
        let (header, _) = message.rsplit_once('.').ok_or("no token")?;
        let ours = self.0.header_text.as_deref() == Some(header);
        let header = if ours { &self.0.header } else { &read_header(token)? };
        if let Some(outside) = self.0.outside.as_ref().filter(|outside| outside.takes(header)) {
            return outside.examine(token, header, now);
        }
        self.check_signature(header, message, signature)?;
        self.0.rules.check(payload_of(token)?, now)
    }

    fn check_signature(&self, header: &Header, message: &str, signature: &str) -> Result<(), Flaw> {
        let mut keys = self.0.verifying.iter().filter(|key| key.fits(header));
        let signed = keys.any(|key| key.signed(message, signature));
        signed.then_some(()).ok_or("no key of ours signed it")
    }
}

impl VerifyingKey {
    fn hs256(secret: &SecretString) -> VerifyingKey {
        VerifyingKey {
            id: key_id(secret),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.expose_secret().as_bytes()),
        }
    }

    /// Whether a token may have been signed with this key. One that names no key is tried with
    /// all of its algorithm.
    fn fits(&self, header: &Header) -> bool {
        self.algorithm == header.alg && header.kid.as_ref().is_none_or(|id| *id == self.id)
    }

    fn signed(&self, message: &str, signature: &str) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }
}

/// The claims of a token whose signature was checked a moment ago.
fn payload_of(token: &str) -> Result<Payload, Flaw> {
    insecure_decode_claims(token).or(Err("malformed claims"))
}

fn read_header(token: &str) -> Result<Header, Flaw> {
    let header = jsonwebtoken::decode_header(token).or(Err("header cannot be read"))?;
    check_header(&header)?;
    Ok(header)
}

/// The first part of the tokens that this header and key make.
fn header_text(header: &Header, key: &EncodingKey) -> Option<String> {
    let token = jsonwebtoken::encode(header, &(), key).ok()?;
    token.split_once('.').map(|(header, _)| header.to_owned())
}

/// Refuses what asks for keys from elsewhere, and what is no plain signed token.
fn check_header(header: &Header) -> Result<(), Flaw> {
    let foreign_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some();
    let not_plain = header.crit.is_some()
        || header.enc.is_some()
        || header.zip.is_some()
        || header.cty.is_some();
    let type_ok = header
        .typ
        .as_ref()
        .is_none_or(|name| name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("at+jwt"));
    match (foreign_key, not_plain, type_ok) {
        (true, _, _) => Err("header brings its own key"),
        (_, true, _) => Err("header asks for what we do not do"),
        (_, _, false) => Err("header names another type"),
        (false, false, true) => Ok(()),
    }
}

/// The name of a secret: the beginning of its hash, which tells nothing about a random one.
fn key_id(secret: &SecretString) -> String {
    let hash = Sha256::digest(secret.expose_secret().as_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
