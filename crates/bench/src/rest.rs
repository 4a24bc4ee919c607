//! What JSON costs the server: `Assess` of 1,000 records of 10 fields over REST, beside the same records over gRPC.

use acgs_contracts::quality::v1::{AssessRequest, quality_service_client::QualityServiceClient};
use acgs_server::Settings;
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost_types::{Struct, Value, value::Kind};
use tokio::net::TcpStream;

use super::{Figure, processes::Process};
use acgs_console::connect::channel;

const ROWS: usize = 1_000;
const FIELDS: usize = 10;
/// Both are measured so often, in turn.
const ROUNDS: usize = 5;

/// Measures so many calls of each.
pub(super) async fn measure(settings: &Settings, calls: usize) -> anyhow::Result<Vec<Figure>> {
    let server = Process::start("quality", &[]).await?;
    let constitution = settings.constitution()?;
    let hash = constitution.current().to_owned();
    let mut client = QualityServiceClient::new(channel(&server.address, constitution).await?);
    let request = AssessRequest { data: records(), ..AssessRequest::default() };
    let body = Bytes::from(serde_json::json!({ "data": rows() }).to_string());
    let stream = TcpStream::connect(&server.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut grpc_s, mut rest_s) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let before = server.cpu_seconds()?;
        for _ in 0..calls / ROUNDS {
            client.assess(request.clone()).await?;
        }
        let between = server.cpu_seconds()?;
        for _ in 0..calls / ROUNDS {
            let request = http::Request::post("/assess")
                .header("host", "localhost")
                .header("content-type", "application/json")
                .header(acgs_vocabulary::constitution::HEADER, &hash)
                .body(Full::new(body.clone()))?;
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            ensure!(response.status() == 200, "REST answered {}", response.status());
            response.into_body().collect().await.context("the answer was lost")?;
        }
        grpc_s += between - before;
        rest_s += server.cpu_seconds()? - between;
    }
    let each = (calls / ROUNDS * ROUNDS) as f64;
    Ok(vec![
        Figure::new("server CPU of Assess, 1,000 x 10 records over gRPC", grpc_s / each * 1_000.0, "ms"),
        Figure::new("server CPU of Assess, the same over REST", rest_s / each * 1_000.0, "ms"),
        Figure::new("  REST against gRPC", rest_s / grpc_s, "ratio").at_most(2.0),
    ])
}

fn number(row: usize, field: usize) -> f64 {
    ((row * 7_919 + field * 104_729) % 100_003) as f64 / 97.0
}

fn rows() -> serde_json::Value {
    let row = |row: usize| {
        let fields = (0..FIELDS).map(|field| (format!("feature_{field}"), number(row, field).into()));
        serde_json::Value::Object(fields.collect())
    };
    (0..ROWS).map(row).collect()
}

fn records() -> Vec<Struct> {
    let row = |row: usize| {
        let field = |field: usize| {
            let value = Value { kind: Some(Kind::NumberValue(number(row, field))) };
            (format!("feature_{field}"), value)
        };
        Struct { fields: (0..FIELDS).map(field).collect() }
    };
    (0..ROWS).map(row).collect()
}
