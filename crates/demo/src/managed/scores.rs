//! What the scores were worth, month by month and version by version: as they were served, as the model that served first would
//! have given them, and as the one that was replaced would have. It must not know who served them.

use std::{collections::BTreeMap, sync::Arc};

use acgs_columns::RecordBatch;
use acgs_trainers::Artifact;
use acgs_vocabulary::text::rfc3339;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use super::traffic::Served;
use crate::{flights::Flight, months::NAMES};

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    flights: u64,
    late: f64,
    frozen: f64,
    managed: f64,
}

/// A version that was promoted, beside the one that it replaced, on the flights that it answered since.
#[derive(Debug)]
pub(super) struct Reign {
    pub(super) version: String,
    pub(super) baseline: String,
    replaced: Arc<Artifact>,
    pub(super) flights: u64,
    new: f64,
    old: f64,
}

impl Reign {
    /// Brier score of the version.
    pub(super) fn brier(&self) -> f64 {
        mean(self.new, self.flights)
    }

    /// Brier score that the one before would have had.
    pub(super) fn brier_before(&self) -> f64 {
        mean(self.old, self.flights)
    }
}

fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Sums of squared errors.
#[derive(Debug)]
pub(super) struct Scores {
    frozen: Artifact,
    months: BTreeMap<usize, Sums>,
    pub(super) reigns: Vec<Reign>,
}

impl Scores {
    /// Beside this model, which served first.
    pub(super) fn new(frozen: Artifact) -> Self {
        Self { frozen, months: BTreeMap::new(), reigns: Vec::new() }
    }

    /// From now on this version answers instead of that one.
    pub(super) fn promoted(&mut self, version: &str, baseline: &str, replaced: Arc<Artifact>) {
        let (version, baseline) = (version.to_owned(), baseline.to_owned());
        self.reigns.push(Reign { version, baseline, replaced, flights: 0, new: 0.0, old: 0.0 });
    }

    /// Flights, what models see of them, and what came back.
    pub(super) fn note(&mut self, flights: &[Flight], inputs: &RecordBatch, served: &[Served]) {
        let inputs = std::slice::from_ref(inputs);
        let frozen = self.frozen.score(inputs);
        let mut reign = self.reigns.last_mut();
        let before = reign.as_ref().map(|reign| reign.replaced.score(inputs)).unwrap_or_default();
        for (place, (flight, answer)) in flights.iter().zip(served).enumerate() {
            let (Some(late), Some(score)) = (flight.late, answer.score) else { continue };
            let late = f64::from(u8::from(late));
            let squared = |score: f64| (score - late) * (score - late);
            let month = rfc3339(flight.time_ms).get(5..7).and_then(|month| month.parse().ok()).unwrap_or(0);
            let sums = self.months.entry(month).or_default();
            sums.flights += 1;
            sums.late += late;
            sums.frozen += squared(frozen[place]);
            sums.managed += squared(score);
            if let Some(reign) = reign.as_mut().filter(|reign| *reign.version == *answer.version) {
                reign.flights += 1;
                reign.new += squared(score);
                reign.old += squared(before[place]);
            }
        }
    }

    fn mean(&self, of: impl Fn(&Sums) -> f64) -> f64 {
        let add = |(sum, flights), sums: &Sums| (sum + of(sums), flights + sums.flights);
        let (sum, flights) = self.months.values().fold((0.0, 0), add);
        mean(sum, flights)
    }

    /// Brier score of the model that served first, on every flight.
    pub(super) fn frozen(&self) -> f64 {
        self.mean(|sums| sums.frozen)
    }

    /// Brier score as served.
    pub(super) fn managed(&self) -> f64 {
        self.mean(|sums| sums.managed)
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["month", "flights", "late", "Brier, frozen", "Brier, managed"]);
        for (month, sums) in &self.months {
            table.add_row([
                NAMES[(month - 1) % NAMES.len()].to_owned(),
                sums.flights.to_string(),
                format!("{:.1} %", 100.0 * mean(sums.late, sums.flights)),
                format!("{:.4}", mean(sums.frozen, sums.flights)),
                format!("{:.4}", mean(sums.managed, sums.flights)),
            ]);
        }
        table
    }

    /// By month.
    pub(super) fn json(&self) -> serde_json::Value {
        let months = self.months.iter().map(|(month, sums)| {
            serde_json::json!({
                "month": NAMES[(month - 1) % NAMES.len()], "flights": sums.flights,
                "late_rate": mean(sums.late, sums.flights), "brier_frozen": mean(sums.frozen, sums.flights),
                "brier_managed": mean(sums.managed, sums.flights),
            })
        });
        months.collect::<Vec<_>>().into()
    }
}
