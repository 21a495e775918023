//! Where the load goes: a service on this machine, or one that its owner vouches for.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

/// A service to aim at.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// For the `Host` header.
    pub(super) authority: String,
    /// What every path begins with, without a slash at the end.
    pub(super) prefix: String,
    pub(super) address: SocketAddr,
}

impl Target {
    /// Reads a URL and finds the address behind it. One that is not of this machine is refused
    /// unless somebody said that it is theirs.
    pub(super) fn find(url: &str, owned: Owned) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| {
            format!("{url}: expected http://host:port (TLS ends before the service)")
        })?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains('@') || prefix.contains(['?', '#']) {
            bail!("{url}: expected http://host:port");
        }
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let found: Vec<SocketAddr> = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot find {authority}"))?
            .collect();
        if owned == Owned::ThisMachineOnly && !found.iter().all(|found| found.ip().is_loopback()) {
            bail!(
                "{authority} is not this machine: load may only go to a host of your own; \
                 if it is, say --i-own-this-host"
            );
        }
        let address = found.first().copied().with_context(|| format!("{authority}: no address"))?;
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { "/api".to_owned() } else { format!("/{prefix}/api") };
        Ok(Self { authority: authority.to_owned(), prefix, address })
    }
}

/// Which hosts may be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    ThisMachineOnly,
    Vouched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_host_is_taken() {
        let target = Target::find("http://127.0.0.1:8080", Owned::ThisMachineOnly).unwrap();
        assert_eq!((target.authority.as_str(), target.prefix.as_str()), ("127.0.0.1:8080", "/api"));
        let target = Target::find("http://[::1]:9/shop/", Owned::ThisMachineOnly).unwrap();
        assert_eq!((target.address.port(), target.prefix.as_str()), (9, "/shop/api"));
    }

    #[test]
    fn another_host_needs_its_owners_word() {
        for url in ["http://192.0.2.1:80", "http://192.0.2.1"] {
            let said = Target::find(url, Owned::ThisMachineOnly).unwrap_err().to_string();
            assert!(said.contains("--i-own-this-host"), "{said}");
            assert_eq!(Target::find(url, Owned::Vouched).unwrap().address.port(), 80);
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for url in ["https://127.0.0.1", "127.0.0.1:80", "http://", "http://a@127.0.0.1:80"] {
            assert!(Target::find(url, Owned::Vouched).is_err(), "{url}");
        }
    }
}
