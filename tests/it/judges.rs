//! The lane protocol over real gRPC, one lane for each judge, and what breaks it.

use acgs_contracts::{
    common::v1::{VerdictStatus, WindowId},
    drift::v1::JudgeRequest as DriftRequest,
    lane::v1::{
        Close, ConfigReference, LaneDown, LaneUp, Open, OpenPane, Restore, Rows, Run, lane_down, lane_up,
    },
    performance::v1::JudgeRequest as PerformanceRequest,
    quality::v1::{JudgeRequest, QualityReport},
};
use acgs_tests::{Mesh, reason, row_schema, rows};
use acgs_vocabulary::convert::{lane_batch, schema};
use prost::Message as _;
use tonic::Code;

fn down(message: lane_down::Message) -> LaneDown {
    LaneDown { message: Some(message) }
}

fn opening() -> Open {
    Open {
        stream_id: "s".into(),
        schema: Some(schema::to_proto(&row_schema())),
        snapshot_every_bytes: 1,
        ..Open::default()
    }
}

fn script() -> Vec<LaneDown> {
    let batch = lane_batch::to_proto(&rows(0, &(0..50).collect::<Vec<i64>>(), 0.0));
    let window = WindowId { stream_id: "s".into(), start_ms: 0, end_ms: 1_000, ..WindowId::default() };
    vec![
        down(lane_down::Message::Open(opening())),
        down(lane_down::Message::OpenPane(OpenPane { pane: 1, ..OpenPane::default() })),
        down(lane_down::Message::Rows(Rows {
            seq: 1,
            batch: Some(batch),
            runs: vec![Run { pane: 1, length: 50 }],
            ..Rows::default()
        })),
        down(lane_down::Message::Close(Close { window: Some(window), panes: vec![1], ..Close::default() })),
    ]
}

macro_rules! lane {
    ($client:expr, $request:ident, $messages:expr) => {{
        let messages: Vec<LaneDown> = $messages;
        let requests = messages.into_iter().map(|message| $request { message: Some(message) });
        let outgoing = tokio_stream::iter(requests.collect::<Vec<_>>());
        let mut incoming = $client.judge(outgoing).await.unwrap().into_inner();
        let (mut ups, mut end) = (Vec::<LaneUp>::new(), None);
        loop {
            match incoming.message().await {
                Ok(Some(answer)) => ups.extend(answer.message),
                Ok(None) => break,
                Err(status) => {
                    end = Some(status);
                    break;
                }
            }
        }
        (ups, end)
    }};
}

fn verdict(ups: &[LaneUp]) -> acgs_contracts::lane::v1::Verdict {
    ups.iter()
        .find_map(|up| match &up.message {
            Some(lane_up::Message::Verdict(verdict)) => Some(verdict.clone()),
            _ => None,
        })
        .expect("a verdict")
}

#[tokio::test]
async fn each_judge_serves_a_lane() {
    let mesh = Mesh::start().await;
    let (ups, end) = lane!(mesh.quality().await, JudgeRequest, script());
    assert!(end.is_none(), "{end:?}");
    assert!(matches!(ups[0].message, Some(lane_up::Message::Credit(_))), "ready first");
    assert_eq!(QualityReport::decode(verdict(&ups).report).unwrap().row_count, 50);
    let snapshot = ups.iter().find_map(|up| match &up.message {
        Some(lane_up::Message::Snapshot(snapshot)) => Some(snapshot.clone()),
        _ => None,
    });
    let snapshot = snapshot.expect("a snapshot after every byte");
    let (ups, _) = lane!(mesh.drift().await, DriftRequest, script());
    assert_eq!(verdict(&ups).status(), VerdictStatus::NotApplicable);
    assert_eq!(verdict(&ups).reason, "no reference");
    let (ups, _) = lane!(mesh.performance().await, PerformanceRequest, script());
    assert_eq!(verdict(&ups).status(), VerdictStatus::NotApplicable);

    // Another judge goes on from the snapshot.
    let restore = Restore {
        through_seq: snapshot.through_seq,
        panes: snapshot.panes,
        carry: snapshot.carry,
        more: false,
    };
    let mut resumed = script();
    resumed.insert(1, down(lane_down::Message::Restore(restore)));
    let (ups, end) = lane!(mesh.quality().await, JudgeRequest, resumed);
    assert!(end.is_none(), "{end:?}");
    assert_eq!(
        QualityReport::decode(verdict(&ups).report).unwrap().row_count,
        50,
        "frame 1 is not counted twice"
    );
}

