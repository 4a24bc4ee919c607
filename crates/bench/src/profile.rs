//! Profile v1, frozen: what a row holds, and the reference that it is judged by. Values come from a small generator,
//! so that every run measures the same.

use std::sync::Arc;

use acgs_columns::{Column, Field, Kind, RecordBatch, Role, Schema, Values};
use acgs_contracts::{
    common::v1::ReferenceSelector,
    drift::v1::{
        PutReferenceRequest, ReferenceHeader, drift_service_client::DriftServiceClient, put_reference_request,
    },
    orchestrator::v1::{Open, TumblingWindow, WindowSpec, window_spec},
};
use acgs_mesh::client::MeshChannel;
use acgs_vocabulary::convert::{batch, schema};
use anyhow::Context;

/// Numeric features of a row.
const FEATURES: usize = 7;
/// Name of the profile's reference.
const NAME: &str = "bench-v1";
/// Rows of the reference.
const REFERENCE_ROWS: usize = 20_000;

/// Makes rows.
#[derive(Debug)]
pub(super) struct Rows {
    schema: Arc<Schema>,
    state: u64,
    next_id: i64,
}

impl Rows {
    /// The same rows in every run.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut fields =
            vec![Field::new("ts", Kind::Timestamp, Role::Timestamp), Field::new("id", Kind::Int64, Role::Id)];
        fields
            .extend((0..FEATURES).map(|index| Field::new(format!("f{index}"), Kind::Double, Role::Feature)));
        fields.push(Field::new("score", Kind::Double, Role::Score));
        fields.push(Field::new("label", Kind::Double, Role::Label));
        fields.push(Field::new("latency_ms", Kind::Double, Role::Latency));
        Ok(Self { schema: Arc::new(Schema::new(fields)?), state: 42, next_id: 0 })
    }

    fn unit(&mut self) -> f64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Rows at these times.
    pub(super) fn batch(&mut self, times_ms: Vec<i64>) -> anyhow::Result<RecordBatch> {
        let rows = times_ms.len();
        let column = |values| Column { values, validity: None };
        let ids: Vec<i64> = (0..rows as i64).map(|row| self.next_id + row).collect();
        self.next_id += rows as i64;
        let mut columns = vec![column(Values::Integer(times_ms.into())), column(Values::Integer(ids.into()))];
        for feature in 0..FEATURES {
            let values: Vec<f64> = (0..rows)
                .map(|_| (self.unit() + self.unit() + self.unit() - 1.5) * (feature + 1) as f64)
                .collect();
            columns.push(column(Values::Double(values.into())));
        }
        let scores: Vec<f64> = (0..rows).map(|_| self.unit()).collect();
        let labels: Vec<f64> = scores.iter().map(|score| f64::from(u8::from(self.unit() < *score))).collect();
        let latency: Vec<f64> = (0..rows).map(|_| 20.0 + 80.0 * self.unit() * self.unit()).collect();
        for values in [scores, labels, latency] {
            columns.push(column(Values::Double(values.into())));
        }
        Ok(RecordBatch::new(Arc::clone(&self.schema), rows, columns)?)
    }

    /// Opens a stream of these rows with windows of one size.
    pub(super) fn open(&self, stream_id: &str, window_ms: i64) -> Open {
        Open {
            stream_id: stream_id.to_owned(),
            schema: Some(schema::to_proto(&self.schema)),
            window: Some(WindowSpec {
                kind: Some(window_spec::Kind::Tumbling(TumblingWindow { size_ms: window_ms })),
                out_of_orderness_ms: Some(0),
                ..WindowSpec::default()
            }),
            model_id: NAME.to_owned(),
            reference: Some(ReferenceSelector { name: NAME.to_owned(), version: 0 }),
            ..Open::default()
        }
    }

    /// Freezes the profile's reference.
    pub(super) async fn put_reference(channel: MeshChannel) -> anyhow::Result<()> {
        use put_reference_request::Message;
        let mut rows = Self::new()?;
        rows.state = 7;
        let header = ReferenceHeader {
            name: NAME.to_owned(),
            model_id: NAME.to_owned(),
            schema: Some(schema::to_proto(&rows.schema)),
            window_ms: 0,
        };
        let data = rows.batch((0..REFERENCE_ROWS as i64).collect())?;
        let messages = [Message::Header(header), Message::Batch(batch::to_proto(&data))];
        let messages = messages.map(|message| PutReferenceRequest { message: Some(message) });
        let mut client = DriftServiceClient::new(channel);
        client.put_reference(tokio_stream::iter(messages)).await.context("the reference was refused")?;
        Ok(())
    }
}
