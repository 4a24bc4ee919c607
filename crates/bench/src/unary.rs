//! Unary `Assess` of 1,000 rows of 10 columns, and the hash check by itself.

use std::{hint::black_box, time::Instant};

use acgs_contracts::quality::v1::{AssessRequest, quality_service_client::QualityServiceClient};
use acgs_server::Settings;
use acgs_vocabulary::convert::{batch, schema};
use hdrhistogram::Histogram;

use super::{Figure, profile::Rows};
use acgs_console::connect::channel;

const ROWS: i64 = 1_000;
const CHECKS: u32 = 1_000_000;
/// Calls before those that count.
const WARM_UP: usize = 50;

/// Measures so many calls, one after another.
pub(super) async fn measure(settings: &Settings, calls: usize) -> anyhow::Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let running = acgs_server::serve_all(&settings.alone(home.path())).await?;
    let channel = channel(&running.addresses.quality.to_string(), running.constitution.clone()).await?;
    let mut client = QualityServiceClient::new(channel);
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
        Figure::new("hash check", check_ns, "ns").at_most(1_000.0),
    ])
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
