//! Every unary RPC and client stream: one success, and one of each error that it promises.

use std::collections::HashMap;

use acgs_columns::{Field, Kind, Role, Schema};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    drift::v1::{
        CompareRequest, DetectRequest, GetReferenceRequest, ListReferencesRequest, PutReferenceRequest,
        PutReferenceResponse, ReferenceHeader, put_reference_request,
    },
    orchestrator::v1::AnalyzeRequest,
    performance::v1::SubmitMetricsRequest,
    quality::v1::AssessRequest,
};
use acgs_tests::{Mesh, reason, row_schema, rows};
use acgs_vocabulary::convert::{batch, schema};
use prost_types::{Struct, Value};
use tonic::{Code, Status};

fn record(fields: &[(&str, Value)]) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
}

pub(crate) fn numbers(count: usize, shift: f64) -> Vec<Struct> {
    let x = |row: usize| (row as f64 * 0.618_034).fract() + shift;
    (0..count).map(|row| record(&[("x", Value::from(x(row))), ("c", Value::from("a".to_owned()))])).collect()
}

pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, String) {
    reason(&answer.expect_err("refused"))
}

pub(crate) fn pair(reason: &str, field: &str) -> (String, String) {
    (reason.to_owned(), field.to_owned())
}

#[tokio::test]
async fn assess() {
    let mesh = Mesh::start().await;
    let mut client = mesh.quality().await;
    let mut data = numbers(90, 0.0);
    data.extend((0..10).map(|_| record(&[("x", Value::from(f64::NAN))])));
    let good = client.assess(AssessRequest { data, ..AssessRequest::default() }).await.unwrap().into_inner();
    assert!(good.assessment_id.starts_with("qa-"));
    assert!((good.missing_value_rate - 0.05).abs() < 1e-9, "{}", good.missing_value_rate);
    assert_eq!(
        good.violations.iter().map(|found| found.r#type.as_str()).collect::<Vec<_>>(),
        ["field_invalid_values"]
    );
    assert_eq!(good.report.unwrap().row_count, 100);
    let empty = client.assess(AssessRequest::default()).await;
    assert_eq!(refusal(empty), pair("EMPTY_DATA", "data"));
    let many = AssessRequest { data: vec![Struct::default(); 100_001], ..AssessRequest::default() };
    assert_eq!(refusal(client.assess(many).await), pair("TOO_MANY_ROWS", "data"));
    let target =
        AssessRequest { data: numbers(1, 0.0), target_column: Some("y".into()), ..AssessRequest::default() };
    assert_eq!(refusal(client.assess(target).await), pair("UNKNOWN_FIELD", "target_column"));
    // Cells of another kind are invalid, whether a schema says the kind or most of the values.
    let odd = [Value::from(true), Value::from("N/A".to_owned()), Value::from(vec![Value::from(1.0)])];
    for fields in [None, Some(Schema::new(vec![Field::new("x", Kind::Double, Role::Feature)]).unwrap())] {
        let plain = (0..97).map(|row| Value::from(f64::from(row) / 7.0));
        let data = plain.chain(odd.clone()).map(|value| record(&[("x", value)])).collect();
        let schema = fields.map(|fields| schema::to_proto(&fields));
        let mixed = AssessRequest { data, schema, ..AssessRequest::default() };
        let column = client.assess(mixed).await.unwrap().into_inner().report.unwrap().columns.remove(0);
        assert_eq!((column.invalid_count, column.missing_count, column.examples.len()), (3, 0, 3));
        assert_eq!((column.examples[1].row.as_str(), column.examples[1].value.as_str()), ("98", "\"N/A\""));
    }
    let bare =
        AssessRequest { batch: Some(batch::to_proto(&rows(0, &[1], 0.0))), ..AssessRequest::default() };
    assert_eq!(refusal(client.assess(bare).await), pair("MISSING", "schema"));
    let no_fields =
        AssessRequest { data: numbers(1, 0.0), schema: Some(Default::default()), ..AssessRequest::default() };
    assert_eq!(refusal(client.assess(no_fields).await), pair("BAD_SCHEMA", "schema.fields"));
    let columns = AssessRequest {
        batch: Some(batch::to_proto(&rows(0, &(0..50).collect::<Vec<i64>>(), 0.0))),
        schema: Some(schema::to_proto(&row_schema())),
        ..AssessRequest::default()
    };
    let report = client.assess(columns).await.unwrap().into_inner().report.unwrap();
    assert_eq!((report.row_count, report.uniqueness_score), (50, Some(1.0)));
}

#[tokio::test]
async fn detect() {
    let mesh = Mesh::start().await;
    let mut client = mesh.drift().await;
    let request = |then: Vec<Struct>, now: Vec<Struct>| DetectRequest {
        reference_data: then,
        current_data: now,
        model_id: "m".into(),
        ..DetectRequest::default()
    };
    let same = client.detect(request(numbers(300, 0.0), numbers(200, 0.0))).await.unwrap().into_inner();
    assert!(!same.drift_detected && same.drift_severity == "NONE", "{same:?}");
    let moved = client.detect(request(numbers(300, 0.0), numbers(200, 0.5))).await.unwrap().into_inner();
    assert!(moved.drift_detected && moved.features_with_ks_drift == ["x"], "{moved:?}");
    assert!(!moved.retraining_required, "inputs alone order no retraining");
    assert_eq!(moved.report.unwrap().features[1].method, "exact");
    assert_eq!(
        refusal(client.detect(request(vec![], numbers(1, 0.0))).await),
        pair("EMPTY_DATA", "reference_data")
    );
    assert_eq!(
        refusal(client.detect(request(numbers(1, 0.0), vec![])).await),
        pair("EMPTY_DATA", "current_data")
    );
    let unknown = DetectRequest {
        reference: Some(ReferenceSelector { name: "nobody".into(), version: 3 }),
        current_data: numbers(1, 0.0),
        ..DetectRequest::default()
    };
    let status = client.detect(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::NotFound, "UNKNOWN_REFERENCE"));
}

