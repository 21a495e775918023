//! Hints that a settings file has changed. The folder is watched, not the files: editors and Kubernetes put new files or
//! links in the place of old ones. So is the folder around it, in which it may be a link itself.

use std::path::Path;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Watches until it is dropped.
pub(super) struct Watcher {
    watcher: Option<RecommendedWatcher>,
}

impl Watcher {
    /// Calls `wake` when something in this folder has changed, or when it became another one. Without a watch (the
    /// system has only so many) there is the look that comes anyway.
    pub(super) fn new(dir: &Path, wake: impl Fn() + Send + 'static) -> Self {
        let folder = dir.to_owned();
        let heard = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| concerns(&event, &folder)) {
                wake();
            }
        };
        let watcher = notify::recommended_watcher(heard).and_then(|mut watcher| {
            let around = dir.parent().filter(|around| !around.as_os_str().is_empty());
            watcher.watch(around.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
            if dir.is_dir() {
                watcher.watch(dir, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::debug!(%error, "settings files are not watched; they are looked at every few seconds");
        }
        Self { watcher: watcher.ok() }
    }

    /// Whether there is a watch.
    pub(super) fn watches(&self) -> bool {
        self.watcher.is_some()
    }
}

/// Whether this is a change, and one of this folder: reading a file, which we do ourselves, is an event too.
fn concerns(event: &notify::Event, dir: &Path) -> bool {
    let read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let name = dir.file_name();
    let within = |path: &Path| {
        path.file_name() == name || path.parent().is_some_and(|parent| parent.file_name() == name)
    };
    !read && (event.paths.is_empty() || event.paths.iter().any(|path| within(path)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_and_links_that_are_put_in_place_of_others_are_told_without_a_look() {
        let name = format!("holdfast-watched-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("test.toml"), "").unwrap();
        symlink("..1", dir.join("..data")).unwrap();
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(dir.join("test.toml"), "[log]").unwrap(),
            &|| {
                fs::write(dir.join("next"), "").unwrap();
                fs::rename(dir.join("next"), dir.join("test.toml")).unwrap();
            },
            &|| {
                symlink("..2", dir.join("..data_tmp")).unwrap();
                fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
            },
        ];
        for change in changes {
            let (told, heard) = mpsc::channel();
            let watcher = Watcher::new(&dir, move || told.send(()).unwrap_or_default());
            assert!(watcher.watches());
            change();
            assert_eq!(heard.recv_timeout(Duration::from_secs(60)), Ok(()));
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
