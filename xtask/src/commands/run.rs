//! `cargo xtask run`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use xtask::servers::{Lock, free_port, install, random_hex};

use super::demo;
use crate::cargo;
use crate::interrupt::Interrupt;
use crate::progress::step;
use crate::sandbox::Sandbox;
use crate::service::Service;
use crate::settings::Settings;
use crate::stores::Stores;

const DEFAULT_PORT: u16 = 8080;

/// Runs in one checkout at the same time: more are a mistake.
const RUNS: usize = 16;

/// Serves a release build on a private Redis and Postgres, with a demo sale to try and a sandbox to
/// pay in.
///
/// The data stays in .dev/ between runs. Settings of the environment reach the service, such as
/// HOLDFAST__RESERVATION__TTL_SECONDS=5; .dev/run.env tells scripts where everything is. Ctrl-C
/// stops the service first and then its stores.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Port of the API; 0 takes a free one [default: $PORT or 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Begins with empty stores
    #[arg(long)]
    fresh: bool,
    /// Makes no demo products
    #[arg(long)]
    no_demo: bool,
}

/// Runs the command until it is interrupted or the service ends.
pub(crate) fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    let host = host();
    let port = port(arguments, &host)?;
    let workspace = cargo::workspace()?;
    let dev = workspace.join(".dev");
    let (folder, _lock) = claim(&dev)?;
    let environment = dev.join("run.env");
    step("finding Redis and Postgres", install::ensure)?;
    let (binary, sandbox) = step("building the service", || cargo::release_binaries(interrupt))?;
    let stores = Stores::lasting(&folder, arguments.fresh)?;
    let mut settings = Settings::new(&workspace, &stores, port, &development_secret(&dev)?)?;
    let authority = format!("{host}:{port}");
    settings.set("HOLDFAST_URL", format!("http://{authority}"));
    settings.set("HOLDFAST_BIN", &binary);
    let sandbox = match settings.has_provider() {
        true => None,
        false => Some(step("starting the sandbox of payments", || {
            let fresh = arguments.fresh;
            let mut sandbox = Sandbox::start(&sandbox, &mut settings, &authority, &folder, fresh)?;
            sandbox.await_ready(interrupt)?;
            Ok(sandbox)
        })?),
    };
    settings.write(&environment)?;
    let place = sandbox.as_ref().map(Sandbox::url);
    let run = Run { authority: &authority, folder: &folder, environment: &environment };
    let served = serve(arguments, &settings, &run, place.as_deref(), interrupt);
    settings.remove(&environment);
    if let Some(sandbox) = sandbox {
        step("stopping the sandbox of payments", || sandbox.stop())?;
    }
    step("stopping Redis and Postgres", || {
        drop(stores);
        Ok(())
    })?;
    served
}

/// Where a run is.
struct Run<'a> {
    authority: &'a str,
    folder: &'a Path,
    environment: &'a Path,
}

fn serve(
    arguments: &Arguments,
    settings: &Settings,
    run: &Run<'_>,
    sandbox: Option<&str>,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    let Run { authority, folder, environment } = *run;
    let binary = PathBuf::from(settings.get("HOLDFAST_BIN").unwrap_or_default());
    let mut service = Service::start(&binary, settings, authority)?;
    step("waiting for the service", || service.await_ready(interrupt))?;
    let url = format!("http://{authority}");
    print(&demo::places(&url, settings.management(), sandbox, folder, environment));
    if !arguments.no_demo {
        // A shop without the demo can still be tried by hand.
        match step("making the demo sale", || demo::seed(&service)) {
            Ok(()) => print(&demo::lines_to_try(environment, sandbox.is_some())),
            Err(error) => eprintln!("xtask: {error:#}"),
        }
    }
    while !interrupt.requested() {
        if let Some(status) = service.ended()? {
            bail!("the service ended by itself: {status}");
        }
    }
    step("stopping the service", || service.stop())?;
    Ok(ExitCode::SUCCESS)
}

/// Where the service answers from here.
fn host() -> String {
    let named = std::env::var_os("HOLDFAST__SERVER__HOST");
    match named.as_ref().and_then(|host| host.to_str()) {
        None | Some("" | "0.0.0.0" | "::" | "localhost") => Ipv4Addr::LOCALHOST.to_string(),
        Some(host) => host.to_owned(),
    }
}

/// The port that was asked for, if nobody listens there.
fn port(arguments: &Arguments, host: &str) -> Result<u16> {
    let named = ["HOLDFAST__SERVER__PORT", "PORT"]
        .into_iter()
        .find_map(|name| std::env::var_os(name)?.to_str()?.parse().ok());
    let port = arguments.port.or(named).unwrap_or(DEFAULT_PORT);
    if port == 0 {
        return free_port();
    }
    // The second catches a server that listens on every interface.
    for address in [host, "0.0.0.0"] {
        TcpListener::bind((address, port)).with_context(|| {
            format!("port {port} is in use or forbidden; choose another with --port (0: any)")
        })?;
    }
    Ok(port)
}

/// A folder for this run's data: `.dev/run`, or another one while that is in use.
fn claim(dev: &Path) -> Result<(PathBuf, Lock)> {
    for number in 1..=RUNS {
        let name = if number == 1 { "run".to_owned() } else { format!("run-{number}") };
        let folder = dev.join(name);
        if let Some(lock) = Lock::take(&folder)? {
            if number > 1 {
                eprintln!("xtask: another run is going on; this one has data of its own");
            } else {
                // What a killed run left would mislead whoever waits for this one's.
                let _ = fs::remove_file(dev.join("run.env"));
            }
            return Ok((folder, lock));
        }
    }
    bail!("{RUNS} runs in this checkout are going on already");
}

/// Made once, so that tokens outlive a restart.
fn development_secret(dev: &Path) -> Result<String> {
    let path = dev.join("jwt-secret");
    if let Ok(secret) = fs::read_to_string(&path) {
        return Ok(secret.trim().to_owned());
    }
    let secret = random_hex(32)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(secret)
}

/// To standard output, which may be a pipe that nobody reads any more.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
