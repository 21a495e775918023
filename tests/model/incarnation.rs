//! What a process does that meets a new incarnation of Redis, when the rebuild of each SKU is left
//! to its first use: it closes every SKU, so that each script on it answers REBUILD, and then
//! blesses the incarnation. Several may do so at once, none notices the others,
//! and each may die anywhere. Both models use it.

/// Where such a process stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Closing {
    #[default]
    Idle,
    /// It is about to close this SKU.
    Close { incarnation: u8, sku: u8 },
    /// It is about to write into Postgres that scripts may run on this incarnation.
    Bless { incarnation: u8 },
}

/// What one step of it does to the stores.
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// This SKU is closed.
    Close(usize),
    /// Scripts may run on the present incarnation.
    Bless,
}

/// The present incarnation, and how its SKUs are closed.
pub(crate) struct Incarnation {
    /// Which one it is.
    pub(crate) current: u8,
    /// Scripts may run on it.
    pub(crate) blessed: bool,
    /// How many SKUs there are.
    pub(crate) skus: usize,
    /// The rule: all SKUs are closed before the incarnation is blessed.
    pub(crate) close_first: bool,
}

impl Incarnation {
    /// The next step of a process: where it stands afterwards, what it did, and its name.
    pub(crate) fn step(&self, closing: Closing) -> Option<(Closing, Effect, &'static str)> {
        let current = self.current;
        match closing {
            Closing::Idle if self.blessed => None,
            Closing::Idle => Some((self.first(), Effect::None, "meets a new incarnation")),
            Closing::Close { incarnation, .. } if incarnation != current => {
                Some((Closing::Idle, Effect::None, "loses its connection"))
            }
            Closing::Close { incarnation, sku } => {
                let then = self.after_close(incarnation, sku + 1);
                Some((then, Effect::Close(sku as usize), "closes a SKU"))
            }
            Closing::Bless { incarnation } if incarnation == current => {
                Some((self.after_bless(), Effect::Bless, "blesses the incarnation"))
            }
            Closing::Bless { .. } => Some((Closing::Idle, Effect::None, "blesses in vain")),
        }
    }

    fn first(&self) -> Closing {
        let incarnation = self.current;
        match self.close_first {
            true => Closing::Close { incarnation, sku: 0 },
            false => Closing::Bless { incarnation },
        }
    }

    fn after_close(&self, incarnation: u8, sku: u8) -> Closing {
        if (sku as usize) < self.skus {
            Closing::Close { incarnation, sku }
        } else if self.close_first {
            Closing::Bless { incarnation }
        } else {
            Closing::Idle
        }
    }

    fn after_bless(&self) -> Closing {
        match self.close_first {
            true => Closing::Idle,
            false => Closing::Close { incarnation: self.current, sku: 0 },
        }
    }
}
