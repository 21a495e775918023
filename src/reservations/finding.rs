//! What the audit of a SKU found wrong, and which of it is certain at the first look.

use crate::reservations::ledger::{Audit, Weighed};
use crate::reservations::stock_store::Shelf;

/// What an audit found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// The counters do not add up (INV2).
    pub(super) unbalanced: bool,
    /// What the records say against counters, indexes and buyers.
    pub(super) weighed: Weighed,
    /// Units by which the counters or the records do not add up.
    pub(super) lost: i64,
    /// Units sold in one store and not explained in the other.
    pub(super) drift: i64,
    /// A rebuild bumped the epoch and never finished.
    pub(super) epoch_gap: i64,
    /// The stock is older than what Redis has confirmed, or another one of the same version.
    pub(super) old_stock: bool,
    /// Redis is of a rebuild or has a stock that Postgres does not know.
    pub(super) ahead: bool,
}

impl Finding {
    /// Of one audit, between two reads of Postgres.
    pub(super) fn of(audit: &Audit, weighed: Weighed, before: Shelf, after: Shelf) -> Self {
        let empty = (audit.live == 0) == (audit.held == 0);
        let sum = audit.avail + audit.held + audit.sold;
        let balanced =
            sum == audit.stocked && audit.held >= audit.live && audit.strays == 0 && empty;
        // Postgres may be ahead by what is pinned, and Redis never.
        let missing = (before.sold - audit.sold - audit.pinned).max(0);
        let surplus = (audit.sold - after.sold).max(0);
        Self {
            unbalanced: !balanced,
            weighed,
            lost: (sum - audit.stocked).abs().max(weighed.units.abs()),
            drift: missing + surplus,
            epoch_gap: (before.epoch - audit.epoch).max(0),
            old_stock: audit.ver < before.applied
                || audit.ver == before.ver
                    && (audit.stocked, audit.returned) != (before.stocked, before.returned),
            ahead: audit.epoch > after.epoch || audit.ver > after.ver,
        }
    }

    /// Whether one look is enough: each script sees one moment. Between the stores a sale may be on its way.
    pub(super) fn is_certain(&self) -> bool {
        self.unbalanced || self.weighed != Weighed::default()
    }

    /// Units that are in doubt.
    pub(super) fn units(&self) -> i64 {
        let Weighed { astray, buyers, .. } = self.weighed;
        self.lost.max(self.drift).max(i64::from(self.unbalanced)).max(astray).max(buyers.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        Audit {
            now_ms: 1,
            epoch: 3,
            stocked: 10,
            avail: 5,
            held: 3,
            sold: 2,
            returned: 0,
            ver: 4,
            live: 2,
            earliest_ms: 0,
            oldest_pin_ms: 0,
            oldest_end_ms: 0,
            pinned: 1,
            hidden: false,
            strays: 0,
        }
    }

    fn shelf(sold: i64) -> Shelf {
        Shelf { epoch: 3, sold, stocked: 10, returned: 0, ver: 4, applied: 4 }
    }

    fn finding(audit: &Audit, before: i64, after: i64) -> Finding {
        Finding::of(audit, Weighed::default(), shelf(before), shelf(after))
    }

    #[test]
    fn a_pinned_unit_explains_that_postgres_is_ahead() {
        assert_eq!(finding(&audit(), 3, 3), Finding::default());
        assert_eq!(finding(&audit(), 4, 4).drift, 1);
        assert_eq!(finding(&audit(), 1, 1).drift, 1);
        assert_eq!(finding(&audit(), 1, 2).drift, 0, "sold while the audit ran");
    }

    #[test]
    fn counters_that_do_not_add_up_are_found() {
        assert!(finding(&Audit { avail: 6, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { live: 4, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { live: 0, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { strays: -1, ..audit() }, 2, 2).unbalanced);
        let later = Shelf { epoch: 5, ..shelf(2) };
        assert_eq!(Finding::of(&audit(), Weighed::default(), later, later).epoch_gap, 2);
        let behind = Shelf { epoch: 2, ..shelf(2) };
        assert!(Finding::of(&audit(), Weighed::default(), behind, behind).ahead);
    }

    #[test]
    fn what_one_script_sees_is_certain() {
        let weighed = Weighed { units: -2, astray: 1, buyers: 0 };
        let found = Finding::of(&audit(), weighed, shelf(2), shelf(2));
        assert!(found.is_certain() && !found.unbalanced);
        assert_eq!(found.units(), 2);
        assert!(!finding(&audit(), 4, 4).is_certain(), "a sale may be on its way");
        assert_eq!(finding(&Audit { avail: 9, ..audit() }, 2, 2).units(), 4);
    }

    #[test]
    fn stock_may_be_older_than_in_postgres_but_not_than_was_confirmed() {
        let more = Shelf { stocked: 12, ver: 5, ..shelf(2) };
        assert_eq!(Finding::of(&audit(), Weighed::default(), more, more), Finding::default());
        assert_eq!(Finding::of(&audit(), Weighed::default(), shelf(2), more), Finding::default());
        let confirmed = Shelf { applied: 5, ..more };
        assert!(Finding::of(&audit(), Weighed::default(), confirmed, confirmed).old_stock);
        let other = Shelf { stocked: 12, ..shelf(2) };
        assert!(Finding::of(&audit(), Weighed::default(), other, other).old_stock);
        let lost = Shelf { stocked: 8, ver: 3, applied: 3, ..shelf(2) };
        assert!(Finding::of(&audit(), Weighed::default(), lost, lost).ahead);
    }
}
