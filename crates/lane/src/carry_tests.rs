//! Detectors over real lanes: in process and over gRPC, with the lane cut after every message.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use acgs_contracts::lane::v1 as proto;
use acgs_vocabulary::{JudgeKind, Problem};
use async_trait::async_trait;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, body::Body, codegen::Service};
use tonic_prost::ProstCodec;

use crate::{
    Connector, Epochs, LaneDown, LaneHandle, LaneId, LaneUp, PaneJudge, ReplayLog,
    in_process::{InProcess, JudgeFactory},
    over_grpc,
    toy::{ON_TIME, SETTLED, Said, Toy, open, script, straight, verdicts},
};

const LANE: LaneId = LaneId { judge: JudgeKind::Drift, slot: 0 };

/// A gRPC server of one judge, called without a socket.
#[derive(Clone, Debug, Default)]
struct Server<const FEED: u8>(Epochs);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<const FEED: u8> tonic::server::StreamingService<proto::LaneDown> for Server<FEED> {
    type Response = proto::LaneUp;
    type ResponseStream = ReceiverStream<Result<proto::LaneUp, Status>>;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<proto::LaneDown>>) -> Self::Future {
        let judge = PaneJudge::new(Toy::<FEED>).fenced(self.0.clone());
        let incoming = request.into_inner().map(|message| message.map(Some));
        Box::pin(async move {
            let stop = CancellationToken::new();
            Ok(Response::new(over_grpc::serve(judge, incoming, stop, std::convert::identity)))
        })
    }
}

impl<const FEED: u8> Service<http::Request<Body>> for Server<FEED> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec).streaming(service, request).await)
        })
    }
}

#[derive(Debug)]
struct OverGrpc<const FEED: u8>(Server<FEED>);

#[async_trait]
impl<const FEED: u8> Connector for OverGrpc<FEED> {
    async fn open(&self, _lane: LaneId) -> Result<LaneHandle, Problem> {
        let (down, outgoing) = over_grpc::outgoing(std::convert::identity);
        let mut client = tonic::client::Grpc::new(self.0.clone());
        client.ready().await.unwrap();
        let codec: ProstCodec<proto::LaneDown, proto::LaneUp> = ProstCodec::default();
        let path = http::uri::PathAndQuery::from_static("/acgs.drift.v1.DriftService/Judge");
        let answered = client.streaming(Request::new(outgoing), path, codec).await;
        let incoming = answered.map_err(|status| over_grpc::problem_of(&status))?.into_inner();
        Ok(over_grpc::handle(down, incoming.map(|message| message.map(Some))))
    }

    fn is_remote(&self) -> bool {
        true
    }
}

fn in_process<const FEED: u8>() -> Arc<dyn Connector> {
    let factory: JudgeFactory = Arc::new(|| Box::new(PaneJudge::new(Toy::<FEED>)));
    Arc::new(InProcess::new(HashMap::from([(JudgeKind::Drift, factory)])))
}

async fn begin(connector: &dyn Connector, every_bytes: u64) -> LaneHandle {
    let mut lane = connector.open(LANE).await.unwrap();
    lane.down.send(LaneDown::Open(open(every_bytes))).await.unwrap();
    let credit = lane.up.recv().await.unwrap().unwrap();
    assert!(matches!(credit, LaneUp::Credit { .. }), "{credit:?}");
    lane
}

fn hear(log: &mut ReplayLog, up: LaneUp, got: &mut Vec<Said>) {
    match &up {
        LaneUp::Verdict(verdict) => log.answered(&verdict.window, verdict.revision),
        LaneUp::Snapshot(state) => log.snapshot(state.clone()),
        LaneUp::Need { .. } | LaneUp::Credit { .. } => {}
    }
    got.extend(verdicts([up]));
}

/// Runs the script over a lane that is cut after so many messages, and over another to its end.
async fn run(
    connector: &dyn Connector,
    script: &[LaneDown],
    every_bytes: u64,
    cut_after: usize,
) -> Vec<Said> {
    let mut log = ReplayLog::new(true);
    script.iter().for_each(|message| log.push(message.clone()));
    let asked = script.iter().filter(|message| matches!(message, LaneDown::Close(_))).count();
    let mut got = Vec::new();
    let mut lane = begin(connector, every_bytes).await;
    for _ in 0..cut_after {
        lane.down.send(log.next().unwrap()).await.unwrap();
        // What happens to be here is heard; what is on its way is lost with the lane.
        while let Ok(up) = lane.up.try_recv() {
            hear(&mut log, up.unwrap(), &mut got);
        }
    }
    drop(lane);
    let mut lane = begin(connector, every_bytes).await;
    let mut restoring = log.replay().into_iter();
    while let Some(message) = restoring.next().or_else(|| log.next()) {
        lane.down.send(message).await.unwrap();
        while let Ok(up) = lane.up.try_recv() {
            hear(&mut log, up.unwrap(), &mut got);
        }
    }
    while got.len() < asked {
        let up = lane.up.recv().await.unwrap().unwrap();
        hear(&mut log, up, &mut got);
    }
    got
}

async fn cut_everywhere<const FEED: u8>(connector: Arc<dyn Connector>) {
    let script = script(8);
    let expected = straight::<FEED>(&script);
    for every_bytes in [1, 3_000, 1_000_000] {
        for point in 0..=script.len() {
            let got = run(connector.as_ref(), &script, every_bytes, point).await;
            assert_eq!(got, expected, "cut after message {point}, snapshots every {every_bytes} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn carry_outlives_a_lane_in_process_that_is_cut_anywhere() {
    cut_everywhere::<ON_TIME>(in_process::<ON_TIME>()).await;
    cut_everywhere::<SETTLED>(in_process::<SETTLED>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carry_outlives_a_lane_over_grpc_that_is_cut_anywhere() {
    cut_everywhere::<ON_TIME>(Arc::new(OverGrpc(Server::<ON_TIME>::default()))).await;
    cut_everywhere::<SETTLED>(Arc::new(OverGrpc(Server::<SETTLED>::default()))).await;
}

#[tokio::test]
async fn an_older_epoch_is_refused_and_its_lane_ends() {
    let connector = OverGrpc(Server::<ON_TIME>::default());
    let lane = |epoch: u64| {
        let connector = &connector;
        async move {
            let lane = connector.open(LANE).await.unwrap();
            let open = crate::message::Open { epoch, ..open(0) };
            lane.down.send(LaneDown::Open(open)).await.unwrap();
            lane
        }
    };
    let mut former = lane(6).await;
    assert!(matches!(former.up.recv().await, Some(Ok(LaneUp::Credit { .. }))));
    let mut newer = lane(7).await;
    assert!(matches!(newer.up.recv().await, Some(Ok(LaneUp::Credit { .. }))));
    let _ended = former.down.send(script(1).remove(0)).await;
    assert_eq!(former.up.recv().await.unwrap().unwrap_err().reason(), "OLDER_EPOCH");
    let mut older = lane(5).await;
    assert_eq!(older.up.recv().await.unwrap().unwrap_err().reason(), "OLDER_EPOCH");
}
