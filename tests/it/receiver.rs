//! A storefront's receiver of webhooks in the test process: keeps what it is sent, and answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::app::{Api, until};

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub headers: HashMap<String, String>,
    pub text: String,
    pub body: Value,
    pub at: Instant,
}

impl Call {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn event(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// Which of its signatures this secret explains.
    pub fn signed_by(&self, secret: &str) -> Vec<usize> {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = format!("{}.{}.{}", self.id(), self.headers["webhook-timestamp"], self.text);
        let wanted = format!("v1,{}", STANDARD.encode(hmac::sign(&key, signed.as_bytes())));
        let signatures = self.headers["webhook-signature"].split(' ').enumerate();
        signatures.filter(|(_, signature)| *signature == wanted).map(|(at, _)| at).collect()
    }
}

/// What a receiver does with a call.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// Somewhere else.
    Redirect(String),
    /// 200 with so many bytes.
    Bytes(usize),
    /// No answer.
    Silence,
}

type Behave = dyn FnMut(&Call) -> Answer + Send;

/// A running receiver; it ends with the test.
pub struct Receiver {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::that(|_| Answer::Status(204)).await
    }

    /// One that answers so.
    pub async fn that(behave: impl FnMut(&Call) -> Answer + Send + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), behave).await
    }

    /// The same at this address.
    pub async fn at(
        address: SocketAddr,
        behave: impl FnMut(&Call) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let behave: Arc<Mutex<Box<Behave>>> = Arc::new(Mutex::new(Box::new(behave)));
        let known = calls.clone();
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, known.clone(), behave.clone()));
            }
        });
        Self { address, calls, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Events in the order in which they came.
    pub fn events(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.event().to_owned()).collect()
    }

    /// Waits until so many calls came, and answers all there are.
    pub async fn has(&self, count: usize) -> Vec<Call> {
        until("the receiver is called", || async { self.calls.lock().unwrap().len() >= count })
            .await;
        self.calls()
    }
}

async fn serve(
    stream: TcpStream,
    calls: Arc<Mutex<Vec<Call>>>,
    behave: Arc<Mutex<Box<Behave>>>,
) -> Option<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        assert!(line.starts_with("POST /hooks"), "{line}");
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        let text = String::from_utf8(body).unwrap();
        let body = serde_json::from_str(&text).unwrap();
        let call = Call { headers, text, body, at: Instant::now() };
        let answer = (behave.lock().unwrap())(&call);
        calls.lock().unwrap().push(call);
        let head = match answer {
            Answer::Status(status) => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"),
            Answer::Redirect(ref to) => {
                format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            Answer::Bytes(count) => format!("HTTP/1.1 200 X\r\ncontent-length: {count}\r\n\r\n"),
            Answer::Silence => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return None;
            }
        };
        stream.write_all(head.as_bytes()).await.ok()?;
        if let Answer::Bytes(count) = answer {
            stream.write_all(&vec![b'x'; count]).await.ok()?;
        }
        stream.flush().await.ok()?;
    }
}

/// Makes an endpoint of a receiver for these events (none: all); answers it with its secret.
pub async fn subscribe(app: &Api, receiver: &Receiver, events: &[&str]) -> Value {
    let body = json!({ "url": receiver.url(), "events": events });
    app.post("/api/webhook-endpoints", &app.service(), body).await.expect(201)
}

/// An order of one unit of a product; answers it.
pub async fn order(app: &Api, user: &str, sku: &str) -> Value {
    let id = app.held(user, sku, 1).await;
    app.checkout(user, &id).await.expect(201)
}

/// What an admin does with an order.
pub async fn act(app: &Api, order: &Value, action: &str) {
    let path = format!("/api/orders/{}/{action}", order["id"].as_str().unwrap());
    app.post(&path, &app.admin(), json!({})).await.expect(200);
}
