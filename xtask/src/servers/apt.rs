//! Installs the packages on Debian without letting them start a server or make a cluster.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What is installed.
pub(super) const PACKAGES: [&str; 2] = ["redis-server", "postgresql"];

/// Debian asks this script before a package starts a service; 101 means no.
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";
const NO_SERVICES_TEXT: &str = "#!/bin/sh\n# By cargo xtask, while it installs.\nexit 101\n";
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/holdfast.conf";
const NO_CLUSTER_TEXT: &str = "# By cargo xtask, while it installs.\ncreate_main_cluster = false\n";

/// Runs `apt-get`, which prints what it does.
pub(super) fn install(apt_get: &Path, packages: &[&str]) -> Result<()> {
    println!("xtask: installing {} (nothing is started)", packages.join(" and "));
    let started = Instant::now();
    let _no_services = Leaflet::put(NO_SERVICES, NO_SERVICES_TEXT, 0o755)?;
    let _no_cluster = Leaflet::put(NO_CLUSTER, NO_CLUSTER_TEXT, 0o644)?;
    run(apt_get, &["update", "-q"])?;
    // A fresh machine may be installing its own updates at this moment.
    let mut arguments = vec!["-o", "DPkg::Lock::Timeout=120", "install", "-q", "-y"];
    arguments.push("--no-install-recommends");
    arguments.extend(packages);
    run(apt_get, &arguments)?;
    println!("xtask: installed in {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn run(apt_get: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new(apt_get)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// A file that stands only while packages are being installed.
struct Leaflet(Option<PathBuf>);

impl Leaflet {
    /// Another's file stays as it is, and stays afterwards; one of ours was left by a killed run.
    fn put(path: &str, text: &str, mode: u32) -> Result<Self> {
        let path = PathBuf::from(path);
        if path.exists() {
            let ours = fs::read(&path).is_ok_and(|found| found == text.as_bytes());
            return Ok(Self(ours.then_some(path)));
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for Leaflet {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It only keeps services from starting; the next run would find and keep it.
            let _ = fs::remove_file(path);
        }
    }
}
