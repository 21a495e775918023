//! A private Postgres server, reached through a socket only.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::folder::Folder;
use super::identity::Identity;
use super::install;
use super::psql::{Clients, PORT, USER, forget_postgres_variables, output_of};
use crate::process::{Ending, Launch, POLL, Process};

/// The settings a server of ours runs with, in every environment.
pub const POSTGRES_FLAGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("max_connections", "300"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("timezone", "UTC"),
];

/// How a new cluster is made, in every environment.
pub const INITDB_FLAGS: &[&str] = &["--encoding=UTF8", "--locale=C.UTF-8"];

/// Stands beside the data once initdb is through.
const MADE: &str = "made";

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);

/// How long the old server's processes may hold its shared memory after it was killed.
const SHARED_MEMORY: Duration = Duration::from_secs(10);

/// How a Postgres server is started.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Keeps the data here; `None` is a temporary folder.
    pub folder: Option<PathBuf>,
    /// Keeps a temporary folder in memory where there is room: hundreds of test databases are
    /// made and dropped much faster. Nothing else about the server changes.
    pub in_memory: bool,
    /// Deletes what an earlier server left in the folder.
    pub fresh: bool,
    /// Further settings, such as `("log_statement", "all")`; they win over the others.
    pub settings: Vec<(String, String)>,
}

/// A running private Postgres server; dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    // Dropped in this order: the server ends before its folder is deleted.
    process: Option<Process>,
    programs: PathBuf,
    identity: Identity,
    options: PostgresOptions,
    folder: Folder,
}

impl Postgres {
    /// Starts a server, making its cluster if there is none, and waits until it accepts clients.
    pub fn start(options: PostgresOptions) -> Result<Self> {
        let programs = install::ensure()?.postgres_folder;
        let identity = Identity::for_postgres()?;
        let folder = reachable_folder(&options, &identity)?;
        identity.let_through(folder.root())?;
        identity.share(folder.sockets())?;
        folder.await_predecessor()?;
        if options.fresh {
            folder.clear()?;
        }
        let mut postgres = Self { process: None, programs, identity, options, folder };
        postgres.make_cluster()?;
        postgres.launch()?;
        Ok(postgres)
    }

    /// Where clients connect to reach `database`, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.clients().url(database)
    }

    /// The server's process id, unless it was stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.data()
    }

    /// Kills it on the spot; `restart` brings it back by crash recovery.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Ending::Kill)
    }

    /// Stops it, cutting its clients off.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Ending::Interrupt)
    }

    /// Starts it on the same data and socket, stopping it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Makes a database, as a copy of `template` if there is one.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        self.clients().create_database(name, template)
    }

    /// Whether there is a database of this name.
    pub fn has_database(&self, name: &str) -> Result<bool> {
        self.clients().has_database(name)
    }

    /// Runs SQL through `psql` and returns its rows, one to a line, fields parted by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.clients().psql(database, sql)
    }

    fn clients(&self) -> Clients<'_> {
        Clients { programs: &self.programs, sockets: self.folder.sockets() }
    }

    fn end(&mut self, ending: Ending) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(ending, STOP)?;
        }
        Ok(())
    }

    fn make_cluster(&self) -> Result<()> {
        let data = self.folder.data();
        let made = self.folder.root().join(MADE);
        if made.exists() && data.exists() {
            return Ok(());
        }
        // What an interrupted initdb left is not a cluster.
        if data.exists() {
            fs::remove_dir_all(&data).context("cannot delete an unfinished cluster")?;
        }
        DirBuilder::new().mode(0o700).create(&data).context("cannot make the data folder")?;
        self.identity.give(&data)?;
        let mut command = self.identity.command(&self.programs.join("initdb"));
        forget_postgres_variables(&mut command);
        command.arg("-D").arg(&data).args(["-U", USER, "--auth=trust", "--no-instructions"]);
        match cfg!(target_os = "macos") {
            true => command.args(["--encoding=UTF8", "--locale=C"]),
            false => command.args(INITDB_FLAGS),
        };
        if self.options.folder.is_none() {
            command.arg("--no-sync");
        }
        output_of(command, "initdb")?;
        fs::write(made, "").context("cannot note that the cluster is made")
    }

    fn launch(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            match self.launch_once() {
                Err(error)
                    if error.to_string().contains("pre-existing shared memory")
                        && started.elapsed() < SHARED_MEMORY =>
                {
                    thread::sleep(POLL);
                }
                outcome => return outcome,
            }
        }
    }

    fn launch_once(&mut self) -> Result<()> {
        let log = self.folder.open_log()?;
        let errors = log.try_clone()?;
        let process = Launch::new(&self.programs.join("postgres"), Ending::Interrupt)
            .privileges(self.identity.privileges())
            .spawn(|command| {
                forget_postgres_variables(command);
                command.arg("-D").arg(self.folder.data()).arg("-k").arg(self.folder.sockets());
                command.args(["-p", PORT, "-c", "listen_addresses="]);
                let settings = POSTGRES_FLAGS.iter().copied();
                let further = self.options.settings.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                for (name, value) in settings.chain(further) {
                    command.arg("-c").arg(format!("{name}={value}"));
                }
                command.current_dir("/").stdout(log).stderr(errors);
            })?;
        self.folder.note_server(process.pid())?;
        self.process = Some(process);
        self.await_answer()
    }

    fn await_answer(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.clients().accepted() {
            let ended = match &mut self.process {
                Some(process) => process.exited()?.is_some(),
                None => true,
            };
            if ended || started.elapsed() > START {
                self.process = None;
                bail!("Postgres did not start:\n{}", self.folder.log_tail());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A server that refuses to stop is killed when its process is dropped.
        let _ = match self.folder.is_temporary() {
            true => self.end(Ending::Quit),
            false => self.stop(),
        };
    }
}

/// The folder asked for, or one below /var/tmp where the server's user cannot get into it.
fn reachable_folder(options: &PostgresOptions, identity: &Identity) -> Result<Folder> {
    let Some(root) = &options.folder else {
        return Folder::temporary(options.in_memory);
    };
    let folder = Folder::lasting(root)?;
    identity.let_through(folder.root())?;
    if identity.reaches(folder.root()) {
        return Ok(folder);
    }
    let mut hasher = DefaultHasher::new();
    root.canonicalize()?.hash(&mut hasher);
    Folder::lasting(&Path::new("/var/tmp").join(format!("hf-data-{:016x}", hasher.finish())))
}
