//! Where a request comes from, as far as that can be known: `X-Forwarded-For` counts only as far as the proxies that
//! wrote it are ours.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, dev};
use ipnet::IpNet;

use crate::platform::http::Problem;

/// Networks of the proxies in front of the service.
#[derive(Clone, Debug, Default)]
pub struct Proxies(pub Vec<IpNet>);

/// The address of whoever sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl Proxies {
    /// The nearest hop that is not a proxy of ours. A hop that is no address ends the walk: nobody before it can be
    /// believed.
    fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let trusts = |address: &IpAddr| self.0.iter().any(|network| network.contains(address));
        let mut nearest = peer.to_canonical();
        for hop in forwarded.rev() {
            if !trusts(&nearest) {
                break;
            }
            let Some(address) = parse(hop) else { break };
            nearest = address;
        }
        nearest
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop
        .parse::<IpAddr>()
        .or_else(|_| hop.parse::<std::net::SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| hop.trim_matches(['[', ']']).parse::<Ipv6Addr>().map(IpAddr::V6));
    address.ok().map(|address| address.to_canonical())
}

impl Address {
    /// The address behind this request.
    pub fn of(head: &dev::RequestHead, proxies: &Proxies) -> Self {
        let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let lines: Vec<&str> = head
            .headers()
            .get_all("x-forwarded-for")
            .map(|value| value.to_str().unwrap_or("unreadable"))
            .collect();
        let hops: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).collect();
        Self(proxies.client(peer, hops.into_iter()))
    }

    /// Whom a limit counts: an address of IPv4, or the /64 that one subscriber has of IPv6 (RFC 6177).
    pub fn subject(self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}")
            }
        }
    }
}

impl FromRequest for Address {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let none = Proxies::default();
        let proxies = request.app_data::<Data<Proxies>>();
        ready(Ok(Self::of(request.head(), proxies.map_or(&none, |proxies| proxies))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_own_proxies_say_is_believed() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let client = |peer: &str, forwarded: &str| {
            let hops: Vec<&str> = forwarded.split(',').filter(|hop| !hop.is_empty()).collect();
            proxies.client(peer.parse().unwrap(), hops.into_iter()).to_string()
        };
        assert_eq!(client("203.0.113.9", "1.2.3.4"), "203.0.113.9", "no proxy of ours");
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(client("10.0.0.1", "9.9.9.9, 198.51.100.7 ,10.2.3.4"), "198.51.100.7");
        assert_eq!(client("10.0.0.1", "198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(client("fd00::1", "[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(client("fd00::1", "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", "::ffff:198.51.100.7"), "198.51.100.7");
        assert_eq!(client("10.0.0.1", "1.2.3.4, unknown, 10.1.1.1"), "10.1.1.1");
        assert_eq!(client("10.0.0.1", "10.9.9.9,10.1.1.1"), "10.9.9.9", "all of them ours");
    }

    #[test]
    fn one_subscriber_is_one_subject() {
        let subject = |address: &str| Address(address.parse().unwrap()).subject();
        assert_eq!(subject("192.0.2.1"), "192.0.2.1");
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    }
}
