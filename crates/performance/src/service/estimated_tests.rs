//! Estimates before labels are known, through the lane: right while answers mean what they did, and no longer trusted when they do not.

use std::sync::Arc;

use acgs_columns::{Bitmap, Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_contracts::performance::v1::{EstimateTrust, EstimatedPerformance, PerformanceReport};
use acgs_lane::testing::Script;
use acgs_reference::{freeze, message as reference_message};
use acgs_statistics::draws::Draws;
use bytes::Bytes;
use prost::Message;

use super::{judge, tests::config};

/// How answers of a window come, and what becomes of them.
#[derive(Clone, Copy)]
struct Law {
    /// How hard rows are: scores are this power of evenly spread ones.
    power: f64,
    /// How many of the labels have nothing to do with the score.
    noise: f64,
    labelled: bool,
}

const USUAL: Law = Law { power: 1.0, noise: 0.0, labelled: true };

/// Scores that mean what they say to a share, and amounts that are off by as much as they are large.
fn rows(law: Law, amounts: bool, count: usize, from_ms: i64, seed: u64) -> RecordBatch {
    let role = if amounts { Role::Prediction } else { Role::Score };
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("said", Kind::Double, role),
        Field::new("y", Kind::Double, Role::Label),
    ];
    let mut draws = Draws::new(seed);
    let (mut said, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let score = draws.unit().powf(law.power);
        let (chance, other) = (draws.unit(), draws.unit());
        let meant = if draws.unit() < law.noise { other } else { score };
        said.push(score);
        labels.push(if amounts {
            score + (chance - 0.5) * (score + 4.0 * law.noise)
        } else {
            f64::from(u8::from(chance < meant))
        });
    }
    let times: Vec<i64> = (0..count as i64).map(|row| from_ms + row * 1_000).collect();
    let validity = (!law.labelled).then(|| Bitmap::from_bits((0..count).map(|_| false)));
    let columns = vec![
        Column { values: Values::Integer(times.into()), validity: None },
        Column { values: Values::Double(said.into()), validity: None },
        Column { values: Values::Double(labels.into()), validity },
    ];
    RecordBatch::new(Arc::new(Schema::new(fields).unwrap()), count, columns).unwrap()
}

fn windows(amounts: bool, of: &[Law]) -> Vec<(PerformanceReport, Vec<String>)> {
    let reference = rows(USUAL, amounts, 10_000, 0, 1);
    let frozen = freeze(reference.schema(), std::slice::from_ref(&reference), 0);
    let content = Bytes::from(reference_message::to_proto(&frozen).encode_to_vec());
    let batch =
        |number: usize| rows(of[number], amounts, 2_000, number as i64 * 10_000_000, 2 + number as u64);
    let script = Script {
        configs: vec![("reference".to_owned(), content)],
        windows: (1..=of.len() as u64).map(|pane| vec![pane]).collect(),
        frames: (0..of.len()).map(|number| (batch(number), vec![number as u64 + 1])).collect(),
    };
    let read = |verdict: acgs_lane::message::Verdict| {
        let rules = verdict.findings.into_iter().map(|finding| finding.rule).collect();
        (PerformanceReport::decode(verdict.report).unwrap(), rules)
    };
    script.straight(&mut judge(config())).into_iter().map(read).collect()
}

fn estimated(report: &PerformanceReport) -> &EstimatedPerformance {
    report.estimated.as_ref().unwrap()
}

#[test]
fn an_estimate_is_what_labels_come_to_while_answers_mean_what_they_did() {
    let harder = Law { power: 0.2, ..USUAL };
    for amounts in [false, true] {
        let told = windows(amounts, &[USUAL, harder, USUAL, Law { power: 3.0, ..USUAL }]);
        assert_eq!(estimated(&told[0].0).trust(), EstimateTrust::Trusted, "its own labels are settled");
        let losses: Vec<f64> = told.iter().map(|(report, _)| report.loss.unwrap().value).collect();
        assert!(
            (losses[1] / losses[0] - 1.0).abs() > 0.2,
            "another loss, by other answers alone: {losses:?}"
        );
        for (report, _) in &told {
            let (found, loss) = (estimated(report), report.loss.unwrap());
            let of_loss = found.loss.unwrap();
            assert!((of_loss.lower..=of_loss.upper).contains(&loss.value), "{loss:?} {found:?}");
            if !amounts {
                let close = |found: Option<f64>, known: f64| (found.unwrap() - known).abs() < 0.03;
                assert!(close(found.auc.map(|it| it.value), report.auc.unwrap().value), "{found:?}");
                assert!(close(found.accuracy.map(|it| it.value), report.accuracy.unwrap().value));
            }
        }
    }
}

#[test]
fn an_estimate_that_settled_labels_contradict_is_not_trusted() {
    let noisy = Law { noise: 0.6, ..USUAL };
    let unlabelled = Law { labelled: false, ..noisy };
    for amounts in [false, true] {
        let told =
            windows(amounts, &[Law { labelled: false, ..USUAL }, USUAL, noisy, noisy, noisy, unlabelled]);
        let trust: Vec<EstimateTrust> = told.iter().map(|(report, _)| estimated(report).trust()).collect();
        assert_eq!(trust[0], EstimateTrust::Unknown, "no label is settled");
        assert_eq!(estimated(&told[0].0).trust_reason, "no settled labels yet");
        assert_eq!(trust[1], EstimateTrust::Trusted);
        assert!(trust[3..].iter().all(|trust| *trust == EstimateTrust::Untrusted), "{trust:?}");
        let last = estimated(&told[5].0);
        assert!(told[5].0.loss.is_none() && last.record_realised.unwrap() > last.loss.unwrap().value);
        assert!(last.trust_reason.starts_with("settled labels had"), "{}", last.trust_reason);
    }
}

#[test]
fn a_worse_loss_that_is_only_estimated_is_a_note() {
    let hard = Law { power: 0.45, labelled: false, ..USUAL };
    let harder = |noise| Law { noise, ..hard };
    let told = windows(true, &[USUAL, USUAL, harder(0.0), harder(0.9)]);
    assert!(told[1].1.is_empty());
    assert_eq!(told[2].1, ["performance_estimate"], "larger amounts are off by more");
    assert_eq!(told[2].1, told[3].1, "what becomes of them nobody knows yet");
}
