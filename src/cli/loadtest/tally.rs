//! Counts and times of the answers.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::check::Verdict;
use super::mix::Kind;

/// Longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// How many wrong answers are shown.
const EXAMPLES: usize = 5;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Tally {
    from: Instant,
    until: Instant,
    last: Instant,
    kinds: Vec<Answers>,
    seconds: Vec<Second>,
    wrong: u64,
    examples: Vec<String>,
}

/// The answers to requests of one kind.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) kind: Kind,
    /// From the time a request was due to its answer.
    pub(super) accepted: Histogram<u64>,
    /// From the time a request was due to its refusal.
    pub(super) refused: Histogram<u64>,
    /// Refusals by code.
    pub(super) codes: Vec<(String, u64)>,
}

/// The answers of one second.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) accepted: Histogram<u64>,
    pub(super) refused: u64,
}

/// When a request was due and answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) due: Instant,
    pub(super) answered: Instant,
}

impl Tally {
    /// Counts what is answered between two times; wrong answers count at any time.
    pub(super) fn between(from: Instant, until: Instant) -> Self {
        let kinds = Kind::ALL.map(|kind| Answers {
            kind,
            accepted: histogram(),
            refused: histogram(),
            codes: Vec::new(),
        });
        let (seconds, examples) = (Vec::new(), Vec::new());
        Self { from, until, last: from, kinds: kinds.into(), seconds, wrong: 0, examples }
    }

    pub(super) fn record(&mut self, kind: Kind, times: Times, verdict: &Verdict) {
        if let Verdict::Wrong(example) = verdict {
            return self.record_wrong(example.clone());
        }
        if times.answered < self.from || times.answered > self.until {
            return;
        }
        self.last = self.last.max(times.answered);
        let since = times.answered - self.from;
        let second = since.as_secs() as usize;
        while self.seconds.len() <= second {
            self.seconds.push(Second { accepted: histogram(), refused: 0 });
        }
        let (answers, second) = (&mut self.kinds[kind as usize], &mut self.seconds[second]);
        let taken = micros(times.due, times.answered);
        match verdict {
            Verdict::Refused { code } | Verdict::Open { code } => {
                second.refused += 1;
                answers.refused.saturating_record(taken);
                match answers.codes.iter_mut().find(|(known, _)| known == code) {
                    Some((_, count)) => *count += 1,
                    None => answers.codes.push((code.clone(), 1)),
                }
            }
            _ => {
                answers.accepted.saturating_record(taken);
                second.accepted.saturating_record(taken);
            }
        }
    }

    pub(super) fn record_wrong(&mut self, example: String) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example);
        }
    }

    /// The kinds that came.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &Answers> {
        self.kinds.iter().filter(|kind| kind.accepted.len() + kind.refused.len() > 0)
    }

    pub(super) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    pub(super) fn wrong(&self) -> u64 {
        self.wrong
    }

    pub(super) fn examples(&self) -> &[String] {
        &self.examples
    }

    /// How long was measured, in seconds: less than planned if there was nothing left to do.
    pub(super) fn measured_s(&self) -> f64 {
        (self.last - self.from).as_secs_f64().max(0.001)
    }

    /// Every accepted answer of every kind.
    pub(super) fn accepted(&self) -> Histogram<u64> {
        let mut all = histogram();
        for kind in &self.kinds {
            // Of the same bounds, so that nothing can be out of range.
            let _ = all.add(&kind.accepted);
        }
        all
    }
}

/// A quantile in milliseconds.
pub(super) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

fn micros(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
}

#[expect(clippy::expect_used, reason = "the bounds are constant, and in order")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("sound bounds")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally::between(start, at(10_000));
        let times = Times { due: at(0), answered: at(100) };
        tally.record(Kind::Look, times, &Verdict::Seen);
        tally.record(Kind::Look, times, &Verdict::Refused { code: "overloaded".into() });
        let look = tally.kinds().next().unwrap();
        assert!((quantile_ms(&look.accepted, 0.99) - 100.0).abs() < 0.2);
        assert!((quantile_ms(&look.refused, 0.5) - 100.0).abs() < 0.2);
        assert_eq!(look.codes, [("overloaded".to_owned(), 1)]);
    }

    #[test]
    fn answers_outside_the_time_do_not_count_unless_they_are_wrong() {
        let start = Instant::now();
        let mut tally = Tally::between(start + Duration::from_secs(1), start);
        let times = Times { due: start, answered: start };
        tally.record(Kind::Look, times, &Verdict::Seen);
        tally.record(Kind::Look, times, &Verdict::Wrong("look: 500".into()));
        assert_eq!((tally.kinds().count(), tally.wrong()), (0, 1));
    }
}
