//! Subjects, filters, and the JSON of every kind as subscribers have it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    payload::{
        AlertChanged, ConstitutionRefused, DriftDetection, HarmFound, NotJudged, PerformanceFound,
        PerformanceSubmitted, QualityAssessed, ReferenceStored, WhyNot, WindowReported,
    },
    *,
};
use crate::{
    alert::{Alert, AlertState, AlertSubject},
    finding::{Finding, Window},
};

/// What the original's subscribers listen to, of the kinds that there are.
const ORIGINAL_FILTERS: [&str; 5] = [
    "acgs.quality.alert.*",
    "acgs.drift.detected.*",
    "acgs.performance.alert.*",
    "acgs.compliance.violation.*",
    "acgs.model.retraining.completed",
];

#[test]
fn every_filter_has_a_publisher_and_every_subject_the_root() {
    let subjects: Vec<String> = EventKind::ALL.iter().map(|kind| kind.subject()).collect();
    for filter in ORIGINAL_FILTERS {
        assert!(subjects.iter().any(|subject| matches(filter, subject)), "{filter}");
    }
    for subject in &subjects {
        assert!(matches("acgs.>", subject) && is_filter(subject), "{subject}");
    }
}

#[test]
fn filters_match_by_token() {
    assert!(matches("a.*.c", "a.b.c"));
    assert!(!matches("a.*", "a.b.c"));
    assert!(matches("a.>", "a.b.c"));
    assert!(!matches("a.>", "a"));
    assert!(!matches("a.b", "a"));
    assert!(is_filter("a.*.>") && !is_filter("a.>.b") && !is_filter("a..b") && !is_filter(""));
}

fn window() -> Window {
    Window { stream_id: "trips".into(), key: "lga".into(), start_ms: 1_000, end_ms: 2_000 }
}

fn finding() -> Finding {
    Finding {
        rule: "drift".into(),
        subject: "distance".into(),
        severity: Severity::High,
        value: 0.75,
        threshold: 0.25,
        description: "distance has moved".into(),
    }
}

fn alert(judge: JudgeKind, state: AlertState) -> AlertChanged {
    let Finding { rule, subject, severity, .. } = finding();
    let identity = AlertSubject { judge, rule, subject, key: "lga".into() };
    AlertChanged {
        alert: Alert {
            alert_id: identity.change(&window(), severity, state),
            judge,
            rule: identity.rule,
            subject: identity.subject,
            severity,
            state,
            window: window(),
            message: "distance has moved".into(),
            occurrences: 2,
            finding: finding(),
        },
        model_id: "late".into(),
        service_id: "flights".into(),
        about: "trips".into(),
        findings: vec![finding()],
        epoch: 3,
    }
}

fn reported(harm: HarmFound, performance: Option<PerformanceFound>) -> WindowReported {
    WindowReported {
        row_count: Some(400),
        overall_score: Some(0.5),
        drift_detected: Some(true),
        score_drift: Some(false),
        drifted_features: Vec::new(),
        drift_kinds: Vec::new(),
        loss: None,
        performance_reason: String::new(),
        labels_awaited: 0,
        brier: Some(0.25),
        performance,
        harm,
        window: window(),
        revision: 1,
        model_id: "late".into(),
        service_id: "flights".into(),
        quality_severity: Some(Severity::Critical),
        epoch: 3,
        life: "01".into(),
        not_judged: vec![NotJudged {
            judge: JudgeKind::Performance,
            status: WhyNot::NotApplicable,
            reason: "no labels".into(),
        }],
    }
}

fn envelope<P: Payload + Clone + PartialEq + std::fmt::Debug>(kind: EventKind, payload: &P) -> Envelope {
    let origin = Origin { service: "test-service", at_ms: 1_500, constitutional_hash: "cdd01ef066bc6cf2" };
    let envelope = Envelope::new(kind, "id".into(), origin, payload).about("trips").caused_by("cause");
    assert_eq!(&envelope.read::<P>().unwrap(), payload, "what is written is read");
    envelope
}

