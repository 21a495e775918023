//! Who is calling: signed tokens, and the roles they carry.
//!
//! Keeps no session. What a caller may do with a thing is decided by the feature that owns it.

mod http;
mod jwt;

pub use http::{
    Admin, Authenticator, CONSOLE_COOKIE, Caller, Merchant, Storefront, Visitor, caller_of, cookie,
    from_console, subject_of,
};
pub use jwt::{Claims, InvalidToken, KeysError, Role, SignError, Tokens, UnknownRole};
