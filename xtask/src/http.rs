//! Just enough HTTP/1.1 to ask a service on this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Everything after the head.
    pub(crate) body: String,
}

/// Sends a GET.
pub(crate) fn get(authority: &str, path: &str) -> Result<Answer> {
    Call::open(authority)?.ask(&format!("GET {path} HTTP/1.1\r\n"), "")?.answer()
}

/// Sends a POST of JSON with a bearer token.
pub(crate) fn post(authority: &str, path: &str, token: &str, json: &str) -> Result<Answer> {
    Call::open(authority)?.ask_post(path, token, json)?.answer()
}

/// One question on a connection of its own, step by step: many can be open, and asked, before the first is answered.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    authority: &'a str,
    stream: TcpStream,
}

impl<'a> Call<'a> {
    /// Connects.
    pub(crate) fn open(authority: &'a str) -> Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { authority, stream })
    }

    /// Sends a POST of JSON with a bearer token.
    pub(crate) fn ask_post(self, path: &str, token: &str, json: &str) -> Result<Self> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            json.len()
        );
        self.ask(&head, json)
    }

    fn ask(mut self, head: &str, body: &str) -> Result<Self> {
        let host = self.authority;
        let request = format!("{head}Host: {host}\r\nConnection: close\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes())?;
        Ok(self)
    }

    /// Waits for the answer.
    pub(crate) fn answer(mut self) -> Result<Answer> {
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer)?;
        parsed(&String::from_utf8_lossy(&answer)).context("not an HTTP answer")
    }
}

fn parsed(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parsed;

    #[test]
    fn an_answer_is_status_and_body() -> anyhow::Result<()> {
        let answer = parsed("HTTP/1.1 409 Conflict\r\nA: b\r\n\r\n{\"code\":\"sku_taken\"}");
        let answer = answer.ok_or_else(|| anyhow::anyhow!("not parsed"))?;
        assert_eq!(answer.status, 409);
        assert!(answer.body.contains("sku_taken"));
        assert!(parsed("nonsense").is_none());
        Ok(())
    }
}
