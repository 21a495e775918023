//! Just enough of Redis' protocol to ask the private server something.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub(super) struct PlainRedis {
    stream: BufReader<UnixStream>,
}

impl PlainRedis {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("cannot reach Redis")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command; its answer must be one line, number or text.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(command.as_bytes())?;
        answer(&mut self.stream).with_context(|| format!("redis: {}", words[0]))
    }

    /// Memory that Redis has given out, in bytes.
    pub(super) fn used_memory(&mut self) -> Result<f64> {
        let info = self.ask(&["INFO", "memory"])?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("no used_memory")?.trim().parse()?)
    }
}

fn answer(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+" | ":", rest)) => Ok(rest.to_owned()),
        Some(("$", length)) => {
            let length = length.parse::<usize>().context("no such key")?;
            let mut text = vec![0; length + 2];
            stream.read_exact(&mut text)?;
            text.truncate(length);
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        _ => bail!("{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn answers_are_read() {
        assert_eq!(answer(&mut &b":7\r\n"[..]).ok().as_deref(), Some("7"));
        assert_eq!(answer(&mut &b"$3\r\na\nb\r\n"[..]).ok().as_deref(), Some("a\nb"));
        assert!(answer(&mut &b"-ERR no\r\n"[..]).is_err());
        assert!(answer(&mut &b"$-1\r\n"[..]).is_err());
    }
}
