//! One call of a storefront: signed, bounded in time and size, to a checked address, following no redirect.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Certificate, Client, Response, Url};

use crate::config::WebhookSettings;
use crate::kernel::Clock;
use crate::notifications::address::{Allowed, Checked, Lookup, Refused, system};
use crate::notifications::endpoints::Endpoint;
use crate::notifications::signature::signatures;
use crate::platform::Fault;

/// What of an answer is read, so that its connection can be used again; one with more is cut off.
const ANSWER_BYTES: usize = 16 * 1024;
/// How long the rest of an answer is waited for, once its status is known.
const REST: Duration = Duration::from_secs(1);
/// How long an idle connection is kept. Its address was checked when it was made.
const IDLE: Duration = Duration::from_secs(30);
/// Longest address of an endpoint.
const LONGEST_URL: usize = 2_048;

/// Why an address is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is none.
    #[error(
        "expected an address such as https://shop.example/hooks, without a login or a fragment"
    )]
    Malformed,
    /// It is not https, and no network inside may be called.
    #[error("expected https")]
    NotHttps,
    /// It names an address that may not be called.
    #[error("this address may not be called")]
    Refused,
}

/// Calls storefronts.
pub(super) struct Caller {
    https: (Client, Allowed),
    plain: (Client, Allowed),
    clock: Clock,
}

/// Why a call did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the answer was {0}")]
    Status(u16),
    #[error("the address may not be called")]
    Refused,
    #[error("no answer in time")]
    Timeout,
    #[error("no connection")]
    Connection,
    #[error("the connection broke")]
    Broken,
}

impl Caller {
    /// A caller by these settings.
    pub(super) fn new(settings: &WebhookSettings, clock: Clock) -> Result<Self, Fault> {
        Self::with_lookup(settings, clock, &system())
    }

    fn with_lookup(
        settings: &WebhookSettings,
        clock: Clock,
        lookup: &Lookup,
    ) -> Result<Self, Fault> {
        let client = |allowed: Allowed| {
            let checked = Checked { allowed: allowed.clone(), lookup: lookup.clone() };
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
            let roots =
                roots.map(|root| Certificate::from_der(root)).collect::<Result<Vec<_>, _>>();
            roots
                .and_then(|roots| {
                    Client::builder()
                        .tls_certs_only(roots)
                        .dns_resolver(std::sync::Arc::new(checked))
                        .redirect(reqwest::redirect::Policy::none())
                        .no_proxy()
                        .referer(false)
                        .timeout(settings.timeout)
                        .pool_max_idle_per_host(settings.concurrency)
                        .pool_idle_timeout(IDLE)
                        .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
                        .build()
                })
                .map(|client| (client, allowed))
                .map_err(|error| Fault::internal("making a client of webhooks").because(error))
        };
        Ok(Self {
            https: client(Allowed::with_public(&settings.allow_private))?,
            plain: client(Allowed::only(&settings.allow_private))?,
            clock,
        })
    }

    /// The address of an endpoint to be, if it is one. What its name leads to is looked at in every call.
    pub(super) fn parse(&self, text: &str) -> Result<Url, UrlError> {
        let sane = text.len() <= LONGEST_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
        let url: Url = if sane { text.parse() } else { return Err(UrlError::Malformed) }
            .map_err(|_malformed| UrlError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(UrlError::Malformed);
        }
        let (_, allowed) = match url.scheme() {
            "https" => &self.https,
            "http" => &self.plain,
            _ => return Err(UrlError::Malformed),
        };
        if !allowed.anything() {
            return Err(UrlError::NotHttps);
        }
        match literal(&url) {
            Some(address) if !allowed.allows(address) => Err(UrlError::Refused),
            _ => Ok(url),
        }
    }

