//! Environment variables as settings.
//!
//! `HOLDFAST__SECTION__KEY` reaches every setting; a few have a plain name too, as hosting
//! platforms hand them out. This is the only file of the service that reads the environment.

use toml::Value;

const PREFIX: &str = "HOLDFAST__";

/// Names that hosting platforms and habits give; they lose against the `HOLDFAST__` form.
const PLAIN_NAMES: [(&str, &str); 13] = [
    ("PORT", "server.port"),
    ("DATABASE_URL", "database.url"),
    ("MIGRATE_DATABASE_URL", "database.migrate_url"),
    ("REDIS_URL", "redis.url"),
    ("REDIS_TTL", "reservation.ttl_seconds"),
    ("RATE_LIMIT_WINDOW_MS", "rate_limit.window_ms"),
    ("RATE_LIMIT_MAX_REQUESTS", "rate_limit.max_requests"),
    ("STRIPE_SECRET_KEY", "payments.stripe.secret_key"),
    ("STRIPE_WEBHOOK_SECRET", "payments.stripe.webhook_secret"),
    ("BKASH_APP_KEY", "payments.bkash.app_key"),
    ("BKASH_APP_SECRET", "payments.bkash.app_secret"),
    ("BKASH_USERNAME", "payments.bkash.username"),
    ("BKASH_PASSWORD", "payments.bkash.password"),
];

/// One setting as a variable has it.
#[derive(Debug, PartialEq)]
pub(super) struct Variable {
    /// As the environment has it.
    pub(super) name: String,
    /// `section.key`.
    pub(super) path: String,
    /// As written.
    pub(super) text: String,
}

/// The variables of the process that are settings, and those that say where settings are.
pub(super) fn of_process() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, text)| (name.to_string_lossy().into(), text.to_string_lossy().into()))
        .filter(|(name, _): &(String, String)| name.starts_with("HOLDFAST_") || is_plain(name))
        .collect()
}

/// Picks the settings out of an environment, weakest first. Other variables are not ours: a name
/// with a single underscore (`HOLDFAST_URL`) speaks to scripts around the service.
pub(super) fn variables(environment: &[(String, String)]) -> Vec<Variable> {
    let plain = PLAIN_NAMES.iter().filter_map(|(name, path)| {
        // Compose files pass unset variables on as empty ones.
        let (_, text) =
            environment.iter().find(|(known, text)| known == name && !text.is_empty())?;
        Some(variable(name, path, text))
    });
    let ours = environment.iter().filter_map(|(name, text)| {
        let path = match name.strip_prefix(PREFIX) {
            Some(path) => path,
            // Nobody writes `HOLDFAST_SECTION__KEY` but to set something: it is an unknown one.
            None => Some(name.as_str())
                .filter(|name| name.starts_with("HOLDFAST_") && name.contains("__"))?,
        };
        Some(variable(name, &path.to_ascii_lowercase().replace("__", "."), text))
    });
    plain.chain(ours).collect()
}

/// Reads a variable's text as the type its setting has; the message never repeats the text.
pub(super) fn typed(text: &str, like: &Value) -> Result<Value, &'static str> {
    match like {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).or(Err("an integer")),
        Value::Float(_) => text.trim().parse().map(Value::Float).or(Err("a number")),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).or(Err("true or false")),
        Value::Array(_) => Ok(Value::Array(list(text))),
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Ok(Value::String(text.into())),
    }
}

fn list(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::String(item.to_owned())).collect()
}

/// The variable that sets a setting: the short name, where there is one.
pub(super) fn variable_of(path: &str) -> String {
    match PLAIN_NAMES.iter().find(|(_, known)| *known == path) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__")),
    }
}

fn is_plain(name: &str) -> bool {
    PLAIN_NAMES.iter().any(|(plain, _)| *plain == name)
}

fn variable(name: &str, path: &str, text: &str) -> Variable {
    Variable { name: name.to_owned(), path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<String> {
        let environment: Vec<_> = names.iter().map(|n| (n.to_string(), "x".to_owned())).collect();
        variables(&environment).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn the_long_form_comes_after_the_plain_one_and_so_wins() {
        let found = paths(&["HOLDFAST__SERVER__PORT", "PORT"]);
        assert_eq!(found, ["server.port", "server.port"]);
        let environment = [("HOLDFAST__SERVER__PORT", "1"), ("PORT", "2")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(variables(&environment)[1].text, "1");
    }

    #[test]
    fn single_underscores_reach_the_key() {
        assert_eq!(paths(&["HOLDFAST__RESERVATION__TTL_SECONDS"]), ["reservation.ttl_seconds"]);
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let names = ["HOLDFAST_URL", "HOLDFAST_TEST_REDIS", "HOLDFAST_PROFILE", "PATH", "PORTS"];
        assert!(paths(&names).is_empty());
    }

    #[test]
    fn a_prefix_that_lost_an_underscore_is_a_setting_that_nobody_knows() {
        let found = paths(&["HOLDFAST_RESERVATION__TTL_SECONDS"]);
        assert_eq!(found, ["holdfast_reservation.ttl_seconds"]);
    }

    #[test]
    fn texts_take_the_type_of_their_setting() {
        assert_eq!(typed(" 5 ", &Value::Integer(0)), Ok(Value::Integer(5)));
        assert_eq!(typed("5", &Value::String("".into())), Ok(Value::String("5".into())));
        assert_eq!(typed("true", &Value::Boolean(false)), Ok(Value::Boolean(true)));
        assert_eq!(typed("yes", &Value::Boolean(false)), Err("true or false"));
        assert_eq!(typed("1.5", &Value::Integer(0)), Err("an integer"));
        let both = Value::Array(vec![Value::String("a".into()), Value::String("b".into())]);
        assert_eq!(typed("a, b,", &Value::Array(vec![])), Ok(both));
    }
}
