//! A feature as a few outcomes that are tested: at most ten parts of its numbers and what lies beyond, or its frequent categories, groups of the
//! others and what was never seen. Which they are depends on the reference alone. It must not know any test.

use acgs_statistics::{
    detector::{Component, Concentration, Look},
    shares::proxy_variance,
};

use crate::{
    counts::FeatureCounts,
    expected::{Expected, Phase, mean, phase, present, weighted},
    reference::{FeatureReference, Shape},
    unseen::{UNSURE, Unseen, unseen},
    variation::factor_at,
};

/// Parts of a numeric feature.
const PARTS: usize = 10;
/// Categories that are watched alone.
const ALONE: usize = 8;
/// Groups of the other categories that are told apart.
const GROUPS: usize = 4;

/// The outcomes of a feature.
#[derive(Clone, Debug)]
pub struct Outcomes {
    numeric: bool,
    /// The outcome of each cell or kept category.
    of_cell: Vec<usize>,
    /// How many outcomes.
    len: usize,
    /// Shares of present rows by phase; one without a season.
    shares: Vec<Vec<f64>>,
    /// Shares of nulls by phase.
    nulls: Vec<f64>,
    /// Rows of each phase, as many as count.
    rows: Vec<f64>,
    scores: Vec<Vec<f64>>,
    components: Vec<Component>,
    /// Rows that the law about the share of unseen values is worth, at most.
    unseen_concentration: f64,
}

impl Outcomes {
    /// Of a feature.
    #[must_use]
    pub fn new(feature: &FeatureReference) -> Self {
        let (numeric, of_cell, len) = outcomes(feature);
        let counts = of_reference(feature, &of_cell, len);
        let unsure = beside(feature, &counts);
        let counts: Vec<f64> = counts.iter().zip(&unsure).map(|(count, unsure)| count + unsure).collect();
        let total: f64 = counts.iter().sum();
        let overall: Vec<f64> = counts.iter().map(|count| count / total.max(f64::MIN_POSITIVE)).collect();
        let rows = (feature.present() + feature.null_count) as f64;
        let null = (feature.null_count as f64 + 0.5) / (rows + 1.0);
        let factor = factor_at(&feature.variation, rows);
        let mut this = Self {
            numeric,
            of_cell,
            len,
            shares: vec![overall.clone()],
            nulls: vec![null],
            rows: vec![(rows / factor).max(1.0)],
            scores: Vec::new(),
            components: Vec::new(),
            unseen_concentration: (feature.present() as f64 / unseen_of(feature).together).max(1.0),
        };
        if !feature.phases.is_empty() {
            let part = |counts: &[u64]| counts.iter().sum::<u64>() as f64 / rows.max(1.0);
            let phases: Vec<Phase> = feature
                .phases
                .iter()
                .map(|counts| phase(counts, &unsure, &overall, null, part(counts)))
                .collect();
            this.shares = phases.iter().map(|phase| phase.shares.clone()).collect();
            this.nulls = phases.iter().map(|phase| phase.null).collect();
            this.rows = phases.iter().map(|phase| (phase.rows / factor).max(1.0)).collect();
        }
        this.watch(&overall);
        this
    }

    /// What is watched: see [`Self::found`].
    fn watch(&mut self, overall: &[f64]) {
        if self.numeric {
            // Mid-ranks, and how far from the middle: what moves a place and what moves a spread.
            let ranks = mid_ranks(overall);
            let spread: Vec<f64> = ranks.iter().map(|rank| (2.0 * rank - 1.0).abs()).collect();
            self.scores = vec![ranks, spread];
            self.components
                .extend(self.scores.iter().map(|score| Component::Score(proxy_variance(score, overall))));
            // Below the range; up to the end of each part; above.
            self.components.push(Component::Unseen(self.unseen_concentration));
            self.components.extend(std::iter::repeat_n(Component::OfPresent, self.len - 2));
        } else {
            self.components.extend(std::iter::repeat_n(Component::OfPresent, self.len - 1));
        }
        self.components.push(Component::Unseen(self.unseen_concentration));
        self.components.push(Component::OfAll);
    }

