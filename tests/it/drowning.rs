//! What a caller can make a server hold or do: bounds that hold, and others who are served meanwhile.

use std::{net::SocketAddr, time::Duration};

use acgs_columns::{Cell, Field, Kind, Role, Schema, builder::BatchBuilder};
use acgs_contracts::orchestrator::v1::{
    Open, SlidingWindow, WindowSpec, stream_windows_response::Message, window_spec,
};
use acgs_tests::{
    PATIENCE, Stream,
    fleet::{Process, constitution},
    http::request,
    open, reason, rows,
};
use acgs_vocabulary::constitution::{HEADER, PLATFORM};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tonic::Code;

async fn server(flags: &[&str]) -> (Process, tempfile::TempDir, serde_json::Value) {
    let home = tempfile::tempdir().unwrap();
    let mut all = vec![format!("home.folder={}", home.path().join("events").display())];
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let (process, said) = Process::limited(4_096, &all).await;
    (process, home, said)
}

fn address(said: &serde_json::Value, service: &str) -> SocketAddr {
    said[service].as_str().unwrap().parse().unwrap()
}

/// Most memory that a process has had since this was asked last, in bytes.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    std::fs::write(format!("/proc/{}/clear_refs", process.pid()), "5").unwrap();
    kilobytes << 10
}

