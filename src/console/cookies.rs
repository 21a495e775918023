//! The two cookies of a session: the access token, which goes to `/api`, and the refresh token, which goes nowhere but to
//! where sessions are renewed and ended.

use std::time::Duration;

use crate::accounts::Session;
use crate::identity::CONSOLE_COOKIE;

/// The cookie of the refresh token.
pub(super) const REFRESH_COOKIE: &str = "holdfast_refresh";

/// Where a browser sends the access token.
const API: &str = "/api";
/// Where it sends the refresh token.
const DOOR: &str = "/admin/session";

/// How a browser has to keep them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Never sent without TLS.
    Secure,
    /// The browser is on this machine and came without TLS; it would not keep another kind.
    Loopback,
}

impl Way {
    /// By the name that the browser knows the service under, and whether the caller is on this machine. A proxy beside
    /// the service is too, but the browser behind it uses another name.
    pub(super) fn of(host: &str, peer_is_loopback: bool) -> Self {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.trim_matches(['[', ']']);
        let here = name.eq_ignore_ascii_case("localhost")
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if here && peer_is_loopback { Self::Loopback } else { Self::Secure }
    }
}

/// `Set-Cookie` for a session; they end when its tokens do.
pub(super) fn of_session(session: &Session, refresh_lifetime: Duration, way: Way) -> [String; 2] {
    [
        cookie(CONSOLE_COOKIE, &session.access, API, session.expires_in, way),
        cookie(REFRESH_COOKIE, &session.refresh, DOOR, refresh_lifetime, way),
    ]
}

/// `Set-Cookie` that takes both away.
pub(super) fn none(way: Way) -> [String; 2] {
    [
        cookie(CONSOLE_COOKIE, "", API, Duration::ZERO, way),
        cookie(REFRESH_COOKIE, "", DOOR, Duration::ZERO, way),
    ]
}

/// Values are tokens: letters, digits, `.`, `_` and `-`.
fn cookie(name: &str, value: &str, path: &str, age: Duration, way: Way) -> String {
    let secure = match way {
        Way::Secure => "; Secure",
        Way::Loopback => "",
    };
    let age = age.as_secs();
    format!("{name}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browser_on_this_machine_keeps_them_without_tls() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.8.8", "[::1]:80"] {
            assert_eq!(Way::of(host, true), Way::Loopback, "{host}");
            assert_eq!(Way::of(host, false), Way::Secure, "{host}, from elsewhere");
        }
        for host in ["shop.example.org", "192.0.2.1:8080", "localhost.example.org", "", "[::2]:80"]
        {
            assert_eq!(Way::of(host, true), Way::Secure, "{host}, through a proxy beside us");
        }
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let secure = cookie("a", "b", "/api", Duration::from_secs(900), Way::Secure);
        assert_eq!(secure, "a=b; Path=/api; Max-Age=900; HttpOnly; SameSite=Strict; Secure");
        let [access, refresh] = none(Way::Loopback);
        assert_eq!(access, "holdfast_access=; Path=/api; Max-Age=0; HttpOnly; SameSite=Strict");
        assert!(refresh.contains("Path=/admin/session; Max-Age=0"), "{refresh}");
    }
}
