//! `holdfast serve`: the service, until a signal.

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Loaded;
use crate::kernel::Clock;
use crate::platform::{postgres, telemetry};

/// What `holdfast serve` takes.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Bring the database schema up to this binary first.
    #[arg(long)]
    pub migrate: bool,
}

/// Serves until SIGTERM or SIGINT, then finishes what is in flight.
pub async fn run(args: &ServeArgs, loaded: Loaded) -> anyhow::Result<()> {
    let traces = telemetry::start(&loaded.settings.log, &loaded.settings.telemetry)?;
    // The allocator touches a little of much: in pages of 2 MiB the service would take twice the memory.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
    if args.migrate {
        let migrated = postgres::migrate(&loaded.settings.database).await?;
        tracing::info!(applied = migrated.applied.len(), "the database schema is up to date");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Taken before anything takes long: by default it ends a process.
    let mut hangup = signal(SignalKind::hangup())?;
    let app = App::start(loaded, Clock::System).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to stop (SIGTERM)"),
            _ = interrupt.recv() => tracing::info!("told to stop (SIGINT)"),
            () = app.failed() => {
                tracing::error!("the HTTP server ended by itself");
                break;
            }
            _ = hangup.recv() => {
                tracing::info!("told to read the settings files (SIGHUP)");
                app.read_files();
                continue;
            }
        }
        // Who says it twice is in a hurry.
        tokio::select! {
            () = app.leave() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        break;
    }
    let stopped = app.stop().await;
    traces.stop().await;
    stopped
}
