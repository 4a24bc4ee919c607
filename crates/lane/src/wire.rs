//! Lane messages from and to protobuf. Rows are parsed by the schema that the lane was opened with.

use std::sync::Arc;

use acgs_columns::Schema;
use acgs_contracts::lane::v1 as proto;
use acgs_vocabulary::{
    Problem, Window,
    convert::{lane_batch, schema},
};

use crate::message::{Close, ConfigDigest, LaneDown, LaneUp, Open, State, Timing, Verdict};

fn digest(bytes: &[u8], path: &str) -> Result<ConfigDigest, Problem> {
    let length = bytes.len();
    bytes.try_into().map_err(|_| Problem::field(path, "BAD_DIGEST", format!("has {length} bytes, not 32")))
}

fn window(message: Option<acgs_contracts::common::v1::WindowId>) -> Result<Window, Problem> {
    message.map(Window::from).ok_or_else(|| Problem::field("window", "MISSING", "is missing"))
}

fn timing(timing: proto::Timing) -> Timing {
    match timing {
        proto::Timing::OnTime => Timing::OnTime,
        proto::Timing::Early => Timing::Early,
        proto::Timing::Late | proto::Timing::Unspecified => Timing::Late,
    }
}

fn timing_to_proto(timing: Timing) -> proto::Timing {
    match timing {
        Timing::OnTime => proto::Timing::OnTime,
        Timing::Early => proto::Timing::Early,
        Timing::Late => proto::Timing::Late,
    }
}

/// Reads what comes down; the schema is kept from `Open` on.
#[derive(Debug, Default)]
pub struct DownReader {
    schema: Option<Arc<Schema>>,
}

impl DownReader {
    /// A message.
    ///
    /// # Errors
    /// When it is not well formed, naming the field.
    pub fn read(&mut self, message: proto::LaneDown) -> Result<LaneDown, Problem> {
        use proto::lane_down::Message;
        let Some(message) = message.message else {
            return Err(Problem::field(
                "message",
                "MISSING",
                "is none of the messages that this version knows",
            ));
        };
        Ok(match message {
            Message::Open(open) => LaneDown::Open(self.open(open).map_err(|problem| problem.within("open"))?),
            Message::Config(config) => {
                LaneDown::Config { digest: digest(&config.digest, "config.digest")?, content: config.content }
            }
            Message::Restore(restore) => {
                LaneDown::Restore(state(restore.through_seq, restore.panes, restore.carry, restore.more))
            }
            Message::OpenPane(pane) => {
                LaneDown::OpenPane { pane: pane.pane, key: pane.key.into(), labels_only: pane.labels_only }
            }
            Message::Rows(rows) => {
                let Some(schema) = &self.schema else {
                    return Err(Problem::field("rows", "LANE_PROTOCOL", "come after open"));
                };
                let batch =
                    rows.batch.ok_or_else(|| Problem::field("rows.batch", "MISSING", "is missing"))?;
                let batch =
                    lane_batch::batch(&batch, schema).map_err(|problem| problem.within("rows.batch"))?;
                let runs = rows.runs.iter().map(|run| (run.pane, run.length)).collect();
                LaneDown::Rows {
                    seq: rows.seq,
                    batch,
                    runs,
                    again: rows.again,
                    partition: rows.partition.into(),
                    retracts: rows.retracts,
                }
            }
            Message::Tick(tick) => LaneDown::Tick { seq: tick.seq, watermark_ms: tick.watermark_ms },
            Message::Close(close) => LaneDown::Close(Close {
                seq: close.seq,
                timing: timing(close.timing()),
                window: window(close.window).map_err(|problem| problem.within("close"))?,
                revision: close.revision,
                panes: close.panes,
                again: close.again,
                settled: close.settled,
            }),
            Message::Release(release) => LaneDown::Release { seq: release.seq, panes: release.panes },
        })
    }

    fn open(&mut self, open: proto::Open) -> Result<Open, Problem> {
        let message = open.schema.ok_or_else(|| Problem::field("schema", "MISSING", "is missing"))?;
        let schema = schema::schema(&message).map_err(|problem| problem.within("schema"))?;
        self.schema = Some(Arc::clone(&schema));
        let configs = open.configs.into_iter();
        let configs = configs.map(|config| Ok((config.kind, digest(&config.digest, "configs.digest")?)));
        Ok(Open {
            stream_id: open.stream_id.into(),
            slot: open.slot,
            epoch: open.epoch,
            schema,
            configs: configs.collect::<Result<_, Problem>>()?,
            snapshot_every_bytes: open.snapshot_every_bytes,
            model_id: open.model_id,
            service_id: open.service_id,
            pane_ms: open.pane_ms,
            recent_ms: open.recent_ms,
            once: open.once,
        })
    }
}

