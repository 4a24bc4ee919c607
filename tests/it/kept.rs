//! What services keep: models, orders, targets, the last judgements; and what they answer without a home.

use acgs_contracts::{
    drift::v1::{
        self as drift, DetectRequest, ExplainDetectionRequest, GetDetectionRequest, GetReferenceRequest,
        ListDetectionsRequest, ListModelsRequest, RegisterModelRequest,
        drift_service_client::DriftServiceClient,
    },
    performance::v1::{
        self as performance, ConfigureSlaRequest, GetMetricsHistoryRequest, GetSlaStatusRequest,
        performance_service_client::PerformanceServiceClient,
    },
    quality::v1::{
        self as quality, GetAssessmentRequest, ListAssessmentsRequest,
        quality_service_client::QualityServiceClient,
    },
};
use acgs_mesh::client::connect;
use acgs_tests::{
    Mesh, PATIENCE,
    fleet::{Process, constitution},
    reason,
};
use prost_types::{Struct, Value, value::Kind};
use tonic::Code;

fn records(count: usize, shift: f64) -> Vec<Struct> {
    let record = |row: usize| {
        let number = Value { kind: Some(Kind::NumberValue((row * 37 % 101) as f64 / 10.0 + shift)) };
        Struct { fields: [("x".to_owned(), number)].into() }
    };
    (0..count).map(record).collect()
}

/// The call is refused with this code, reason and, where it is the input, field.
macro_rules! refused {
    ($call:expr, $code:ident, $reason:literal) => {
        refused!($call, $code, $reason, "")
    };
    ($call:expr, $code:ident, $reason:literal, $field:literal) => {{
        let status = $call.await.unwrap_err();
        let (why, field) = reason(&status);
        assert_eq!(
            (status.code(), why.as_str(), field.as_str()),
            (Code::$code, $reason, $field),
            "{status:?}"
        );
    }};
}

#[tokio::test]
async fn models_are_registered_and_found() {
    let mesh = Mesh::start().await;
    let mut client = mesh.drift().await;
    let register = |model: &str, rows| RegisterModelRequest {
        model_id: model.into(),
        reference_data: records(rows, 0.0),
        ..RegisterModelRequest::default()
    };
    for version in [1, 2] {
        let answer = client.register_model(register("m", 100)).await.unwrap().into_inner();
        assert_eq!((answer.reference_records, answer.reference_version), (100, version));
    }
    let models = client.list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    assert_eq!(models, ["m"]);
    refused!(client.register_model(register("", 10)), InvalidArgument, "BAD_NAME", "model_id");
    refused!(client.register_model(register("a b", 10)), InvalidArgument, "BAD_NAME", "model_id");
    refused!(client.register_model(register("m", 0)), InvalidArgument, "EMPTY_DATA", "reference_data");
    // A detection that names only the model is measured from its reference.
    let detect = |model: &str, shift| DetectRequest {
        model_id: model.into(),
        current_data: records(100, shift),
        ..DetectRequest::default()
    };
    let answer = client.detect(detect("m", 5.0)).await.unwrap().into_inner();
    assert!(answer.drift_detected && answer.report.unwrap().reference_version == 2);
    refused!(client.detect(detect("unknown", 5.0)), InvalidArgument, "EMPTY_DATA", "reference_data");
    let id = answer.detection_id;
    let since = std::time::Instant::now();
    loop {
        let found = client.list_detections(ListDetectionsRequest { limit: 5 }).await.unwrap().into_inner();
        if found.count == 1 {
            assert_eq!(found.detections[0].detection_id, id);
            break;
        }
        assert!(since.elapsed() < PATIENCE);
    }
    let explain = ExplainDetectionRequest { detection_id: id.clone(), report: None };
    let explained = client.explain_detection(explain).await.unwrap().into_inner();
    assert_eq!(explained.detection.unwrap().detection_id, id);
    let report = explained.report.unwrap();
    assert!(report.drift_detected && !report.features[0].outcomes.is_empty());
    // The statistic can be computed again from the parts: the largest difference of their sums.
    let feature = report.features.iter().find(|feature| feature.test == "ks").unwrap();
    let differences = feature.outcomes.iter().scan(0.0, |sum, part| {
        *sum += part.share - part.expected_share;
        Some(f64::abs(*sum))
    });
    let largest = differences.fold(0.0, f64::max);
    assert!((largest - feature.statistic).abs() < 0.1, "{largest} {feature:?}");
    let told = |name: &str| explained.steps.iter().filter(|step| step.subject == name).count();
    assert_eq!((told(""), told(&feature.name)), (1, 3), "{:?}", explained.steps);
    // The report of a window of a stream is explained as it is.
    let of_window = ExplainDetectionRequest { detection_id: String::new(), report: Some(report.clone()) };
    let again = client.explain_detection(of_window).await.unwrap().into_inner();
    assert_eq!((again.detection, again.steps), (None, explained.steps));
    let both = ExplainDetectionRequest { detection_id: id.clone(), report: Some(report) };
    refused!(client.explain_detection(both), InvalidArgument, "TOO_MANY", "report");
    let unknown = ExplainDetectionRequest { detection_id: "drift-0".into(), report: None };
    refused!(client.explain_detection(unknown), NotFound, "UNKNOWN_DETECTION");
    let one = client.get_detection(GetDetectionRequest { detection_id: id }).await.unwrap().into_inner();
    assert!(one.detection.unwrap().drift_detected);
    let unknown = GetDetectionRequest { detection_id: "drift-0".into() };
    refused!(client.get_detection(unknown), NotFound, "UNKNOWN_DETECTION");
    refused!(
        client.list_detections(ListDetectionsRequest { limit: 1_001 }),
        InvalidArgument,
        "OUT_OF_RANGE",
        "limit"
    );
    let long = drift::StartMonitoringRequest {
        model_id: "m".into(),
        monitoring_interval: 100_000,
        ..Default::default()
    };
    refused!(client.start_monitoring(long), InvalidArgument, "OUT_OF_RANGE", "monitoring_interval");
    refused!(
        client.start_monitoring(drift::StartMonitoringRequest::default()),
        InvalidArgument,
        "BAD_NAME",
        "model_id"
    );
}

