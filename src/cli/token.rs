//! `holdfast token`: signs a token for a person, a script or a storefront.
//!
//! Needs only the secret. The token alone stands on the last line of standard output, so that
//! `TOKEN=$(holdfast token …)` works; words for people go to standard error.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use humantime_serde::re::humantime::{format_duration, parse_duration};
use jiff::Timestamp;

use crate::config::{LoadOptions, Settings};
use crate::identity::{Role, Tokens};
use crate::kernel::{Clock, UserId};

/// What `holdfast token` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenArgs {
    /// What the bearer may do: customer, merchant, admin or service.
    #[arg(long)]
    pub role: Role,
    /// Who the bearer is: 1 to 128 printable ASCII characters without blank / ? # %.
    #[arg(long)]
    pub sub: UserId,
    /// How long the token is good for, e.g. 15m or 2h; at most auth.max_token_lifetime.
    #[arg(long, value_parser = parse_duration, default_value = "2h")]
    pub ttl: Duration,
    /// Where mail for the bearer goes.
    #[arg(long)]
    pub email: Option<String>,
}

/// Signs a token and writes it to `out`.
///
/// # Errors
///
/// When the `auth` settings are wrong, or the service would not believe the token.
pub fn run(
    args: &TokenArgs,
    options: &LoadOptions,
    clock: &Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let now = clock.now();
    let token = sign(args, options, now)?;
    let TokenArgs { role, sub, ttl, .. } = args;
    eprintln!("{role} {sub}, for {} from {now:.0}", format_duration(*ttl));
    Ok(writeln!(out, "{token}")?)
}

fn sign(args: &TokenArgs, options: &LoadOptions, now: Timestamp) -> anyhow::Result<String> {
    let tokens = Tokens::new(&Settings::load_auth(options)?)?;
    let email = args.email.as_deref();
    tokens.sign(&args.sub, args.role, email, args.ttl, now).context("no token was signed")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TokenArgs,
    }

    fn options(lifetime: &str) -> LoadOptions {
        let secret = "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw";
        let pairs = [
            ("HOLDFAST__AUTH__JWT_SECRET", secret),
            ("HOLDFAST__AUTH__MAX_TOKEN_LIFETIME", lifetime),
        ];
        LoadOptions::from_env(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    fn token(lifetime: &str, words: &str) -> Result<String, String> {
        let words = ["token"].into_iter().chain(words.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let clock = Clock::Manual(Arc::new(1_800_000_000_000.into()));
        let mut out = Vec::new();
        run(&line.args, &options(lifetime), &clock, &mut out).map_err(|e| format!("{e:#}"))?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_token_stands_alone_on_the_last_line_and_is_believed() {
        let said = token("24h", "--role service --sub shop-1 --ttl 2h --email a@b.example");
        let said = said.unwrap();
        let line = said.strip_suffix('\n').unwrap().lines().last().unwrap();
        let tokens = Tokens::new(&Settings::load_auth(&options("24h")).unwrap()).unwrap();
        let now = Timestamp::from_second(1_800_000_000 + 7199).unwrap();
        let claims = tokens.verify(line, now).unwrap();
        assert_eq!((claims.role, claims.sub.as_str()), (Role::Service, "shop-1"));
        assert_eq!(claims.email.as_deref(), Some("a@b.example"));
        assert_eq!(claims.exp, 1_800_000_000 + 7200);
    }

    #[test]
    fn what_would_be_refused_is_refused_here_and_says_why() {
        for (words, why) in [
            ("--role admin --sub a --ttl 25h", "at most 1day (auth.max_token_lifetime)"),
            ("--role admin --sub a --ttl 0s", "at least 1s"),
            ("--role admin --sub a/b --ttl 1h", "without blank / ? # %"),
            ("--role root --sub a --ttl 1h", "customer, merchant, admin or service"),
            ("--role admin --sub a --ttl soon", "--ttl"),
            ("--role admin --sub a --email nobody", "e-mail"),
        ] {
            let said = token("24h", words).unwrap_err();
            assert!(said.contains(why), "{words}: {said}");
        }
    }

    #[test]
    fn a_missing_secret_is_said_and_nothing_else() {
        let none = LoadOptions::from_env([]);
        let args = Line::try_parse_from(["token", "--role", "admin", "--sub", "a"]).unwrap().args;
        let said = sign(&args, &none, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        assert!(said.contains("auth.jwt_secret is not set"), "{said}");
        assert!(!said.contains("database"), "{said}");
    }
}