async fn held(at: SocketAddr, share: &str) -> u64 {
    let text = request(at, "GET", "/metrics", &[], "").await.text();
    let wanted = format!("acgs_memory_held_bytes{{share=\"{share}\"}}");
    let line = text.lines().find(|line| line.starts_with(&wanted)).unwrap_or_else(|| panic!("{text}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_counted_before_they_are_decoded() {
    let (process, _home, said) = server(&[]).await;
    let quality = address(&said, "quality");
    peak(&process);
    // Four bytes a record: an object with one field of no name. Four million of them in 16 MB.
    let message: Vec<u8> = [0x0a, 2, 0x0a, 0].repeat(4_000_000);
    let channel = acgs_mesh::client::connect(&format!("http://{quality}"), constitution()).await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = "/acgs.quality.v1.QualityService/Assess".parse().unwrap();
    let raw = Raw(Bytes::from(message));
    let refused = client.unary(tonic::Request::new(raw), path, RawCodec).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::InvalidArgument, "TOO_MANY_ROWS"));
    // As a page sends it, in base64.
    let message = [0x0a, 2, 0x0a, 0].repeat(3_000_000);
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let web = [("content-type", "application/grpc-web-text+proto"), ("x-grpc-web", "1"), (HEADER, PLATFORM)];
    let path = "/acgs.quality.v1.QualityService/Assess";
    let told = request(quality, "POST", path, &web, STANDARD.encode(framed)).await;
    let said = told.headers.get("grpc-message").and_then(|said| said.to_str().ok()).unwrap_or_default();
    assert!(said.contains("records"), "{:?} {}", told.headers, told.text());
    let json = format!("{{\"data\": [{}]}}", vec![r#"{"":0}"#; 600_000].join(","));
    let headers = [("content-type", "application/json"), (HEADER, PLATFORM)];
    let told = request(quality, "POST", "/assess", &headers, json).await;
    assert_eq!((told.status.as_u16(), told.json()["reason"].as_str()), (400, Some("TOO_MANY_ROWS")));
    let peak = peak(&process);
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
    while held(quality, "calls").await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What may be is answered.
    let records: Vec<String> = (0..50_000).map(|row| format!(r#"{{"x": {row}, "y": "t"}}"#)).collect();
    let json = format!("{{\"data\": [{}]}}", records.join(","));
    assert_eq!(request(quality, "POST", "/assess", &headers, json).await.status, 200);
}

/// A message as it is.
#[derive(Clone, Debug)]
struct Raw(Bytes);

#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Raw;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Raw;
    type Error = tonic::Status;

    fn encode(&mut self, item: Raw, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put(out, item.0);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        use bytes::Buf;
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

fn wide(name: &str, columns: usize, kind: Kind) -> (Open, std::sync::Arc<Schema>) {
    let mut fields = vec![Field::new("ts", Kind::Timestamp, Role::Timestamp)];
    fields.extend((0..columns).map(|number| Field::new(format!("f{number}"), kind, Role::Feature)));
    let schema = std::sync::Arc::new(Schema::new(fields).unwrap());
    let open = Open {
        schema: Some(acgs_vocabulary::convert::schema::to_proto(&schema)),
        label_schema: None,
        ..open(name, 1_000)
    };
    (open, schema)
}

async fn stream(at: SocketAddr, open: Open) -> Stream {
    let channel = acgs_mesh::client::connect(&format!("http://{at}"), constitution()).await.unwrap();
    let client =
        acgs_contracts::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient::new(
            channel,
        );
    Stream::open(client, open).await.unwrap()
}

/// A frame of a third of a megabyte that opens 500 panes of 20 columns.
#[tokio::test(flavor = "multi_thread")]
async fn one_small_frame_cannot_hold_much() {
    let (process, _home, said) = server(&[]).await;
    let orchestrator = address(&said, "orchestrator");
    let (open, schema) = wide("panes", 20, Kind::Double);
    let mut stream = stream(orchestrator, open).await;
    peak(&process);
    let mut builder = BatchBuilder::new(schema);
    for row in 0..2_000_i64 {
        let mut cells = vec![Cell::Integer(1_700_000_000_000 + row / 4 * 1_000)];
        // As far apart as numbers can be.
        cells.extend((0..20).map(|_| Cell::Number([1e-300, 1.0, 1e100, -1e300][(row % 4) as usize])));
        builder.push(&cells).unwrap();
    }
    stream.rows(1, &builder.finish().unwrap()).await;
    while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(_))) {}
    // Accepted is not judged yet.
    let since = std::time::Instant::now();
    let mut most = held(orchestrator, "panes").await;
    while most == 0 {
        assert!(since.elapsed() < PATIENCE, "nothing is held");
        tokio::time::sleep(Duration::from_millis(1)).await;
        most = held(orchestrator, "panes").await;
    }
    let peak = peak(&process);
    assert!(most < 32 << 20, "{most}");
    assert!(peak < 250 << 20, "{} MiB", peak >> 20);
}

/// One row and a dictionary of eight million empty texts.
#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_counts_as_what_it_takes() {
    let (process, _home, said) = server(&[]).await;
    let orchestrator = address(&said, "orchestrator");
    let (open, schema) = wide("texts", 100, Kind::Text);
    let mut stream = stream(orchestrator, open).await;
    peak(&process);
    let mut builder = BatchBuilder::new(schema);
    let mut cells = vec![Cell::Integer(1_700_000_000_000)];
    cells.extend((0..100).map(|_| Cell::Text("")));
    builder.push(&cells).unwrap();
    let mut batch = acgs_vocabulary::convert::batch::to_proto(&builder.finish().unwrap());
    for column in &mut batch.columns {
        if !column.dictionary.is_empty() {
            column.dictionary = vec![String::new(); 65_536];
        }
    }
    stream
        .send(acgs_contracts::orchestrator::v1::stream_windows_request::Message::Rows(
            acgs_contracts::orchestrator::v1::Rows { seq: 1, batch: Some(batch), ..Default::default() },
        ))
        .await;
    let (_, status) = stream.rest().await;
    let status = status.expect("it is refused");
    assert!(["FRAME_TOO_LARGE", "MEMORY"].contains(&reason(&status).0.as_str()), "{status:?}");
    let peak = peak(&process);
    assert!(peak < 300 << 20, "{} MiB", peak >> 20);
}

/// Every row is in a thousand windows: health answers while they are made.
#[tokio::test(flavor = "multi_thread")]
async fn health_is_answered_while_frames_are_cut() {
    let (process, _home, said) = server(&[]).await;
    let orchestrator = address(&said, "orchestrator");
    let slide = SlidingWindow { size_ms: 1_000, slide_ms: 1 };
    let window = |name: &str| Open {
        window: Some(WindowSpec { kind: Some(window_spec::Kind::Sliding(slide)), ..Default::default() }),
        ..open(name, 1_000)
    };
    let mut streams = Vec::new();
    for name in ["one", "two", "three"] {
        let mut stream = stream(orchestrator, window(name)).await;
        let times: Vec<i64> = (0..2_000).collect();
        stream.rows(1, &rows(0, &times, 0.0)).await;
        streams.push(stream);
    }
    let done = tokio::spawn(async move {
        for mut stream in streams {
            while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(_))) {}
        }
    });
    let mut answered = 0;
    while !done.is_finished() {
        assert_eq!(request(orchestrator, "GET", "/health", &[], "").await.status, 200);
        answered += 1;
    }
    tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    // In order, not in time: many before the last frame is taken.
    assert!(answered >= 10, "{answered}");
    drop(process);
}

