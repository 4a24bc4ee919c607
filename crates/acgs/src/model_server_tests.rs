//! Tensors in both forms give the same scores, and what does not fit is named.

use acgs_contracts::inference::model_infer_request::InferInputTensor;
use acgs_trainers::{FORMAT, Family};
use bytes::Bytes;

use super::*;

fn server() -> ModelServer {
    let number = Feature::Number { name: "x".into(), mean: 1.0, deviation: 2.0, absence: true };
    let text = Feature::Text { name: "color".into(), values: vec!["red".into(), "blue".into()] };
    let model = Artifact {
        format: FORMAT.into(),
        family: Family::Linear,
        constitutional_hash: String::new(),
        data_digest: String::new(),
        rows: 1,
        features: vec![number, text],
        intercept: 10.0,
        weights: vec![1.0, 100.0, 5.0, 7.0],
    };
    ModelServer::new("m", "v1", model)
}

fn tensor(name: &str, datatype: &str, rows: i64, contents: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![rows],
        contents: Some(contents),
        ..InferInputTensor::default()
    }
}

fn request() -> ModelInferRequest {
    let x = InferTensorContents { fp64_contents: vec![3.0, f64::NAN], ..Default::default() };
    let color =
        InferTensorContents { bytes_contents: vec!["blue".into(), "red".into()], ..Default::default() };
    ModelInferRequest {
        model_name: "m".into(),
        id: "q7".into(),
        inputs: vec![tensor("x", "FP64", 2, x), tensor("color", "BYTES", 2, color)],
        ..ModelInferRequest::default()
    }
}

#[test]
fn both_forms_of_tensors_give_the_same_scores() {
    let typed = server().infer(&request()).unwrap();
    let scores = typed.outputs[0].contents.clone().unwrap().fp64_contents;
    assert_eq!(scores, [18.0, 115.0]);
    assert_eq!((typed.id.as_str(), typed.model_version.as_str()), ("q7", "v1"));
    let mut raw = request();
    for input in &mut raw.inputs {
        input.contents = None;
    }
    let numbers: Vec<u8> = [3.0_f64, f64::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut texts = Vec::new();
    for text in ["blue", "red"] {
        texts.extend((text.len() as u32).to_le_bytes());
        texts.extend(text.as_bytes());
    }
    raw.raw_input_contents = vec![numbers.into(), texts.into()];
    let answer = server().infer(&raw).unwrap();
    let expected: Vec<u8> = [18.0_f64, 115.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(answer.raw_output_contents[0], expected);
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |change: fn(&mut ModelInferRequest)| {
        let mut request = request();
        change(&mut request);
        server().infer(&request).unwrap_err().to_string()
    };
    assert!(refused(|request| request.inputs[0].shape = vec![3]).contains("shape [3]"));
    assert!(refused(|request| request.inputs[1].datatype = "FP8".into()).contains("FP8"));
    assert!(refused(|request| request.model_name = "other".into()).contains("other"));
    assert!(refused(|request| request.model_version = "v9".into()).contains("v9"));
    assert!(refused(|request| request.raw_input_contents = vec![Bytes::new()]).contains("1 tensors for 2"));
    assert!(refused(|request| request.inputs[0].shape = vec![i64::MAX, i64::MAX]).contains("shape"));
    assert!(refused(|request| request.inputs.clear()).contains("fields"));
}