    /// What is watched.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// How many outcomes there are, nulls not among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: there are at least two.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether outcomes are in order.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.numeric
    }

    /// The outcome of a cell or kept category.
    #[must_use]
    pub fn of_cell(&self, cell: usize) -> usize {
        self.of_cell.get(cell).copied().unwrap_or(0)
    }

    /// Rows of the law about the whole reference.
    #[must_use]
    pub fn reference_rows(&self) -> f64 {
        self.rows.iter().sum()
    }

    /// Of those, the ones that have a value.
    #[must_use]
    pub fn present_rows(&self) -> f64 {
        present(self.reference_rows(), weighted(&self.nulls, &self.rows))
    }

    /// Rows that the law about the share of unseen values is worth, at most.
    #[must_use]
    pub fn unseen_concentration(&self) -> f64 {
        self.unseen_concentration
    }

    /// Scores of outcomes whose means are watched.
    #[must_use]
    pub fn scores(&self) -> &[Vec<f64>] {
        &self.scores
    }

    /// A name for each outcome, for a person.
    #[must_use]
    pub fn names(&self, feature: &FeatureReference) -> Vec<String> {
        match &feature.shape {
            Shape::Numeric { cells, .. } => {
                let upper = |outcome: usize| {
                    let last = self.of_cell.iter().rposition(|of| *of == outcome);
                    last.and_then(|cell| cells.edges().get(cell).copied()).unwrap_or(cells.maximum())
                };
                let mut from = cells.minimum();
                let mut names = vec![format!("below {from}")];
                for outcome in 1..self.len - 1 {
                    let to = upper(outcome);
                    names.push(format!("{from} to {to}"));
                    from = to;
                }
                names.push(format!("above {}", cells.maximum()));
                names
            }
            Shape::Categorical { categories, .. } => {
                let alone = categories.iter().take(ALONE).map(ToString::to_string);
                let groups = (self.len - 2).saturating_sub(categories.len().min(ALONE));
                let groups = (1..=groups).map(|group| format!("other categories, group {group}"));
                alone.chain(groups).chain(["other categories".to_owned(), "never seen".to_owned()]).collect()
            }
        }
    }

    /// Rows by outcome.
    #[must_use]
    pub fn counts(&self, counts: &FeatureCounts) -> Vec<f64> {
        let mut found = vec![0.0; self.len];
        for (cell, &rows) in counts.cells.counts.iter().enumerate() {
            found[self.of_cell(cell)] += rows as f64;
        }
        if self.numeric {
            found[0] += counts.cells.below as f64;
            found[self.len - 1] += counts.cells.above as f64;
        } else {
            found[self.len - 2] += counts.other_count.saturating_sub(counts.unseen_count) as f64;
            found[self.len - 1] += counts.unseen_count as f64;
        }
        found
    }

    /// What is expected of rows with these phases; without phases, of any.
    #[must_use]
    pub fn expected(&self, phase_rows: &[u64]) -> Expected {
        let all: u64 = phase_rows.iter().sum();
        if self.shares.len() == 1 || phase_rows.len() != self.shares.len() || all == 0 {
            return Expected {
                shares: mean(&self.shares, &self.rows, self.len),
                null_share: weighted(&self.nulls, &self.rows),
                reference_rows: self.reference_rows(),
            };
        }
        let weights: Vec<f64> = phase_rows.iter().map(|rows| *rows as f64 / all as f64).collect();
        let error: f64 = weights.iter().zip(&self.rows).map(|(weight, rows)| weight * weight / rows).sum();
        Expected {
            shares: mean(&self.shares, &weights, self.len),
            null_share: weighted(&self.nulls, &weights),
            reference_rows: 1.0 / error,
        }
    }

    /// A look for a detector: rows counted by what they are worth.
    #[must_use]
    pub fn look(
        &self,
        counts: &FeatureCounts,
        expected: &Expected,
        worth: f64,
        concentration: Concentration,
    ) -> Look {
        let of = self.counts(counts);
        let present: f64 = of.iter().sum::<f64>() * worth;
        let all = present + counts.null_count as f64 * worth;
        let sums = |of: &[f64], rows: f64, null: f64, total: f64| {
            let mut sums: Vec<f64> = Vec::with_capacity(self.components.len());
            for score in &self.scores {
                sums.push(score.iter().zip(of).map(|(score, share)| score * share * rows).sum());
            }
            if self.numeric {
                let mut below = 0.0;
                for share in &of[..of.len() - 1] {
                    below += share * rows;
                    sums.push(below);
                }
                sums.push(of[of.len() - 1] * rows);
            } else {
                sums.extend(of.iter().map(|share| share * rows));
            }
            sums.push(null * total);
            sums
        };
        Look {
            rows: all / worth,
            all,
            present,
            concentration,
            found: sums(&of, worth, counts.null_count as f64, worth),
            expected: sums(&expected.shares, present, expected.null_share, all),
        }
    }
}

