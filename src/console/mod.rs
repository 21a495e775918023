//! The operator's console at `/admin`: a page compiled into the binary, and the session that its browser keeps.
//!
//! The page has no rights of its own. It calls the same API as everybody else, with a token that stands in a cookie it
//! cannot read; a cookie counts only beside the two headers that no page of another site can send ([`from_console`]).
//! Nothing of the API is answered here.
//!
//! [`from_console`]: crate::identity::from_console

mod assets;
mod cookies;
mod http;
mod page_http;

pub use http::{Operations, routes};
