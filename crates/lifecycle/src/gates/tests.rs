//! Gates on made-up records with known answers.

use super::*;
use crate::policy::Loss;
use crate::{compliance::Principle, policy::ComplianceGate};

fn gates() -> Gates {
    Gates {
        loss: Loss::Squared,
        loss_max: None,
        auc_min: None,
        margin: 0.01,
        confidence: 0.95,
        block_ms: 0,
        rows_min: 100,
        slices: Vec::new(),
        compliance: ComplianceGate::default(),
    }
}

/// Labels in turn; the challenger is off by `new`, what served by `old`.
fn holdout(rows: usize, new: f64, old: f64) -> Holdout {
    let labels: Vec<f64> = (0..rows).map(|row| f64::from(u8::from(row % 3 == 0))).collect();
    let off = |by: f64| labels.iter().map(|label| (label - by).abs()).collect::<Vec<f64>>();
    // A little of each record's own, so that intervals have a width.
    let wobble = |row: usize| ((row * 7919) % 101) as f64 / 5_000.0;
    Holdout {
        times_ms: (0..rows as i64).map(|row| row * 1_000).collect(),
        challenger: off(new).iter().enumerate().map(|(row, score)| (score - wobble(row)).abs()).collect(),
        served: off(old).into_iter().map(Some).collect(),
        slices: vec![("city".into(), (0..rows).map(|row| Some(["a", "b"][row % 2].to_owned())).collect())],
        labels,
    }
}

fn candidate(rows: usize) -> Candidate {
    Candidate {
        scores: rows,
        expected_scores: rows,
        constitutional_hash: "cdd01ef066bc6cf2".into(),
        constitutions: vec!["cdd01ef066bc6cf2".into()],
        evidence: Vec::new(),
    }
}

fn failed(judged: &Judged) -> Vec<&str> {
    let failed = judged.results.iter().filter(|result| result.outcome == Outcome::Failed);
    failed.map(|result| result.gate.as_str()).collect()
}

#[test]
fn a_better_one_passes_and_helps_a_worse_one_fails() {
    let better = judge(&gates(), &holdout(1_000, 0.2, 0.4), &candidate(1_000));
    assert!(better.passed && better.helped, "{:#?}", better.results);
    let alike = judge(&gates(), &holdout(1_000, 0.3, 0.29), &candidate(1_000));
    assert!(alike.passed && !alike.helped, "{:#?}", alike.results);
    let worse = judge(&gates(), &holdout(1_000, 0.4, 0.2), &candidate(1_000));
    assert_eq!((failed(&worse), worse.helped), (vec!["champion"], false));
    let champion = worse.results.iter().find(|result| result.gate == "champion").unwrap();
    assert!(champion.measured.iter().any(|(name, value)| name == "records" && *value == 1_000.0));
    let first =
        judge(&gates(), &Holdout { served: vec![None; 500], ..holdout(500, 0.2, 0.0) }, &candidate(500));
    assert!(first.passed, "without one that served there is nothing to compare with: {:#?}", first.results);
}

#[test]
fn every_gate_can_fail() {
    let mut strict = gates();
    (strict.loss_max, strict.auc_min) = (Some(0.01), Some(1.1));
    strict.slices = vec![
        Slice { field: "city".into(), loss_max: 0.001, rows_min: 10 },
        Slice { field: "country".into(), loss_max: 1.0, rows_min: 10 },
    ];
    strict.rows_min = 5_000;
    strict.compliance.required = true;
    let mut other = candidate(1_000);
    other.constitutional_hash = "0000000000000000".into();
    let judged = judge(&strict, &holdout(1_000, 0.4, 0.2), &other);
    let all = [
        "constitution",
        "holdout_rows",
        "loss",
        "auc",
        "champion",
        "slice:city",
        "slice:country",
        "compliance",
    ];
    assert_eq!(failed(&judged), all);
    let mut broken = holdout(100, 0.1, 0.2);
    broken.challenger[7] = f64::NAN;
    assert_eq!(failed(&judge(&gates(), &broken, &candidate(100))), ["schema"]);
    let short = Candidate { scores: 99, ..candidate(100) };
    assert_eq!(failed(&judge(&gates(), &holdout(100, 0.1, 0.2), &short)), ["schema"]);
}

#[test]
fn compliance_is_what_the_evidence_says() {
    let mut required = gates();
    required.compliance.required = true;
    let mut shown = candidate(1_000);
    shown.evidence = Principle::defaults()
        .into_iter()
        .map(|principle| ComplianceEvidence {
            principle: principle.name,
            score: 0.97,
            source: "audit".into(),
        })
        .collect();
    assert!(judge(&required, &holdout(1_000, 0.2, 0.4), &shown).passed);
    shown.evidence[3].score = 0.94;
    assert_eq!(failed(&judge(&gates(), &holdout(1_000, 0.2, 0.4), &shown)), ["compliance"]);
}

#[test]
fn blocks_widen_the_interval_of_what_hangs_together() {
    // Ten days, each with its own level: a thousand records know no more than ten.
    let level = |day: i64| [0.4, -0.3, 0.2, -0.5, 0.1, 0.3, -0.2, 0.5, -0.4, 0.0][day as usize];
    let values: Vec<(i64, f64)> = (0..1_000).map(|row| (row * 100, level(row / 100))).collect();
    let alone = mean_bounds(&values, 0, 0.95).unwrap();
    let blocks = mean_bounds(&values, 10_000, 0.95).unwrap();
    assert_eq!((alone.draws, blocks.draws), (1_000, 10));
    assert!((alone.mean - blocks.mean).abs() < 1e-12 && blocks.upper > 5.0 * alone.upper);
    // Ten equal blocks are ten draws of their means: mean + t(9) * s / sqrt(10).
    let deviation = (0..10).map(|day| (level(day) - 0.01).powi(2)).sum::<f64>() / 9.0;
    let by_hand = 0.01 + 1.833_112_933 * (deviation / 10.0).sqrt();
    assert!((blocks.upper - by_hand).abs() < 1e-6, "{} {by_hand}", blocks.upper);
    assert_eq!(mean_bounds(&values[..1], 0, 0.95), None);
    assert_eq!(mean_bounds(&values, i64::MAX, 0.95), None, "one block says nothing of its spread");
}
