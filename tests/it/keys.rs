//! Tokens of an outside identity provider: believed under each algorithm, and under no other key, name or role.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{Stores, TestApp, until};
use crate::process::ServiceProcess;

const ISSUER: &str = "https://login.example.org/";
const AUDIENCE: &str = "shop";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// A key by the name of its file.
fn key(name: &str) -> (Algorithm, EncodingKey) {
    let pem = text(&format!("{name}.pem"));
    match name {
        "rsa" => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()),
        "ec" => (Algorithm::ES256, EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()),
        _ => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()),
    }
}

#[expect(clippy::disallowed_methods, reason = "another issuer has a clock of its own")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn claims(role: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|alice", "role": role, "jti": "t-1",
        "iat": now(), "exp": now() + 600, "email": "alice@example.org"
    })
}

fn signed(name: &str, kid: Option<&str>, claims: &Value) -> String {
    let (algorithm, key) = key(name);
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// A JWKS of these keys, each under the name of its file.
fn set(names: &[&str]) -> Value {
    let keys = names.iter().map(|name| {
        let (algorithm, private) = key(name);
        let mut jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
        jwk.common.key_id = Some((*name).to_owned());
        jwk.common.key_algorithm = Some(match algorithm {
            Algorithm::RS256 => KeyAlgorithm::RS256,
            Algorithm::ES256 => KeyAlgorithm::ES256,
            _ => KeyAlgorithm::EdDSA,
        });
        jwk
    });
    serde_json::to_value(JwkSet { keys: keys.collect() }).unwrap()
}

/// A file of this text, of the test's own.
fn kept(stores: &Stores, text: &str) -> String {
    let name = format!("keys-{}.json", stores.prefix.trim_end_matches(':'));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn believing(keys: &str) -> TestApp {
    let stores = Stores::fresh().await;
    TestApp::on(stores, &believed(keys)).await
}

fn believed(keys: &str) -> Vec<(&str, &str)> {
    vec![
        ("HOLDFAST__AUTH__OUTSIDE_KEYS", keys),
        ("HOLDFAST__AUTH__OUTSIDE_ISSUER", ISSUER),
        ("HOLDFAST__AUTH__OUTSIDE_AUDIENCE", AUDIENCE),
        ("HOLDFAST__AUTH__LEEWAY", "0s"),
    ]
}

async fn status(app: &TestApp, token: &str) -> StatusCode {
    app.get("/api/auth/me", token).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_each_kind_is_believed_from_a_file_of_its_own() {
    for name in ["rsa", "ec", "ed"] {
        let path = file(&format!("{name}.pub.pem"));
        let app = believing(path.to_str().unwrap()).await;
        app.product("A", 3, json!({})).await;
        let token = signed(name, None, &claims("customer"));
        let held = app.post("/api/reserve", &token, json!({ "sku": "A" })).await.expect(201);
        assert_eq!(held["user_id"], "auth0|alice", "{name}");
        // Remembered, and still theirs alone.
        let again = app.get("/api/auth/me", &token).await.expect(200);
        assert_eq!(again["email"], "alice@example.org");
        let flipped = format!("{}{}", &token[..token.len() - 4], "AAAA");
        assert_eq!(status(&app, &flipped).await, 401, "{name}");
        for other in ["rsa", "ec", "ed", "ed-next"].into_iter().filter(|other| *other != name) {
            let forged = signed(other, None, &claims("customer"));
            assert_eq!(status(&app, &forged).await, 401, "{other} for {name}");
        }
        // Our own tokens go on as before.
        app.get("/api/cart", &app.customer("bob")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_its_key_while_there_are_several() {
    let stores = Stores::fresh().await;
    let keys = kept(&stores, &set(&["rsa", "ec", "ed", "ed-next"]).to_string());
    let app = TestApp::on(stores, &believed(&keys)).await;
    for name in ["rsa", "ec", "ed", "ed-next"] {
        assert_eq!(
            status(&app, &signed(name, Some(name), &claims("customer"))).await,
            200,
            "{name}"
        );
        assert_eq!(status(&app, &signed(name, None, &claims("customer"))).await, 401, "{name}");
        assert_eq!(
            status(&app, &signed(name, Some("no"), &claims("customer"))).await,
            401,
            "{name}"
        );
    }
    // The key of another name, of the same kind.
    let crossed = signed("ed", Some("ed-next"), &claims("customer"));
    assert_eq!(status(&app, &crossed).await, 401);
    // The old key is taken out; what it signed is over with the restart.
    let after = kept(&app.stores, &set(&["rsa", "ed-next"]).to_string());
    let replica = app.replica(&believed(&after)).await;
    assert_eq!(status(&replica, &signed("ed", Some("ed"), &claims("customer"))).await, 401);
    assert_eq!(
        status(&replica, &signed("ed-next", Some("ed-next"), &claims("customer"))).await,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_is_no_secret() {
    let app = believing(file("rsa.pub.pem").to_str().unwrap()).await;
    let public = text("rsa.pub.pem");
    for secret in [public.as_bytes(), public.trim_end().as_bytes()] {
        let key = EncodingKey::from_secret(secret);
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims("admin"), &key);
        assert_eq!(status(&app, &forged.unwrap()).await, 401);
    }
    let good = signed("rsa", None, &claims("customer"));
    let (_, rest) = good.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    // {"alg":"none"}
    assert_eq!(status(&app, &format!("eyJhbGciOiJub25lIn0.{payload}.")).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_theirs_may_not_say_is_not_believed() {
    let app = believing(file("ed.pub.pem").to_str().unwrap()).await;
    for role in ["customer", "merchant"] {
        assert_eq!(status(&app, &signed("ed", None, &claims(role))).await, 200, "{role}");
    }
    for (name, value) in [
        ("role", json!("admin")),
        ("role", json!("service")),
        ("iss", json!("holdfast")),
        ("aud", json!("holdfast")),
        ("exp", json!(now() - 1)),
        ("exp", json!(now() + 90_000)),
        ("sub", json!("a b")),
    ] {
        let mut wrong = claims("customer");
        wrong[name] = value.clone();
        assert_eq!(status(&app, &signed("ed", None, &wrong)).await, 401, "{name}: {value}");
    }
    // Ours stay ours: their claims under our secret are refused too.
    let (sub, hour) = ("alice".parse().unwrap(), Duration::from_secs(3_600));
    let mut settings = app.stores.settings(&[]).auth;
    settings.issuer = ISSUER.to_owned();
    let tokens = holdfast::identity::Tokens::new(&settings).unwrap();
    let role = holdfast::identity::Role::Customer;
    let at = holdfast::kernel::Clock::System.now();
    let ours = tokens.sign(&sub, role, None, hour, at).unwrap();
    assert_eq!(status(&app, &ours).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_token_lives_no_longer_than_it_says() {
    let app = believing(file("ec.pub.pem").to_str().unwrap()).await;
    let mut short = claims("customer");
    short["exp"] = json!(now() + 3);
    let token = signed("ec", None, &short);
    assert_eq!(status(&app, &token).await, 200);
    until("it is over", || async { status(&app, &token).await == 401 }).await;
    assert!(now() >= short["exp"].as_i64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_used_stop_the_start_and_say_why() {
    let stores = Stores::fresh().await;
    let mut twice = set(&["ed", "ed-next"]);
    twice["keys"][1]["kid"] = json!("ed");
    let mut nameless = set(&["ed", "ed-next"]);
    nameless["keys"][1].as_object_mut().unwrap().remove("kid");
    let mut secret = set(&["ed"]);
    secret["keys"][0]["d"] = json!("AAAA");
    let mut other = set(&["rsa"]);
    other["keys"][0]["alg"] = json!("PS256");
    let symmetric = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] });
    for (keys, why) in [
        (text("rsa.pem"), "private key"),
        (text("rsa-short.pub.pem"), "2048 bits"),
        (text("ec-384.pub.pem"), "P-256"),
        ("nothing".to_owned(), "neither a JWKS nor a public key"),
        ("{}".to_owned(), "no JWKS"),
        (json!({ "keys": [] }).to_string(), "no key that signs"),
        (twice.to_string(), "the same `kid`"),
        (nameless.to_string(), "must have a `kid`"),
        (secret.to_string(), "public keys only"),
        (symmetric.to_string(), "public keys only"),
        (other.to_string(), "another algorithm"),
    ] {
        let path = kept(&stores, &keys);
        let end = ServiceProcess::refused(&stores, &believed(&path)).await;
        assert!(
            end.stderr.contains(why) && end.stderr.contains("auth.outside_keys"),
            "{why}: {}",
            end.stderr
        );
        assert!(!end.stderr.contains("PRIVATE KEY-----"));
    }
    let end = ServiceProcess::refused(&stores, &believed("/nowhere/keys.pem")).await;
    assert!(end.stderr.contains("cannot read /nowhere/keys.pem"), "{}", end.stderr);
}
