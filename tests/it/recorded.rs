//! What LOG streams leave in the record log: the rows that were accepted, each once, and nothing else.

use acgs_columns::RecordBatch;
use acgs_contracts::{
    lifecycle::v1::{ReadRecordsRequest, RegisterModelRequest, TableFormat},
    orchestrator::v1::{Durability, Open, stream_windows_response::Message},
};
use acgs_interchange::from_parquet;
use acgs_tests::{Mesh, PATIENCE, Stream, open, reason, rows};
use tonic::Code;

fn recorded(stream_id: &str, window_ms: i64) -> Open {
    Open {
        model_id: "m".into(),
        durability: Durability::Log.into(),
        label_schema: None,
        ..open(stream_id, window_ms)
    }
}

/// Ids of all records of the model, ascending.
async fn ids(mesh: &Mesh) -> Vec<i64> {
    let request = ReadRecordsRequest {
        model_id: "m".into(),
        until_ms: 1_000_000_000,
        format: TableFormat::Parquet.into(),
        ..Default::default()
    };
    let mut pieces = mesh.lifecycle().await.jobs.read_records(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        bytes.extend_from_slice(&piece.chunk);
    }
    let (fields, batches) = from_parquet(bytes.into()).unwrap();
    let place = fields.index_of("id").unwrap();
    let of = |batch: &RecordBatch| -> Vec<i64> {
        (0..batch.rows()).map(|row| batch.columns()[place].integer(row).unwrap()).collect()
    };
    let mut ids: Vec<i64> = batches.iter().flat_map(of).collect();
    ids.sort_unstable();
    ids
}

async fn register(mesh: &Mesh) {
    let model = RegisterModelRequest { model_id: "m".into(), ..Default::default() };
    mesh.lifecycle().await.models.register_model(model).await.unwrap();
}

async fn accepted(stream: &mut Stream, seq: u64) {
    loop {
        if let Some(Message::Accepted(accepted)) = stream.next().await.unwrap()
            && accepted.through_seq >= seq
        {
            return;
        }
    }
}

#[tokio::test]
async fn refused_rows_are_no_records() {
    let mesh = Mesh::start_with(&["orchestrator.panes_max=100"]).await;
    register(&mesh).await;
    let mut stream = mesh.stream(recorded("s", 1)).await.unwrap();
    let few: Vec<i64> = (0..50).collect();
    stream.rows(1, &rows(0, &few, 0.0)).await;
    // Each row is a window of its own, which is more than there is room for.
    let many: Vec<i64> = (1_000..3_000).collect();
    stream.rows(2, &rows(1_000, &many, 0.0)).await;
    let (heard, status) = stream.rest().await;
    let status = status.expect("a refusal");
    assert_eq!((status.code(), reason(&status).0.as_str()), (Code::ResourceExhausted, "PANES"));
    let through = heard.iter().filter_map(|message| match message {
        Message::Accepted(accepted) => Some(accepted.through_seq),
        _ => None,
    });
    assert_eq!(through.max(), Some(1), "what was accepted before is told before the refusal");
    assert_eq!(ids(&mesh).await, (0..50).collect::<Vec<_>>());
    // It comes back with less under the same number.
    let mut stream = mesh.stream(recorded("s", 1)).await.unwrap();
    assert_eq!(stream.opened().accepted_through, 1);
    let fewer: Vec<i64> = (1_000..1_030).collect();
    stream.rows(2, &rows(1_000, &fewer, 0.0)).await;
    stream.end().await;
    let (_, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(ids(&mesh).await, (0..50).chain(1_000..1_030).collect::<Vec<_>>());
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_cut_off_again_and_again_loses_and_doubles_nothing() {
    let mesh = Mesh::start().await;
    register(&mesh).await;
    let since = std::time::Instant::now();
    let mut next_row = 0_i64;
    let mut through = vec![0_i64];
    for turn in 0..30_i64 {
        let mut stream = mesh.stream(recorded("s", 1_000)).await.unwrap();
        let accepted_through = stream.opened().accepted_through as usize;
        // What was not accepted is sent again, cut in another way.
        through.truncate(accepted_through + 1);
        next_row = *through.last().unwrap();
        for step in 0..8 {
            let length = 1 + (turn * 7 + step * 13) % 50;
            let times: Vec<i64> = (next_row..next_row + length).collect();
            stream.rows(through.len() as u64, &rows(next_row, &times, 0.0)).await;
            next_row += length;
            through.push(next_row);
        }
        if turn % 3 == 0 {
            accepted(&mut stream, accepted_through as u64 + 1 + turn as u64 % 8).await;
        }
        assert!(since.elapsed() < PATIENCE);
    }
    let mut stream = mesh.stream(recorded("s", 1_000)).await.unwrap();
    through.truncate(stream.opened().accepted_through as usize + 1);
    stream.end().await;
    let (_, status) = stream.rest().await;
    assert!(status.is_none(), "{status:?}");
    let accepted_rows = *through.last().unwrap();
    assert!(next_row > 0 && accepted_rows > 0);
    assert_eq!(ids(&mesh).await, (0..accepted_rows).collect::<Vec<_>>());
    mesh.running.stop().await.unwrap();
}