/// Every kind that has a payload here, each variant of each enum among them.
fn samples() -> Vec<Envelope> {
    let submitted = PerformanceSubmitted::Metrics {
        metrics: BTreeMap::from([("latency_p95_ms".to_owned(), 120.5)]),
        sla_compliance: false,
        measured_at: "1970-01-01T00:00:01Z".into(),
        violations: vec!["latency_p95_ms".into()],
    };
    let rows = PerformanceSubmitted::Rows {
        row_count: 10,
        error_rate: Some(0.5),
        latency_p95_ms: None,
        labelled_count: 4,
        brier: None,
    };
    let assessed = QualityAssessed {
        overall_score: 0.5,
        missing_value_rate: 0.25,
        outlier_rate: 0.0,
        freshness_score: 1.0,
        record_count: 70,
    };
    let detection = DriftDetection {
        model_id: "late".into(),
        drift_detected: true,
        retraining_required: false,
        features_with_ks_drift: vec!["distance".into()],
        features_with_psi_drift: Vec::new(),
        drift_severity: "medium".into(),
    };
    let stored = ReferenceStored { name: "r".into(), version: 2, model_id: "late".into(), row_count: 1_000 };
    let refused =
        ConstitutionRefused { peer: "127.0.0.1".into(), reason: "CONSTITUTION_MISSING".into(), refused: 7 };
    let (open, over) = (AlertState::Open, AlertState::Resolved);
    vec![
        envelope(EventKind::QualityAssessmentCompleted, &assessed),
        envelope(EventKind::QualityAlert(Severity::High), &alert(JudgeKind::Quality, open)),
        envelope(EventKind::DriftDetectionCompleted, &detection),
        envelope(EventKind::DriftDetected(Severity::High), &alert(JudgeKind::Drift, open)),
        envelope(EventKind::DriftDetected(Severity::High), &alert(JudgeKind::Drift, over)),
        envelope(EventKind::PerformanceMetricsSubmitted, &submitted),
        envelope(EventKind::PerformanceMetricsSubmitted, &rows),
        envelope(EventKind::PerformanceAlert(Severity::High), &alert(JudgeKind::Performance, open)),
        envelope(EventKind::WindowReported, &reported(HarmFound::None, None)),
        envelope(EventKind::WindowReported, &reported(HarmFound::Harmless, Some(PerformanceFound::Ok))),
        envelope(EventKind::WindowReported, &reported(HarmFound::Harmful, Some(PerformanceFound::Decayed))),
        envelope(EventKind::WindowReported, &reported(HarmFound::Unknown, Some(PerformanceFound::Unknown))),
        envelope(EventKind::ReferenceStored, &stored),
        envelope(EventKind::ConstitutionRefused, &refused),
    ]
}

/// The JSON on the bus is a contract: a variant or field that is renamed changes it, and fails here.
#[test]
fn the_json_of_every_kind_is_what_subscribers_know() {
    let now = serde_json::to_string_pretty(&samples()).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/events.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    assert_eq!(now, std::fs::read_to_string(path).unwrap(), "UPDATE_GOLDEN=1 accepts a change");
    let told: BTreeSet<String> = samples().iter().map(|envelope| envelope.event_type.clone()).collect();
    let of_models = <payload::LifecycleStepped<serde_json::Value> as Payload>::EVENT_TYPES;
    for kind in EventKind::ALL {
        let known = told.contains(kind.name()) || of_models.contains(&kind.name());
        assert!(known, "{} has no payload", kind.name());
    }
}

#[test]
fn a_payload_of_another_kind_or_form_is_refused() {
    let mut envelope = envelope(EventKind::WindowReported, &reported(HarmFound::Harmful, None));
    assert!(envelope.read::<AlertChanged>().is_err(), "of another kind");
    envelope.payload["harm"] = "harmful".into();
    let refused = envelope.read::<WindowReported>().unwrap_err().to_string();
    assert!(refused.contains("harmful") && refused.contains("window_reported"), "{refused}");
}
