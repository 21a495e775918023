//! Tokens of an outside identity provider: its public keys come from a file (PEM, or a JWKS as RFC 7517 has it), each
//! with the one algorithm that it is for. They share no code with the secrets of our own tokens, so no token can have a
//! public key taken for a secret (RFC 8725, 2.1).

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use jiff::Timestamp;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::claims::{Claims, Flaw, Rules};
use super::{Role, payload_of};
use crate::config::AuthSettings;

/// Tokens whose signature was checked and is remembered, so that it is checked once: the public-key algorithms cost a
/// hundred times what HS256 does.
const REMEMBERED: u64 = 10_000;

/// What is wrong with the file of keys.
#[derive(Debug, thiserror::Error)]
#[error("{0} (auth.outside_keys)")]
pub struct KeysError(String);

fn wrong(text: impl Into<String>) -> KeysError {
    KeysError(text.into())
}

/// The keys and rules of an outside identity provider.
pub(super) struct Outside {
    keys: Vec<PublicKey>,
    rules: Rules,
    roles: Vec<Role>,
    remembered: Cache<[u8; 32], Claims>,
}

struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.keys.iter().map(|key| (&key.id, key.algorithm));
        f.debug_list().entries(keys).finish()
    }
}

impl Outside {
    /// Reads the keys that settings name, if they name any.
    pub(super) fn load(settings: &AuthSettings) -> Result<Option<Self>, KeysError> {
        if settings.outside_keys.is_empty() {
            return Ok(None);
        }
        let path = Path::new(&settings.outside_keys);
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
        let roles = settings.outside_roles.iter().map(|role| role.parse::<Role>());
        let roles = roles.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Self {
            keys: keys(&text)?,
            rules: Rules::of(settings, &settings.outside_issuer, &settings.outside_audience),
            roles,
            remembered: Cache::new(REMEMBERED),
        }))
    }

    /// Whether a token with this header would be one of theirs.
    pub(super) fn takes(&self, header: &Header) -> bool {
        self.keys.iter().any(|key| key.algorithm == header.alg)
    }

    /// Says who a token's bearer is.
    pub(super) fn examine(
        &self,
        token: &str,
        header: &Header,
        now: Timestamp,
    ) -> Result<Claims, Flaw> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.remembered.get(&hash) {
            return if self.rules.is_over(claims.exp, now) { Err("expired") } else { Ok(claims) };
        }
        let (message, signature) = token.rsplit_once('.').ok_or("no token")?;
        let key = self.key_for(header).ok_or("no key of theirs has this name and algorithm")?;
        if !crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm).unwrap_or(false)
        {
            return Err("their key did not sign it");
        }
        let claims = self.rules.check(payload_of(token)?, now)?;
        if !self.roles.contains(&claims.role) {
            return Err("a role that theirs may not have");
        }
        self.remembered.insert(hash, claims.clone());
        Ok(claims)
    }

    /// A token must name its key, unless there is only one.
    fn key_for(&self, header: &Header) -> Option<&PublicKey> {
        let named = |key: &&PublicKey| match &header.kid {
            Some(id) => key.id.as_ref().map_or(self.keys.len() == 1, |own| own == id),
            None => self.keys.len() == 1,
        };
        self.keys.iter().find(|key| named(key) && key.algorithm == header.alg)
    }
}

fn keys(text: &str) -> Result<Vec<PublicKey>, KeysError> {
    if text.contains("PRIVATE KEY") {
        return Err(wrong("the file has a private key in it: it must have public keys only"));
    }
    if !text.trim_start().starts_with('{') {
        return pem(text).map(|key| vec![key]);
    }
    let set: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| wrong(format!("the file is no JWKS: {error}")))?;
    let listed =
        set["keys"].as_array().ok_or_else(|| wrong("the file is no JWKS: it has no `keys`"))?;
    if listed.iter().any(|key| key.get("d").is_some() || key.get("k").is_some()) {
        return Err(wrong(
            "the file has a private or secret key in it: it must have public keys only",
        ));
    }
    let set: JwkSet = serde_json::from_value(set)
        .map_err(|error| wrong(format!("the file is no JWKS: {error}")))?;
    let signing =
        set.keys.iter().filter(|key| key.common.public_key_use != Some(PublicKeyUse::Encryption));
    let keys = signing.map(jwk).collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<_> = keys.iter().map(|key| key.id.as_deref()).collect();
    ids.sort_unstable();
    match (keys.len(), ids.contains(&None), ids.windows(2).any(|pair| pair[0] == pair[1])) {
        (0, ..) => Err(wrong("the file has no key that signs")),
        (2.., true, _) => Err(wrong("each of several keys must have a `kid`")),
        (_, _, true) => Err(wrong("two keys have the same `kid`")),
        _ => Ok(keys),
    }
}

fn jwk(jwk: &Jwk) -> Result<PublicKey, KeysError> {
    let name = jwk.common.key_id.as_deref().unwrap_or("without kid");
    let unusable = |why: &str| wrong(format!("the key {name} {why}"));
    let (algorithm, wanted) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return Err(unusable("is neither RSA nor on the curves P-256 or Ed25519")),
    };
    if jwk.common.key_algorithm.is_some_and(|told| told != wanted) {
        return Err(unusable("is for another algorithm than RS256, ES256 or EdDSA"));
    }
    let key = DecodingKey::from_jwk(jwk).or(Err(unusable("cannot be read")))?;
    // 256 bytes are 342 digits of base64.
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
        && rsa.n.trim_start_matches('A').len() < 342
    {
        return Err(unusable("is shorter than 2048 bits"));
    }
    if let Ok(bytes) = key.try_get_as_bytes() {
        fits(algorithm, bytes).ok_or_else(|| unusable("is not on its curve"))?;
    }
    Ok(PublicKey { id: jwk.common.key_id.clone(), algorithm, key })
}

/// One public key; what it is says which algorithm it is for.
fn pem(text: &str) -> Result<PublicKey, KeysError> {
    let bytes = text.as_bytes();
    let read = [
        (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
        (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
        (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
    ];
    let found = read.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
    let (algorithm, key) =
        found.ok_or_else(|| wrong("the file is neither a JWKS nor a public key in PEM"))?;
    let short =
        || wrong("the key must be RSA of 2048 bits or more, or on the curves P-256 or Ed25519");
    key.try_get_as_bytes().ok().and_then(|bytes| fits(algorithm, bytes)).ok_or_else(short)?;
    Ok(PublicKey { id: None, algorithm, key })
}

/// Whether these bytes are a key for this algorithm.
fn fits(algorithm: Algorithm, bytes: &[u8]) -> Option<()> {
    let parsed = match algorithm {
        // As PKCS#1 (RFC 8017, A.1.1) a modulus of 2048 bits and the exponent 3 take 268 bytes.
        Algorithm::RS256 if bytes.len() < 268 => return None,
        Algorithm::RS256 => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes),
        Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes),
        _ => ParsedPublicKey::new(&ED25519, bytes),
    };
    parsed.ok().map(drop)
}
