//! The monitor of a stream: evidence of every feature, looked at after every pane, with a budget of false alarms that holds over all of them.
//! It must not know how panes are made.
//!
//! The mean evidence over features has mean at most 1 at each look while nothing has changed ([`acgs_statistics::detector`]), so that an alarm at
//! twice the looks of the budget keeps it, also as the mean run length to a false alarm. Between the reference and rows that are like it a
//! tolerance is allowed: shares may differ as those of two samples of so many rows do.

use std::collections::BTreeMap;

use acgs_judge_kit::alarm::Budget;
use acgs_reference::{counts::PaneCounts, variation::factor_among};
use acgs_statistics::{
    detector::{Concentration, Detector},
    evidence::ln_mean_exp,
};
use serde::{Deserialize, Serialize};

use crate::{
    behind::ByPart,
    config::Config,
    frozen::Frozen,
    measure,
    partitions::PartitionedCounts,
    rate::TOLERATED_ROWS,
    together::{self, Together},
};

/// What the monitor of a stream, or of one of its keys, carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    looks: u64,
    detectors: Vec<Detector>,
    /// Rows that are too few for a look by themselves.
    waiting: Option<PaneCounts>,
    ln_evidence: f64,
    ln_features: Vec<f64>,
    alarms: u64,
    /// Whether the last look alarmed.
    alarmed: bool,
    /// Features whose drift stands, and the look since which it does.
    standing: BTreeMap<usize, u64>,
    together: Together,
    ln_together: f64,
    /// Pairs of features that do not go together as they did, and the look since which they do not.
    parted: Vec<usize>,
    parted_since: u64,
    /// The first time of the rows with which anything came to stand, in milliseconds since the epoch.
    since_ms: Option<i64>,
    /// Rows of keys and of partitions since the last look, and those that are behind what stands.
    by_key: ByPart,
    by_partition: ByPart,
    behind_key: Option<String>,
    behind_partition: Option<String>,
}

/// What a monitor says.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorState {
    /// Over all features, not below 0.
    pub ln_evidence: f64,
    /// Of each feature, not below 0.
    pub ln_features: Vec<f64>,
    /// Its bound.
    pub budget: Budget,
    /// Looks so far.
    pub looks: u64,
    /// Alarms so far.
    pub alarms: u64,
    /// Whether the last look alarmed.
    pub alarm: bool,
    /// Of all pairs of features, not below 0.
    pub ln_together: f64,
    /// Features whose drift stands.
    pub standing: Vec<usize>,
    /// Pairs of which it stands.
    pub parted: Vec<usize>,
    /// Looks since the first of them.
    pub standing_looks: u64,
    /// Whether this window is the one that tells of the monitor: of a stream with keys one key does.
    pub tells: bool,
    /// The key without whose rows the last look would have been within tolerances.
    pub behind_key: Option<String>,
    /// The same of a partition.
    pub behind_partition: Option<String>,
    /// The first time of the rows with which anything came to stand, in milliseconds since the epoch; `None` where nothing does, or rows have no
    /// times.
    pub since_ms: Option<i64>,
}

impl Monitor {
    /// Takes rows; a look needs some.
    pub fn take(&mut self, config: &Config, frozen: &Frozen, budget: Budget, pane: &PartitionedCounts) {
        let all = pane.all();
        let enough = self.waiting.is_none() && all.row_count >= config.rows_min;
        // Most panes are enough by themselves and of one partition: no copy then.
        if !enough || pane.partitions().nth(1).is_some() {
            pane.partitions().for_each(|(name, counts)| self.by_partition.take(name, counts));
        }
        if enough {
            self.look(config, frozen, budget, &all);
        } else {
            self.wait(&all);
            self.look_when_enough(config, frozen, budget);
        }
    }

    /// Keeps rows for the next look.
    pub fn wait(&mut self, pane: &PaneCounts) {
        if pane.row_count > 0 {
            match &mut self.waiting {
                Some(waiting) => waiting.merge(pane),
                none => *none = Some(pane.clone()),
            }
        }
    }

    /// The same of a key among others.
    pub fn wait_of(&mut self, key: &str, pane: &PaneCounts) {
        self.wait(pane);
        self.by_key.take(key, pane);
    }

    /// Looks, when enough rows have come.
    pub fn look_when_enough(&mut self, config: &Config, frozen: &Frozen, budget: Budget) {
        if let Some(pane) = self.waiting.take_if(|pane| pane.row_count >= config.rows_min) {
            self.look(config, frozen, budget, &pane);
        }
    }

    fn look(&mut self, config: &Config, frozen: &Frozen, budget: Budget, pane: &PaneCounts) {
        self.look_at_all(config, frozen, budget, pane);
        let stands = !self.standing.is_empty() || !self.parted.is_empty();
        self.since_ms = stands.then(|| self.since_ms.or(pane.times_ms.map(|(first, _)| first))).flatten();
        let features = || self.standing.keys().copied();
        let behind =
            |parts: &ByPart| features().next().and_then(|_| parts.behind(config, frozen, pane, features()));
        (self.behind_key, self.behind_partition) = (behind(&self.by_key), behind(&self.by_partition));
        self.by_key.clear();
        self.by_partition.clear();
    }