    /// Tells an endpoint. Any 2xx says that it was heard.
    pub(super) async fn call(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: String,
    ) -> Result<(), CallError> {
        let (client, allowed) =
            if endpoint.url.scheme() == "https" { &self.https } else { &self.plain };
        // A name is checked by the resolver of the connection; an address is never resolved.
        if literal(&endpoint.url).is_some_and(|address| !allowed.allows(address)) {
            return Err(CallError::Refused);
        }
        let timestamp = self.clock.now().as_second();
        let secrets = endpoint.secrets(self.clock.now_ms());
        let signature = signatures(secrets, id, timestamp, body.as_bytes());
        let request = client
            .post(endpoint.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        let response = request.send().await.map_err(|error| cause(&error))?;
        let status = response.status();
        // Best effort: the status has said all.
        let _ = tokio::time::timeout(REST, drain(response)).await;
        if status.is_success() { Ok(()) } else { Err(CallError::Status(status.as_u16())) }
    }
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES {
            return;
        }
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What to note of an error: never its text, which may repeat the address with what is secret in it.
fn cause(error: &reqwest::Error) -> CallError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<Refused>() {
            return CallError::Refused;
        }
        source = error.source();
    }
    match error {
        error if error.is_timeout() => CallError::Timeout,
        error if error.is_connect() => CallError::Connection,
        _ => CallError::Broken,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::kernel::ids;
    use crate::notifications::signature::Secret;

    fn settings(allow_private: &[&str]) -> WebhookSettings {
        WebhookSettings {
            timeout: Duration::from_secs(5),
            concurrency: 4,
            most_endpoints: 10,
            allow_private: allow_private.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    fn caller(allow_private: &[&str]) -> Caller {
        Caller::new(&settings(allow_private), Clock::System).unwrap()
    }

    #[test]
    fn addresses_of_endpoints_are_looked_at_closely() {
        let (closed, open) = (caller(&[]), caller(&["10.0.0.0/8"]));
        for good in [
            "https://shop.example/hooks?x=1",
            "https://1.1.1.1:8443/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(closed.parse(good).is_ok(), "{good}");
        }
        for malformed in [
            "",
            "shop.example",
            "ftp://shop.example/",
            "https://",
            "https://a:b@shop.example/",
            "https://u@shop.example/",
            "https://shop.example/#x",
            "https://shop .example/",
            "file:///etc/passwd",
        ] {
            assert_eq!(closed.parse(malformed).unwrap_err(), UrlError::Malformed, "{malformed}");
        }
        assert_eq!(closed.parse("http://shop.example/").unwrap_err(), UrlError::NotHttps);
        // However an address inside is written.
        for inside in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/",
        ] {
            assert_eq!(closed.parse(inside).unwrap_err(), UrlError::Refused, "{inside}");
        }
        assert!(
            open.parse("http://10.1.2.3:8080/hooks").is_ok()
                && open.parse("https://10.1.2.3/").is_ok()
        );
        assert_eq!(open.parse("http://1.1.1.1/").unwrap_err(), UrlError::Refused);
    }

    /// Answers every call with 204 and counts them.
    async fn receiver(address: &str) -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn answer_once(listener: &TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"POST / HTTP/1.1"));
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
    }

    /// A name that leads somewhere else each time it is looked up.
    #[tokio::test]
    async fn the_address_that_was_checked_is_the_one_that_is_called() {
        let (checked, address) = receiver("127.0.0.1:0").await;
        let (other, _) = receiver(&format!("127.0.0.2:{}", address.port())).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let lookup: Lookup = {
            let asked = asked.clone();
            Arc::new(move |_| {
                let turn = asked.fetch_add(1, Ordering::Relaxed);
                let found = if turn == 0 { "127.0.0.1:0" } else { "127.0.0.2:0" };
                async move { Ok(vec![found.parse().unwrap()]) }.boxed()
            })
        };
        let settings = settings(&["127.0.0.1/32"]);
        let caller = Caller::with_lookup(&settings, Clock::System, &lookup).unwrap();
        let url = format!("http://shop.example:{}/", address.port());
        let endpoint =
            Endpoint::of(ids::random(), caller.parse(&url).unwrap(), vec![Secret::random()]);
        let (called, ()) =
            tokio::join!(caller.call(&endpoint, "evt_1", "{}".into()), answer_once(&checked));
        called.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1, "one look-up for one connection");
        // The next connection looks again, finds another address, and that one may not be called.
        let refused = caller.call(&endpoint, "evt_2", "{}".into()).await;
        assert!(matches!(refused, Err(CallError::Refused)), "{refused:?}");
        assert!(other.accept().now_or_never().is_none());
    }
}