/// The share below each outcome and half of its own.
fn mid_ranks(shares: &[f64]) -> Vec<f64> {
    let mut below = 0.0;
    let rank = |share: &f64| {
        let rank = below + share / 2.0;
        below += share;
        rank
    };
    shares.iter().map(rank).collect()
}

/// Whether numeric, the outcome of each cell, and how many: beyond, the parts and beyond; or categories alone, groups, others, unseen.
fn outcomes(feature: &FeatureReference) -> (bool, Vec<usize>, usize) {
    match &feature.shape {
        Shape::Numeric { cells, counts, .. } => {
            let groups = cells.groups(counts, PARTS);
            let mut last = 0;
            let mut place = 0;
            // Groups that no cell reaches are no outcomes.
            let of_cell: Vec<usize> = groups
                .iter()
                .map(|&group| {
                    if group != last {
                        place += 1;
                        last = group;
                    }
                    place + 1
                })
                .collect();
            (true, of_cell, place + 3)
        }
        Shape::Categorical { counts, .. } => {
            let alone = counts.len().min(ALONE);
            let of_cell = (0..counts.len())
                .map(|place| if place < alone { place } else { alone + (place - alone) % GROUPS });
            let groups = (counts.len() - alone).min(GROUPS);
            (false, of_cell.collect(), alone + groups + 2)
        }
    }
}

/// Counts of the reference by outcome.
fn of_reference(feature: &FeatureReference, of_cell: &[usize], len: usize) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    let (Shape::Numeric { counts, .. } | Shape::Categorical { counts, .. }) = &feature.shape;
    counts.iter().enumerate().for_each(|(cell, rows)| sums[of_cell[cell]] += *rows as f64);
    if let Shape::Categorical { other_count, unseen_count, .. } = &feature.shape {
        sums[len - 2] += other_count.saturating_sub(*unseen_count) as f64;
        sums[len - 1] += *unseen_count as f64;
    }
    sums
}

/// The law about what was never seen; where rows were held out to count it, there is nothing beside.
fn unseen_of(feature: &FeatureReference) -> Unseen {
    match &feature.shape {
        Shape::Categorical { counts, other_count: 0, seen, .. } if seen.is_empty() => unseen(counts),
        Shape::Categorical { .. } | Shape::Numeric { .. } => Unseen { rows: UNSURE, together: 1.0 },
    }
}

/// What one may expect of outcomes beside their counts: what lies beyond order statistics has the mass of one row, a category
/// without any that of half a row.
fn beside(feature: &FeatureReference, counts: &[f64]) -> Vec<f64> {
    let len = counts.len();
    match &feature.shape {
        Shape::Numeric { cells, counts, .. } => {
            // What several rows share is more likely the end of what there is.
            let beyond = |end: Option<&u64>| {
                if cells.is_discrete() && end.is_some_and(|rows| *rows > 1) { UNSURE } else { 1.0 }
            };
            let mut beside = vec![0.0; len];
            beside[0] = beyond(counts.first());
            beside[len - 1] = beyond(counts.last());
            beside
        }
        Shape::Categorical { .. } => {
            // What has rows needs no more: together they would take from what is unseen.
            let mut beside: Vec<f64> =
                counts.iter().map(|count| if *count > 0.0 { 0.0 } else { UNSURE }).collect();
            beside[len - 1] = unseen_of(feature).rows;
            beside
        }
    }
}
