//! Child processes that end with their parent, whatever ends the parent.
//!
//! Linux tells a child of its parent's death (`PR_SET_PDEATHSIG`), set here through `setpriv`. It
//! watches the spawning *thread*, so every child is spawned from one thread that lives as long as
//! the process. Where there is no `setpriv`, and for whole process groups, a shell waits for the
//! parent's end of a pipe to close.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

/// How often a waiting loop looks again.
pub const POLL: Duration = Duration::from_millis(10);

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT: Postgres' fast shutdown.
    Interrupt,
    /// SIGQUIT: Postgres' immediate shutdown, without a last checkpoint.
    Quit,
    /// SIGTERM: a graceful end.
    Terminate,
    /// SIGKILL: at once.
    Kill,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Terminate => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// What is to run, how it ends when its parent dies, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    program: &'a Path,
    orphaned: Ending,
    privileges: &'a [String],
    whole_group: bool,
}

impl<'a> Launch<'a> {
    /// Runs `program`; when the parent dies it is ended the way `orphaned` says.
    pub fn new(program: &'a Path, orphaned: Ending) -> Self {
        Self { program, orphaned, privileges: &[], whole_group: false }
    }

    /// Adds arguments of `setpriv`, such as the user to become.
    pub(crate) fn privileges(self, privileges: &'a [String]) -> Self {
        Self { privileges, ..self }
    }

    /// Ends what the program itself started too.
    pub fn whole_group(self) -> Self {
        Self { whole_group: true, ..self }
    }

    /// Starts it in a process group of its own, so that a terminal's Ctrl-C reaches only the
    /// parent. `prepare` adds arguments, environment and output; there is no standard input.
    pub fn spawn(self, prepare: impl FnOnce(&mut Command)) -> Result<Process> {
        let mut command = self.command();
        prepare(&mut command);
        command.stdin(Stdio::null()).process_group(0);
        let child = spawn_from_keeper(command)
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut process = Process { child, whole_group: self.whole_group, tether: None };
        if self.whole_group || setpriv().is_none() {
            process.tether = Some(tether(&process, self.orphaned)?);
        }
        Ok(process)
    }

    fn command(self) -> Command {
        let Some(setpriv) = setpriv() else {
            return Command::new(self.program);
        };
        let mut command = Command::new(setpriv);
        command.args(self.privileges);
        command.args(["--pdeathsig", self.orphaned.name(), "--"]).arg(self.program);
        command
    }
}

/// A running child; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    whole_group: bool,
    tether: Option<Child>,
}

impl Process {
    /// Its process id, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal of `ending` and returns at once; one that has ended already is left alone.
    pub fn signal(&mut self, ending: Ending) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid = pid(self.pid())?;
        let sent = match self.whole_group {
            true => kill_process_group(pid, ending.signal()),
            false => kill_process(pid, ending.signal()),
        };
        sent.with_context(|| format!("cannot signal process {}", self.pid()))
    }

    /// Its exit status if it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for a child")
    }

    /// Waits at most `patience` for it to end.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            let status = self.exited()?;
            if status.is_some() || started.elapsed() >= patience {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Asks it to end, waits for it, and kills it when it takes longer than `patience`.
    pub fn stop(&mut self, ending: Ending, patience: Duration) -> Result<ExitStatus> {
        self.signal(ending)?;
        if let Some(status) = self.wait(patience)? {
            return Ok(status);
        }
        self.signal(Ending::Kill)?;
        self.child.wait().context("cannot wait for a killed child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell: a child that cannot be killed has ended.
        let _ = self.stop(Ending::Kill, Duration::ZERO);
        if let (true, Ok(group)) = (self.whole_group, pid(self.pid())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let Some(tether) = &mut self.tether {
            let _ = tether.kill();
            let _ = tether.wait();
        }
    }
}

/// Finds a program by name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a process of this id exists.
pub fn is_running(id: u32) -> bool {
    let gone = rustix::io::Errno::SRCH;
    pid(id).is_ok_and(|pid| test_kill_process(pid) != Err(gone))
}

/// The program that sets users and death signals, on Linux.
pub(crate) fn setpriv() -> Option<&'static Path> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    SETPRIV.get_or_init(|| on_path("setpriv").filter(|path| sets_death_signals(path))).as_deref()
}

/// BusyBox has a `setpriv` too, which does not know the option.
fn sets_death_signals(setpriv: &Path) -> bool {
    let trial = Command::new(setpriv)
        .args(["--pdeathsig", "TERM", "--", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    trial.is_ok_and(|status| status.success())
}

/// A shell that ends the process when the write end of its standard input closes.
fn tether(process: &Process, orphaned: Ending) -> Result<Child> {
    // `kill -TERM -- -7` is not understood by every shell; `kill -s TERM -- -7` is.
    let script = format!(
        "read -r _; kill -s {} -- \"$0\"
         for second in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 -- \"$0\" || exit; sleep 1; done
         kill -s KILL -- \"$0\"",
        orphaned.name()
    );
    let target = match process.whole_group {
        true => format!("-{}", process.pid()),
        false => process.pid().to_string(),
    };
    Command::new("sh")
        .args([OsStr::new("-c"), script.as_ref(), target.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the shell that watches over a child")
}

fn spawn_from_keeper(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static KEEPER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                // The one who ordered waits for the answer, so the channel is open.
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    keeper.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

fn pid(id: u32) -> Result<Pid> {
    match i32::try_from(id).ok().and_then(Pid::from_raw) {
        Some(pid) => Ok(pid),
        None => bail!("{id} is not a process id"),
    }
}
