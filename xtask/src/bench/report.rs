//! The aims and whether they are met; figures and charts for people and machines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::chart::short;
use super::spread::Spread;

/// What is to be reached, by id, in the order of the report.
const AIMS: [(u8, &str); 7] = [
    (1, "reserve"),
    (2, "confirm"),
    (3, "durable holds"),
    (4, "restore lag"),
    (5, "growth"),
    (6, "latency and overload"),
    (7, "footprint"),
];

/// Ours beside a reference; an aim has one part or more.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The aim that it is a part of; none if nothing is demanded of it.
    pub(super) aim: Option<(u8, Target)>,
    pub(super) name: String,
    pub(super) ours: f64,
    pub(super) reference: f64,
    pub(super) ratio: Spread,
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
    pub(super) parts: Vec<Part>,
    /// What one must know to read the figures.
    pub(super) notes: Vec<String>,
    /// File names and SVG.
    pub(super) charts: Vec<(&'static str, String)>,
}

impl Target {
    fn value(self) -> f64 {
        let (Self::AtLeast(value) | Self::AtMost(value)) = self;
        value
    }

    /// How much of the target is reached: 1 and more is met.
    fn reached_by(self, ratio: f64) -> f64 {
        match self {
            Self::AtLeast(least) => ratio / least,
            Self::AtMost(most) => most / ratio.max(f64::MIN_POSITIVE),
        }
    }
}

impl Part {
    /// Ours beside a reference, both measured once in each round.
    pub(super) fn rounds(
        aim: Option<(u8, Target)>,
        name: &str,
        (ours, references): (&[f64], &[f64]),
    ) -> Self {
        let (ours_of, reference) = (Spread::of(ours).median, Spread::of(references).median);
        let ratio = Spread::of_ratios(ours, references);
        Self { aim, name: name.to_owned(), ours: ours_of, reference, ratio }
    }

    /// Measurements that are not to go over a limit.
    pub(super) fn limit(id: u8, name: &str, ours: &[f64], limit: f64) -> Self {
        let limits = vec![limit; ours.len()];
        Self::rounds(Some((id, Target::AtMost(1.0))), name, (ours, &limits))
    }

    fn reached(&self) -> f64 {
        self.aim.map_or(f64::INFINITY, |(_, target)| target.reached_by(self.ratio.median))
    }

    fn met(&self) -> bool {
        self.reached() >= 1.0
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let Spread { median, least, most } = self.ratio;
        let (id, target) = match self.aim {
            Some((id, Target::AtLeast(least))) => (id.to_string(), format!("≥ {least}")),
            Some((id, Target::AtMost(most))) => (id.to_string(), format!("≤ {most}")),
            None => ("-".to_owned(), String::new()),
        };
        let met = match self.aim {
            Some(_) if self.met() => "met",
            Some(_) => "NOT MET",
            None => "",
        };
        format!(
            "{id} {:<58} {:>8} / {:>8} = {median:>6.2} ({least:.2}..{most:.2})  {target:<6} {met}",
            self.name,
            short(self.ours),
            short(self.reference),
        )
    }

    fn json(&self) -> Value {
        let spread = json!({ "min": self.ratio.least, "max": self.ratio.most });
        let mut json = json!({
            "name": self.name, "ours": self.ours, "reference": self.reference,
            "ratio": self.ratio.median, "spread": spread,
        });
        if let Some((id, target)) = self.aim {
            let bound = match target {
                Target::AtLeast(_) => "at least",
                Target::AtMost(_) => "at most",
            };
            json["id"] = id.into();
            json["target"] = target.value().into();
            json["bound"] = bound.into();
            json["met"] = self.met().into();
        }
        json
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
        let aims: Vec<Value> = AIMS.into_iter().map(|(id, name)| self.aim(id, name)).collect();
        let further: Vec<Value> = self.further().map(Part::json).collect();
        json!({
            "wrong_answers": wrong_answers, "aims": aims,
            "further": further, "notes": self.notes,
        })
    }

