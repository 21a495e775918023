//! A record as the scripts keep it: fields with blanks between them. `lua/record.lua` is the other side of this file.

use crate::kernel::{Quantity, Sku, UserId};
use crate::platform::Fault;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The clock may end it.
    Held,
    /// Only a decision may end it.
    Pinned,
    /// Ended by a sale.
    Sold,
    /// Ended otherwise.
    Ended,
}

/// The products of a reservation, as its record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// This record is all of it.
    One,
    /// The home record of several: their SKUs, this one's included.
    Home(Vec<Sku>),
    /// Another of several; the home record lists them.
    Other,
}

/// How a record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: String,
    pub(super) at_ms: i64,
    pub(super) actor: String,
}

/// One line of a reservation in Redis.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) state: State,
    pub(super) quantity: Quantity,
    pub(super) deadline_ms: i64,
    pub(super) created_ms: i64,
    pub(super) extensions: u32,
    pub(super) lines: Lines,
    pub(super) user: UserId,
    /// Units that their owner takes out, or that late money asked for: nobody's reservation.
    pub(super) hidden: bool,
    pub(super) end: Option<End>,
}

impl Record {
    /// Reads what a script packed.
    pub(super) fn parse(packed: &str) -> Result<Self, Fault> {
        parse(packed).ok_or_else(|| Fault::internal("reading a record"))
    }

    /// Whether it is past its deadline, swept or not.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.state == State::Held && self.deadline_ms <= now_ms
    }
}

pub(super) fn parse_lines(field: &str) -> Option<Lines> {
    match field {
        "-" => Some(Lines::One),
        "@" => Some(Lines::Other),
        skus => skus.split(',').map(|sku| sku.parse().ok()).collect::<Option<_>>().map(Lines::Home),
    }
}

pub(super) fn parse_state(field: &str) -> Option<State> {
    match field {
        "H" => Some(State::Held),
        "P" => Some(State::Pinned),
        "S" => Some(State::Sold),
        "E" => Some(State::Ended),
        _ => None,
    }
}

fn parse(packed: &str) -> Option<Record> {
    let fields: Vec<&str> = packed.split(' ').collect();
    let [
        state,
        kind,
        quantity,
        _token,
        deadline,
        created,
        extensions,
        _cap,
        lines,
        user,
        _email,
        end @ ..,
    ] = fields.as_slice()
    else {
        return None;
    };
    let end = match end {
        [reason, at, actor] => Some(End {
            reason: (*reason).to_owned(),
            at_ms: at.parse().ok()?,
            actor: (*actor).to_owned(),
        }),
        _ => None,
    };
    Some(Record {
        state: parse_state(state)?,
        quantity: Quantity::try_from(quantity.parse::<i64>().ok()?).ok()?,
        deadline_ms: deadline.parse().ok()?,
        created_ms: created.parse().ok()?,
        extensions: extensions.parse().ok()?,
        lines: parse_lines(lines)?,
        user: user.parse().ok()?,
        hidden: *kind != "n",
        end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_scripts_write_them() {
        let live = Record::parse("H n 2 00ff 1794000600000 1794000000000 0 3 A,B alice -").unwrap();
        assert_eq!(live.state, State::Held);
        assert_eq!(live.quantity.get(), 2);
        assert!(matches!(live.lines, Lines::Home(ref skus) if skus.len() == 2));
        assert!(live.is_due(1_794_000_600_000) && !live.is_due(1_794_000_599_999));
        let ended = Record::parse("E n 1 00ff 2 1 0 0 - bob - expired 3 clock").unwrap();
        assert_eq!(ended.end.unwrap().reason, "expired");
        assert!(Record::parse("H n 0 00ff 2 1 0 0 - bob -").is_err());
        assert!(Record::parse("nonsense").is_err());
    }
}