#[tokio::test]
async fn compare() {
    let mesh = Mesh::start().await;
    let mut client = mesh.drift().await;
    // The samples of the golden file statistics.json.
    let reference: Vec<f64> = (1..=50).map(|i| f64::from(37 * i % 101) / 101.0).collect();
    let current: Vec<f64> = (1..=40).map(|i| (f64::from(53 * i % 97) / 97.0).powf(1.3) + 0.05).collect();
    let request = CompareRequest { reference, current, ..CompareRequest::default() };
    let all = client.compare(request.clone()).await.unwrap().into_inner();
    let result = |name: &str| all.results.iter().find(|result| result.test == name).unwrap();
    assert!((result("ks").statistic - 0.115).abs() < 1e-12);
    assert!((result("ks").p_value.unwrap() - 0.898_535_772_786).abs() < 1e-9);
    assert!((result("wasserstein").statistic - 0.044_739_795_266).abs() < 1e-9);
    let counted = |counts: [usize; 4]| -> Vec<String> {
        let of = |(name, count): (&str, usize)| std::iter::repeat_n(name.to_owned(), count);
        ["a", "b", "c", "d"].into_iter().zip(counts).flat_map(of).collect()
    };
    let categories = CompareRequest {
        reference_categories: counted([50, 30, 15, 5]),
        current_categories: counted([40, 35, 10, 15]),
        tests: vec!["chi_square".into(), "psi".into(), "ks".into()],
        ..CompareRequest::default()
    };
    let told = client.compare(categories).await.unwrap().into_inner().results;
    assert!(
        (told[0].statistic - 7.495_726_495_726).abs() < 1e-9
            && (told[0].p_value.unwrap() - 0.057_668_358_303).abs() < 1e-9
    );
    assert!((told[1].statistic - 0.160_156_373_395).abs() < 1e-9);
    assert_eq!(told[2].not_applicable, "needs numbers");
    assert_eq!(refusal(client.compare(CompareRequest::default()).await), pair("EMPTY_DATA", "reference"));
    let unknown = CompareRequest { tests: vec!["magic".into()], ..request.clone() };
    assert_eq!(refusal(client.compare(unknown).await), pair("UNKNOWN_TEST", "tests[0]"));
    let mixed = CompareRequest { reference_categories: vec!["a".into()], ..request };
    assert_eq!(refusal(client.compare(mixed).await).0, "MIXED_SAMPLES");
}

