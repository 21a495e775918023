//! Whom Postgres runs as: it refuses root, so root starts it as another user of the machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::folder::let_through;
use crate::process::setpriv;

/// The user a server runs as.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// The user who started us.
    Own,
    /// Another one, because we are root.
    Other {
        /// The user's id.
        uid: u32,
        /// The user's group.
        gid: u32,
        /// Arguments of `setpriv` that become this user.
        privileges: Vec<String>,
    },
}

impl Identity {
    /// Us, or `postgres` (else `nobody`) when we are root.
    pub(super) fn for_postgres() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        if setpriv().is_none() {
            bail!("Postgres refuses to run as root, and there is no setpriv here: be another user");
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| user(&users, name));
        let (uid, gid) =
            found.context("Postgres refuses to run as root, and there is no user `postgres`")?;
        let plain = [
            "--reuid".to_owned(),
            uid.to_string(),
            "--regid".to_owned(),
            gid.to_string(),
            "--clear-groups".to_owned(),
        ];
        let passing = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
        let mut privileges = plain.to_vec();
        privileges.extend(passing.map(str::to_owned));
        if !succeeds(&privileges, &["true"]) {
            privileges = plain.to_vec();
        }
        Ok(Self::Other { uid, gid, privileges })
    }

    /// The arguments of `setpriv` that become this user.
    pub(super) fn privileges(&self) -> &[String] {
        match self {
            Self::Own => &[],
            Self::Other { privileges, .. } => privileges,
        }
    }

    /// A command that runs `program` to its end as this user, from a folder everyone may enter.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = match (self, setpriv()) {
            (Self::Other { privileges, .. }, Some(setpriv)) => {
                let mut command = Command::new(setpriv);
                command.args(privileges).arg("--").arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Whether this user can get into a folder: one below a closed home it may not.
    pub(super) fn reaches(&self, folder: &Path) -> bool {
        // Not `test -x`: access(2) leaves out the capability that the server will have.
        let mut command = self.command(Path::new("ls"));
        command.arg("-d").arg(folder.join(".")).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Lets this user pass through a folder of ours.
    pub(super) fn let_through(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { .. } => let_through(folder),
        }
    }

    /// Gives a folder to this user alone.
    pub(super) fn give(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => chown(folder, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot give away {}", folder.display())),
        }
    }

    /// Shares a folder of ours with this user.
    pub(super) fn share(&self, folder: &Path) -> Result<()> {
        let Self::Other { gid, .. } = self else {
            return Ok(());
        };
        chown(folder, None, Some(*gid))
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o770)))
            .with_context(|| format!("cannot share {}", folder.display()))
    }
}

/// The user and group ids of a line of `/etc/passwd`.
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let fields: Vec<&str> =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

fn succeeds(privileges: &[String], command: &[&str]) -> bool {
    let Some(setpriv) = setpriv() else {
        return false;
    };
    let mut trial = Command::new(setpriv);
    trial.args(privileges).arg("--").args(command).stdout(Stdio::null()).stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres:x:105:110::/var/lib:/bin/bash\n";
        assert_eq!(user(users, "postgres"), Some((105, 110)));
        assert_eq!(user(users, "post"), None);
    }
}
