//! A private Redis server.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::folder::Folder;
use super::install;
use crate::process::{Ending, Launch, POLL, Process};

/// The settings the service demands of Redis, in every environment.
pub const REDIS_FLAGS: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("appendfsync", "everysec"),
    // Rewriting a small log again and again, while a sale makes it grow, costs more than reading it once at a start.
    ("auto-aof-rewrite-min-size", "256mb"),
    ("save", ""),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", "Ex"),
    ("daemonize", "no"),
];

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_millis(500);

/// When Redis forces its log of writes to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Once a second: a crash of the machine loses up to two.
    #[default]
    EverySecond,
    /// Before each answer.
    Always,
}

/// Where Redis listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listen {
    /// On a Unix socket.
    #[default]
    Socket,
    /// On a free port of 127.0.0.1.
    Tcp,
    /// On both.
    Both,
}

/// How a Redis server is started.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Keeps the data here; `None` is a temporary folder.
    pub folder: Option<PathBuf>,
    /// Deletes what an earlier server left in the folder.
    pub fresh: bool,
    /// When writes reach the disk.
    pub fsync: Fsync,
    /// Where it listens.
    pub listen: Listen,
    /// Further settings, such as `("enable-debug-command", "local")`; they win over the others.
    pub settings: Vec<(String, String)>,
}

/// A running private Redis server; dropping it stops it.
#[derive(Debug)]
pub struct Redis {
    // Dropped in this order: the server ends before its folder is deleted.
    process: Option<Process>,
    program: PathBuf,
    port: Option<u16>,
    options: RedisOptions,
    folder: Folder,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub fn start(options: RedisOptions) -> Result<Self> {
        let program = install::ensure()?.redis_server;
        let folder = match &options.folder {
            Some(root) => Folder::lasting(root)?,
            None => Folder::temporary(false)?,
        };
        folder.await_predecessor()?;
        if options.fresh {
            folder.clear()?;
        }
        fs::create_dir_all(folder.data()).context("cannot make the data folder of Redis")?;
        let mut redis = Self { process: None, program, port: None, options, folder };
        redis.start_on_a_free_port()?;
        Ok(redis)
    }

    /// Where clients connect: the socket, if it has one.
    pub fn url(&self) -> String {
        match (self.options.listen, self.port) {
            (Listen::Tcp, Some(port)) => format!("redis://127.0.0.1:{port}/"),
            _ => format!("unix://{}", self.socket().display()),
        }
    }

    /// The loopback port, if it listens on one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The socket's path, whether or not it listens there.
    pub fn socket(&self) -> PathBuf {
        self.folder.sockets().join("redis.sock")
    }

    /// The server's process id, unless it was stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.data()
    }

    /// Kills it on the spot; `restart` brings it back with what had reached the disk.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Ending::Kill)
    }

    /// Stops it gracefully.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Ending::Terminate)
    }

    /// Starts it on the same data, socket and port, stopping it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    fn end(&mut self, ending: Ending) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(ending, STOP)?;
        }
        Ok(())
    }

    /// Somebody may take the free port before Redis does: then another is tried.
    fn start_on_a_free_port(&mut self) -> Result<()> {
        if self.options.listen == Listen::Socket {
            return self.launch();
        }
        let mut attempts = 5;
        loop {
            self.port = Some(free_port()?);
            attempts -= 1;
            match self.launch() {
                Err(error) if attempts > 0 && error.to_string().contains("in use") => {}
                outcome => return outcome,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let arguments = self.arguments();
        let log = self.folder.open_log()?;
        let errors = log.try_clone()?;
        let process = Launch::new(&self.program, Ending::Terminate).spawn(|command| {
            command.args(arguments).current_dir(self.folder.data()).stdout(log).stderr(errors);
        })?;
        self.folder.note_server(process.pid())?;
        self.process = Some(process);
        self.await_answer()
    }

    fn arguments(&self) -> Vec<String> {
        let mut settings: Vec<(String, String)> = REDIS_FLAGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
        if self.options.fsync == Fsync::Always {
            set("appendfsync", "always".to_owned());
        }
        set("dir", self.folder.data().display().to_string());
        set("bind", "127.0.0.1".to_owned());
        set("port", self.port.unwrap_or(0).to_string());
        if self.options.listen != Listen::Tcp {
            set("unixsocket", self.socket().display().to_string());
            set("unixsocketperm", "700".to_owned());
        }
        settings.extend(self.options.settings.iter().cloned());
        settings.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }

    fn await_answer(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.answers() {
            let ended = match &mut self.process {
                Some(process) => process.exited()?.is_some(),
                None => true,
            };
            if ended || started.elapsed() > START {
                self.process = None;
                bail!("Redis did not start:\n{}", self.folder.log_tail());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// False too while it loads its data.
    fn answers(&self) -> bool {
        let ping = || -> std::io::Result<bool> {
            match (self.options.listen, self.port) {
                (Listen::Tcp, Some(port)) => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let stream = TcpStream::connect_timeout(&address, ANSWER)?;
                    stream.set_read_timeout(Some(ANSWER))?;
                    pong(stream)
                }
                _ => {
                    let stream = UnixStream::connect(self.socket())?;
                    stream.set_read_timeout(Some(ANSWER))?;
                    pong(stream)
                }
            }
        };
        ping().unwrap_or(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A server that refuses to stop is killed when its process is dropped.
        let _ = match self.folder.is_temporary() {
            true => self.kill9(),
            false => self.stop(),
        };
    }
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn pong(mut stream: impl Read + Write) -> std::io::Result<bool> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}
