//! Finds the programs of Redis and Postgres, and installs them where that is ours to do.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::apt;
use crate::process::on_path;

/// Names the folder that holds `initdb` and `postgres`, before any other place.
pub const POSTGRES_FOLDER_VARIABLE: &str = "HOLDFAST_PG_BIN";

const HOMEBREW: [&str; 2] = ["/opt/homebrew", "/usr/local"];

/// Where the server programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `redis-server`.
    pub redis_server: PathBuf,
    /// The folder of `initdb`, `postgres`, `pg_isready` and `psql`.
    pub postgres_folder: PathBuf,
}

/// Finds the programs. As root on Debian and its kin missing ones are installed; elsewhere the
/// error names the command that does it.
pub fn ensure() -> Result<Programs> {
    if let Some(programs) = find()? {
        return Ok(programs);
    }
    if cfg!(target_os = "macos") {
        bail!("Redis or Postgres is missing; install them: brew install redis postgresql@15");
    }
    let Some(apt_get) = on_path("apt-get") else {
        bail!(
            "Redis or Postgres is missing; install redis-server and postgresql with this system's \
             package manager, or name the folder of initdb in {POSTGRES_FOLDER_VARIABLE}"
        );
    };
    if !rustix::process::geteuid().is_root() {
        bail!(
            "Redis or Postgres is missing; install them: \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            apt::PACKAGES.join(" ")
        );
    }
    apt::install(&apt_get, &apt::PACKAGES)?;
    match find()? {
        Some(programs) => Ok(programs),
        None => bail!("the packages are installed, yet redis-server or initdb is not to be found"),
    }
}

/// Installs what a check of ours runs besides, unless it is there; packages by their names in Debian.
pub fn ensure_tools(present: bool, packages: &[&str]) -> Result<()> {
    if present {
        return Ok(());
    }
    let names = packages.join(" ");
    match on_path("apt-get") {
        Some(apt_get) if rustix::process::geteuid().is_root() => apt::install(&apt_get, packages),
        _ => bail!("a tool is missing; install: {names} (apt-get, brew)"),
    }
}

/// Finds the programs, installing nothing.
pub fn find() -> Result<Option<Programs>> {
    let (redis, postgres) = (redis_server(), postgres_folder()?);
    Ok(redis
        .zip(postgres)
        .map(|(redis_server, postgres_folder)| Programs { redis_server, postgres_folder }))
}

fn redis_server() -> Option<PathBuf> {
    let brewed = HOMEBREW.iter().map(|prefix| Path::new(prefix).join("bin/redis-server"));
    on_path("redis-server").or_else(|| brewed.into_iter().find(|file| file.is_file()))
}

fn postgres_folder() -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(POSTGRES_FOLDER_VARIABLE) {
        let folder = PathBuf::from(named);
        if !is_postgres_folder(&folder) {
            bail!("{POSTGRES_FOLDER_VARIABLE} is {}: no initdb there", folder.display());
        }
        return Ok(Some(folder));
    }
    let debian = newest(Path::new("/usr/lib/postgresql"), "");
    let path = || {
        on_path("initdb").and_then(|file| file.canonicalize().ok()?.parent().map(Path::to_owned))
    };
    let brewed =
        || HOMEBREW.iter().find_map(|prefix| newest(&Path::new(prefix).join("opt"), "postgresql@"));
    Ok(debian.or_else(path).or_else(brewed).filter(|folder| is_postgres_folder(folder)))
}

fn is_postgres_folder(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_isready", "psql"].iter().all(|name| folder.join(name).is_file())
}

/// The `bin` below the highest version among `<parent>/<prefix><version>`.
fn newest(parent: &Path, prefix: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(parent).ok()?.flatten().filter_map(|entry| {
        let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse::<u32>().ok()?;
        let folder = entry.path().join("bin");
        is_postgres_folder(&folder).then_some((version, folder))
    });
    versions.max().map(|(_, folder)| folder)
}