async fn put(
    mesh: &Mesh,
    change: impl FnOnce(&mut ReferenceHeader),
    with_rows: bool,
) -> Result<PutReferenceResponse, Status> {
    use put_reference_request::Message;
    let mut header = ReferenceHeader {
        name: "r".into(),
        model_id: "m".into(),
        schema: Some(schema::to_proto(&row_schema())),
        window_ms: 1_000,
    };
    change(&mut header);
    let times: Vec<i64> = (0..5_000).collect();
    let mut messages = vec![Message::Header(header)];
    if with_rows {
        messages.push(Message::Batch(batch::to_proto(&rows(0, &times, 0.0))));
    }
    let messages = messages.into_iter().map(|message| PutReferenceRequest { message: Some(message) });
    Ok(mesh.drift().await.put_reference(tokio_stream::iter(messages.collect::<Vec<_>>())).await?.into_inner())
}

#[tokio::test]
async fn references() {
    let mesh = Mesh::start().await;
    let first = put(&mesh, |_| {}, true).await.unwrap().reference.unwrap();
    assert_eq!((first.version, first.row_count), (1, 5_000));
    assert_eq!(first.constitutional_hash, acgs_vocabulary::constitution::PLATFORM);
    assert_eq!(first.features.len(), 3, "features and score");
    assert!(first.features[0].effect_mean.is_some(), "five spans were measured");
    let second = put(&mesh, |_| {}, true).await.unwrap().reference.unwrap();
    assert_eq!(second.version, 2);
    put(&mesh, |header| header.name = "other".into(), true).await.unwrap();
    let mut client = mesh.drift().await;
    let get = |name: &str, version| GetReferenceRequest { name: name.into(), version };
    let newest = client.get_reference(get("r", 0)).await.unwrap().into_inner().reference.unwrap();
    assert_eq!(newest, second);
    assert_eq!(client.get_reference(get("r", 1)).await.unwrap().into_inner().reference, Some(first));
    for (name, version) in [("r", 9), ("nobody", 0), ("a b", 1)] {
        let status = client.get_reference(get(name, version)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).0.as_str()),
            (Code::NotFound, "UNKNOWN_REFERENCE"),
            "{name}"
        );
    }
    assert_eq!(refusal(client.get_reference(get("", 0)).await), pair("BAD_NAME", "name"));
    let list = |page_size, token: &str| ListReferencesRequest {
        model_id: "m".into(),
        page_size,
        page_token: token.into(),
    };
    let page = client.list_references(list(2, "")).await.unwrap().into_inner();
    assert_eq!(page.references.len(), 2);
    let rest = client.list_references(list(2, &page.next_page_token)).await.unwrap().into_inner();
    assert_eq!(
        rest.references.iter().map(|of| (of.name.as_str(), of.version)).collect::<Vec<_>>(),
        [("r", 2)]
    );
    assert_eq!(refusal(client.list_references(list(2, "zzz")).await), pair("BAD_PAGE_TOKEN", "page_token"));
    assert_eq!(
        refusal(put(&mesh, |header| header.name = "a/b".into(), true).await),
        pair("BAD_NAME", "header.name")
    );
    let no_time = put(&mesh, |header| drop(header.schema.as_mut().unwrap().fields.remove(0)), false).await;
    assert_eq!(refusal(no_time), pair("BAD_SCHEMA", "header.window_ms"));
    assert_eq!(refusal(put(&mesh, |_| {}, false).await), pair("EMPTY_DATA", "batch"));
    let headless = client.put_reference(tokio_stream::iter([PutReferenceRequest { message: None }])).await;
    assert_eq!(refusal(headless), pair("HEADER_FIRST", "message"));
}

