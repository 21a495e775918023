//! A proxy between the service and a store, in user space: it delays, freezes, cuts, or loses an answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::app::Stores;

/// What happens to connections, those that stand and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Everything goes through, this much later.
    Forward(Duration),
    /// Connections stand and are taken, and nothing comes through.
    Frozen,
    /// All connections are cut, new ones as soon as they are made.
    Cut,
}

/// Forwards connections to one server.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    trap: Trap,
}

/// The bytes after whose answer, which is lost, a connection is cut; taken by the first that says them.
type Trap = Arc<Mutex<Option<Vec<u8>>>>;

#[expect(clippy::disallowed_methods, reason = "a test")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

impl Proxy {
    async fn start(upstream: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Forward(Duration::ZERO));
        let trap = Trap::default();
        let taken = trap.clone();
        spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                spawn(serve(client, upstream.clone(), modes.clone(), taken.clone()));
            }
        });
        Self { address, mode, trap }
    }

    /// In front of Postgres; the stores that lead through it.
    pub async fn before_postgres(stores: &Stores) -> (Self, Stores) {
        let (rest, folder) = stores.database_url.split_once("?host=").unwrap();
        let proxy = Self::start(PathBuf::from(folder).join(".s.PGSQL.5432")).await;
        let through = format!("@{}/", proxy.address);
        let database_url = rest.replacen("@/", &through, 1);
        (proxy, Stores { database_url, ..stores.clone() })
    }

    /// In front of Redis; the stores that lead through it.
    pub async fn before_redis(stores: &Stores) -> (Self, Stores) {
        let socket = stores.redis_url.strip_prefix("unix://").unwrap();
        let proxy = Self::start(PathBuf::from(socket)).await;
        let redis_url = format!("redis://{}/", proxy.address);
        (proxy, Stores { redis_url, ..stores.clone() })
    }

    /// Everything goes through at once.
    pub fn forward(&self) {
        self.mode.send_replace(Mode::Forward(Duration::ZERO));
    }

    /// Everything goes through, each way this much later.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_replace(Mode::Forward(delay));
    }

    /// Nothing goes through, and nobody is told.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    /// Cuts everything, until `forward`.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Forwards the first request with these bytes in it, lets the server do it, then cuts instead of answering.
    pub fn lose_the_answer_to(&self, request: &str) {
        *self.trap.lock().unwrap() = Some(request.as_bytes().to_vec());
    }

    /// Whether an answer was lost.
    pub fn has_lost_it(&self) -> bool {
        self.trap.lock().unwrap().is_none()
    }
}

async fn serve(client: TcpStream, upstream: PathBuf, modes: watch::Receiver<Mode>, trap: Trap) {
    let mut cut = modes.clone();
    let forwarding = async {
        // A server that is away is a connection that ends at once.
        let Ok(server) = UnixStream::connect(&upstream).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let (lost, mut losing) = watch::channel(false);
        let requests = async {
            while let Some(bytes) = next(&mut from_client, modes.clone()).await {
                let caught = {
                    let mut trap = trap.lock().unwrap();
                    trap.take_if(|trap| bytes.windows(trap.len()).any(|found| found == *trap))
                };
                if caught.is_some() {
                    lost.send_replace(true);
                }
                pass(&bytes, &mut to_server).await;
            }
        };
        let answers = async {
            while let Some(bytes) = next(&mut from_server, modes.clone()).await {
                if *losing.borrow_and_update() {
                    return;
                }
                pass(&bytes, &mut to_client).await;
            }
        };
        // Whichever side ends first ends both.
        tokio::select! { () = requests => {}, () = answers => {} }
    };
    tokio::select! {
        () = forwarding => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// The next bytes that may pass, when they may; none at the end of the connection.
async fn next(
    from: &mut (impl AsyncRead + Unpin),
    mut modes: watch::Receiver<Mode>,
) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 64 * 1024];
    let length = from.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
    bytes.truncate(length);
    let mode = *modes.wait_for(|mode| *mode != Mode::Frozen).await.ok()?;
    if let Mode::Forward(delay) = mode
        && !delay.is_zero()
    {
        tokio::time::sleep(delay).await;
    }
    Some(bytes)
}

/// What cannot be written is missed by the reader, who then meets the end.
async fn pass(bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) {
    let _ = to.write_all(bytes).await;
}
