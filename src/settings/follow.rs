//! Following changes until the service stops: the version in Postgres several times a second, so that a change is in
//! force everywhere within two seconds whatever becomes of any message, and the files when they change.

use std::time::Duration;

use tokio::time::Instant as Started;

use crate::platform::Fault;
use crate::platform::tasks::jittered;
use crate::settings::files::Watcher;
use crate::settings::{LiveSettings, store};

/// Between two looks at the version.
const POLL: Duration = Duration::from_millis(500);
/// A file that is written, or several that are put in place, make a swarm of events.
const QUIET: Duration = Duration::from_millis(100);
/// Between two looks at the files that no event asked for: some file systems tell of nothing.
const FILES: Duration = Duration::from_secs(5);

impl LiveSettings {
    /// Begins to follow changes.
    pub fn start(&self) {
        drop(self.shared.parts.tasks.spawn(self.clone().run_polling()));
        drop(self.shared.parts.tasks.spawn(self.clone().run_watching()));
    }

    async fn run_polling(self) {
        let mut away = false;
        while self.shared.parts.tasks.pause(jittered(POLL)).await {
            match self.poll().await {
                Ok(()) => away = false,
                Err(fault) if away => {
                    tracing::debug!(error = fault.chain(), "still no live settings")
                }
                Err(fault) => {
                    away = true;
                    tracing::warn!(
                        error = fault.chain(),
                        "live settings cannot be read; those in force stand"
                    );
                }
            }
        }
    }

    async fn poll(&self) -> Result<(), Fault> {
        let (version, moving) = store::version(&self.shared.parts.background_db).await?;
        let known = (self.shared.known.load().version, self.shared.known.load().moving);
        if (version, moving) != known {
            self.look().await?;
        }
        // Whoever is behind would move them to a hold time that is over.
        if moving && self.version() == version {
            self.move_holds().await?;
        }
        Ok(())
    }

    async fn run_watching(self) {
        let stop = self.shared.parts.tasks.stop().clone();
        let dir = self.shared.parts.start.options.dir.clone();
        let wake = {
            let shared = self.shared.clone();
            move || shared.files.notify_one()
        };
        let mut watcher = Watcher::new(&dir, wake.clone());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FILES) => {}
                () = self.shared.files.notified() => {
                    self.quiet().await;
                    // The folder may be another one now, under the same name. Watched before it is read.
                    watcher = Watcher::new(&dir, wake.clone());
                }
            }
            self.look_at_files().await;
            if !watcher.watches() {
                watcher = Watcher::new(&dir, wake.clone());
            }
        }
    }

    /// Waits until nothing has happened for a moment, but not for ever.
    async fn quiet(&self) {
        let end = Started::now() + QUIET * 5;
        while Started::now() < end {
            let more = tokio::time::timeout(QUIET, self.shared.files.notified()).await;
            if more.is_err() {
                return;
            }
        }
    }
}