#[tokio::test]
async fn submit_metrics() {
    let mesh = Mesh::start().await;
    let mut client = mesh.performance().await;
    let request = |metrics: &[(&str, f64)]| SubmitMetricsRequest {
        service_id: "auth".into(),
        metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<HashMap<_, _>>(),
        ..SubmitMetricsRequest::default()
    };
    let good = client.submit_metrics(request(&[("response_time_ms", 100.0)])).await.unwrap().into_inner();
    assert!(good.sla_compliance && good.metric_id.starts_with("perf-"));
    let bad = client.submit_metrics(request(&[("response_time_ms", 1_000.0)])).await.unwrap().into_inner();
    assert!(!bad.sla_compliance);
    assert_eq!(
        (bad.violations[0].severity.as_str(), bad.violations[0].deviation_percent),
        ("CRITICAL", 100.0)
    );
    assert_eq!(refusal(client.submit_metrics(request(&[])).await), pair("EMPTY_DATA", "metrics"));
    let unknown = client.submit_metrics(request(&[("speed", 1.0)])).await;
    assert_eq!(refusal(unknown), pair("UNKNOWN_METRIC", "metrics[speed]"));
    let infinite = client.submit_metrics(request(&[("throughput_rps", f64::INFINITY)])).await;
    assert_eq!(refusal(infinite), pair("NOT_FINITE", "metrics[throughput_rps]"));
    let mut when = request(&[("throughput_rps", 1.0)]);
    when.timestamp = "yesterday".into();
    assert_eq!(refusal(client.submit_metrics(when).await), pair("BAD_TIMESTAMP", "timestamp"));
    let nameless = SubmitMetricsRequest { service_id: String::new(), ..request(&[("throughput_rps", 1.0)]) };
    assert_eq!(refusal(client.submit_metrics(nameless).await), pair("BAD_NAME", "service_id"));
}

#[tokio::test]
async fn analyze() {
    let mesh = Mesh::start().await;
    put(&mesh, |_| {}, true).await.unwrap();
    let mut client = mesh.orchestrator().await;
    let data: Vec<Struct> = (0..200)
        .map(|row| {
            let unit = |step: f64| (f64::from(row) * step).fract();
            record(&[
                ("ts", Value::from(f64::from(row))),
                ("id", Value::from(f64::from(row))),
                ("x", Value::from(unit(0.618_034) * 4.0 + 3.0)),
                ("city", Value::from("lga".to_owned())),
                ("p", Value::from(unit(0.569_84))),
            ])
        })
        .collect();
    let request = AnalyzeRequest {
        data,
        schema: Some(schema::to_proto(&row_schema())),
        reference: Some(ReferenceSelector { name: "r".into(), version: 0 }),
        ..AnalyzeRequest::default()
    };
    let all = client.analyze(request.clone()).await.unwrap().into_inner();
    assert_eq!(all.services_used, ["quality", "drift"], "performance has no labels and no latency");
    assert!(all.drift.unwrap().drift_detected && all.quality.unwrap().row_count == 200);
    assert_eq!(all.verdicts.len(), 3);
    let one = AnalyzeRequest { analysis_type: "quality".into(), ..request.clone() };
    assert_eq!(client.analyze(one).await.unwrap().into_inner().services_used, ["quality"]);
    let unknown = AnalyzeRequest { analysis_type: "taste".into(), ..request.clone() };
    assert_eq!(refusal(client.analyze(unknown).await), pair("UNKNOWN_ANALYSIS", "analysis_type"));
    let empty = AnalyzeRequest { data: vec![], ..request.clone() };
    assert_eq!(refusal(client.analyze(empty).await), pair("EMPTY_DATA", "data"));
    let nobody = Some(ReferenceSelector { name: "nobody".into(), version: 0 });
    let status = client.analyze(AnalyzeRequest { reference: nobody, ..request }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::NotFound, "UNKNOWN_REFERENCE"));
}

