//! A fault: something went wrong that is nobody's request's doing. Refusals, which are part of the contract, are
//! enums of their features.

use std::fmt;

use serde::Serialize;

/// Whether a request that failed may have had its effect. `Unknown` is always safe to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing happened.
    None,
    /// It may have happened, or may yet.
    Unknown,
}

/// What kind of trouble it is, which decides the status: 503 for the first two, 500 for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A store does not answer.
    Unavailable,
    /// More was asked than fits; nothing was begun.
    Overloaded,
    /// A defect of ours.
    Internal,
}

/// A fault with what was being done, whether it had its effect, and the chain of causes.
#[derive(Debug)]
pub struct Fault {
    kind: Kind,
    what: &'static str,
    outcome: Outcome,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A store that does not answer while `what`.
    pub fn unavailable(what: &'static str, outcome: Outcome) -> Self {
        Self { kind: Kind::Unavailable, what, outcome, source: None }
    }

    /// A full queue or pool; nothing was begun.
    pub fn overloaded(what: &'static str) -> Self {
        Self { kind: Kind::Overloaded, what, outcome: Outcome::None, source: None }
    }

    /// A defect of ours, found while `what`.
    pub fn internal(what: &'static str) -> Self {
        Self { kind: Kind::Internal, what, outcome: Outcome::Unknown, source: None }
    }

    /// The same with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with another outcome, where the caller knows better.
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same for somebody else who waited for the same thing; its causes as text.
    pub fn repeat(&self) -> Self {
        let source = std::error::Error::source(self).map(|source| chain_of(source).into());
        Self { source, ..*self }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the request may have had its effect.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The whole chain of causes in one line, for the log.
    pub fn chain(&self) -> String {
        chain_of(self)
    }
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_for_the_same_thing_hears_of_all_causes() {
        let deep = Fault::internal("asking").because("permission denied");
        let fault = Fault::unavailable("selling", Outcome::Unknown).because(deep);
        assert_eq!(fault.chain(), "selling: asking: permission denied");
        let repeated = fault.repeat();
        assert_eq!(repeated.chain(), fault.chain());
        assert_eq!((repeated.kind(), repeated.outcome()), (Kind::Unavailable, Outcome::Unknown));
    }
}
