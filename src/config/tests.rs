//! Settings as an operator meets them: files and variables in, values or complaints out.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{LoadOptions, LogFormat, Settings};

const SECRET: &str = "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw";
const OLD_SECRET: &str = "Zy8Xw2Vu6Ts0Rq4Po1Nm5Lk9Ji3Hg7Fe2Dc6Ba0zYxWvUtSr";
const REQUIRED: [(&str, &str); 3] = [
    ("DATABASE_URL", "postgres://holdfast:pgpass@db.internal:5432/shop"),
    ("REDIS_URL", "redis://:redispass@cache.internal:6379/0"),
    ("HOLDFAST__AUTH__JWT_SECRET", SECRET),
];

/// A folder of settings that is gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-settings-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn options(&self, extra: &[(&str, &str)]) -> LoadOptions {
        let dir = self.0.to_str().unwrap();
        let required = REQUIRED.iter().filter(|(name, _)| extra.iter().all(|(n, _)| n != name));
        let pairs = required.chain(extra).copied().chain([("HOLDFAST_CONFIG_DIR", dir)]);
        LoadOptions::from_env(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    fn load(&self, extra: &[(&str, &str)]) -> Settings {
        Settings::load(&self.options(extra)).unwrap()
    }

    /// What is said, with the folder's own name left out.
    fn complaints(&self, extra: &[(&str, &str)]) -> Vec<String> {
        let error = Settings::load(&self.options(extra)).unwrap_err();
        let folder = format!("{}/", self.0.display());
        let lines = error.violations.iter().map(|found| found.to_string().replace(&folder, ""));
        lines.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_defaults_serve_without_any_file() {
    let settings = Folder::new(&[]).load(&[]);
    assert_eq!(settings.server.port, 8080);
    assert_eq!(settings.server.request_deadline, Duration::from_millis(900));
    assert_eq!(settings.log.format, LogFormat::Pretty);
    assert_eq!(settings.reservation.ttl_seconds, 600);
    assert_eq!(settings.auth.max_token_lifetime, Duration::from_secs(86_400));
    assert!(settings.database.migrate_url.is_none());
    assert!(settings.auth.previous_jwt_secret.is_none());
    assert!(settings.checkout.customers_must_pay_here);
}

#[test]
fn the_files_we_ship_are_valid() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    for (profile, must_pay) in [("local", false), ("test", false), ("production", true)] {
        let mut options = Folder::new(&[]).options(&[("HOLDFAST_PROFILE", profile)]);
        options.dir = dir.into();
        let settings = Settings::load(&options).unwrap();
        assert_eq!(settings.checkout.customers_must_pay_here, must_pay, "{profile}");
    }
}

#[test]
fn a_secret_in_a_file_stops_the_start_and_is_not_repeated() {
    let folder = Folder::new(&[
        ("default.toml", "[database]\nurl = \"postgres://me:pgpass@db/shop\"\n"),
        (
            "local.toml",
            "[auth]\njwt_secret = \"topsecret\"\n[payments.stripe]\nsecret_key = \"sk_topsecret\"\n",
        ),
    ]);
    let found = folder.complaints(&[]);
    let say = |place: &str, setting: &str, variable: &str| {
        format!(
            "{place}: {setting} is a secret and may not stand in a file; set the environment variable {variable}"
        )
    };
    assert_eq!(
        found,
        [
            say("default.toml line 2", "database.url", "DATABASE_URL"),
            say("local.toml line 2", "auth.jwt_secret", "HOLDFAST__AUTH__JWT_SECRET"),
            say("local.toml line 4", "payments.stripe.secret_key", "STRIPE_SECRET_KEY"),
        ]
    );
    // Where to look, without a password, may stand there.
    let place = "[redis]\nurl = \"redis://cache.internal:6379/0\"\n[auth]\njwt_secret = \"\"\n";
    Folder::new(&[("local.toml", place)]).load(&[]);
}

#[test]
fn later_sources_win() {
    let folder = Folder::new(&[
        ("default.toml", "[server]\nport = 1\nworkers = 1\nhost = \"::1\"\n"),
        ("shop.toml", "[server]\nport = 2\nworkers = 2\n"),
    ]);
    let variables = [("HOLDFAST_PROFILE", "shop"), ("HOLDFAST__SERVER__PORT", "3"), ("PORT", "4")];
    let server = folder.load(&variables).server;
    assert_eq!((server.host.as_str(), server.workers, server.port), ("::1", 2, 3));
    assert_eq!(folder.load(&[("PORT", "4")]).server.port, 4);
    assert_eq!(folder.load(&[("PORT", "")]).server.port, 1);
    assert_eq!(folder.load(&[("REDIS_TTL", "30")]).reservation.ttl_seconds, 30);
}

#[test]
fn everything_wrong_is_said_at_once_and_where_it_stands() {
    let folder = Folder::new(&[
        ("default.toml", "[server]\nport = \"high\"\n\n[servre]\nhost = \"x\"\n"),
        (
            "local.toml",
            "\n[database]\npool_wait = \"10x\"\npool_size = -1\nshop = 1\n[log.format]\n",
        ),
    ]);
    let found = folder.complaints(&[
        ("HOLDFAST__SERVER__PROT", "1"),
        ("HOLDFAST__SERVER", "1"),
        ("HOLDFAST__LOG__FORMAT", "xml"),
        ("REDIS_TTL", "soon"),
        ("HOLDFAST__SWEEPER__BATCH", "0"),
        ("HOLDFAST__AUTH__LEEWAY", "61s"),
    ]);
    let expected = [
        "default.toml line 2: server.port must be of type integer, not string",
        "default.toml line 5: servre.host is no setting",
        "local.toml line 5: database.shop is no setting",
        "local.toml line 6: log.format must be of type string, not table",
        "environment variable REDIS_TTL: reservation.ttl_seconds must be an integer",
        "environment variable HOLDFAST__SERVER__PROT: server.prot is no setting",
        "environment variable HOLDFAST__SERVER: server is a section, not a setting",
        "environment variable HOLDFAST__LOG__FORMAT: log.format must be pretty or json",
        "local.toml line 4: database.pool_size invalid type: 64-bit integer `-1`, \
         expected an unsigned 64 bit or less integer",
        "local.toml line 3: database.pool_wait invalid value: string \"10x\", expected a duration",
        "environment variable HOLDFAST__AUTH__LEEWAY: auth.leeway must be at most 60s",
        "environment variable HOLDFAST__SWEEPER__BATCH: sweeper.batch must be 1 to 1000",
    ];
    for line in expected {
        assert!(found.iter().any(|said| said == line), "{line}\nis not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let folder = Folder::new(&[("local.toml", "[auth]\njwt_secret = \"topsecret\n")]);
    let found = folder.complaints(&[]);
    assert!(found[0].starts_with("local.toml line 2: "), "{}", found[0]);
    assert!(!found[0].contains("topsecret"), "{}", found[0]);
}