    /// One aim: the figures of the part that is furthest from its target, and all parts.
    fn aim(&self, id: u8, name: &str) -> Value {
        let parts: Vec<&Part> = self.of(id).collect();
        let worst = parts.iter().min_by(|one, other| one.reached().total_cmp(&other.reached()));
        let Some(worst) = worst else {
            // This system does not show it: nothing was found, and nothing is claimed.
            return json!({
                "id": id, "name": name, "ours": null, "reference": null, "ratio": null,
                "target": null, "met": false, "parts": [],
            });
        };
        json!({
            "id": id, "name": format!("{name}: {}", worst.name), "ours": worst.ours,
            "reference": worst.reference, "ratio": worst.ratio.median,
            "target": worst.aim.map(|(_, target)| target.value()),
            "met": parts.iter().all(|part| part.met()),
            "parts": parts.iter().map(|part| part.json()).collect::<Vec<_>>(),
        })
    }

    fn of(&self, id: u8) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.aim.is_some_and(|(aim, _)| aim == id))
    }

    fn further(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.aim.is_none())
    }

    fn table(&self, wrong_answers: u64) -> String {
        let parts = AIMS.iter().flat_map(|(id, _)| self.of(*id)).chain(self.further());
        let lines = parts.map(Part::line).collect::<Vec<_>>().join("\n");
        format!(
            "\nours / reference = median ratio (least..greatest of the rounds)\n{lines}\n\n{}\n\
             wrong answers: {wrong_answers}\n",
            self.notes.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let rates = (&[30.0, 50.0, 40.0][..], &[40.0, 40.0, 40.0][..]);
        let latency = Part::limit(6, "p99", &[4.0, 6.0, 7.0], 5.0);
        let refusals = Part::limit(6, "refusals", &[9.0], 5.0);
        let goodput = Part::rounds(Some((6, Target::AtLeast(0.9))), "goodput", rates);
        let rate = Part::rounds(Some((1, Target::AtLeast(1.0))), "rate", rates);
        let read = Part::rounds(None, "read", rates);
        let parts = vec![latency, refusals, goodput, rate, read];
        Report { parts, notes: vec!["noted".to_owned()], charts: Vec::new() }
    }

    #[test]
    fn every_aim_stands_once_with_the_figures_that_scripts_read() {
        let json = report().json(3);
        assert_eq!(json["wrong_answers"], 3);
        let ids: Vec<u64> = json["aims"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|aim| aim["id"].as_u64())
            .collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
        let expected = json!({
            "id": 1, "name": "reserve: rate", "ours": 40.0, "reference": 40.0, "ratio": 1.0,
            "target": 1.0, "met": true, "parts": [{
                "id": 1, "name": "rate", "ours": 40.0, "reference": 40.0, "ratio": 1.0,
                "target": 1.0, "bound": "at least", "met": true,
                "spread": {"min": 0.75, "max": 1.25},
            }],
        });
        assert_eq!(json["aims"][0], expected);
    }

    #[test]
    fn an_aim_shows_the_part_furthest_from_its_target_and_is_met_if_all_are() {
        let aim = &report().json(0)["aims"][5];
        assert_eq!((&aim["ours"], &aim["met"]), (&json!(9.0), &json!(false)));
        let met: Vec<&Value> = [0, 1, 2].map(|part| &aim["parts"][part]["met"]).into();
        assert_eq!(met, [false, false, true]);
    }

    #[test]
    fn what_was_not_found_is_not_met() {
        let aim = &report().json(0)["aims"][1];
        assert_eq!((&aim["ratio"], &aim["met"]), (&json!(null), &json!(false)));
    }

    #[test]
    fn what_has_no_target_stands_apart() {
        let further = &report().json(0)["further"];
        assert_eq!((&further[0]["name"], &further[0]["target"]), (&json!("read"), &json!(null)));
    }

    #[test]
    fn the_table_shows_the_spread() {
        let table = report().table(0);
        assert!(table.contains("1.00 (0.75..1.25)"), "{table}");
        assert!(table.contains("NOT MET") && table.contains("wrong answers: 0"));
    }
}
