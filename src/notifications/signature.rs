//! Standard Webhooks (<https://www.standardwebhooks.com>): secrets, and what a receiver proves a call with.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// What every secret begins with when it is shown.
const PREFIX: &str = "whsec_";
/// Bytes of a secret that is made here; the standard wants 24 to 64.
const SECRET_BYTES: usize = 32;

/// The key that an endpoint and its receiver share.
#[derive(Clone, Debug)]
pub(super) struct Secret(SecretSlice<u8>);

impl Secret {
    /// A fresh one.
    pub(super) fn random() -> Self {
        let bytes: [u8; SECRET_BYTES] = rand::random();
        Self::of(bytes.to_vec())
    }

    /// The one of these bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Its bytes, for sealing.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// As its receiver is given it, once.
    pub(super) fn shown(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.bytes())).into()
    }

    /// The signature of a call: over its id, the second it is sent at, and the body as it is sent.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// The header of several secrets: a receiver that knows one of them believes the call.
pub(super) fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let each = secrets.iter().map(|secret| secret.sign(id, timestamp, body));
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the standard's libraries test themselves with.
    #[test]
    fn the_published_vector_is_signed_as_published() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = Secret::of(bytes);
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.shown().expose_secret(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn both_secrets_sign_while_one_replaces_the_other() {
        let secrets = [Secret::random(), Secret::random()];
        let header = signatures(&secrets, "evt_1", 1, b"{}");
        let parts: Vec<&str> = header.split(' ').collect();
        assert_eq!(parts.len(), 2);
        for (secret, part) in secrets.iter().zip(parts) {
            assert_eq!(secret.sign("evt_1", 1, b"{}"), part);
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_in_debug_output() {
        let secret = Secret::random();
        assert!((24..=64).contains(&secret.bytes().len()));
        assert_ne!(secret.bytes(), Secret::random().bytes());
        let shown = secret.shown();
        let plain = shown.expose_secret().strip_prefix(PREFIX).unwrap().to_owned();
        assert!(!format!("{secret:?} {shown:?}").contains(&plain));
    }
}
