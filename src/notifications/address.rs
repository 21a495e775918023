//! Whom a webhook may call. A name is looked up here and nowhere else, and only the addresses that pass are handed to
//! the connection: what was checked is what is called.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks a name up.
pub(super) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The look-up of the machine.
pub(super) fn system() -> Lookup {
    Arc::new(|name| async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed())
}

/// An address, or all addresses of a name, that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("the address may not be called")]
pub(super) struct Refused;

/// Whom may be called.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    private: Vec<IpNet>,
    public: bool,
}

impl Allowed {
    /// Public addresses, and these networks.
    pub(super) fn with_public(private: &[IpNet]) -> Self {
        Self { private: private.to_vec(), public: true }
    }

    /// These networks alone.
    pub(super) fn only(private: &[IpNet]) -> Self {
        Self { private: private.to_vec(), public: false }
    }

    /// Whether anything may be.
    pub(super) fn anything(&self) -> bool {
        self.public || !self.private.is_empty()
    }

    /// Whether this address may be called. One that stands for an IPv4 address is judged as that.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.private.iter().any(|network| network.contains(&address))
            || self.public && is_public(address)
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special addresses (RFC 6890 and what came after).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        || a == 100 && (64..128).contains(&b)
        || a == 169 && b == 254
        || a == 172 && (16..32).contains(&b)
        || a == 192 && b == 168
        || a == 192 && b == 0 && (c == 0 || c == 2)
        || a == 192 && b == 88 && c == 99
        || a == 198 && (b == 18 || b == 19)
        || a == 198 && b == 51 && c == 100
        || a == 203 && b == 0 && c == 113
        || a >= 224)
}

/// Global unicast, without what leads to IPv4 addresses (Teredo, 6to4) or to nobody (documentation).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first & 0xe000 == 0x2000
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
}

/// Looks names up and lets through what may be called.
pub(super) struct Checked {
    pub(super) allowed: Allowed,
    pub(super) lookup: Lookup,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, looking) = (self.allowed.clone(), (self.lookup)(name.as_str().to_owned()));
        async move {
            let found = looking.await?;
            let passing: Vec<SocketAddr> =
                found.into_iter().filter(|found| allowed.allows(found.ip())).collect();
            if passing.is_empty() {
                return Err(Refused.into());
            }
            Ok(Box::new(passing.into_iter()) as Addrs)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(Allowed::with_public(&[]).allows(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!Allowed::with_public(&[]).allows(inside.parse().unwrap()), "{inside}");
        }
    }

    #[test]
    fn networks_inside_are_called_where_they_are_named() {
        let named = ["10.1.0.0/16".parse().unwrap()];
        let (both, only) = (Allowed::with_public(&named), Allowed::only(&named));
        for allowed in [&both, &only] {
            assert!(allowed.allows("10.1.2.3".parse().unwrap()));
            assert!(allowed.allows("::ffff:10.1.2.3".parse().unwrap()));
            assert!(!allowed.allows("10.2.0.1".parse().unwrap()));
        }
        assert!(
            both.allows("1.1.1.1".parse().unwrap()) && !only.allows("1.1.1.1".parse().unwrap())
        );
        assert!(!Allowed::only(&[]).anything());
    }

    #[tokio::test]
    async fn of_a_name_only_what_may_be_called_is_handed_on() {
        let found = |addresses: &'static [&str]| -> Lookup {
            Arc::new(move |_| {
                let found = addresses.iter().map(|address| address.parse().unwrap()).collect();
                async move { Ok(found) }.boxed()
            })
        };
        let resolve = |addresses| async move {
            let checked = Checked { allowed: Allowed::with_public(&[]), lookup: found(addresses) };
            checked.resolve("shop.example".parse().unwrap()).await.map(Iterator::collect::<Vec<_>>)
        };
        let passed = resolve(&["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"]).await.unwrap();
        assert_eq!(passed, ["1.1.1.1:0".parse().unwrap()]);
        assert!(resolve(&["10.0.0.1:0", "[::1]:0"]).await.err().unwrap().is::<Refused>());
    }
}