#[tokio::test]
async fn targets_are_checked() {
    let mesh = Mesh::start().await;
    let mut client = mesh.performance().await;
    let configure = |service: &str, name: &str, target: f64| ConfigureSlaRequest {
        service_id: service.into(),
        sla_targets: [(name.to_owned(), target)].into(),
    };
    let answer = client.configure_sla(configure("s", "response_time_ms", 100.0)).await.unwrap().into_inner();
    assert_eq!((answer.targets["response_time_ms"], answer.targets["availability_percent"]), (100.0, 99.5));
    refused!(
        client.configure_sla(configure("", "response_time_ms", 1.0)),
        InvalidArgument,
        "BAD_NAME",
        "service_id"
    );
    refused!(
        client.configure_sla(configure("s", "nonsense", 1.0)),
        InvalidArgument,
        "UNKNOWN_METRIC",
        "sla_targets[nonsense]"
    );
    for target in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused!(
            client.configure_sla(configure("s", "response_time_ms", target)),
            InvalidArgument,
            "OUT_OF_RANGE",
            "sla_targets[response_time_ms]"
        );
    }
    let none = ConfigureSlaRequest { service_id: "s".into(), ..ConfigureSlaRequest::default() };
    refused!(client.configure_sla(none), InvalidArgument, "EMPTY_DATA", "sla_targets");
    let status =
        client.get_sla_status(GetSlaStatusRequest { service_id: "new".into() }).await.unwrap().into_inner();
    assert_eq!(
        (status.sla_status["new"].compliance_rate, status.sla_status["new"].recent_metrics_count),
        (1.0, 0)
    );
    let far = GetMetricsHistoryRequest { service_id: "s".into(), hours: 10_000, limit: 0 };
    refused!(client.get_metrics_history(far), InvalidArgument, "OUT_OF_RANGE", "hours");
    let many = GetMetricsHistoryRequest { service_id: "s".into(), hours: 0, limit: 5_000 };
    refused!(client.get_metrics_history(many), InvalidArgument, "OUT_OF_RANGE", "limit");
    refused!(
        client.get_metrics_history(GetMetricsHistoryRequest::default()),
        InvalidArgument,
        "BAD_NAME",
        "service_id"
    );
}

