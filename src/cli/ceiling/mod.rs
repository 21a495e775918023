//! `holdfast ceiling`: the least that a service like this could do, to compare against.
//!
//! Takes the same requests as the reservation of one unit and answers in the same shape: JSON in
//! and out, the token verified, and no store behind it. Not part of the product: it holds nothing.

mod http;

use crate::config::{LoadOptions, Settings};

/// What `holdfast ceiling` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct CeilingArgs {
    /// Port on this machine.
    #[arg(long)]
    port: u16,
}

/// Serves until it is told to stop.
pub async fn run(args: &CeilingArgs, options: &LoadOptions) -> anyhow::Result<()> {
    Ok(http::serve(args.port, &Settings::load_auth(options)?).await?)
}
