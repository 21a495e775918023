//! `cargo xtask check`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::servers::{free_port, install, random_hex};

use super::fault_points;
use crate::cargo;
use crate::interrupt::Interrupt;
use crate::newman::Newman;
use crate::progress::step;
use crate::service::Service;
use crate::settings::Settings;
use crate::stores::Stores;

const COLLECTION: &str = "postman/holdfast.postman_collection.json";

/// Checks everything but the tests: formatting, lints, documentation, the compose file, that no
/// fault point is released, and the Postman collection, twice, on a service of its own.
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
    step("that no fault point is released", || fault_points::prove(interrupt))?;
    step("the Postman collection, twice", || postman(interrupt))?;
    if !arguments.no_browser {
        eprintln!("xtask: there are no checks in a browser yet");
    }
    eprintln!("xtask: all checks passed");
    Ok(ExitCode::SUCCESS)
}

fn postman(interrupt: &Interrupt) -> Result<()> {
    let workspace = cargo::workspace()?;
    let newman = Newman::install(&cargo::target()?.join("newman"), interrupt)?;
    install::ensure()?;
    let binary = cargo::release_binary(interrupt)?;
    let stores = Stores::temporary()?;
    let port = free_port()?;
    let settings = Settings::new(&workspace, &stores, port, &random_hex(32)?)?;
    let authority = format!("127.0.0.1:{port}");
    let mut service = Service::start(&binary, &settings, &authority)?;
    service.await_ready(interrupt)?;
    let outcome = collection_twice(&service, &newman, &workspace, &authority, interrupt);
    service.stop()?;
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
