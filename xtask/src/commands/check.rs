//! `cargo xtask check`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use xtask::servers::{free_port, install, random_hex};

use super::{fault_points, ops, vendor};
use crate::browser::Modules;
use crate::cargo;
use crate::interrupt::Interrupt;
use crate::newman::Newman;
use crate::progress::step;
use crate::sandbox::Sandbox;
use crate::schemathesis::Schemathesis;
use crate::service::Service;
use crate::settings::Settings;
use crate::stores::Stores;
use crate::webhooks::Verifier;

/// Who asks thousands of questions would only be told to come again later.
const UNLIMITED: [&str; 5] = [
    "HOLDFAST__RATE_LIMIT__MAX_REQUESTS",
    "HOLDFAST__RATE_LIMIT__ANONYMOUS_PER_MINUTE",
    "HOLDFAST__RATE_LIMIT__REGISTER_PER_MINUTE",
    "HOLDFAST__RATE_LIMIT__LOGIN_PER_MINUTE",
    "HOLDFAST__RATE_LIMIT__ACCOUNT_PER_MINUTE",
];
const COLLECTION: &str = "postman/holdfast.postman_collection.json";

/// Checks everything but the tests: formatting, lints, documentation, the compose file, alerts, dashboard and runbook,
/// that no fault point is released, the Postman collection, twice, webhooks, that the service answers what its OpenAPI
/// document says to thousands of questions made up from it, and the console in a browser.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leaves out the checks that need a browser
    #[arg(long)]
    no_browser: bool,
}

/// Runs the command; the first check that fails ends it.
pub(crate) fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    let cargo = |arguments: &[&str]| cargo::demand(arguments, interrupt);
    step("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    step("lints", || {
        let targets = ["clippy", "--workspace", "--all-targets", "--all-features"];
        cargo(&[&targets[..], &["--", "-D", "warnings"]].concat())
    })?;
    step("documentation", || {
        let deny = [("RUSTDOCFLAGS".into(), "-D warnings".into())];
        cargo::demand_with(&["doc", "--workspace", "--no-deps"], &deny, interrupt)
    })?;
    step("the compose file", || cargo(&["test", "-q", "-p", "xtask", "--test", "compose"]))?;
    ops::check(interrupt)?;
    step("that no fault point is released", || fault_points::prove(interrupt))?;
    let (binary, sandbox) = cargo::release_binaries(interrupt)?;
    step("the Postman collection, twice", || postman(&binary, interrupt))?;
    step("webhooks, by the library of their standard", || webhooks(&binary, interrupt))?;
    step("the OpenAPI document, by questions", || questions(&binary, interrupt))?;
    if !arguments.no_browser {
        step("the console, in a browser", || console(&binary, &sandbox, interrupt))?;
    }
    eprintln!("xtask: all checks passed");
    Ok(ExitCode::SUCCESS)
}

fn postman(binary: &Path, interrupt: &Interrupt) -> Result<()> {
    let workspace = cargo::workspace()?;
    let newman = Newman::install(&cargo::target()?.join("newman"), interrupt)?;
    on_a_service(binary, &[], interrupt, |service, authority| {
        collection_twice(service, &newman, &workspace, authority, interrupt)
    })
}

/// The local profile lets a receiver on this machine be called.
fn webhooks(binary: &Path, interrupt: &Interrupt) -> Result<()> {
    let verifier = Verifier::install(&cargo::target()?.join("webhooks"), interrupt)?;
    on_a_service(binary, &[], interrupt, |service, authority| {
        let storefront = service.token("service", "storefront")?;
        let admin = service.token("admin", "root")?;
        verifier.run(&format!("http://{authority}"), &storefront, &admin, interrupt)
    })
}

/// Each role is told other things.
fn questions(binary: &Path, interrupt: &Interrupt) -> Result<()> {
    let schemathesis = Schemathesis::install(&cargo::target()?.join("schemathesis"), interrupt)?;
    on_a_service(binary, &UNLIMITED, interrupt, |service, authority| {
        for role in ["admin", "merchant", "customer"] {
            let token = service.token(role, "asker")?;
            let asked = schemathesis.run(&format!("http://{authority}"), &token, interrupt);
            asked.with_context(|| format!("as {role}"))?;
        }
        Ok(())
    })
}

