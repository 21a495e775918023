//! The outcome in figures: what the table, the page and the file for machines show.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::busy::Busy;
use super::proof::Proof;
use super::tally::{Answers, Tally, quantile_ms};

/// The edges of the bars of latency, in milliseconds.
const EDGES_MS: [f64; 11] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 60_000.0];

/// How many contradictions are shown.
const SHOWN: usize = 5;

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) sku: String,
    /// Over how many products named after the SKU the crowd is spread.
    pub(super) across: Option<u32>,
    pub(super) mix: String,
    pub(super) connections: usize,
    /// Requests per second; `None` is as many as are answered.
    pub(super) rate: Option<f64>,
    pub(super) prepared: u64,
}

/// The outcome.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    pub(super) plan: Plan,
    pub(super) seconds: f64,
    pub(super) accepted_per_second: f64,
    pub(super) refused_per_second: f64,
    #[serde(flatten)]
    pub(super) pacing: Pacing,
    pub(super) wrong_answers: u64,
    pub(super) examples: Vec<String>,
    pub(super) kinds: Vec<KindFigures>,
    pub(super) latency_bars: Vec<(String, f64)>,
    pub(super) series: Vec<SecondFigures>,
    pub(super) proof: Proof,
}

/// How the load generator itself did.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pacing {
    /// Requests that were due while every connection was busy, and were dropped.
    pub(super) unsent: u64,
    #[serde(rename = "generator_percent")]
    pub(super) busy: Option<Busy>,
}

/// Requests of one kind.
#[derive(Debug, Clone, Serialize)]
pub(super) struct KindFigures {
    pub(super) kind: &'static str,
    pub(super) accepted: u64,
    pub(super) accepted_per_second: f64,
    /// From when it was due to its answer, so that waiting for a free connection counts.
    pub(super) latency_ms: Quantiles,
    pub(super) refused: u64,
    /// From when it was due, too.
    pub(super) refused_latency_ms: Quantiles,
    pub(super) refusals: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct SecondFigures {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Summary {
    pub(super) fn new(plan: Plan, tally: &Tally, pacing: Pacing, proof: Proof) -> Self {
        let seconds = tally.measured_s();
        let all = tally.accepted();
        let refused: u64 = tally.kinds().map(|kind| kind.refused.len()).sum();
        let second = |second: &super::tally::Second| SecondFigures {
            accepted: second.accepted.len(),
            refused: second.refused,
            p50_ms: quantile_ms(&second.accepted, 0.5),
            p99_ms: quantile_ms(&second.accepted, 0.99),
        };
        Self {
            plan,
            seconds,
            accepted_per_second: all.len() as f64 / seconds,
            refused_per_second: refused as f64 / seconds,
            pacing,
            wrong_answers: tally.wrong(),
            examples: tally.examples().to_vec(),
            kinds: tally.kinds().map(|kind| KindFigures::new(kind, seconds)).collect(),
            latency_bars: bars(&all),
            series: tally.seconds().iter().map(second).collect(),
            proof,
        }
    }

    /// Whether every answer was right and no unit is missing.
    pub(super) fn is_right(&self) -> bool {
        self.wrong_answers == 0 && self.proof.holds()
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "", "answers", "per s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "refused"
        )];
        for kind in &self.kinds {
            let Quantiles { p50, p90, p99, p999, max } = kind.latency_ms;
            lines.push(format!(
                "{:<9}{:>10}{:>10.0}{p50:>10.2}{p90:>10.2}{p99:>10.2}{p999:>10.2}{max:>10.2}{:>10}",
                kind.kind, kind.accepted, kind.accepted_per_second, kind.refused
            ));
        }
        lines.extend(self.refusals());
        lines.extend(self.pacing.lines());
        lines.extend(self.verdict());
        lines.join("\n")
    }

    /// Who was refused why, and how soon.
    pub(super) fn refusals(&self) -> Vec<String> {
        let of = |kind: &KindFigures| {
            let (name, p99) = (kind.kind, kind.refused_latency_ms.p99);
            let line = |(code, count): &(String, u64)| {
                format!("{name} refused: {code} {count} (p99 of all {p99:.2} ms)")
            };
            kind.refusals.iter().map(line).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(of).collect()
    }

    /// The proof and the wrong answers, in words.
    pub(super) fn verdict(&self) -> Vec<String> {
        let Proof { after, told_reserved, told_sold, left_open, .. } = &self.proof;
        let mut lines = vec![
            format!(
                "conservation: total {} = available {} + reserved {} + sold {}",
                after.total_stock, after.available_stock, after.reserved_stock, after.sold_stock
            ),
            format!("  told: {told_reserved} reserved, {told_sold} sold, {left_open} left open"),
        ];
        let contradictions = &self.proof.contradictions;
        lines.extend(contradictions.iter().take(SHOWN).map(|what| format!("  WRONG: {what}")));
        if contradictions.len() > SHOWN {
            lines.push(format!("  and {} more", contradictions.len() - SHOWN));
        }
        if self.proof.holds() {
            lines.push("  it holds".to_owned());
        }
        lines.push(format!("wrong answers: {}", self.wrong_answers));
        lines.extend(self.examples.iter().map(|example| format!("  {example}")));
        lines
    }
}

impl Pacing {
    /// What is to be known of the generator, in words.
    pub(super) fn lines(&self) -> Vec<String> {
        let unsent = self.unsent;
        let unsent =
            (unsent > 0).then(|| format!("never sent, every connection was busy: {unsent}"));
        let busy = self.busy.map(|Busy { working, waiting }| {
            format!("generator: {working:.0} % of a core, {waiting:.0} % waiting for one")
        });
        unsent.into_iter().chain(busy).collect()
    }
}

impl KindFigures {
    fn new(answers: &Answers, seconds: f64) -> Self {
        Self {
            kind: answers.kind.name(),
            accepted: answers.accepted.len(),
            accepted_per_second: answers.accepted.len() as f64 / seconds,
            latency_ms: Quantiles::of(&answers.accepted),
            refused: answers.refused.len(),
            refused_latency_ms: Quantiles::of(&answers.refused),
            refusals: answers.codes.clone(),
        }
    }
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let [p50, p90, p99, p999, max] =
            [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| quantile_ms(histogram, quantile));
        Self { p50, p90, p99, p999, max }
    }
}

/// The share of answers, in percent, that took up to each edge and longer than the one before.
fn bars(histogram: &Histogram<u64>) -> Vec<(String, f64)> {
    let mut least = 0;
    let total = histogram.len().max(1) as f64;
    let bar = |edge: f64| {
        let most = (edge * 1_000.0) as u64;
        let count = histogram.count_between(least, most);
        let name = match edge {
            60_000.0 => "more".to_owned(),
            _ => format!("≤ {edge}"),
        };
        least = most + 1;
        (name, count as f64 / total * 100.0)
    };
    EDGES_MS.map(bar).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_shares_that_make_up_the_whole() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        for us in [200, 300, 1_500, 1_600] {
            histogram.record(us).unwrap();
        }
        let bars = bars(&histogram);
        assert_eq!(bars[0], ("≤ 0.25".to_owned(), 25.0));
        assert_eq!(bars[3], ("≤ 2".to_owned(), 50.0));
        assert!((bars.iter().map(|bar| bar.1).sum::<f64>() - 100.0).abs() < 1e-9);
    }
}
