//! The folder of one server: its data, its log, a lock, and a short folder for its sockets.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::lock::{self, Lock};
use crate::process::{POLL, is_running};

const SOCKETS: &str = "sockets";
const PID: &str = "pid";
const TEMPORARY: &str = "holdfast-";

/// Socket paths are limited to about 104 bytes, so sockets never stand beside the data.
const SOCKET_ROOT: &str = "/tmp";

const PREDECESSOR: Duration = Duration::from_secs(15);

/// The folder of one server, locked while the server is ours.
///
/// ```text
/// lock           held while the folder is in use
/// sockets        names the short folder
/// pid            the server that ran here last
/// server.log
/// data/
/// ```
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    sockets: PathBuf,
    temporary: bool,
    _lock: Lock,
}

impl Folder {
    /// A lasting folder; an error when another process uses it.
    pub(super) fn lasting(root: &Path) -> Result<Self> {
        match Lock::take(root)? {
            Some(lock) => Self::locked(root, lock, false),
            None => bail!("{} is in use by another process", root.display()),
        }
    }

    /// A folder that is deleted when dropped. Those left by killed processes are deleted first.
    pub(super) fn temporary(in_memory: bool) -> Result<Self> {
        let parent = if in_memory { memory() } else { None }.unwrap_or_else(std::env::temp_dir);
        sweep(&parent);
        loop {
            let root = parent.join(format!("{TEMPORARY}{}", random_hex(5)?));
            make_folder(&root)?;
            // A sweeper may have taken the folder before its lock was held: then try another.
            if let Some(lock) = Lock::take(&root)?.filter(|_| root.join(lock::FILE).exists()) {
                return Self::locked(&root, lock, true);
            }
        }
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether nobody will read the data again.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Where the server keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where the server listens; its path is short.
    pub(super) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// What the server printed.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// A handle that appends to the log.
    pub(super) fn open_log(&self) -> Result<File> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log());
        file.with_context(|| format!("cannot write {}", self.log().display()))
    }

    /// The end of the log, for an error message.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Remembers which process serves this folder.
    pub(super) fn note_server(&self, pid: u32) -> Result<()> {
        let path = self.root.join(PID);
        fs::write(&path, pid.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Waits for the server of a killed parent: it may still be shutting down on this data.
    pub(super) fn await_predecessor(&self) -> Result<()> {
        let noted = fs::read_to_string(self.root.join(PID)).unwrap_or_default();
        let Ok(pid) = noted.parse::<u32>() else {
            return Ok(());
        };
        let started = Instant::now();
        while serves(pid, &self.data()) {
            if started.elapsed() > PREDECESSOR {
                bail!("process {pid} still serves {}; end it first", self.root.display());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Deletes the data, so that the server begins empty.
    pub(super) fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot delete {}", self.data().display()))
            }
            _ => Ok(()),
        }
    }

    fn locked(root: &Path, lock: Lock, temporary: bool) -> Result<Self> {
        remove_sockets(root);
        let sockets = Path::new(SOCKET_ROOT).join(format!("hf-{}", random_hex(5)?));
        make_folder(&sockets)?;
        let _ = fs::remove_file(root.join("server.log"));
        fs::write(root.join(SOCKETS), sockets.as_os_str().as_encoded_bytes())?;
        Ok(Self { root: root.to_owned(), sockets, temporary, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted by the next sweep.
        remove_sockets(&self.root);
        if self.temporary {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Random bytes of the operating system in hexadecimal.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes one folder that must not exist yet, so that nobody else can have prepared it.
fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Lets another user pass through a folder without listing it.
pub(super) fn let_through(path: &Path) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o711))
        .with_context(|| format!("cannot change the mode of {}", path.display()))
}

/// Whether a process runs a server on `data`: both kinds of server make it their working folder.
fn serves(pid: u32, data: &Path) -> bool {
    if !is_running(pid) {
        return false;
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(working) => data.canonicalize().is_ok_and(|data| data == working),
        // Without /proc nothing tells it from a stranger that took over the number.
        Err(_) => !Path::new("/proc/self").exists(),
    }
}

/// Deletes the socket folder that `root` names.
fn remove_sockets(root: &Path) {
    let Ok(named) = fs::read_to_string(root.join(SOCKETS)) else {
        return;
    };
    let sockets = Path::new(&named);
    let ours = sockets.parent() == Some(Path::new(SOCKET_ROOT))
        && sockets.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"hf-"));
    if ours {
        let _ = fs::remove_dir_all(sockets);
    }
    let _ = fs::remove_file(root.join(SOCKETS));
}

/// A folder that is kept in memory, if there is one with room enough.
fn memory() -> Option<PathBuf> {
    const ROOM: u64 = 6 << 30;
    let shared = Path::new("/dev/shm");
    let there = rustix::fs::statvfs(shared).ok()?;
    (there.f_bavail * there.f_frsize >= ROOM).then(|| shared.to_owned())
}

/// Deletes temporary folders whose process is gone; whatever fails is another user's.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let root = entry.path();
        let temporary = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
        let mine = entry.metadata().is_ok_and(|metadata| {
            metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw()
        });
        if temporary && mine && root.join(lock::FILE).exists() {
            // Held until the folder is gone, so that nobody starts using it meanwhile.
            let Ok(Some(_lock)) = Lock::take(&root) else {
                continue;
            };
            remove_sockets(&root);
            let _ = fs::remove_dir_all(&root);
        }
    }
}