/// The vendored parts of the page are those of the lock file, and the page does what it says. Buyers pay in a sandbox, mail
/// goes to whoever listens on a port of the run, and news is given up soon.
fn console(binary: &Path, sandbox: &Path, interrupt: &Interrupt) -> Result<()> {
    let workspace = cargo::workspace()?;
    let modules = Modules::install(&cargo::target()?.join("console"), interrupt)?;
    let fresh = cargo::target()?.join("console/vendor");
    modules.vendor(&workspace, &fresh, interrupt)?;
    for entry in fs::read_dir(&fresh)? {
        let name = entry?.file_name();
        let kept = fs::read(workspace.join(vendor::FOLDER).join(&name)).unwrap_or_default();
        if kept != fs::read(fresh.join(&name))? {
            bail!("{} is not what its package has: run cargo xtask vendor", name.display());
        }
    }
    let mut settings = UNLIMITED.map(|name| (name, "0".to_owned())).to_vec();
    settings.extend([
        ("HOLDFAST__MAIL__SMTP_URL", format!("smtp://127.0.0.1:{}", free_port()?)),
        ("HOLDFAST__MAIL__FROM", "Shop <orders@example.org>".to_owned()),
        ("HOLDFAST__OUTBOX__ATTEMPTS", "2".to_owned()),
        ("HOLDFAST__OUTBOX__RETRY_FIRST", "200ms".to_owned()),
        ("HOLDFAST__OUTBOX__RETRY_MOST", "1s".to_owned()),
    ]);
    on_a_service_with(binary, Some(sandbox), &settings, interrupt, |service, authority| {
        let mut environment = service.environment();
        let url = format!("http://{authority}");
        environment.push(("HOLDFAST_URL".into(), url.into()));
        environment.push(("HOLDFAST_BIN".into(), binary.into()));
        let psql = install::ensure()?.postgres_folder.join("psql");
        environment.push(("CONSOLE_PSQL".into(), psql.into()));
        modules.use_console(&workspace, &workspace.join("docs/console"), &environment, interrupt)
    })
}

/// Runs `work` on a service with stores of its own and these limits off.
fn on_a_service(
    binary: &Path,
    unlimited: &[&'static str],
    interrupt: &Interrupt,
    work: impl FnOnce(&Service, &str) -> Result<()>,
) -> Result<()> {
    let settings: Vec<_> = unlimited.iter().map(|name| (*name, "0".to_owned())).collect();
    on_a_service_with(binary, None, &settings, interrupt, work)
}

/// The same with these settings, and perhaps a sandbox to pay in.
fn on_a_service_with(
    binary: &Path,
    sandbox: Option<&Path>,
    more: &[(&str, String)],
    interrupt: &Interrupt,
    work: impl FnOnce(&Service, &str) -> Result<()>,
) -> Result<()> {
    install::ensure()?;
    let stores = Stores::temporary()?;
    let port = free_port()?;
    let mut settings = Settings::new(&cargo::workspace()?, &stores, port, &random_hex(32)?)?;
    for (name, value) in more {
        settings.set(name, value);
    }
    let authority = format!("127.0.0.1:{port}");
    let folder = cargo::target()?.join("console");
    let sandbox = sandbox
        .map(|binary| -> Result<Sandbox> {
            let mut sandbox = Sandbox::start(binary, &mut settings, &authority, &folder, true)?;
            sandbox.await_ready(interrupt)?;
            Ok(sandbox)
        })
        .transpose()?;
    let mut service = Service::start(binary, &settings, &authority)?;
    service.await_ready(interrupt)?;
    let outcome = work(&service, &authority);
    service.stop()?;
    drop(sandbox);
    outcome
}

fn collection_twice(
    service: &Service,
    newman: &Newman,
    workspace: &Path,
    authority: &str,
    interrupt: &Interrupt,
) -> Result<()> {
    let url = format!("http://{authority}");
    let admin = service.token("admin", "postman-admin")?;
    let storefront = service.token("service", "postman-storefront")?;
    let customer = service.token("customer", "postman-customer")?;
    let variables = [
        ("baseUrl", url.as_str()),
        ("adminToken", &admin),
        ("serviceToken", &storefront),
        ("customerToken", &customer),
    ];
    for round in ["first", "second"] {
        newman
            .run(&workspace.join(COLLECTION), &variables, interrupt)
            .with_context(|| format!("the {round} round"))?;
    }
    Ok(())
}
