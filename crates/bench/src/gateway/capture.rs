//! What capture adds to a call: CPU of a gateway with 64 calls at once to a model of which every tenth is captured, beside a model of
//! which none is, in the same process in turn.

use std::time::{Duration, Instant};

use acgs_contracts::inference::{
    InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor,
};
use acgs_server::Settings;
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    CALLERS, PATIENCE, ROUNDS, client, crowd, median,
    rig::{self, Echo, Rig},
};
use crate::Figure;

const POLICY: &str = "[training]\ntrainer = \"logistic\"\nwindow_ms = 60000\nholdout_ms = 1000\n[gates]\nmargin = 0.1\n\
                      [capture]\npercent = 10.0\nid = \"id\"\nwindow_ms = 60000\n";
/// Tensors besides the id.
const FEATURES: usize = 8;
const COUNTER: &str = "acgs_gateway_captures_total";

fn question(model: &str) -> ModelInferRequest {
    let tensor = |name: String, datatype: &str, contents| InferInputTensor {
        name,
        datatype: datatype.into(),
        shape: vec![1],
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    let text = InferTensorContents { bytes_contents: vec!["r-1".into()], ..InferTensorContents::default() };
    let number = InferTensorContents { fp64_contents: vec![0.5], ..InferTensorContents::default() };
    let mut inputs = vec![tensor("id".into(), "BYTES", text)];
    inputs.extend((0..FEATURES).map(|feature| tensor(format!("x{feature}"), "FP64", number.clone())));
    ModelInferRequest { model_name: model.into(), inputs, ..ModelInferRequest::default() }
}

/// A counter of a gateway's, as Prometheus reads it.
async fn counted(address: &str) -> anyhow::Result<f64> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::spawn(connection);
    let request = http::Request::get("/metrics").header("host", "localhost").body(Empty::<Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    let text = std::str::from_utf8(&body)?;
    let line = text.lines().find(|line| line.starts_with(COUNTER)).context(COUNTER)?;
    Ok(line.rsplit(' ').next().unwrap_or("").parse()?)
}

/// Measures so many calls of each in each round.
pub(super) async fn measure(settings: &Settings, calls: usize) -> anyhow::Result<Vec<Figure>> {
    let mut rig = Rig::start(settings, 1).await?;
    let server = Echo::new(0).serve().await?;
    rig::model(&mut rig.lifecycle, "plain", "", server).await?;
    rig::model(&mut rig.lifecycle, "captured", POLICY, server).await?;
    let gateway = &rig.gateways[0];
    let (plain, captured) = (question("plain"), question("captured"));
    let client = client(&gateway.address, &plain).await?;
    super::client(&gateway.address, &captured).await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = gateway.cpu_seconds()?;
        crowd(&client, calls, &plain).await?;
        let between = gateway.cpu_seconds()?;
        crowd(&client, calls, &captured).await?;
        // What is captured is work that comes after.
        tokio::time::sleep(Duration::from_millis(300)).await;
        with.push((gateway.cpu_seconds()? - between) * 1e6 / calls as f64);
        without.push((between - before) * 1e6 / calls as f64);
    }
    let expected = (calls * ROUNDS) as f64 / 10.0;
    let since = Instant::now();
    let mut records = counted(&gateway.address).await?;
    while records < expected * 0.8 && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
        records = counted(&gateway.address).await?;
    }
    ensure!(records > expected * 0.8, "{records} calls became records, not about {expected}");
    rig.end().await?;
    let (without, with) = (median(without), median(with));
    Ok(vec![
        Figure::new(format!("hop CPU per call of 9 tensors, {CALLERS} at once"), without, "us"),
        Figure::new("  with every tenth captured", with, "us"),
        Figure::new("  with against without", with / without, "ratio").at_most(1.2),
        Figure::new("  calls that became records", records, "calls"),
    ])
}
