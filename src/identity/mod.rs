//! Who is calling: signed tokens, and the roles they carry.
//!
//! Keeps no session. What a caller may do with a thing is decided by the feature that owns it.

mod http;
mod jwt;

pub use http::{
    Admin, Authenticator, Caller, Merchant, Storefront, Visitor, caller_of, subject_of,
};
pub use jwt::{Claims, InvalidToken, KeysError, Role, SignError, Tokens, UnknownRole};
