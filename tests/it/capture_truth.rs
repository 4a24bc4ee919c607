//! Calls that cannot be records: each is told by reason, and none takes others with it.

use std::time::{Duration, Instant};

use acgs_contracts::{inference::InferTensorContents, lifecycle::v1::ListRoutersRequest};
use acgs_tests::{Mesh, PATIENCE, binary, http::request};

use crate::captures::{CAPTURE, captured, metric, put_policy, question, served, tensor};

/// Calls that were lost for a reason.
async fn lost(mesh: &Mesh, reason: &str) -> u64 {
    let text = request(mesh.running.addresses.gateway, "GET", "/metrics", &[], "").await.text();
    let wanted = format!("acgs_gateway_captures_lost_total{{reason=\"{reason}\"}}");
    let line = text.lines().find(|line| line.starts_with(&wanted)).unwrap_or_else(|| panic!("{text}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

async fn until(what: &str, wanted: u64, found: impl AsyncFn() -> u64) {
    let since = Instant::now();
    loop {
        let now = found().await;
        if now >= wanted {
            assert_eq!(now, wanted, "{what}");
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{now} of {wanted} {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_record_is_told_by_reason_and_takes_nobody_with_it() {
    let (mesh, mut client, _server) = captured(CAPTURE).await;
    let mut gateway = served(&mesh).await;
    // Among calls that can be records: texts that are too long, bytes that are none, a tensor that is missing.
    for row in 1..100 {
        let mut asked = question(row);
        match row % 25 {
            1 => asked.inputs[2].contents.as_mut().unwrap().bytes_contents = vec!["x".repeat(2_000).into()],
            2 => asked.inputs[0].datatype = "FP8".into(),
            3 => drop(asked.inputs.pop()),
            _ => {}
        }
        gateway.model_infer(asked).await.unwrap();
    }
    until("texts", 4, async || lost(&mesh, "text_too_long").await).await;
    until("tensors", 4, async || lost(&mesh, "tensor").await).await;
    until("meanings", 4, async || lost(&mesh, "meaning").await).await;
    // One by one all others were accepted.
    until("records", 88, async || metric(&mesh, "acgs_gateway_captures").await).await;
    assert_eq!(metric(&mesh, "acgs_gateway_captures_dropped").await, 12);
    // Who asks the mesh is told which calls of which version, and what was wrong with them.
    let since = Instant::now();
    loop {
        let routers = client.routing.list_routers(ListRoutersRequest {}).await.unwrap().into_inner().routers;
        let mut lost: Vec<_> = routers.into_iter().flat_map(|router| router.captures_lost).collect();
        lost.sort_by(|one, other| one.reason.cmp(&other.reason));
        let told: Vec<(&str, u64)> = lost.iter().map(|loss| (loss.reason.as_str(), loss.calls)).collect();
        if told == [("meaning", 4), ("tensor", 4), ("text_too_long", 4)] {
            assert!(lost.iter().all(|loss| loss.model_id == "m" && !loss.detail.is_empty()), "{lost:?}");
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let address = mesh.running.addresses.orchestrator.to_string();
    let doctor = tokio::process::Command::new(binary()).args(["doctor", "--address", &address]).output();
    let doctor = doctor.await.unwrap();
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        text.contains("4 captured calls of m v1 became no records") && !doctor.status.success(),
        "{text}"
    );
    assert!(text.contains("text_too_long: ") && text.contains("\n       -> "), "{text}");
    // A row of several columns is a record of as many fields, and small integers are integers.
    let mut wide = question(200);
    let contents = InferTensorContents { uint_contents: vec![1, 2, 3], ..Default::default() };
    let mut columns = tensor("pixels", "UINT8", contents);
    columns.shape = vec![1, 3];
    wide.inputs.push(columns);
    gateway.model_infer(wide).await.unwrap();
    until("records", 89, async || metric(&mesh, "acgs_gateway_captures").await).await;
    // A name for the score that no answer has.
    put_policy(&mut client, &CAPTURE.replace("[capture]", "[capture]\nscore = \"chance\"")).await;
    let (mut row, since) = (1_000, Instant::now());
    while lost(&mesh, "score").await == 0 {
        gateway.model_infer(question(row)).await.unwrap();
        row += 1;
        assert!(since.elapsed() < PATIENCE);
    }
}