#[test]
fn a_missing_secret_names_the_variable_that_sets_it() {
    let folder = Folder::new(&[]);
    let mut options = folder.options(&[]);
    options.env.clear();
    let said = Settings::load(&options).unwrap_err().to_string();
    for part in ["database.url is not set", "DATABASE_URL", "redis.url is not set", "REDIS_URL"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("HOLDFAST__AUTH__JWT_SECRET; make one with: openssl rand"), "{said}");
}

#[test]
fn a_setting_that_cannot_be_read_is_not_called_missing_too() {
    let folder = Folder::new(&[("local.toml", "[database]\nurl = 5432\n")]);
    let found = folder.complaints(&[("DATABASE_URL", "")]);
    assert_eq!(found, ["local.toml line 2: database.url must be of type string, not integer"]);
}

#[test]
fn a_misspelt_profile_or_folder_stops_the_start() {
    let folder = Folder::new(&[]);
    let said = folder.complaints(&[("HOLDFAST_PROFILE", "prodution")]);
    assert!(said[0].contains("HOLDFAST_PROFILE: names no file: prodution.toml"), "{}", said[0]);
    let said = folder.complaints(&[("HOLDFAST_PROFILE", "../secrets")]);
    assert!(said[0].contains("must be made of"), "{}", said[0]);
    let mut options = folder.options(&[]);
    options.dir.push("nowhere");
    let said = Settings::load(&options).unwrap_err().to_string();
    assert!(said.contains("HOLDFAST_CONFIG_DIR: names no folder"), "{said}");
}

#[test]
fn the_same_secret_twice_is_no_rotation() {
    let folder = Folder::new(&[]);
    let variable = "HOLDFAST__AUTH__PREVIOUS_JWT_SECRET";
    let auth = folder.load(&[(variable, OLD_SECRET)]).auth;
    assert_eq!(auth.previous_jwt_secret.unwrap().expose_secret(), OLD_SECRET);
    assert!(folder.complaints(&[(variable, SECRET)])[0].contains("is the same as"));
    assert!(folder.complaints(&[(variable, "short")])[0].contains("shorter than 32 bytes"));
}