    fn look_at_all(&mut self, config: &Config, frozen: &Frozen, budget: Budget, pane: &PaneCounts) {
        let features = &frozen.reference.features;
        self.detectors.resize_with(features.len(), Detector::default);
        self.looks += 1;
        let looks = self.looks;
        self.ln_features.clear();
        self.end_what_is_over(config, frozen, pane);
        let denser = frozen.denser(pane);
        for place in 0..features.len() {
            // Of what stands nothing new is to be found; it begins anew when it is over.
            let is_known = self.standing.contains_key(&place);
            let ln = if is_known { f64::NEG_INFINITY } else { self.look_at(place, frozen, pane, denser) };
            self.ln_features.push(ln);
        }
        let pairs = &frozen.reference.pairs;
        let mut units = self.ln_features.clone();
        let mut parted = Vec::new();
        if !pairs.is_empty() {
            (self.ln_together, parted) = if self.parted.is_empty() {
                self.together.look(looks, pairs, &pane.pairs, denser)
            } else {
                (f64::NEG_INFINITY, Vec::new())
            };
            units.push(self.ln_together);
        }
        self.ln_evidence = ln_mean_exp(&units);
        self.alarmed = self.ln_evidence >= budget.ln_bound;
        if self.alarmed {
            self.alarms += 1;
            let most = units.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // Who has as much evidence as it would take alone, and in any case who has the most.
            let alone = budget.ln_bound + (units.len() as f64).ln();
            if !parted.is_empty() && self.ln_together >= alone.min(most) {
                self.parted = parted;
                self.parted_since = looks;
                self.together.clear();
            }
            for place in (0..features.len()).filter(|place| self.ln_features[*place] >= alone.min(most)) {
                self.standing.insert(place, looks);
                self.detectors[place].clear();
            }
        }
    }

    /// What a feature's detector comes to with these rows.
    fn look_at(&mut self, place: usize, frozen: &Frozen, pane: &PaneCounts, denser: f64) -> f64 {
        let (feature, outcomes) = (&frozen.reference.features[place], &frozen.outcomes[place]);
        let expected = outcomes.expected(&pane.phase_rows);
        let within = |rows: f64| 1.0 / (1.0 / rows + 1.0 / TOLERATED_ROWS);
        let factor = |variation| factor_among(variation, pane.row_count as f64, denser);
        let worth = 1.0 / factor(&feature.variation);
        let law = |all, present| Concentration { all: within(all), present: within(present) };
        let concentration = law(expected.reference_rows, expected.present_rows());
        let mut look = outcomes.look(&pane.features[place], &expected, worth, concentration);
        // Whether rows are null may hang together in another way than their values.
        let nulls = worth * factor(&feature.null_variation);
        if let (Some(found), Some(expected)) = (look.found.last_mut(), look.expected.last_mut())
            && nulls > 1.0
        {
            *found = *expected + (*found - *expected) / nulls.sqrt();
        }
        let detector = &mut self.detectors[place];
        detector.push(self.looks, &look);
        let factors = |rows| {
            let of = |variation| factor_among(variation, rows, denser);
            (of(&feature.variation), of(&feature.null_variation))
        };
        let most = law(outcomes.reference_rows(), outcomes.present_rows());
        detector.ln_evidence(outcomes.components(), most, factors)
    }

    /// Drift stands until a look is within tolerances.
    fn end_what_is_over(&mut self, config: &Config, frozen: &Frozen, pane: &PaneCounts) {
        self.standing.retain(|&place, _| {
            measure::in_tolerances(config, frozen, pane, place).is_some_and(|size| size > 1.0)
        });
        self.parted.retain(|pair| {
            let found = together::measure(&frozen.reference.pairs, *pair, &pane.pairs);
            found.is_some_and(|found| found.in_tolerances(config.tolerance_correlation) > 1.0)
        });
    }

    /// What it says; `tells` as in [`MonitorState::tells`].
    #[must_use]
    pub fn state(&self, budget: Budget, tells: bool) -> MonitorState {
        let parted = (!self.parted.is_empty()).then_some(self.parted_since);
        let since = self.standing.values().copied().chain(parted).min();
        MonitorState {
            ln_evidence: self.ln_evidence.max(0.0),
            ln_features: self.ln_features.iter().map(|ln| ln.max(0.0)).collect(),
            budget,
            looks: self.looks,
            alarms: self.alarms,
            alarm: self.alarmed,
            ln_together: self.ln_together.max(0.0),
            standing: self.standing.keys().copied().collect(),
            parted: self.parted.clone(),
            standing_looks: since.map_or(0, |since| self.looks - since),
            tells,
            behind_key: self.behind_key.clone(),
            behind_partition: self.behind_partition.clone(),
            since_ms: self.since_ms,
        }
    }

    /// Whether what came back from outside can be used.
    #[must_use]
    pub fn fits(&self, frozen: &Frozen) -> bool {
        let features = frozen.outcomes.len();
        let fits = |(detector, outcomes): (&Detector, &acgs_reference::outcomes::Outcomes)| {
            detector.fits(outcomes.components().len(), self.looks)
        };
        let fresh = PaneCounts::new(&frozen.reference);
        let same = |pane: &PaneCounts| pane.has_the_form_of(&fresh);
        (self.detectors.is_empty() || self.detectors.len() == features)
            && self.detectors.iter().zip(&*frozen.outcomes).all(fits)
            && self.waiting.as_ref().is_none_or(same)
            && self.standing.iter().all(|(place, since)| *place < features && *since <= self.looks)
            && self.ln_features.len() <= features
            && self.together.fits(frozen.reference.pairs.len())
            && self.parted.iter().all(|pair| *pair < frozen.reference.pairs.len())
            && self.parted_since <= self.looks
            && self.by_key.fits(&fresh)
            && self.by_partition.fits(&fresh)
    }
}
