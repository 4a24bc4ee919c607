//! JSON to the wire is what the descriptors' own reader makes of it; what is wrong is named.

use acgs_contracts::DESCRIPTORS;
use proptest::prelude::*;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use super::*;

fn descriptor(name: &str) -> MessageDescriptor {
    DescriptorPool::decode(DESCRIPTORS).unwrap().get_message_by_name(name).unwrap()
}

fn write(name: &str, value: &Value) -> Result<(Vec<u8>, Option<String>), (String, String)> {
    let mut sink = Sink::default();
    let text = value.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    match (Message { descriptor: descriptor(name), sink: &mut sink }).deserialize(&mut json) {
        Ok(()) => Ok((sink.bytes, sink.hash)),
        Err(error) => Err((sink.path(), error.to_string())),
    }
}

/// Ours, and the library's own reading of the same JSON.
fn same(name: &str, value: &Value) {
    let (bytes, _) = write(name, value).unwrap();
    let ours = DynamicMessage::decode(descriptor(name), bytes.as_slice()).unwrap();
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let theirs = DynamicMessage::deserialize_with_options(descriptor(name), value, &options).unwrap();
    // An empty list is said or left out: the same message.
    let json = |message: &DynamicMessage| serde_json::to_value(message).unwrap();
    assert_eq!(json(&ours), json(&theirs), "{value}");
}

#[test]
fn known_messages_are_read_like_the_library_reads_them() {
    same(
        "acgs.quality.v1.AssessRequest",
        &json!({
            "data": [{"a": 1, "b": null, "c": "x", "d": [1, true, {"e": "f"}]}, {}],
            "service_id": "s", "targetColumn": "a", "timestamp_column": null,
            "schema": {"fields": [{"name": "a", "kind": "FIELD_KIND_DOUBLE", "role": 1, "minimum": -1.5}]},
            "constitutional_hash": "x"
        }),
    );
    same(
        "acgs.performance.v1.SubmitMetricsRequest",
        &json!({"service_id": "ü", "metrics": {"a": 1, "b": "2.5"}}),
    );
    same(
        "acgs.performance.v1.EvaluateModelRequest",
        &json!({"scores": [0.1, 1, "0.5"], "labels": [], "baseline_brier": 0}),
    );
    same("acgs.drift.v1.ListReferencesRequest", &json!({"pageSize": "7", "model_id": null}));
    same(
        "acgs.common.v1.Column",
        &json!({
            "doubles": [1, 2], "integers": ["-9223372036854775808", 5, 0], "codes": [4_294_967_295_u32],
            "dictionary": ["a", ""], "validity": "/w==", "booleans": "_w"
        }),
    );
    same("acgs.orchestrator.v1.WindowSpec", &json!({"tumbling": {"size_ms": 1000}, "offset_ms": -5}));
}

#[test]
fn the_hash_is_lifted_from_the_outermost_object_only() {
    let (_, hash) = write("acgs.quality.v1.AssessRequest", &json!({"constitutional_hash": "h"})).unwrap();
    assert_eq!(hash.as_deref(), Some("h"));
    let nested = json!({"schema": {"constitutional_hash": "h"}});
    assert_eq!(write("acgs.quality.v1.AssessRequest", &nested).unwrap_err().0, "schema.constitutional_hash");
    let inside_data = json!({"data": [{"constitutional_hash": "h"}]});
    assert_eq!(write("acgs.quality.v1.AssessRequest", &inside_data).unwrap().1, None);
}

#[test]
fn what_is_wrong_is_named() {
    for (value, path) in [
        (json!({"nonsense": 1}), "nonsense"),
        (json!({"data": {}}), "data"),
        (json!({"data": [{}, 7]}), "data[1]"),
        (json!({"service_id": 7}), "service_id"),
        (json!({"schema": {"fields": [{"name": "a"}, {"kind": "NO_KIND"}]}}), "schema.fields[1].kind"),
        (json!({"batch": {"row_count": -1}}), "batch.row_count"),
        (json!({"batch": {"row_count": 1.5}}), "batch.row_count"),
        (json!({"batch": {"columns": [{"doubles": [1, "x"]}]}}), "batch.columns[0].doubles[1]"),
        (json!({"batch": {"columns": [{"validity": "?"}]}}), "batch.columns[0].validity"),
    ] {
        let (found, why) = write("acgs.quality.v1.AssessRequest", &value).unwrap_err();
        assert_eq!(found, path, "{why}");
    }
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(write("acgs.quality.v1.AssessRequest", &json!({"data": [{"a": deep}]})).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_record_is_read_like_the_library_reads_it(
        records in prop::collection::vec(prop::collection::btree_map("[a-z]{1,5}", value(), 0..5), 0..4),
    ) {
        let records: Vec<Value> =
            records.into_iter().map(|record| Value::Object(record.into_iter().collect())).collect();
        same("acgs.quality.v1.AssessRequest", &json!({ "data": records }));
    }

    #[test]
    fn nothing_panics(value in value()) {
        let _either = write("acgs.orchestrator.v1.AnalyzeRequest", &value);
        let _either = write("acgs.common.v1.Column", &json!({ "integers": value }));
    }
}
