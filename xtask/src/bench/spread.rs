//! Several measurements of one thing.

/// Median, least and greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Of nothing it is zero.
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (half, odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
        let median =
            if odd { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) };
        Self { median, least: at(0), most: at(sorted.len().saturating_sub(1)) }
    }

    /// Of ratios taken round by round.
    pub(super) fn of_ratios(ours: &[f64], references: &[f64]) -> Self {
        // Nothing to compare with is nothing reached.
        let ratio =
            |(ours, reference): (&f64, &f64)| if *reference > 0.0 { ours / reference } else { 0.0 };
        Self::of(&ours.iter().zip(references).map(ratio).collect::<Vec<_>>())
    }
}

/// The value below which a share of all values lies.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(Spread::of(&[]).median, 0.0);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread = Spread::of_ratios(&[10.0, 40.0], &[10.0, 20.0]);
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 1.5, 2.0));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.99), quantile(&values, 1.0)), (198.0, 200.0));
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
