//! Keeps the secrets of endpoints sealed: who reads the database alone can sign nothing. The key comes of
//! `auth.jwt_secret`; while that is replaced, the one before it still opens, and what it opens is sealed anew.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::config::AuthSettings;
use crate::notifications::signature::Secret;
use crate::platform::Fault;

/// What the key is for, so that no other use of the same secret has it.
const PURPOSE: &[u8] = b"holdfast: secrets of webhook endpoints";
/// How what follows is sealed.
const VERSION: u8 = 1;

/// Seals and opens.
pub(super) struct Vault {
    /// The current key, then the one before it.
    keys: Vec<RandomizedNonceKey>,
}

/// A secret that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) secret: Secret,
    /// It was sealed with a key that will not be there for ever.
    pub(super) outdated: bool,
}

impl Vault {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, Fault> {
        let secrets = std::iter::once(&settings.jwt_secret).chain(&settings.previous_jwt_secret);
        Ok(Self { keys: secrets.map(key).collect::<Result<_, _>>()? })
    }

    /// Seals the secret of this endpoint; it opens for no other.
    pub(super) fn seal(&self, endpoint: Uuid, secret: &Secret) -> Result<Vec<u8>, Fault> {
        let mut text = secret.bytes().to_vec();
        let key = self.keys.first().ok_or_else(|| Fault::internal("sealing without a key"))?;
        let nonce = key
            .seal_in_place_append_tag(Aad::from(endpoint.as_bytes()), &mut text)
            .map_err(|error| Fault::internal("sealing a secret").because(error))?;
        Ok([&[VERSION][..], nonce.as_ref(), &text].concat())
    }

    /// Opens what was sealed for this endpoint. None: with a key that is gone.
    pub(super) fn open(&self, endpoint: Uuid, sealed: &[u8]) -> Option<Opened> {
        let (version, rest) = sealed.split_first()?;
        if *version != VERSION || rest.len() < NONCE_LEN {
            return None;
        }
        let (nonce, text) = rest.split_at(NONCE_LEN);
        let opened = self.keys.iter().enumerate().find_map(|(at, key)| {
            let mut text = text.to_vec();
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let secret =
                key.open_in_place(nonce, Aad::from(endpoint.as_bytes()), &mut text).ok()?;
            Some((at, secret.to_vec()))
        });
        let (at, bytes) = opened?;
        Some(Opened { secret: Secret::of(bytes), outdated: at > 0 })
    }
}

fn key(secret: &SecretString) -> Result<RandomizedNonceKey, Fault> {
    let from = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let derived = hmac::sign(&from, PURPOSE);
    RandomizedNonceKey::new(&AES_256_GCM, derived.as_ref())
        .map_err(|error| Fault::internal("making the key of the vault").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ids;

    fn vault(secrets: &[&str]) -> Vault {
        Vault { keys: secrets.iter().map(|secret| key(&(*secret).into()).unwrap()).collect() }
    }

    #[test]
    fn a_secret_opens_for_its_endpoint_alone_and_with_its_key_alone() {
        let (vault, id) = (vault(&["one"]), ids::random());
        let secret = Secret::random();
        let sealed = vault.seal(id, &secret).unwrap();
        assert!(!sealed.windows(8).any(|part| part == &secret.bytes()[..8]));
        let opened = vault.open(id, &sealed).unwrap();
        assert_eq!((opened.secret.bytes(), opened.outdated), (secret.bytes(), false));
        assert!(vault.open(ids::random(), &sealed).is_none());
        assert!(super::tests::vault(&["two"]).open(id, &sealed).is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(vault.open(id, &bent).is_none(), "byte {at}");
        }
        assert!(vault.open(id, &sealed[..5]).is_none() && vault.open(id, &[]).is_none());
    }

    #[test]
    fn what_the_key_before_sealed_opens_and_is_known_to_be_outdated() {
        let id = ids::random();
        let sealed = vault(&["old"]).seal(id, &Secret::random()).unwrap();
        assert!(vault(&["new", "old"]).open(id, &sealed).unwrap().outdated);
    }
}
