//! Folders that one process at a time may use.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The file in the folder that carries the lock.
pub(super) const FILE: &str = "lock";

/// A folder held by this process alone, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder if need be; `None` when another process holds it.
    pub fn take(root: &Path) -> Result<Option<Self>> {
        private_folders(root)?;
        let path = root.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}

/// Makes a folder and its parents, for this user alone.
fn private_folders(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let owner = fs::metadata(path)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        bail!("{} belongs to another user (uid {owner}); delete it as that user", path.display());
    }
    Ok(())
}
