//! Evidence of compliance: what callers supply about principles, and what it comes to. Nothing is ever made up: a principle
//! without evidence has none. It must not know who supplies it.

use serde::{Deserialize, Serialize};

/// Most pieces of evidence of one version.
pub const EVIDENCE_MAX: usize = 64;

/// A principle, what it weighs, and the least score that keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principle {
    /// Its name.
    pub name: String,
    /// In [0, 1]; all weights add up to 1.
    pub weight: f64,
    /// In [0, 1].
    pub minimum: f64,
}

impl Principle {
    /// The platform's principles.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let all = [
            ("transparency", 0.25, 0.90),
            ("fairness", 0.25, 0.85),
            ("accountability", 0.20, 0.90),
            ("privacy", 0.15, 0.95),
            ("safety", 0.15, 0.95),
        ];
        all.into_iter().map(|(name, weight, minimum)| Self { name: name.into(), weight, minimum }).collect()
    }
}

/// What somebody measured about a principle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComplianceEvidence {
    /// The principle.
    pub principle: String,
    /// In [0, 1].
    pub score: f64,
    /// How it was measured, and where that can be read.
    pub source: String,
}

/// What evidence comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Compliance {
    /// Weighted over all principles; `None` when one has no evidence.
    pub score: Option<f64>,
    /// Principles without evidence.
    pub missing: Vec<String>,
    /// Principles below their minimum.
    pub violated: Vec<String>,
}

/// Weighs evidence; of several pieces about one principle the worst counts.
#[must_use]
pub fn weigh(principles: &[Principle], evidence: &[ComplianceEvidence]) -> Compliance {
    let mut result = Compliance { score: None, missing: Vec::new(), violated: Vec::new() };
    let mut score = 0.0;
    for principle in principles {
        let worst = evidence
            .iter()
            .filter(|piece| piece.principle == principle.name)
            .map(|piece| piece.score)
            .min_by(f64::total_cmp);
        match worst {
            None => result.missing.push(principle.name.clone()),
            Some(found) => {
                score += principle.weight * found;
                if found < principle.minimum {
                    result.violated.push(principle.name.clone());
                }
            }
        }
    }
    result.score = (result.missing.is_empty() && !principles.is_empty()).then_some(score);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(score: f64) -> Vec<ComplianceEvidence> {
        Principle::defaults()
            .into_iter()
            .map(|principle| ComplianceEvidence { principle: principle.name, score, source: "audit".into() })
            .collect()
    }

    #[test]
    fn a_weighted_score_needs_evidence_of_every_principle() {
        let principles = Principle::defaults();
        let good = weigh(&principles, &all(0.96));
        assert!((good.score.unwrap() - 0.96).abs() < 1e-12 && good.violated.is_empty());
        let mut worse = all(0.96);
        worse.push(ComplianceEvidence { principle: "privacy".into(), score: 0.5, source: "leak".into() });
        assert_eq!(weigh(&principles, &worse).violated, ["privacy"]);
        let mut fewer = all(1.0);
        fewer.remove(0);
        let fewer = weigh(&principles, &fewer);
        assert_eq!((fewer.score, fewer.missing), (None, vec!["transparency".to_owned()]));
        assert_eq!(weigh(&[], &[]).score, None);
    }
}
