//! Tokens: an hour each, and few in an hour, or the merchant is shut out for one.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::{code, only, text};
use crate::serve::Reply;
use crate::world::{State, random};

const LIFE_S: i64 = 3_600;
const REFRESH_LIFE_S: i64 = 28 * 24 * 60 * 60;
const HOUR_S: i64 = 3_600;
const REFRESHES: usize = 2;

/// A token.
pub(crate) struct Token {
    token: String,
    refresh: String,
    granted_at: i64,
}

impl Token {
    /// Whether it is the one in hand, and still good.
    pub(crate) fn is(&self, token: &str, now_s: i64) -> bool {
        self.token == token && now_s < self.granted_at + LIFE_S
    }
}

/// When tokens were asked for.
pub(crate) struct Clients {
    grants_per_hour: usize,
    grants: VecDeque<i64>,
    refreshes: VecDeque<i64>,
    shut_out_until: i64,
}

impl Clients {
    pub(crate) fn new(grants_per_hour: usize) -> Self {
        Self {
            grants_per_hour,
            grants: VecDeque::new(),
            refreshes: VecDeque::new(),
            shut_out_until: 0,
        }
    }
}

/// `token/grant`
pub(crate) fn grant(state: &mut State, given: &Map<String, Value>) -> Reply {
    let most = state.bkash.clients.grants_per_hour;
    admitted(state, given, &["app_key", "app_secret"])
        .and_then(|now| counted(state, now, most, |clients| &mut clients.grants))
        .map_or_else(|refused| refused, |now| made(state, now))
}

/// `token/refresh`
pub(crate) fn refresh(state: &mut State, given: &Map<String, Value>) -> Reply {
    let refreshed = admitted(state, given, &["app_key", "app_secret", "refresh_token"])
        .and_then(|now| counted(state, now, REFRESHES, |clients| &mut clients.refreshes));
    let now = match refreshed {
        Ok(now) => now,
        Err(refused) => return refused,
    };
    let with = text(given, "refresh_token");
    let mut known = state.bkash.tokens.iter();
    match known.any(|token| token.refresh == with && now < token.granted_at + REFRESH_LIFE_S) {
        true => made(state, now),
        false => code("2079", "Invalid refresh token"),
    }
}

fn admitted(state: &State, given: &Map<String, Value>, names: &[&str]) -> Result<i64, Reply> {
    only(given, names)?;
    if names.iter().any(|name| text(given, name).is_empty()) {
        return Err(code("2065", "Mandatory field missing"));
    }
    let keys = &state.keys;
    let known = text(given, "app_key") == keys.bkash_app_key
        && text(given, "app_secret") == keys.bkash_app_secret;
    if known { Ok(state.clock.now_s()) } else { Err(code("2001", "Invalid App Key")) }
}

/// Counts a call; one too many shuts the merchant out.
fn counted(
    state: &mut State,
    now: i64,
    most: usize,
    calls: fn(&mut Clients) -> &mut VecDeque<i64>,
) -> Result<i64, Reply> {
    let clients = &mut state.bkash.clients;
    let shut_out = Err(Reply::new(429, json!({ "message": "Limit Exceeded" })));
    if now < clients.shut_out_until {
        return shut_out;
    }
    let calls = calls(clients);
    while calls.front().is_some_and(|call| *call <= now - HOUR_S) {
        calls.pop_front();
    }
    calls.push_back(now);
    if calls.len() > most {
        clients.shut_out_until = now + HOUR_S;
        return shut_out;
    }
    Ok(now)
}

fn made(state: &mut State, now: i64) -> Reply {
    let token = Token { token: random(180), refresh: random(180), granted_at: now };
    let body = json!({
        "statusCode": "0000", "statusMessage": "Successful", "id_token": token.token,
        "token_type": "Bearer", "expires_in": LIFE_S, "refresh_token": token.refresh,
    });
    state.bkash.tokens.push(token);
    Reply::ok(body)
}