/// A judge alone has nowhere to keep anything, and says so; what it can do without, it does.
#[tokio::test]
async fn a_judge_without_a_home_says_so() {
    let started = [
        Process::start("quality", 0, &[]).await,
        Process::start("drift", 0, &[]).await,
        Process::start("performance", 0, &[]).await,
    ];
    let channel = async |process: &Process| {
        connect(&format!("http://{}", process.address), constitution()).await.unwrap()
    };
    let mut client = QualityServiceClient::new(channel(&started[0]).await);
    let start = quality::StartMonitoringRequest { service_id: "s".into(), monitoring_interval: 0 };
    refused!(client.start_monitoring(start), FailedPrecondition, "HOME_REQUIRED");
    refused!(
        client.stop_monitoring(quality::StopMonitoringRequest::default()),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    refused!(client.list_monitors(quality::ListMonitorsRequest {}), FailedPrecondition, "HOME_REQUIRED");
    refused!(
        client.list_assessments(ListAssessmentsRequest { limit: 0 }),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    refused!(client.get_assessment(GetAssessmentRequest::default()), FailedPrecondition, "HOME_REQUIRED");
    let assess = quality::AssessRequest { data: records(10, 0.0), ..Default::default() };
    assert_eq!(client.assess(assess).await.unwrap().into_inner().report.unwrap().row_count, 10);

    let mut client = DriftServiceClient::new(channel(&started[1]).await);
    let register = RegisterModelRequest {
        model_id: "m".into(),
        reference_data: records(10, 0.0),
        schema: None,
        window_ms: 0,
        timestamp_column: None,
    };
    refused!(client.register_model(register), FailedPrecondition, "HOME_REQUIRED");
    refused!(client.list_models(ListModelsRequest {}), FailedPrecondition, "HOME_REQUIRED");
    refused!(
        client.get_reference(GetReferenceRequest { name: "r".into(), version: 0 }),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    refused!(
        client.list_references(drift::ListReferencesRequest::default()),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    refused!(client.list_monitors(drift::ListMonitorsRequest {}), FailedPrecondition, "HOME_REQUIRED");
    refused!(
        client.stop_monitoring(drift::StopMonitoringRequest::default()),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    refused!(client.list_detections(ListDetectionsRequest { limit: 0 }), FailedPrecondition, "HOME_REQUIRED");
    refused!(client.get_detection(GetDetectionRequest::default()), FailedPrecondition, "HOME_REQUIRED");
    refused!(
        client.explain_detection(ExplainDetectionRequest::default()),
        FailedPrecondition,
        "HOME_REQUIRED"
    );
    let detect = DetectRequest {
        reference_data: records(50, 0.0),
        current_data: records(50, 9.0),
        ..Default::default()
    };
    assert!(client.detect(detect).await.unwrap().into_inner().drift_detected);

    let mut client = PerformanceServiceClient::new(channel(&started[2]).await);
    let configure = ConfigureSlaRequest {
        service_id: "s".into(),
        sla_targets: [("response_time_ms".to_owned(), 1.0)].into(),
    };
    refused!(client.configure_sla(configure), FailedPrecondition, "HOME_REQUIRED");
    refused!(client.get_sla_status(GetSlaStatusRequest::default()), FailedPrecondition, "HOME_REQUIRED");
    let history = GetMetricsHistoryRequest { service_id: "s".into(), ..Default::default() };
    refused!(client.get_metrics_history(history), FailedPrecondition, "HOME_REQUIRED");
    refused!(client.list_monitors(performance::ListMonitorsRequest {}), FailedPrecondition, "HOME_REQUIRED");
    let submit = performance::SubmitMetricsRequest {
        service_id: "s".into(),
        metrics: [("response_time_ms".to_owned(), 1.0)].into(),
        ..Default::default()
    };
    assert!(client.submit_metrics(submit).await.unwrap().into_inner().sla_compliance);
}
