//! The aims and whether they are met; figures and charts for people and machines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::chart::short;
use super::spread::Spread;

/// One thing that was to be reached.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    pub(super) id: u8,
    pub(super) name: &'static str,
    pub(super) ours: f64,
    pub(super) reference: f64,
    pub(super) ratio: Spread,
    pub(super) target: Target,
}

/// What the ratio of ours to the reference is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) aims: Vec<Aim>,
    /// File names and SVG.
    pub(super) charts: Vec<(&'static str, String)>,
}

impl Aim {
    /// Ours beside a reference, both measured once in each round.
    pub(super) fn rounds(
        id: u8,
        name: &'static str,
        (ours, references): (&[f64], &[f64]),
        target: Target,
    ) -> Self {
        let (ours_of, reference) = (Spread::of(ours).median, Spread::of(references).median);
        let ratio = Spread::of_ratios(ours, references);
        Self { id, name, ours: ours_of, reference, ratio, target }
    }

    /// Measurements that are not to go over a limit.
    pub(super) fn limit(id: u8, name: &'static str, ours: &[f64], limit: f64) -> Self {
        let limits = vec![limit; ours.len()];
        Self::rounds(id, name, (ours, &limits), Target::AtMost(1.0))
    }

    fn met(&self) -> bool {
        match self.target {
            Target::AtLeast(least) => self.ratio.median >= least,
            Target::AtMost(most) => self.ratio.median <= most,
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let Spread { median, least, most } = self.ratio;
        let target = match self.target {
            Target::AtLeast(least) => format!("≥ {least}"),
            Target::AtMost(most) => format!("≤ {most}"),
        };
        format!(
            "{} {:<58} {:>8} / {:>8} = {median:>6.2} ({least:.2}..{most:.2})  {target:<6} {}",
            self.id,
            self.name,
            short(self.ours),
            short(self.reference),
            if self.met() { "met" } else { "NOT MET" }
        )
    }

    fn json(&self) -> Value {
        let (Target::AtLeast(target) | Target::AtMost(target)) = self.target;
        json!({
            "id": self.id, "name": self.name, "ours": self.ours, "reference": self.reference,
            "ratio": self.ratio.median, "target": target, "met": self.met(),
        })
    }
}

impl Report {
    /// Writes `report.json`, `report.txt` and the charts, and prints the table.
    pub(super) fn write(&self, folder: &Path, wrong_answers: u64) -> Result<()> {
        let json = self.json(wrong_answers);
        let table = self.table(wrong_answers);
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        put("report.json", &serde_json::to_string_pretty(&json)?)?;
        put("report.txt", &table)?;
        for (name, svg) in &self.charts {
            put(name, svg)?;
        }
        println!("{table}");
        Ok(())
    }

    fn json(&self, wrong_answers: u64) -> Value {
        let mut aims: Vec<&Aim> = self.aims.iter().collect();
        aims.sort_by_key(|aim| aim.id);
        let aims: Vec<Value> = aims.into_iter().map(Aim::json).collect();
        json!({ "wrong_answers": wrong_answers, "aims": aims })
    }

    fn table(&self, wrong_answers: u64) -> String {
        let mut aims: Vec<&Aim> = self.aims.iter().collect();
        aims.sort_by_key(|aim| aim.id);
        let lines = aims.into_iter().map(Aim::line).collect::<Vec<_>>().join("\n");
        format!(
            "\nours / reference = median ratio (least..greatest of the rounds)\n{lines}\n\
             wrong answers: {wrong_answers}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let rates = (&[30.0, 50.0, 40.0][..], &[40.0, 40.0, 40.0][..]);
        let latency = Aim::limit(6, "p99", &[4.0, 6.0, 7.0], 5.0);
        let rate = Aim::rounds(1, "rate", rates, Target::AtLeast(1.0));
        Report { aims: vec![latency, rate], charts: Vec::new() }
    }

    #[test]
    fn the_report_has_the_shape_that_scripts_read() {
        let expected = json!({"wrong_answers": 3, "aims": [
            {"id": 1, "name": "rate", "ours": 40.0, "reference": 40.0, "ratio": 1.0,
             "target": 1.0, "met": true},
            {"id": 6, "name": "p99", "ours": 6.0, "reference": 5.0, "ratio": 1.2,
             "target": 1.0, "met": false},
        ]});
        assert_eq!(report().json(3), expected);
    }

    #[test]
    fn the_table_shows_the_spread() {
        let table = report().table(0);
        assert!(table.contains("1.00 (0.75..1.25)"), "{table}");
        assert!(table.contains("NOT MET") && table.contains("wrong answers: 0"));
    }
}
