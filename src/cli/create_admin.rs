//! `holdfast create-admin`: the first account that may do everything.

use std::io::{BufRead, Write};

use anyhow::Context;
use clap::Args;

use crate::accounts::{Accounts, Registration};
use crate::config::Settings;
use crate::identity::{Role, Tokens};
use crate::kernel::Clock;
use crate::platform::Db;

/// What `holdfast create-admin` is told.
#[derive(Args, Debug)]
pub struct CreateAdminArgs {
    /// The name to sign in with: 3 to 64 of A-Z a-z 0-9 @ . + _ -
    #[arg(long)]
    username: String,
    /// The e-mail address to sign in with.
    #[arg(long)]
    email: String,
    /// Takes the password from the first line of standard input; without it one is made up and printed, alone on the
    /// last line, once.
    #[arg(long)]
    password_stdin: bool,
}

/// Makes the account, and prints its password if it was made up here.
pub async fn run(
    args: &CreateAdminArgs,
    settings: Settings,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut given = String::new();
    let made_up = format!("{:032x}", rand::random::<u128>());
    if args.password_stdin {
        input.read_line(&mut given).context("reading the password")?;
    }
    let password =
        if args.password_stdin { given.trim_end_matches(['\r', '\n']) } else { &made_up };
    let new = Registration::parse(&args.username, &args.email, password, Role::Admin)
        .map_err(|(field, message)| anyhow::anyhow!("--{field}: {message}"))?;
    let clock = Clock::System;
    let db = Db::new(&settings.database, &clock).context("the setting database.url")?;
    let tokens = Tokens::new(&settings.auth)?;
    let patience = settings.server.request_deadline;
    let accounts = Accounts::new(db, tokens, clock, &settings.auth, patience)?;
    let account = accounts.create(&new).await?;
    writeln!(out, "{} may do everything; sign in with POST /api/auth/login", account.username)?;
    if !args.password_stdin {
        writeln!(out, "its password, shown only now:\n{made_up}")?;
    }
    Ok(())
}
