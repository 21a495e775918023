//! The sandbox as a program of its own: `holdfast-sandbox --port 9100 --webhook-url http://127.0.0.1:8080/api/payment/stripe/webhook`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use holdfast_sandbox::{Keys, Options, Sandbox};

/// Stripe Checkout and bKash Tokenized Checkout as fakes, for trying a shop without money.
///
/// The keys are taken from STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, BKASH_APP_KEY,
/// BKASH_APP_SECRET, BKASH_USERNAME and BKASH_PASSWORD. Without any, some are made and printed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Interface to listen on: whoever reaches it can do everything here
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 9_100)]
    port: u16,
    /// Where events of Stripe go
    #[arg(long)]
    webhook_url: Option<String>,
    /// File in which what happened outlives this program
    #[arg(long)]
    state: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (keys, given) = keys();
    let Arguments { host, port, webhook_url, state } = arguments;
    let options = Options { host, port, keys, webhook_url, state, ..Options::default() };
    let mut sandbox = Sandbox::start(options).await?;
    println!("sandbox: Stripe and bKash as fakes at {}", sandbox.url);
    if !given {
        println!("sandbox: for the service:");
        for (name, value) in sandbox.environment() {
            println!("export {name}='{value}'");
        }
    }
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
        () = sandbox.ended() => anyhow::bail!("the server ended by itself"),
    }
    Ok(())
}

/// The keys of the environment, each replaced by a random one where it is missing; and whether any was there.
fn keys() -> (Keys, bool) {
    let mut keys = Keys::random();
    let mut given = false;
    for (name, key) in [
        ("STRIPE_SECRET_KEY", &mut keys.stripe_secret_key),
        ("STRIPE_WEBHOOK_SECRET", &mut keys.stripe_webhook_secret),
        ("BKASH_APP_KEY", &mut keys.bkash_app_key),
        ("BKASH_APP_SECRET", &mut keys.bkash_app_secret),
        ("BKASH_USERNAME", &mut keys.bkash_username),
        ("BKASH_PASSWORD", &mut keys.bkash_password),
    ] {
        let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            *key = value;
            given = true;
        }
    }
    (keys, given)
}
