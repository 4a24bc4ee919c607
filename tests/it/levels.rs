//! How often `Detect` over REST calls drift where there is none, at the default level: the path that notebooks and scripts take; and what it takes.

use acgs_contracts::drift::v1::DetectRequest;
use acgs_tests::{Mesh, row_schema, rows};
use acgs_vocabulary::convert::{batch, schema};
use serde_json::{Value, json};

use crate::{
    rest::{call, case},
    unary::{numbers, pair, refusal},
};

/// Calls of each kind.
const CALLS: u64 = 200;
/// The default level, and three standard errors of a share of so many calls.
const ALPHA: f64 = 0.05;
const MOST: f64 = ALPHA + 0.046;

/// Numbers that are the same everywhere (Steele et al. 2014).
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A record of features that are usual and features that are not.
    fn record(&mut self) -> Value {
        json!({
            "normal": self.normal(),
            "lognormal": self.normal().exp(),
            "rounded": (10.0 * self.normal()).round() / 10.0,
            "zero_inflated": if self.unit() < 0.8 { 0.0 } else { self.normal() },
            "plan": format!("p{}", (50.0 * self.unit()) as u32),
            "rare": if self.unit() < 0.03 { json!(null) } else { json!(self.unit() < 0.01) },
        })
    }

    fn records(&mut self, count: usize) -> Value {
        (0..count).map(|_| self.record()).collect()
    }

    /// Records of some milliseconds, about a daily sine.
    fn seasonal(&mut self, from_ms: i64, every_ms: i64, count: i64) -> Value {
        let record = |row| {
            let time_ms: i64 = from_ms + row * every_ms;
            let day = std::f64::consts::TAU * time_ms as f64 / 86_400_000.0;
            json!({"timestamp": time_ms, "x": self.normal() + day.sin(), "y": self.normal()})
        };
        (0..count).map(record).collect()
    }
}

#[tokio::test]
async fn two_samples_without_drift_are_called_drifted_at_most_at_the_level() {
    let mesh = Mesh::start().await;
    let mut draws = Draws(11);
    let (mut called, mut named) = (0, 0);
    for _ in 0..CALLS {
        let body = json!({"reference_data": draws.records(300), "current_data": draws.records(150), "model_id": "m"});
        let said = call(mesh.running.addresses.drift, &case("POST", "/detect", body, &[])).await.json();
        called += u64::from(said["drift_detected"] == true);
        let lists = ["features_with_ks_drift", "features_with_psi_drift"];
        let names = lists.iter().any(|list| said[list].as_array().is_some_and(|names| !names.is_empty()));
        named += u64::from(names);
        assert_eq!(said["drift_severity"] == "NONE", said["drift_detected"] == false, "{said}");
        assert!(!names || said["drift_detected"] == true, "nothing is named beside NONE: {said}");
    }
    let (share, names) = (called as f64 / CALLS as f64, named as f64 / CALLS as f64);
    println!(
        "Detect over REST: drift in {:.1} % of calls, features named in {:.1} %",
        100.0 * share,
        100.0 * names
    );
    assert!(share <= MOST, "{share}");
}

#[tokio::test]
async fn hours_of_a_day_are_no_drift_from_a_registered_model_and_a_shift_is() {
    let mesh = Mesh::start().await;
    let mut draws = Draws(12);
    const HOUR_MS: i64 = 3_600_000;
    let from_ms = 1_735_689_600_000;
    let reference = draws.seasonal(from_ms, HOUR_MS / 10, 28 * 240);
    let body = json!({"model_id": "sine", "reference_data": reference, "window_ms": HOUR_MS});
    let registered = call(mesh.running.addresses.drift, &case("POST", "/models/register", body, &[])).await;
    assert_eq!(registered.status, 200, "{}", registered.json());
    let (mut called, mut shifted) = (0, 0);
    for hour in 0..CALLS as i64 {
        let mut records = draws.seasonal(from_ms + (28 * 24 + hour) * HOUR_MS, HOUR_MS / 100, 100);
        let detect = |records: &Value| json!({"model_id": "sine", "current_data": records});
        let said =
            call(mesh.running.addresses.drift, &case("POST", "/detect", detect(&records), &[])).await.json();
        assert!(said["drift_detected"].is_boolean(), "{said}");
        called += u64::from(said["drift_detected"] == true);
        if hour % 10 == 0 {
            for record in records.as_array_mut().into_iter().flatten() {
                record["x"] = json!(record["x"].as_f64().unwrap() + 1.0);
            }
            let said =
                call(mesh.running.addresses.drift, &case("POST", "/detect", detect(&records), &[])).await;
            shifted += u64::from(said.json()["drift_detected"] == true);
        }
    }
    let share = called as f64 / CALLS as f64;
    println!("hourly Detect of a daily sine: drift in {:.1} % of calls", 100.0 * share);
    assert!(share <= MOST, "{share}");
    assert!(
        shifted * 10 >= CALLS * 9 / 10,
        "a standard deviation more is drift at any hour: {shifted} of 20"
    );
}

#[tokio::test]
async fn detect_takes_columns_as_it_takes_records() {
    let mesh = Mesh::start().await;
    let mut client = mesh.drift().await;
    let of = |from: i64, shift| batch::to_proto(&rows(from, &(0..300).collect::<Vec<i64>>(), shift));
    let columns = DetectRequest {
        reference_batch: Some(of(0, 0.0)),
        current_batch: Some(of(300, 0.5)),
        schema: Some(schema::to_proto(&row_schema())),
        ..DetectRequest::default()
    };
    let moved = client.detect(columns.clone()).await.unwrap().into_inner();
    assert!(moved.drift_detected && moved.features_with_psi_drift.contains(&"x".to_owned()), "{moved:?}");
    let bare = DetectRequest { schema: None, ..columns.clone() };
    assert_eq!(refusal(client.detect(bare).await), pair("MISSING", "schema"));
    let both = DetectRequest { current_data: numbers(1, 0.0), ..columns };
    assert_eq!(refusal(client.detect(both).await), pair("MIXED_SAMPLES", "current_batch"));
}
