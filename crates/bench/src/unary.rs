//! Unary `Assess` of 1,000 rows of 10 columns, `Detect` of two large samples, and the hash check by itself.

use std::{hint::black_box, sync::Arc, time::Instant};

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_contracts::{
    drift::v1::{DetectRequest, drift_service_client::DriftServiceClient},
    quality::v1::{AssessRequest, quality_service_client::QualityServiceClient},
};
use acgs_mesh::client::MeshChannel;
use acgs_server::Settings;
use acgs_vocabulary::convert::{batch, schema};
use hdrhistogram::Histogram;

use super::{Figure, profile::Rows};
use acgs_console::connect::channel;

const ROWS: i64 = 1_000;
const CHECKS: u32 = 1_000_000;
/// Of the calls of `Assess`, one of so many is made of `Detect`.
const DETECT_SHARE: usize = 50;
const DETECT_ROWS: usize = 50_000;
const DETECT_COLUMNS: usize = 10;
/// Calls before those that count.
const WARM_UP: usize = 50;

/// Measures so many calls, one after another.
pub(super) async fn measure(settings: &Settings, calls: usize) -> anyhow::Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let running = acgs_server::serve_all(&settings.alone(home.path())).await?;
    let quality = channel(&running.addresses.quality.to_string(), running.constitution.clone()).await?;
    let mut client = QualityServiceClient::new(quality);
    let data = Rows::new()?.batch((0..ROWS).collect())?;
    let request = AssessRequest {
        schema: Some(schema::to_proto(data.schema())),
        batch: Some(batch::to_proto(&data)),
        ..AssessRequest::default()
    };
    let mut times = Histogram::<u64>::new(3)?;
    for call in 0..calls + WARM_UP {
        let request = request.clone();
        let started = Instant::now();
        client.assess(request).await?;
        if call >= WARM_UP {
            times.record(started.elapsed().as_micros() as u64)?;
        }
    }
    let channel = channel(&running.addresses.drift.to_string(), running.constitution.clone()).await?;
    let detect_ms = detect_ms(DriftServiceClient::new(channel), calls.div_ceil(DETECT_SHARE)).await?;
    let check_ns = hash_check_ns(&running.constitution);
    running.stop().await?;
    Ok(vec![
        Figure::new(
            "Assess of 1,000 rows x 12 columns, p50",
            times.value_at_quantile(0.5) as f64 / 1_000.0,
            "ms",
        ),
        Figure::new(
            "Assess of 1,000 rows x 12 columns, p99",
            times.value_at_quantile(0.99) as f64 / 1_000.0,
            "ms",
        )
        .at_most(10.0),
        Figure::new("Detect of 10 columns, 50,000 rows beside 50,000, by gRPC, p50", detect_ms, "ms")
            .at_most(150.0),
        Figure::new("hash check", check_ns, "ns").at_most(1_000.0),
    ])
}

/// Two samples by column, one call after another.
async fn detect_ms(mut client: DriftServiceClient<MeshChannel>, calls: usize) -> anyhow::Result<f64> {
    let fields = (0..DETECT_COLUMNS).map(|at| Field::new(format!("x{at}"), Kind::Double, Role::Feature));
    let schema = Arc::new(Schema::new(fields.collect())?);
    let rows = |from: usize| {
        let column = |at: usize| {
            // Spread over its range, in no order.
            let value = |row: usize| ((from + row) * 2_654_435_761 + at * 7_919) % 1_000_003;
            let values: Vec<f64> = (0..DETECT_ROWS).map(|row| value(row) as f64).collect();
            Column { values: Values::Double(values.into()), validity: None }
        };
        RecordBatch::new(Arc::clone(&schema), DETECT_ROWS, (0..DETECT_COLUMNS).map(column).collect())
    };
    let request = DetectRequest {
        schema: Some(schema::to_proto(&schema)),
        reference_batch: Some(batch::to_proto(&rows(0)?)),
        current_batch: Some(batch::to_proto(&rows(DETECT_ROWS)?)),
        ..DetectRequest::default()
    };
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..calls {
        let request = request.clone();
        let started = Instant::now();
        let found = client.detect(request).await?.into_inner();
        anyhow::ensure!(found.report.is_some_and(|report| report.features.len() == DETECT_COLUMNS));
        times.record(started.elapsed().as_micros() as u64)?;
    }
    Ok(times.value_at_quantile(0.5) as f64 / 1_000.0)
}

fn hash_check_ns(constitution: &acgs_vocabulary::Constitution) -> f64 {
    let sent = constitution.current().to_owned();
    let started = Instant::now();
    for _ in 0..CHECKS {
        let checked = constitution.check(black_box(Some(sent.as_str())));
        black_box(checked.is_ok());
    }
    started.elapsed().as_nanos() as f64 / f64::from(CHECKS)
}