/// As the example in the README reads: it takes all reports and acknowledges none.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_acknowledges_holds_little() {
    let (process, _home, said) = server(&[]).await;
    let orchestrator = address(&said, "orchestrator");
    let (open, schema) = wide("never", 150, Kind::Double);
    let mut stream = stream(orchestrator, open).await;
    for frame in 0..20_i64 {
        let mut builder = BatchBuilder::new(std::sync::Arc::clone(&schema));
        for row in 0..100_i64 {
            let mut cells = vec![Cell::Integer(1_700_000_000_000 + (frame * 100 + row) * 1_000)];
            cells.extend((0..150).map(|column| Cell::Number(f64::from(column))));
            builder.push(&cells).unwrap();
        }
        stream.rows(frame as u64 + 1, &builder.finish().unwrap()).await;
    }
    let mut told = 0;
    while told < 1_900 {
        told += usize::from(matches!(stream.next().await.unwrap(), Some(Message::Report(_))));
    }
    let held = held(orchestrator, "reports").await;
    assert!(held > 0 && held <= 20 << 20, "{held}");
    drop(process);
}

/// Rows that wait for labels which never come.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_labels_is_bounded_by_bytes() {
    let (process, _home, said) = server(&["memory.bytes_max=67108864"]).await;
    let orchestrator = address(&said, "orchestrator");
    let (mut open, _) = wide("labels", 0, Kind::Double);
    let schema = std::sync::Arc::new(
        Schema::new(vec![
            Field::new("ts", Kind::Timestamp, Role::Timestamp),
            Field::new("id", Kind::Text, Role::Id),
            Field::new("p", Kind::Double, Role::Score),
        ])
        .unwrap(),
    );
    let labels = Schema::new(vec![
        Field::new("id", Kind::Text, Role::Id),
        Field::new("y", Kind::Boolean, Role::Label),
    ]);
    open.schema = Some(acgs_vocabulary::convert::schema::to_proto(&schema));
    open.label_schema = Some(acgs_vocabulary::convert::schema::to_proto(&labels.unwrap()));
    open.window.get_or_insert_default().label_horizon_ms = Some(3_600_000);
    let mut stream = stream(orchestrator, open).await;
    for frame in 0..100_u64 {
        let mut builder = BatchBuilder::new(std::sync::Arc::clone(&schema));
        for row in 0..1_000 {
            let id = format!("{frame:050}-{row:050}");
            let time_ms = Cell::Integer(1_700_000_000_000 + row);
            builder.push(&[time_ms, Cell::Text(&id), Cell::Number(0.5)]).unwrap();
        }
        stream.rows(frame + 1, &builder.finish().unwrap()).await;
        // What finds no room goes on without its label.
        while !matches!(stream.next().await.unwrap(), Some(Message::Accepted(_))) {}
    }
    let held = held(orchestrator, "labels").await;
    assert!(held > 4 << 20 && held <= 7 << 20, "{held}");
    drop(process);
}