#[test]
fn tokens_need_no_stores() {
    let folder = Folder::new(&[]);
    let mut options = folder.options(&[]);
    options.env.retain(|(name, _)| name == "HOLDFAST__AUTH__JWT_SECRET");
    assert!(Settings::load(&options).is_err());
    assert_eq!(Settings::load_auth(&options).unwrap().issuer, "holdfast");
    options.env.clear();
    assert_eq!(Settings::load_auth(&options).unwrap_err().violations.len(), 1);
}

#[test]
fn no_secret_is_ever_shown() {
    let folder = Folder::new(&[]);
    let migrate = "postgres://owner:ownerpass@db.internal/shop";
    let settings = folder.load(&[
        ("MIGRATE_DATABASE_URL", migrate),
        ("HOLDFAST__AUTH__PREVIOUS_JWT_SECRET", OLD_SECRET),
    ]);
    let shown = settings.redacted();
    let debug = format!("{settings:?} {:?}", folder.options(&[]));
    for secret in [SECRET, OLD_SECRET, "pgpass", "redispass", "ownerpass"] {
        assert!(!shown.contains(secret) && !debug.contains(secret), "{shown}\n{debug}");
    }
    assert!(shown.contains("postgres://holdfast:********@db.internal:5432/shop"), "{shown}");
    assert!(shown.contains("jwt_secret = \"********\""), "{shown}");
    let wrong = folder.complaints(&[("DATABASE_URL", "mysql://me:pgpass@db")]).join("");
    assert!(wrong.contains("must begin with") && !wrong.contains("pgpass"), "{wrong}");
}

const STRIPE: [(&str, &str); 2] =
    [("STRIPE_SECRET_KEY", "sk_test_hush"), ("STRIPE_WEBHOOK_SECRET", "whsec_hushhushhush")];
const BKASH: [(&str, &str); 5] = [
    ("BKASH_APP_KEY", "hush-app"),
    ("BKASH_APP_SECRET", "hush-secret"),
    ("BKASH_USERNAME", "hush-name"),
    ("BKASH_PASSWORD", "hush-word"),
    ("HOLDFAST__PAYMENTS__BKASH__CALLBACK_BASE", "https://shop.example.org"),
];

#[test]
fn a_provider_has_all_its_keys_or_none() {
    let folder = Folder::new(&[]);
    let payments = folder.load(&[]).payments;
    assert!(payments.stripe.secret_key.is_none() && payments.bkash.app_key.is_none());
    let settings = folder.load(&[&STRIPE[..], &BKASH].concat());
    assert!(settings.payments.bkash.password.is_some());
    let shown = format!("{settings:?} {}", settings.redacted());
    assert!(!shown.contains("hush"), "{shown}");
    for missing in 1..STRIPE.len() {
        let found = folder.complaints(&STRIPE[..missing]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("STRIPE_WEBHOOK_SECRET"), "{found:?}");
    }
    for left_out in 0..BKASH.len() {
        let mut keys = BKASH.to_vec();
        let (name, _) = keys.remove(left_out);
        let found = folder.complaints(&keys);
        let path = name.trim_start_matches("BKASH_").to_ascii_lowercase();
        let path = path.rsplit("__").next().unwrap_or_default();
        assert!(found.len() == 1 && found[0].contains(path), "{name}: {found:?}");
    }
}

#[test]
fn keys_travel_in_the_clear_to_a_sandbox_alone() {
    let folder = Folder::new(&[]);
    let clear = ("HOLDFAST__PAYMENTS__STRIPE__API_BASE", "http://127.0.0.1:9100");
    let sandbox = ("HOLDFAST__PAYMENTS__SANDBOX", "true");
    assert!(folder.complaints(&[clear])[0].contains("must begin with https://"));
    folder.load(&[&STRIPE[..], &[clear, sandbox]].concat());
    let live = [("STRIPE_SECRET_KEY", "sk_live_hush"), STRIPE[1]];
    folder.load(&live);
    let found = folder.complaints(&[&live[..], &[clear, sandbox]].concat());
    assert!(found[0].contains("must be a test key") && !found[0].contains("hush"), "{found:?}");
    let odd = folder.complaints(&[("STRIPE_SECRET_KEY", "pk_test_hush"), STRIPE[1]]);
    assert!(odd[0].contains("must begin with sk_live_") && !odd[0].contains("hush"), "{odd:?}");
    let short = folder.complaints(&[STRIPE[0], ("STRIPE_WEBHOOK_SECRET", "whsec_x")]);
    assert!(short[0].contains("shorter than 16 bytes"), "{short:?}");
}

