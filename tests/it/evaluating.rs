//! Models that are evaluated and compared by a call: what is said, and what is refused.

use acgs_contracts::performance::v1::{
    CompareModelsRequest, EvaluateModelRequest, PairedLoss, PairedVerdict, PerformanceState,
};
use acgs_tests::Mesh;

use crate::unary::{pair, refusal};

#[tokio::test]
async fn evaluate_model() {
    let mesh = Mesh::start().await;
    let mut client = mesh.performance().await;
    let scores: Vec<f64> = (0..200).map(|row| f64::from(row % 10) / 10.0).collect();
    let labels: Vec<f64> = (0..200).map(|row| f64::from(u8::from(row % 10 >= 5))).collect();
    let request = EvaluateModelRequest {
        scores,
        labels,
        baseline_brier: Some(0.01),
        ..EvaluateModelRequest::default()
    };
    let report = client.evaluate_model(request.clone()).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.auc.unwrap().value, 1.0);
    assert!((report.brier.unwrap().value - 0.085).abs() < 1e-9, "{:?}", report.brier);
    assert_eq!(report.state(), PerformanceState::Decayed);
    let figures = report.binary.unwrap();
    assert_eq!((figures.true_positives, figures.true_negatives, figures.f1), (100, 100, Some(1.0)));
    assert_eq!((figures.lift_of_top_tenth, figures.calibration.len()), (Some(2.0), 10));
    let change = |change: fn(&mut EvaluateModelRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    let empty = client.evaluate_model(change(|request| request.scores.clear())).await;
    assert_eq!(refusal(empty), pair("EMPTY_DATA", "scores"));
    let short = client.evaluate_model(change(|request| request.labels.truncate(3))).await;
    assert_eq!(refusal(short), pair("LENGTH_MISMATCH", "labels"));
    let wild = client.evaluate_model(change(|request| request.scores[7] = 1.5)).await;
    assert_eq!(refusal(wild), pair("OUT_OF_RANGE", "scores[7]"));
    let wild = client.evaluate_model(change(|request| request.labels[7] = f64::NAN)).await;
    assert_eq!(refusal(wild), pair("OUT_OF_RANGE", "labels[7]"));
}

#[tokio::test]
async fn compare_models() {
    let mesh = Mesh::start().await;
    let mut client = mesh.performance().await;
    let chance = |row: u32| f64::from(row * 37 % 101) / 101.0;
    let truth = |row: u32| f64::from(u8::from(f64::from(row * 7_919 % 1_009) / 1_009.0 < chance(row)));
    let request = CompareModelsRequest {
        first_scores: (0..2_000).map(chance).collect(),
        second_scores: (0..2_000).map(|row| (chance(row) + 0.3 * f64::from(row % 3)) / 1.6).collect(),
        labels: (0..2_000).map(truth).collect(),
        times_ms: (0..2_000).collect(),
        block_ms: 20,
        margin: 0.001,
        ..CompareModelsRequest::default()
    };
    let found = client.compare_models(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        (found.verdict(), found.row_count, found.draws),
        (PairedVerdict::Worse, 2_000, 100),
        "{found:?}"
    );
    let difference = found.difference.unwrap();
    assert!((difference.value - (found.second_loss - found.first_loss)).abs() < 1e-12);
    assert!(difference.lower > 0.001 && found.bootstrap_lower.unwrap() > 0.0);
    assert!(found.auc_difference.unwrap().value < 0.0 && found.mcnemar_p_value.unwrap() < 0.5);
    // Another coding says the same; amounts have no classes.
    let signs = CompareModelsRequest {
        labels: request.labels.iter().map(|label| 2.0 * label - 1.0).collect(),
        ..request.clone()
    };
    assert_eq!(client.compare_models(signs).await.unwrap().into_inner().first_loss, found.first_loss);
    let amounts = CompareModelsRequest {
        labels: request.labels.iter().map(|label| label * 35.5).collect(),
        loss: PairedLoss::Absolute.into(),
        ..request.clone()
    };
    let amounts = client.compare_models(amounts).await.unwrap().into_inner();
    assert!(amounts.mcnemar_p_value.is_none() && amounts.difference.is_some(), "{amounts:?}");
    let refused = async |field: &str, reason: &str, change: fn(&mut CompareModelsRequest)| {
        let mut request = request.clone();
        change(&mut request);
        let refused = mesh.performance().await.compare_models(request).await;
        assert_eq!(refusal(refused), pair(reason, field));
    };
    refused("first_scores", "EMPTY_DATA", |request| request.first_scores.clear()).await;
    refused("first_scores", "TOO_MANY_ROWS", |request| request.first_scores = vec![0.5; 500_001]).await;
    refused("second_scores", "LENGTH_MISMATCH", |request| request.second_scores.truncate(3)).await;
    refused("times_ms", "LENGTH_MISMATCH", |request| request.times_ms.truncate(3)).await;
    refused("labels[7]", "NOT_FINITE", |request| request.labels[7] = f64::NAN).await;
    refused("labels", "OUT_OF_RANGE", |request| {
        request.loss = PairedLoss::Log.into();
        request.labels[7] = 3.0;
    })
    .await;
    refused("margin", "OUT_OF_RANGE", |request| request.margin = -1.0).await;
    refused("confidence", "OUT_OF_RANGE", |request| request.confidence = 1.0).await;
    refused("block_ms", "OUT_OF_RANGE", |request| request.times_ms.clear()).await;
}
