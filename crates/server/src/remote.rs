//! Lanes to judges in other processes, over pools of them. It must not know what a judge judges.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use acgs_contracts::{
    drift::v1::{JudgeRequest as DriftRequest, drift_service_client::DriftServiceClient},
    lane::v1 as lane,
    performance::v1::{
        JudgeRequest as PerformanceRequest, performance_service_client::PerformanceServiceClient,
    },
    quality::v1::{JudgeRequest as QualityRequest, quality_service_client::QualityServiceClient},
};
use acgs_lane::{Connector, LaneHandle, LaneId, over_grpc};
use acgs_mesh::{
    constitution::{ClientLayer, ClientService},
    discover::{self, Addresses},
    pool::Pool,
};
use acgs_streams::{directory::Directory, registry::Registered};
use acgs_vocabulary::{Constitution, JudgeKind, Problem};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use crate::settings::JudgeAddresses;

/// Largest message from a judge: a snapshot's piece is 2 MiB and one pane.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Full names of the services, as health knows them.
#[must_use]
pub fn service_of(judge: JudgeKind) -> &'static str {
    match judge {
        JudgeKind::Quality => "acgs.quality.v1.QualityService",
        JudgeKind::Drift => "acgs.drift.v1.DriftService",
        JudgeKind::Performance => "acgs.performance.v1.PerformanceService",
    }
}

/// A pool for each kind of judge.
#[derive(Clone, Debug)]
pub struct Remote {
    pools: Arc<[(JudgeKind, Pool)]>,
    constitution: Constitution,
}

impl Remote {
    /// Judges from the settings' lists and names, and from those who register.
    #[must_use]
    pub fn start(
        known: &JudgeAddresses,
        names: &JudgeAddresses,
        refresh: Duration,
        directory: &Directory,
        constitution: Constitution,
        stop: &CancellationToken,
    ) -> Self {
        let pool = |judge: JudgeKind| {
            let listed: BTreeSet<String> = known.of(judge).iter().cloned().collect();
            let mut sources = vec![registered(judge, directory, stop.clone())];
            if !listed.is_empty() {
                sources.push(discover::fixed(listed));
            }
            if !names.of(judge).is_empty() {
                sources.push(discover::dns(names.of(judge).to_vec(), refresh, stop.clone()));
            }
            (judge, Pool::start(service_of(judge), discover::union(sources, stop.clone())))
        };
        Self { pools: JudgeKind::ALL.into_iter().map(pool).collect(), constitution }
    }

    /// The pool of a kind of judge.
    #[must_use]
    pub fn pool(&self, judge: JudgeKind) -> Option<&Pool> {
        self.pools.iter().find(|(kind, _)| *kind == judge).map(|(_, pool)| pool)
    }

    fn client(&self, judge: JudgeKind) -> Result<ClientService<Pool>, Problem> {
        let pool = self.pool(judge).ok_or_else(|| Problem::internal("a kind of judge without a pool"))?;
        Ok(ClientLayer::new(self.constitution.clone()).layer(pool.clone()))
    }
}

/// Addresses of those who register as this kind of judge and take work.
fn registered(
    judge: JudgeKind,
    directory: &Directory,
    stop: CancellationToken,
) -> watch::Receiver<Addresses> {
    let mut all = directory.watch();
    let (sender, receiver) = watch::channel(Addresses::new());
    tokio::spawn(async move {
        loop {
            let able = |known: &&Registered| {
                known.serving && known.service.capabilities.iter().any(|has| has == judge.as_str())
            };
            let address = |known: &Registered| format!("{}:{}", known.service.host, known.service.port);
            let now: Addresses = all.borrow_and_update().iter().filter(able).map(address).collect();
            sender.send_if_modified(|held| {
                let changed = *held != now;
                *held = now;
                changed
            });
            tokio::select! {
                changed = all.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    });
    receiver
}

/// Opens a lane by a generated client; the three differ in their types only.
macro_rules! lane {
    ($client:ident, $request:ident, $channel:expr) => {{
        let wrap = |message: lane::LaneDown| $request { message: Some(message) };
        let (down, messages) = over_grpc::outgoing(wrap);
        let mut client = $client::new($channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answers = client.judge(messages).await.map_err(|status| over_grpc::problem_of(&status))?;
        let up = answers.into_inner().map(|message| message.map(|message| message.message));
        Ok(over_grpc::handle(down, up))
    }};
}

#[tonic::async_trait]
impl Connector for Remote {
    async fn open(&self, lane: LaneId) -> Result<LaneHandle, Problem> {
        let channel = self.client(lane.judge)?;
        match lane.judge {
            JudgeKind::Quality => lane!(QualityServiceClient, QualityRequest, channel),
            JudgeKind::Drift => lane!(DriftServiceClient, DriftRequest, channel),
            JudgeKind::Performance => lane!(PerformanceServiceClient, PerformanceRequest, channel),
        }
    }

    fn is_remote(&self) -> bool {
        true
    }
}
