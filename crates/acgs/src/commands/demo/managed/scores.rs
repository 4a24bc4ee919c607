//! What the scores were worth, month by month: as they were served, and as the frozen model would have served them.
//! It must not know who served them.

use std::collections::BTreeMap;

use acgs_vocabulary::text::rfc3339;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use crate::commands::{flights::Flight, months::NAMES};

/// From this month on both are compared; before it is what the frozen model was made of.
const FIRST_MONTH: usize = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    flights: u64,
    late: f64,
    frozen: f64,
    managed: f64,
}

/// Sums of squared errors by month.
#[derive(Debug, Default)]
pub(super) struct Served(BTreeMap<usize, Sums>);

impl Served {
    /// Flights as they are in the data, and as they were served.
    pub(super) fn note(&mut self, frozen: &[Flight], served: &[Flight]) {
        for (before, now) in frozen.iter().zip(served) {
            let (Some(late), Some(frozen), Some(managed)) = (before.late, before.score, now.score) else {
                continue;
            };
            let month = rfc3339(before.time_ms).get(5..7).and_then(|month| month.parse().ok()).unwrap_or(0);
            let late = f64::from(u8::from(late));
            let sums = self.0.entry(month).or_default();
            sums.flights += 1;
            sums.late += late;
            sums.frozen += (frozen - late) * (frozen - late);
            sums.managed += (managed - late) * (managed - late);
        }
    }

    fn mean(&self, of: impl Fn(&Sums) -> f64) -> f64 {
        let compared = self.0.range(FIRST_MONTH..).map(|(_, sums)| sums);
        let (sum, flights) =
            compared.fold((0.0, 0), |(sum, flights), sums| (sum + of(sums), flights + sums.flights));
        if flights == 0 { 0.0 } else { sum / flights as f64 }
    }

    /// Brier score of the frozen model, March to December.
    pub(super) fn frozen(&self) -> f64 {
        self.mean(|sums| sums.frozen)
    }

    /// Brier score as served, March to December.
    pub(super) fn managed(&self) -> f64 {
        self.mean(|sums| sums.managed)
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["month", "flights", "late", "Brier, frozen", "Brier, managed"]);
        for (month, sums) in self.0.range(FIRST_MONTH..) {
            let flights = sums.flights as f64;
            table.add_row([
                NAMES[(month - 1) % NAMES.len()].to_owned(),
                sums.flights.to_string(),
                format!("{:.1} %", 100.0 * sums.late / flights),
                format!("{:.4}", sums.frozen / flights),
                format!("{:.4}", sums.managed / flights),
            ]);
        }
        table
    }

    pub(super) fn json(&self, retrainings: usize, accepted: usize) -> serde_json::Value {
        let months = self.0.range(FIRST_MONTH..).map(|(month, sums)| {
            let flights = sums.flights as f64;
            serde_json::json!({
                "month": NAMES[(month - 1) % NAMES.len()], "flights": sums.flights, "late_rate": sums.late / flights,
                "brier_frozen": sums.frozen / flights, "brier_managed": sums.managed / flights,
            })
        });
        serde_json::json!({
            "brier_frozen": self.frozen(), "brier_managed": self.managed(), "retrainings": retrainings,
            "accepted": accepted, "months": months.collect::<Vec<_>>(),
        })
    }
}