#[tokio::test]
async fn small_requests_stay_small() {
    let mesh = Mesh::start().await;
    let wide: Vec<Struct> = (0..2_000).map(|row| record(&[(&format!("k{row}"), Value::from(1.0))])).collect();
    let request = AssessRequest { data: wide, ..AssessRequest::default() };
    assert_eq!(refusal(mesh.quality().await.assess(request).await), pair("BAD_SCHEMA", "data"));
    let mut fields = schema::to_proto(&row_schema());
    fields.fields = (0..1_000)
        .map(|index| acgs_contracts::common::v1::Field {
            name: format!("f{index}"),
            kind: 1,
            ..Default::default()
        })
        .collect();
    let empty = vec![Struct::default(); 50_000];
    let request = AssessRequest { data: empty, schema: Some(fields), ..AssessRequest::default() };
    assert_eq!(refusal(mesh.quality().await.assess(request).await), pair("TOO_MANY_ROWS", "data"));
    let request = CompareRequest {
        reference: vec![1.0],
        current: vec![2.0],
        tests: vec!["ks".into(); 6],
        ..CompareRequest::default()
    };
    assert_eq!(refusal(mesh.drift().await.compare(request).await), pair("TOO_MANY", "tests"));
    let spans = put(&mesh, |header| header.window_ms = 1, true).await;
    assert!(
        spans.unwrap().reference.unwrap().features[0].effect_mean.is_some(),
        "any number of spans will do"
    );
    let long = GetReferenceRequest { name: "n".repeat(1 << 20), version: 1 };
    let status = mesh.drift().await.get_reference(long).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::NotFound, "UNKNOWN_REFERENCE"));
}

#[tokio::test]
async fn what_cannot_be_read_again_is_no_reference() {
    use put_reference_request::Message;
    let mesh = Mesh::start().await;
    let put_values = async |values: [f64; 2], kind: i32| {
        let field =
            acgs_contracts::common::v1::Field { name: "age".into(), kind, role: 1, ..Default::default() };
        let header = ReferenceHeader {
            name: "ages".into(),
            schema: Some(acgs_contracts::common::v1::Schema { fields: vec![field] }),
            ..ReferenceHeader::default()
        };
        let many = values.repeat(200);
        let column = if kind == 1 {
            acgs_contracts::common::v1::Column { doubles: many, ..Default::default() }
        } else {
            let integers = many.iter().map(|value| *value as i64).collect();
            acgs_contracts::common::v1::Column { integers, ..Default::default() }
        };
        let data = acgs_contracts::common::v1::RecordBatch { row_count: 400, columns: vec![column] };
        let messages = [Message::Header(header), Message::Batch(data)];
        let messages = messages.map(|message| PutReferenceRequest { message: Some(message) });
        mesh.drift().await.put_reference(tokio_stream::iter(messages)).await
    };
    assert_eq!(refusal(put_values([1e200, -1e200], 1).await).0, "BAD_REFERENCE");
    put_values([20.0, 30.0], 2).await.unwrap();
    let detect = |ages: Vec<f64>, name: &'static str| DetectRequest {
        reference: Some(ReferenceSelector { name: "ages".into(), version: 0 }),
        current_data: ages.into_iter().map(|age| record(&[(name, Value::from(age))])).collect(),
        ..DetectRequest::default()
    };
    let mut client = mesh.drift().await;
    let moved = client.detect(detect(vec![60.0; 100], "age")).await.unwrap().into_inner();
    assert!(moved.drift_detected, "JSON has one kind of number: {moved:?}");
    let shares: Vec<f64> = (0..100).map(|row| if row < 40 { 20.0 } else { 30.0 }).collect();
    let report = client.detect(detect(shares, "age")).await.unwrap().into_inner().report.unwrap();
    assert!(
        (report.features[0].effect_size - 0.2).abs() < 1e-9,
        "ten of a hundred moved by ten, deviation five"
    );
    let unrelated = client.detect(detect(vec![1.0], "height")).await;
    assert_eq!(refusal(unrelated), pair("MISSING_FIELD", "current_data"));
}
