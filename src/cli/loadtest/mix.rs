//! Which kind of request comes next.

use std::fmt;
use std::str::FromStr;

/// What one request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Holds one lot for a buyer.
    Reserve,
    /// Holds one for a short time, and never comes back for it.
    Abandon,
    /// Turns the oldest hold into an order.
    Confirm,
    /// Gives the oldest hold back.
    Cancel,
    /// Looks at the stock.
    Look,
    /// Reads the first page of all products.
    List,
}

impl Kind {
    /// Every kind, in the order of reports.
    pub(super) const ALL: [Self; 6] =
        [Self::Reserve, Self::Abandon, Self::Confirm, Self::Cancel, Self::Look, Self::List];

    /// Its name in the mix and in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Abandon => "abandon",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Look => "look",
            Self::List => "list",
        }
    }
}

/// How often each kind comes, in relation to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mix {
    weights: [u32; Kind::ALL.len()],
}

impl Mix {
    /// Whether this kind comes at all.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.weights[kind as usize] > 0
    }

    /// Whether it reads anything, which uses nothing up.
    pub(super) fn reads(&self) -> bool {
        self.has(Kind::Look) || self.has(Kind::List)
    }

    /// Whether it makes holds of its own, or only uses those that were prepared.
    pub(super) fn makes_holds(&self) -> bool {
        self.has(Kind::Reserve) || self.has(Kind::Abandon)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0; Kind::ALL.len()];
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(|| {
                format!("`{name}` is none of reserve, confirm, cancel, abandon, look, list")
            })?;
            let weight = weight.trim().parse().ok().filter(|weight| *weight <= 1_000_000);
            weights[kind as usize] =
                weight.ok_or_else(|| format!("`{part}`: expected a whole number up to 1000000"))?;
        }
        if weights.iter().all(|weight| *weight == 0) {
            return Err("at least one kind must come at all".to_owned());
        }
        Ok(Self { weights })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Kind::ALL.into_iter().filter(|kind| self.has(*kind));
        let parts = parts.map(|kind| format!("{}={}", kind.name(), self.weights[kind as usize]));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

/// Deals out kinds evenly: after every full turn the shares are exact.
#[derive(Debug)]
pub(super) struct Dealer {
    mix: Mix,
    credit: [i64; Kind::ALL.len()],
}

impl Dealer {
    pub(super) fn new(mix: Mix) -> Self {
        Self { mix, credit: [0; Kind::ALL.len()] }
    }

    /// The kind whose turn it is.
    pub(super) fn deal(&mut self) -> Kind {
        let mut best = Kind::Reserve;
        for kind in Kind::ALL {
            self.credit[kind as usize] += i64::from(self.mix.weights[kind as usize]);
            if self.credit[kind as usize] > self.credit[best as usize] {
                best = kind;
            }
        }
        self.credit[best as usize] -= self.mix.weights.iter().copied().map(i64::from).sum::<i64>();
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_spread() {
        let mut dealer = Dealer::new("reserve=6,confirm=3,cancel=1".parse().unwrap());
        let dealt: Vec<Kind> = (0..100).map(|_| dealer.deal()).collect();
        let count = |kind| dealt.iter().filter(|dealt| **dealt == kind).count();
        assert_eq!(
            Kind::ALL.map(count),
            [60, 0, 30, 10, 0, 0],
            "reserve, abandon, confirm, cancel, look, list"
        );
        assert!(dealt[..10].contains(&Kind::Cancel));
    }

    #[test]
    fn one_kind_alone_is_dealt_alone() {
        let mut dealer = Dealer::new("confirm=1".parse().unwrap());
        assert!((0..9).all(|_| dealer.deal() == Kind::Confirm));
    }

    #[test]
    fn a_mix_reads_as_it_was_written() {
        assert_eq!("reserve=60,look".parse::<Mix>().unwrap().to_string(), "reserve=60,look=1");
        for wrong in ["", "buy=1", "reserve=x", "reserve=-1", "reserve=0", "reserve=2000000"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