#[test]
fn what_is_shown_is_every_setting_and_can_be_read_again() {
    let settings = Folder::new(&[]).load(&[]);
    let again = Folder::new(&[("local.toml", &settings.redacted())]);
    assert_eq!(again.load(&[]).redacted(), settings.redacted());
    let defaults = super::toml_file::entries(include_str!("../../config/default.toml")).unwrap();
    let shown = super::toml_file::entries(&settings.redacted()).unwrap();
    let paths = |entries: Vec<super::toml_file::Entry>| -> Vec<_> {
        entries.into_iter().map(|entry| entry.path).collect()
    };
    assert_eq!(paths(shown), paths(defaults));
}

#[test]
fn values_out_of_bounds_are_refused() {
    let folder = Folder::new(&[]);
    for (path, good, bad) in [
        ("SERVER__HOST", "0.0.0.0", " "),
        ("SERVER__PORT", "65535", "65536"),
        ("SERVER__MANAGEMENT_BIND", "[::1]:9091", "localhost"),
        ("SERVER__BODY_LIMIT_BYTES", "1024", "1023"),
        ("LOG__FILTER", "info,holdfast::orders=debug", "holdfast=loud"),
        (
            "TELEMETRY__OTLP_ENDPOINT",
            "https://collector.example/otlp",
            "https://me:pw@collector.example",
        ),
        ("TELEMETRY__SAMPLING_RATIO", "1.0", "1.1"),
        ("TELEMETRY__TIMEOUT", "100ms", "99ms"),
        ("TELEMETRY__QUEUE", "512", "511"),
        ("DATABASE__POOL_SIZE", "1", "0"),
        ("DATABASE__POOL_WAIT", "899ms", "900ms"),
        ("DATABASE__STATEMENT_TIMEOUT", "899ms", "900ms"),
        ("DATABASE__LOCK_TIMEOUT", "1ms", "0s"),
        ("REDIS__POOL_WAIT", "899ms", "900ms"),
        ("REDIS__KEY_PREFIX", "a:b_c-9:", "a{b}"),
        ("REDIS__URL", "unix:///run/redis.sock", "http://cache"),
        ("AUTH__ISSUER", "https://id.example", "two words"),
        ("AUTH__LEEWAY", "60s", "61s"),
        ("AUTH__MAX_TOKEN_LIFETIME", "1s", "0s"),
        ("SHOP__CURRENCY", "JPY", "usd"),
        ("RESERVATION__TTL_SECONDS", "86400", "86401"),
        ("RESERVATION__TTL_SECONDS", "1", "0"),
        ("RESERVATION__CHURN_BURST", "0", "10001"),
        ("RESERVATION__CHURN_INTERVAL", "1ms", "0s"),
        ("CHECKOUT__CUSTOMERS_MUST_PAY_HERE", "false", "no"),
        ("PAYMENTS__WINDOW", "30m", "31m"),
        ("PAYMENTS__RETURN_ORIGINS", "https://shop.example.org", "https://shop.example.org/ok"),
        ("PAYMENTS__STRIPE__API_BASE", "https://api.example.org", "http://api.example.org"),
        ("PAYMENTS__STRIPE__API_BASE", "https://api.example.org", "https://api.example.org/"),
        ("PAYMENTS__STRIPE__API_VERSION", "2026-10-28.endive", ""),
        ("PAYMENTS__STRIPE__TIMEOUT", "60s", "61s"),
        ("PAYMENTS__BKASH__BASE_URL", "https://b.example.org", "http://b.example.org"),
        ("PAYMENTS__BKASH__TIMEOUT", "10ms", "9ms"),
        ("SWEEPER__PIN_GRACE", "901ms", "900ms"),
        ("SWEEPER__FULL_PASS", "50ms", "49ms"),
    ] {
        let name = format!("HOLDFAST__{path}");
        folder.load(&[(&name, good)]);
        let found = folder.complaints(&[(&name, bad)]);
        assert!(found.len() == 1 && found[0].contains(&name), "{name}={bad}: {found:?}");
    }
}
