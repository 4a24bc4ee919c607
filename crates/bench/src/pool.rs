//! What the pool costs a caller: CPU of unary calls through it, beside a bare tonic channel, to the same server in another
//! process. Health checks are called, which cost least themselves.

use std::time::Duration;

use acgs_contracts::grpc::health::v1::{HealthCheckRequest, health_client::HealthClient};
use acgs_mesh::{discover, pool::Pool};
use tonic::{
    body::Body,
    client::GrpcService,
    transport::{Channel, Endpoint},
};

use super::{Figure, cpu, processes::Process};

const SERVICE: &str = "acgs.quality.v1.QualityService";
const CALLERS: usize = 16;
/// Both are measured so often, in turn.
const ROUNDS: usize = 5;

/// Measures so many calls in each round.
pub(super) async fn measure(calls: usize) -> anyhow::Result<Vec<Figure>> {
    let server = Process::start("quality", &[]).await?;
    let channel: Channel =
        Endpoint::from_shared(format!("http://{}", server.address))?.tcp_nodelay(true).connect().await?;
    let pool = Pool::start(SERVICE, discover::fixed([server.address.clone()].into()));
    tokio::time::timeout(Duration::from_secs(5), pool.ready()).await?;
    let (mut bare, mut pooled) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(round(channel.clone(), calls).await?);
        pooled.push(round(pool.clone(), calls).await?);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (bare, pooled) = (median(bare), median(pooled));
    Ok(vec![
        Figure::new("client CPU per unary call, bare channel", bare, "us"),
        Figure::new("client CPU per unary call, pool", pooled, "us"),
        Figure::new("  overhead of the pool", pooled - bare, "us").at_most(5.0),
    ])
}

/// Microseconds of this process's CPU per call.
async fn round<T>(channel: T, calls: usize) -> anyhow::Result<f64>
where
    T: GrpcService<Body> + Clone + Send + 'static,
    T::Future: Send,
    T::Error: std::fmt::Debug,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let before = cpu::seconds(std::process::id())?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let mut client = HealthClient::new(channel.clone());
        tasks.spawn(async move {
            for _ in 0..calls / CALLERS {
                client.check(HealthCheckRequest { service: SERVICE.into() }).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((cpu::seconds(std::process::id())? - before) * 1e6 / calls as f64)
}