#[tokio::test]
async fn what_breaks_the_protocol_is_named() {
    let mesh = Mesh::start().await;
    let mut client = mesh.quality().await;
    let mut refuse = async |messages: Vec<LaneDown>| {
        let (_, end) = lane!(client, JudgeRequest, messages);
        let status = end.expect("refused");
        (status.code(), reason(&status))
    };
    let open = |change: fn(&mut Open)| {
        let mut open = opening();
        change(&mut open);
        down(lane_down::Message::Open(open))
    };
    let (code, (why, _)) = refuse(vec![open(|open| open.slot = 1)]).await;
    assert_eq!((code, why.as_str()), (Code::Unimplemented, "SLOT"));
    let (code, (why, _)) = refuse(vec![open(|_| {}), open(|_| {})]).await;
    assert_eq!((code, why.as_str()), (Code::FailedPrecondition, "LANE_PROTOCOL"));
    let bad_digest = open(|open| {
        open.configs = vec![ConfigReference { kind: "reference".into(), digest: vec![1].into() }]
    });
    assert_eq!(refuse(vec![bad_digest]).await.1.0, "BAD_DIGEST");
    let rows_first = script().remove(2);
    assert_eq!(refuse(vec![rows_first.clone()]).await.1, ("LANE_PROTOCOL".into(), "rows".into()));
    let unknown_pane = vec![open(|_| {}), rows_first.clone()];
    assert_eq!(refuse(unknown_pane).await.1, ("UNKNOWN_PANE".into(), "rows.runs".into()));
    let mut split = rows_first;
    if let Some(lane_down::Message::Rows(rows)) = &mut split.message {
        rows.batch.as_mut().unwrap().columns[2].doubles.truncate(8);
    }
    let (_, (why, field)) = refuse(vec![open(|_| {}), split]).await;
    assert_eq!((why.as_str(), field.as_str()), ("WRONG_LENGTH", "rows.batch.columns[x]"), "a split field");
    assert_eq!(refuse(vec![LaneDown { message: None }]).await.1, ("MISSING".into(), "message".into()));
}

/// Says the same to a lane, and collects what comes up until its verdict.
async fn drive(mut lane: acgs_lane::LaneHandle) -> Vec<acgs_lane::LaneUp> {
    use acgs_lane::{LaneDown, LaneUp};
    let window =
        acgs_vocabulary::Window { stream_id: "s".into(), key: "".into(), start_ms: 0, end_ms: 1_000 };
    let messages = [
        LaneDown::Open(acgs_lane::message::Open {
            stream_id: "s".into(),
            slot: 0,
            epoch: 0,
            schema: row_schema(),
            configs: vec![],
            snapshot_every_bytes: 1_000,
            model_id: "m".into(),
            service_id: String::new(),
            pane_ms: 0,
            recent_ms: 0,
            once: false,
        }),
        LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false },
        LaneDown::OpenPane { pane: 2, key: "k".into(), labels_only: false },
        LaneDown::Rows {
            seq: 1,
            batch: rows(0, &(0..90).collect::<Vec<i64>>(), 0.5),
            runs: vec![(1, 30), (2, 60)],
            again: false,
            partition: "eu".into(),
            retracts: false,
        },
        LaneDown::Tick { seq: 2, watermark_ms: 1_000 },
        LaneDown::Close(acgs_lane::message::Close {
            seq: 3,
            window,
            revision: 3,
            panes: vec![1, 2],
            timing: acgs_lane::message::Timing::Late,
            again: false,
            settled: false,
        }),
    ];
    for message in messages {
        lane.down.send(message).await.unwrap();
    }
    let mut ups = Vec::new();
    while let Some(up) = lane.up.recv().await {
        ups.push(up.unwrap());
        if matches!(ups.last(), Some(LaneUp::Verdict(_))) {
            break;
        }
    }
    ups
}

#[tokio::test]
async fn the_two_ways_of_carrying_a_lane_agree() {
    use acgs_lane::{Connector, LaneId, over_grpc};
    use acgs_vocabulary::JudgeKind;
    use tokio_stream::StreamExt;
    let mesh = Mesh::start().await;
    let settings = acgs_server::settings::Settings::load(None, std::iter::empty(), &[]).unwrap();
    let near =
        acgs_server::judges::in_process(&settings).open(LaneId::whole(JudgeKind::Quality)).await.unwrap();
    let (down, outgoing) = over_grpc::outgoing(|message| JudgeRequest { message: Some(message) });
    let incoming = mesh.quality().await.judge(outgoing).await.unwrap().into_inner();
    let far = over_grpc::handle(down, incoming.map(|message| message.map(|message| message.message)));
    let (near, far) = (drive(near).await, drive(far).await);
    assert_eq!(near, far);
    assert_eq!(near.len(), 3, "credit, snapshot, verdict");
}

#[tokio::test]
async fn a_lane_that_breaks_tells_the_orchestrators_end() {
    use acgs_lane::{LaneDown, over_grpc};
    use tokio_stream::StreamExt;
    let mesh = Mesh::start().await;
    let (down, outgoing) = over_grpc::outgoing(|message| JudgeRequest { message: Some(message) });
    let incoming = mesh.quality().await.judge(outgoing).await.unwrap().into_inner();
    let mut lane = over_grpc::handle(down, incoming.map(|message| message.map(|message| message.message)));
    lane.down.send(LaneDown::Release { seq: 1, panes: vec![1] }).await.unwrap();
    lane.down.send(LaneDown::OpenPane { pane: 1, key: "".into(), labels_only: false }).await.unwrap();
    let problem = lane.up.recv().await.unwrap().unwrap_err();
    assert_eq!(problem.reason(), "LANE_PROTOCOL", "the judge's own");
    assert!(problem.to_string().contains("not ready"), "{problem}");
    assert!(lane.up.recv().await.is_none(), "it is the last message");
}
