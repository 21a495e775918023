//! The token of bKash in Redis, where all replicas share it: encrypted, because what Redis keeps it also writes to
//! files. Beside it stands the mark of the one replica that is renewing it.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::platform::Fault;
use crate::platform::redis::Via;

/// The shared token.
pub(super) struct Cache {
    via: Via,
    token_key: String,
    renewal_key: String,
    cipher: Cipher,
}

impl Cache {
    /// Keys begin with `prefix`; the token can be read by whoever has the same `credentials`.
    pub(super) fn new(via: Via, prefix: &str, credentials: &[&str]) -> Self {
        Self {
            via,
            token_key: format!("{prefix}bkash:token"),
            renewal_key: format!("{prefix}bkash:renewal"),
            cipher: Cipher::new(credentials),
        }
    }

    /// The token, unless it is old, unreadable or absent.
    pub(super) async fn token(&self) -> Result<Option<SecretString>, Fault> {
        let mut get = redis::cmd("GET");
        get.arg(&self.token_key);
        let sealed: Option<Vec<u8>> = self.run("reading a token", &get).await?;
        Ok(sealed.and_then(|sealed| self.cipher.open(&sealed)))
    }

    /// Puts the token there for `lifetime`.
    pub(super) async fn keep(&self, token: &SecretString, lifetime: Duration) -> Result<(), Fault> {
        let sealed = self.cipher.seal(token).ok_or_else(|| Fault::internal("sealing a token"))?;
        let mut set = redis::cmd("SET");
        set.arg(&self.token_key).arg(sealed).arg("PX").arg(millis(lifetime));
        self.run("keeping a token", &set).await
    }

    /// Takes the token away if it still is the one that was rejected.
    pub(super) async fn drop(&self, rejected: &SecretString) -> Result<(), Fault> {
        // Somebody may renew it between these two calls; then it is renewed once more, no harm done.
        let kept = self.token().await?;
        if kept.is_none_or(|kept| kept.expose_secret() != rejected.expose_secret()) {
            return Ok(());
        }
        let mut del = redis::cmd("DEL");
        del.arg(&self.token_key);
        self.run("dropping a token", &del).await
    }

    /// Whether the caller is the one who may renew the token during `time`.
    pub(super) async fn begin_renewal(&self, time: Duration) -> Result<bool, Fault> {
        let mut set = redis::cmd("SET");
        set.arg(&self.renewal_key).arg("1").arg("NX").arg("PX").arg(millis(time));
        let set: Option<String> = self.run("beginning to renew a token", &set).await?;
        Ok(set.is_some())
    }

    /// Lets others renew it, `pause` from now: grants are few.
    pub(super) async fn end_renewal(&self, pause: Duration) -> Result<(), Fault> {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&self.renewal_key).arg(millis(pause));
        self.run("ending to renew a token", &expire).await
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        what: &'static str,
        cmd: &redis::Cmd,
    ) -> Result<T, Fault> {
        let mut connection = self.via.connection().await?;
        cmd.query_async(&mut connection).await.map_err(|error| self.via.fault(what, error))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// AES-256-GCM under a key of the credentials: other credentials, other tokens.
struct Cipher(Option<LessSafeKey>);

impl Cipher {
    fn new(credentials: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"holdfast: token of bkash");
        for credential in credentials {
            hash.update(credential.len().to_be_bytes());
            hash.update(credential.as_bytes());
        }
        let key = UnboundKey::new(&AES_256_GCM, &hash.finalize());
        Self(key.ok().map(LessSafeKey::new))
    }

    /// A nonce and what was encrypted under it.
    fn seal(&self, token: &SecretString) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = token.expose_secret().as_bytes().to_vec();
        let key = self.0.as_ref()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .ok()?;
        Some([&nonce[..], &text].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<SecretString> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.0.as_ref()?.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        Some(std::str::from_utf8(text).ok()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_so_that_only_its_owners_can_read_it() {
        let ours = Cipher::new(&["app", "secret"]);
        let token: SecretString = "eyJraWQiOiJ0b2tlbiJ9.payload.signature".into();
        let sealed = ours.seal(&token).unwrap();
        assert_eq!(ours.open(&sealed).unwrap().expose_secret(), token.expose_secret());
        assert_ne!(sealed, ours.seal(&token).unwrap());
        assert!(!sealed.windows(7).any(|part| part == b"payload"));
        assert!(Cipher::new(&["apps", "ecret"]).open(&sealed).is_none());
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert!(ours.open(&changed).is_none());
        assert!(ours.open(&sealed[..5]).is_none());
    }
}