/// The message of what goes down.
#[must_use]
pub fn down_to_proto(message: LaneDown) -> proto::LaneDown {
    use proto::lane_down::Message;
    let message = match message {
        LaneDown::Open(open) => Message::Open(proto::Open {
            stream_id: open.stream_id.to_string(),
            slot: open.slot,
            epoch: open.epoch,
            schema: Some(schema::to_proto(&open.schema)),
            configs: open
                .configs
                .into_iter()
                .map(|(kind, digest)| proto::ConfigReference { kind, digest: digest.to_vec().into() })
                .collect(),
            snapshot_every_bytes: open.snapshot_every_bytes,
            model_id: open.model_id,
            service_id: open.service_id,
            pane_ms: open.pane_ms,
            recent_ms: open.recent_ms,
            once: open.once,
        }),
        LaneDown::Config { digest, content } => {
            Message::Config(proto::Config { digest: digest.to_vec().into(), content })
        }
        LaneDown::Restore(state) => Message::Restore(proto::Restore {
            through_seq: state.through_seq,
            panes: panes_to_proto(state.panes),
            carry: state.carry,
            more: state.more,
        }),
        LaneDown::OpenPane { pane, key, labels_only } => {
            Message::OpenPane(proto::OpenPane { pane, key: key.to_string(), labels_only })
        }
        LaneDown::Rows { seq, batch, runs, again, partition, retracts } => Message::Rows(proto::Rows {
            seq,
            batch: Some(lane_batch::to_proto(&batch)),
            runs: runs.into_iter().map(|(pane, length)| proto::Run { pane, length }).collect(),
            again,
            partition: partition.to_string(),
            retracts,
        }),
        LaneDown::Tick { seq, watermark_ms } => Message::Tick(proto::Tick { watermark_ms, seq }),
        LaneDown::Close(Close { seq, window, revision, panes, timing, again, settled }) => {
            Message::Close(proto::Close {
                window: Some((&window).into()),
                revision,
                panes,
                seq,
                timing: timing_to_proto(timing).into(),
                again,
                settled,
            })
        }
        LaneDown::Release { seq, panes } => Message::Release(proto::Release { panes, seq }),
    };
    proto::LaneDown { message: Some(message) }
}

/// Reads what comes up.
///
/// # Errors
/// When it is not well formed, naming the field.
pub fn up_from_proto(message: proto::LaneUp) -> Result<LaneUp, Problem> {
    use proto::lane_up::Message;
    let Some(message) = message.message else {
        return Err(Problem::field("message", "MISSING", "is none of the messages that this version knows"));
    };
    Ok(match message {
        Message::Need(need) => LaneUp::Need { digest: digest(&need.digest, "need.digest")? },
        Message::Verdict(verdict) => {
            let status = verdict.status().into();
            LaneUp::Verdict(Verdict {
                window: window(verdict.window).map_err(|problem| problem.within("verdict"))?,
                revision: verdict.revision,
                status,
                reason: verdict.reason,
                report: verdict.report,
                findings: verdict.findings.into_iter().map(Into::into).collect(),
            })
        }
        Message::Snapshot(snapshot) => {
            LaneUp::Snapshot(state(snapshot.through_seq, snapshot.panes, snapshot.carry, snapshot.more))
        }
        Message::Credit(credit) => LaneUp::Credit { bytes: credit.bytes, messages: credit.messages },
    })
}

/// The message of what goes up.
#[must_use]
pub fn up_to_proto(message: LaneUp) -> proto::LaneUp {
    use proto::lane_up::Message;
    let message = match message {
        LaneUp::Need { digest } => Message::Need(proto::Need { digest: digest.to_vec().into() }),
        LaneUp::Verdict(verdict) => Message::Verdict(proto::Verdict {
            window: Some((&verdict.window).into()),
            revision: verdict.revision,
            status: acgs_contracts::common::v1::VerdictStatus::from(verdict.status).into(),
            reason: verdict.reason,
            report: verdict.report,
            findings: verdict.findings.iter().map(Into::into).collect(),
        }),
        LaneUp::Snapshot(state) => Message::Snapshot(proto::Snapshot {
            through_seq: state.through_seq,
            panes: panes_to_proto(state.panes),
            carry: state.carry,
            more: state.more,
        }),
        LaneUp::Credit { bytes, messages } => Message::Credit(proto::Credit { bytes, messages }),
    };
    proto::LaneUp { message: Some(message) }
}

fn state(through_seq: u64, panes: Vec<proto::PaneState>, carry: bytes::Bytes, more: bool) -> State {
    let panes = panes.into_iter().map(|pane| (pane.pane, pane.key.into(), pane.state)).collect();
    State { through_seq, panes, carry, more }
}

fn panes_to_proto(panes: Vec<(u64, Arc<str>, bytes::Bytes)>) -> Vec<proto::PaneState> {
    let of = |(pane, key, state): (u64, Arc<str>, bytes::Bytes)| proto::PaneState {
        pane,
        key: key.to_string(),
        state,
    };
    panes.into_iter().map(of).collect()
}
