//! Windows that are compared with the rows before them, as a user asks for it.

use acgs_contracts::{
    common::v1::{ReferenceSelector, VerdictStatus},
    orchestrator::v1::{Comparison, Judge, Open, PreviousWindow, RecentRows, WindowReport, comparison::Rows},
};
use acgs_tests::{Mesh, open, reason, rows};

use crate::streams::put_reference;

fn compared(rows: Option<Rows>) -> Open {
    let mut open = open("s", 1_000);
    open.judges = vec![Judge::Drift.into()];
    open.reference = Some(ReferenceSelector { name: "r".into(), version: 0 });
    open.comparison = Some(Comparison { rows });
    open
}

/// Reports of nine windows: the level of `x` rises with the fourth and with the seventh.
async fn reports(mesh: &Mesh, comparison: Rows) -> Vec<WindowReport> {
    let mut stream = mesh.stream(compared(Some(comparison))).await.unwrap();
    for window in 0..9_i64 {
        let times: Vec<i64> = (0..500).map(|row| window * 1_000 + row * 2).collect();
        let shift = (window / 3) as f64 * 0.8;
        stream.rows(window as u64 + 1, &rows(window * 500, &times, shift)).await;
    }
    stream.end().await;
    stream.reports().await
}

fn moved(reports: &[WindowReport]) -> Vec<Option<bool>> {
    reports.iter().map(|report| report.drift.as_ref().map(|drift| drift.drift_detected)).collect()
}

#[tokio::test]
async fn each_window_is_compared_with_the_one_before() {
    let mesh = Mesh::start().await;
    put_reference(&mesh, "r").await;
    let reports = reports(&mesh, Rows::PreviousWindow(PreviousWindow {})).await;
    let (no, yes) = (Some(false), Some(true));
    assert_eq!(
        moved(&reports),
        [None, no, no, yes, no, no, yes, no, no],
        "where the level changes, and only there"
    );
    let first = &reports[0].verdicts[0];
    assert_eq!(first.status(), VerdictStatus::Insufficient);
    assert!(first.reason.contains("time before"), "{}", first.reason);
    let at = reports[3].drift.as_ref().unwrap();
    let rows = at.compared.as_ref().unwrap();
    assert_eq!((rows.from_ms, rows.until_ms, rows.row_count), (2_000, 3_000, 500));
    assert!(rows.alert_level.unwrap() < 0.001, "as rare as the budget has it");
    assert_eq!((at.drifted_features.clone(), at.reference_name.as_str()), (vec!["x".to_owned()], "r"));
    assert_eq!(reports[3].alerts.len(), 1);
    assert!(reports[4].alerts.is_empty());
}

#[tokio::test]
async fn each_window_is_compared_with_some_time_before() {
    let mesh = Mesh::start().await;
    put_reference(&mesh, "r").await;
    let reports = reports(&mesh, Rows::Recent(RecentRows { span_ms: 3_000 })).await;
    assert_eq!(moved(&reports)[..4], [None, Some(false), Some(false), Some(true)]);
    let rows = reports[4].drift.as_ref().unwrap().compared.as_ref().unwrap();
    assert_eq!((rows.from_ms, rows.until_ms, rows.row_count), (1_000, 4_000, 1_500));
    assert_eq!(moved(&reports)[4], Some(true), "most of the rows before are of the level before");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused() {
    let mesh = Mesh::start().await;
    put_reference(&mesh, "r").await;
    let refused = async |open: Open| {
        let (reason, field) = reason(&mesh.stream(open).await.expect_err("refused"));
        format!("{reason} {field}")
    };
    assert_eq!(refused(compared(None)).await, "MISSING open.comparison.rows");
    for span_ms in [0, 999, i64::MAX] {
        let open = compared(Some(Rows::Recent(RecentRows { span_ms })));
        assert_eq!(refused(open).await, "BAD_COMPARISON open.comparison.recent.span_ms");
    }
    let open = Open { reference: None, ..compared(Some(Rows::PreviousWindow(PreviousWindow {}))) };
    assert_eq!(refused(open).await, "BAD_COMPARISON open.comparison.rows");
    // One stream has one comparison.
    let _first = mesh.stream(compared(Some(Rows::PreviousWindow(PreviousWindow {})))).await.unwrap();
    let other =
        Open { partition_id: "2".into(), ..compared(Some(Rows::Recent(RecentRows { span_ms: 9_000 }))) };
    assert_eq!(refused(other).await, "SCHEMA_CHANGED ");
}
