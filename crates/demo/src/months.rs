//! Windows gathered by month, and the story that they tell. It must not know how windows were judged.

use std::collections::BTreeMap;

use acgs_contracts::{
    orchestrator::v1::{Harm, WindowReport},
    performance::v1::PerformanceState,
};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use acgs_console::render::{harm_word, has_decayed};

pub(crate) const NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Windows of one month.
#[derive(Debug, Default)]
pub(crate) struct Month {
    windows: u32,
    harms: BTreeMap<&'static str, u32>,
    score_drift: u32,
    decayed: u32,
    loss_sum: f64,
    labelled: u64,
    alerts: u32,
}

/// The months of a year.
#[derive(Debug, Default)]
pub(crate) struct Months(BTreeMap<u8, Month>);

/// The month, from 1, in which most of a window lies. Years are of no interest here.
fn month_of(report: &WindowReport) -> u8 {
    let window = report.window.clone().unwrap_or_default();
    let middle = acgs_vocabulary::text::rfc3339(window.start_ms + (window.end_ms - window.start_ms) / 2);
    middle.get(5..7).and_then(|month| month.parse().ok()).unwrap_or(0)
}

impl Months {
    /// From the last report on each window, and the alerts of all.
    pub(crate) fn gather<'a>(
        last: impl Iterator<Item = &'a WindowReport>,
        all: impl Iterator<Item = &'a WindowReport>,
    ) -> Self {
        let mut months: BTreeMap<u8, Month> = BTreeMap::new();
        for report in last {
            let month = months.entry(month_of(report)).or_default();
            month.windows += 1;
            *month.harms.entry(harm_word(report.harm())).or_default() += 1;
            month.score_drift += u32::from(report.drift.as_ref().is_some_and(|drift| drift.score_drift));
            if let Some(performance) = &report.performance {
                let decayed = performance.state() == PerformanceState::Decayed || has_decayed(performance);
                month.decayed += u32::from(decayed);
                if let Some(brier) = &performance.brier {
                    month.loss_sum += brier.value * performance.labelled_count as f64;
                    month.labelled += performance.labelled_count;
                }
            }
        }
        for report in all {
            months.entry(month_of(report)).or_default().alerts += report.alerts.len() as u32;
        }
        Self(months)
    }

    /// For programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let months = self.0.iter().map(|(month, of)| {
            serde_json::json!({
                "month": month, "windows": of.windows, "drift": of.drift(), "score_drift": of.has_score_drift(),
                "performance": of.performance(), "brier": of.brier(), "alerts": of.alerts,
            })
        });
        serde_json::json!({ "months": months.collect::<Vec<_>>() })
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["month", "windows", "drift", "score drift", "performance", "Brier", "alerts"]);
        for (month, of) in &self.0 {
            table.add_row([
                name(*month).to_owned(),
                of.windows.to_string(),
                of.drift().to_owned(),
                if of.has_score_drift() { "yes" } else { "no" }.to_owned(),
                of.performance().to_owned(),
                format!("{:.3}", of.brier()),
                of.alerts.to_string(),
            ]);
        }
        table.to_string()
    }

    /// What the months teach, from the verdicts, strongest example first.
    pub(crate) fn chapters(&self) -> Vec<String> {
        let pick = |wanted: &dyn Fn(&Month) -> bool, best: &dyn Fn(&Month) -> f64| {
            let found = self.0.iter().filter(|(_, of)| wanted(of));
            found.max_by(|a, b| best(a.1).total_cmp(&best(b.1))).map(|(month, of)| (name(*month), of))
        };
        let harmful = pick(&|of| of.drift() == "harmful" && of.performance() == "decayed", &Month::brier);
        let harmless = pick(&|of| of.drift() == "harmless" && of.has_score_drift(), &|of| -of.brier());
        let quiet = |of: &Month| f64::from(of.harms.get("decay").copied().unwrap_or(0));
        let silent = pick(&|of| of.harms.contains_key("decay"), &quiet);
        let mut chapters = Vec::new();
        if let Some((month, of)) = harmful {
            chapters.push(format!(
                "{month}: the score has drifted and the loss is surely worse (Brier {:.3}): harmful, time to retrain.",
                of.brier()
            ));
        }
        if let Some((month, of)) = harmless {
            chapters.push(format!(
                "{month}: strong drift, and the model is not worse (Brier {:.3}): retraining on drift alone is wrong.",
                of.brier()
            ));
        }
        if let Some((month, _)) = silent {
            chapters.push(format!(
                "{month}: windows without drift in which the model is surely worse (decay): watching drift alone misses them; \
                 so does a reference that has not seen their season.",
            ));
        }
        chapters
    }
}

impl Month {
    /// The verdict of most windows of which one is known.
    fn drift(&self) -> &'static str {
        let known = self.harms.iter().filter(|(word, _)| **word != harm_word(Harm::Unknown));
        known.max_by_key(|(_, count)| **count).map_or(harm_word(Harm::Unknown), |(word, _)| *word)
    }

    fn has_score_drift(&self) -> bool {
        2 * self.score_drift > self.windows
    }

    fn performance(&self) -> &'static str {
        if 2 * self.decayed > self.windows { "decayed" } else { "ok" }
    }

    fn brier(&self) -> f64 {
        if self.labelled == 0 { 0.0 } else { self.loss_sum / self.labelled as f64 }
    }
}

fn name(month: u8) -> &'static str {
    NAMES.get(usize::from(month).wrapping_sub(1)).copied().unwrap_or("?")
}
