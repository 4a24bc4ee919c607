//! The life of models on the embedded home: commands of the queue beside bare writes of the same size, recovery of many models,
//! from a reported window to a queued job, and gates on an ordinary version.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Instant};

use acgs_columns::{Cell, Field, Kind, RecordBatch, Role, Schema, builder::BatchBuilder};
use acgs_interchange::to_parquet;
use acgs_lifecycle::{
    Answer, Command, Policy,
    compliance::ComplianceEvidence,
    event::NewVersion,
    trigger::{Evidence, Trigger, TriggerKind},
};
use acgs_mesh::clock::SystemClock;
use acgs_models::{
    LedgerWriter, LedgerWriterDeps, gate_runner,
    retrain_trigger::{self, RetrainTrigger},
};
use acgs_records::Records;
use acgs_server::home::records_kept;
use acgs_storage::{Beginning, Consumer, Durability, Embedded, Events, Options, Outbox, Position};
use acgs_vocabulary::{
    Severity, Window,
    event::{
        Envelope, EventKind, Origin,
        payload::{HarmFound, PerformanceFound, WindowReported},
    },
    ports::{
        Clock, EventSink, Ledger,
        records::{FrameLog, FramePlace, FrameSource},
    },
};
use anyhow::Context;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::Figure;
use acgs_server::Settings;

/// Commands that are on their way at once.
const CONCURRENT: usize = 256;
/// Held-out records of an ordinary version.
const HOLDOUT_ROWS: usize = 20_000;
const POLICY: &str = include_str!("../../../examples/policies/flights.toml");

/// Measures; `scale` divides the work.
pub(super) async fn measure(settings: &Settings, scale: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = queue(settings, 40_000 / scale).await?;
    figures.extend(recovery(settings, 10_000 / scale).await?);
    figures.extend(finding(settings, 2_000 / scale).await?);
    figures.push(gates(settings)?);
    Ok(figures)
}

fn open(settings: &Settings, folder: &Path) -> anyhow::Result<Arc<Embedded>> {
    let options = Options {
        folder: folder.to_path_buf(),
        durability: Durability::System,
        events_max: settings.home.events_max,
        free_bytes_min: 0,
        records: records_kept(settings),
        clock: Arc::new(SystemClock::new()),
    };
    Ok(Arc::new(Embedded::open(options)?))
}

async fn writer(
    settings: &Settings,
    home: &Arc<Embedded>,
) -> anyhow::Result<(LedgerWriter, CancellationToken)> {
    let stop = CancellationToken::new();
    let parts = LedgerWriterDeps {
        ledger: Arc::clone(home) as _,
        clock: Arc::new(SystemClock::new()),
        limits: settings.lifecycle,
        constitution: settings.constitution()?,
        stop: stop.clone(),
    };
    Ok((LedgerWriter::start(parts).await?, stop))
}

fn policy() -> anyhow::Result<Arc<Policy>> {
    let mut policy = Policy::parse(POLICY)?;
    for rule in policy.triggers.values_mut() {
        rule.cooldown_ms = 0;
    }
    policy.budget.retrainings = 1_000;
    Ok(Arc::new(policy))
}

fn trigger(kind: TriggerKind, source: String) -> Command {
    let evidence = Evidence { source, description: "a measurement".into(), event_id: String::new() };
    Command::Trigger(Trigger {
        kind,
        severity: Severity::High,
        event_time_ms: 1,
        evidence,
        reference_version: 0,
        records: None,
        overrides: true,
    })
}

async fn register(writer: &LedgerWriter, model: &str, policy: &Arc<Policy>) -> anyhow::Result<()> {
    let register = Command::RegisterModel { model_name: model.to_owned(), service_id: String::new() };
    writer.submit("bench", model, register).await?;
    let put = Command::PutPolicy { policy: Arc::clone(policy), expected: None };
    writer.submit("bench", model, put).await?;
    Ok(())
}

/// Jobs are queued and ended again, each with its events in the ledger; beside them, entries of the same kind of size.
async fn queue(settings: &Settings, operations: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let home = open(settings, &folder.path().join("queue"))?;
    let (writer, stop) = writer(settings, &home).await?;
    let policy = policy()?;
    let models = CONCURRENT;
    for model in 0..models {
        register(&writer, &format!("m{model}"), &policy).await?;
    }
    let (cpu, since) = (super::cpu::seconds(std::process::id())?, Instant::now());
    let rounds = operations / 2 / models;
    let work = (0..models).map(|model| {
        let writer = writer.clone();
        async move {
            let model = format!("m{model}");
            for round in 0..rounds {
                let asked = trigger(TriggerKind::Manual, format!("request {round}"));
                let Answer::Job { job, .. } = writer.submit("bench", &model, asked).await? else {
                    anyhow::bail!("no job");
                };
                let cancel = Command::Cancel { job, why: "measured".into() };
                writer.submit("bench", &model, cancel).await?;
            }
            Ok(())
        }
    });
    let done: Vec<anyhow::Result<()>> = stream::iter(work).buffer_unordered(CONCURRENT).collect().await;
    done.into_iter().collect::<anyhow::Result<()>>()?;
    let (seconds, cpu) = (since.elapsed().as_secs_f64(), super::cpu::seconds(std::process::id())? - cpu);
    stop.cancel();
    let count = (rounds * models * 2) as f64;
    // One after the other, as a ledger is written that nobody writes in groups.
    let bare = open(settings, &folder.path().join("bare"))?;
    let since = Instant::now();
    let writes = (operations / 8).max(1);
    for number in 0..writes {
        bare.enter(number as u64, vec![7; 512]).await?;
    }
    let alone = writes as f64 / since.elapsed().as_secs_f64();
    Ok(vec![
        Figure::new("queue operations, embedded home", count / seconds, "per s").at_least(10_000.0),
        Figure::new("  CPU of one", cpu / count * 1e6, "us"),
        Figure::new("  beside entries written one by one", alone, "per s"),
    ])
}

/// Many models with fifty events each, read again from the start.
async fn recovery(settings: &Settings, models: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("recovery");
    let home = open(settings, &folder)?;
    let (first, stop) = writer(settings, &home).await?;
    let policy = policy()?;
    let work = (0..models).map(|model| {
        let (writer, policy) = (first.clone(), Arc::clone(&policy));
        async move {
            let model = format!("m{model}");
            register(&writer, &model, &policy).await?;
            // Three events each: observed, queued, cancelled.
            for round in 0..16 {
                let asked = trigger(TriggerKind::Manual, format!("request {round}"));
                if let Answer::Job { job, .. } = writer.submit("bench", &model, asked).await? {
                    let cancel = Command::Cancel { job, why: "measured".into() };
                    writer.submit("bench", &model, cancel).await?;
                }
            }
            Ok(())
        }
    });
    let done: Vec<anyhow::Result<()>> = stream::iter(work).buffer_unordered(CONCURRENT).collect().await;
    done.into_iter().collect::<anyhow::Result<()>>()?;
    let events = first.look(|state| state.counts().events);
    stop.cancel();
    drop((first, home));
    let home = loop {
        // The writer of the closed home may still be letting go of the folder.
        match open(settings, &folder) {
            Ok(home) => break home,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let since = Instant::now();
    let (again, stop) = writer(settings, &home).await?;
    let seconds = since.elapsed().as_secs_f64();
    let found = again.look(|state| (state.counts().events, state.models_count()));
    stop.cancel();
    anyhow::ensure!(found == (events, models), "recovered {found:?} of {events} events");
    let name = format!("recovery of {models} models, {events} events");
    Ok(vec![Figure::new(name, seconds, "s").at_most(3.0)])
}

fn window(model: &str, end_ms: i64, constitutional_hash: &str) -> Envelope {
    let reported = WindowReported {
        row_count: None,
        overall_score: None,
        drift_detected: Some(true),
        score_drift: None,
        drifted_features: Vec::new(),
        drift_kinds: Vec::new(),
        loss: None,
        performance_reason: String::new(),
        labels_awaited: 0,
        brier: Some(0.3),
        performance: Some(PerformanceFound::Decayed),
        harm: HarmFound::Harmful,
        window: Window { stream_id: "s".into(), key: "".into(), start_ms: end_ms - 10, end_ms },
        revision: 0,
        model_id: model.into(),
        service_id: String::new(),
        quality_severity: None,
        epoch: 0,
        life: String::new(),
        not_judged: Vec::new(),
    };
    let origin = Origin { service: "bench", at_ms: end_ms, constitutional_hash };
    Envelope::new(EventKind::WindowReported, format!("{model}-{end_ms}"), origin, &reported)
}

/// From handing a report to the outbox to the job in the queue, one after the other.
async fn finding(settings: &Settings, findings: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let home = open(settings, &folder.path().join("finding"))?;
    let (writer, stop) = writer(settings, &home).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outbox = Outbox::start(Arc::clone(&home) as _, clock, 1_024);
    let policy = policy()?;
    let records = Arc::new(Records::new(Arc::clone(&home) as _, settings.constitution()?));
    for model in 0..findings {
        let model = format!("m{model}");
        register(&writer, &model, &policy).await?;
        let source = FrameSource {
            stream_id: "s".into(),
            instance: "i".into(),
            model_id: model.into(),
            model_version: "".into(),
            epoch: 0,
        };
        let place = FramePlace { partition: "p", join: 1, joined_after: 0, seq: 1 };
        let recorder = records.recorder(source);
        recorder.keep(recorder.encode_rows(place, &one_row()?)?).await?;
    }
    let trigger = Consumer {
        source: Events { log: Arc::clone(&home) as _, filter: EventKind::WindowReported.subject() },
        position: Position {
            keys: Arc::clone(&home) as _,
            name: retrain_trigger::POSITION,
            beginning: Beginning::Next,
        },
        handler: RetrainTrigger::new(Arc::clone(&records) as _, writer.clone()),
    };
    tokio::spawn(trigger.run(stop.clone()));
    let hash = settings.constitution()?.current().to_owned();
    let mut changed = writer.changed();
    let mut took_us = hdrhistogram::Histogram::<u64>::new(3)?;
    // The first one finds everything cold: the subscription has to begin.
    for number in 0..findings {
        let model = format!("m{number}");
        let since = Instant::now();
        loop {
            outbox.send(window(&model, 1_000, &hash)).await;
            let queued = async {
                while !writer.look(|state| state.model(&model).is_some_and(|model| model.queued().is_some()))
                {
                    changed.changed().await?;
                }
                anyhow::Ok(())
            };
            match tokio::time::timeout(std::time::Duration::from_secs(2), queued).await {
                Ok(queued) => break queued?,
                Err(_) if number == 0 => continue,
                Err(_) => anyhow::bail!("{model} was not queued"),
            }
        }
        if number > 0 {
            took_us.record(since.elapsed().as_micros() as u64)?;
        }
    }
    stop.cancel();
    let at = |quantile: f64| took_us.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(vec![
        Figure::new("reported window to queued job, p50", at(0.5), "ms"),
        Figure::new("  p99", at(0.99), "ms").at_most(10.0),
    ])
}

/// A record: without any, nothing can be retrained.
fn one_row() -> anyhow::Result<RecordBatch> {
    let schema = Arc::new(Schema::new(vec![Field::new("ts", Kind::Timestamp, Role::Timestamp)])?);
    let mut builder = BatchBuilder::new(schema);
    builder.push(&[Cell::Integer(0)])?;
    Ok(builder.finish()?)
}

/// Reading the held-out records and judging every gate.
fn gates(settings: &Settings) -> anyhow::Result<Figure> {
    let fields = vec![
        Field::new("ts", Kind::Timestamp, Role::Timestamp),
        Field::new("carrier", Kind::Text, Role::Feature),
        Field::new("score", Kind::Double, Role::Score),
        Field::new("label", Kind::Boolean, Role::Label),
    ];
    let mut all = fields;
    all.extend((0..12).map(|number| Field::new(format!("x{number}"), Kind::Double, Role::Feature)));
    let schema = Arc::new(Schema::new(all)?);
    let mut builder = BatchBuilder::new(Arc::clone(&schema));
    let mut scores = Vec::with_capacity(HOLDOUT_ROWS * 8);
    for row in 0..HOLDOUT_ROWS {
        let unit = (row as f64 * 0.618_034).fract();
        let carrier = ["AA", "B6", "DL", "UA"][row % 4];
        let mut cells = vec![
            Cell::Integer(row as i64 * 30_000),
            Cell::Text(carrier),
            Cell::Number(unit),
            Cell::Boolean(unit > 0.7),
        ];
        cells.extend((0..12).map(|number| Cell::Number(unit * f64::from(number))));
        builder.push(&cells)?;
        scores.extend((unit * 0.9).to_le_bytes());
    }
    let truth = to_parquet(&schema, &[builder.finish()?])?;
    let mut policy = Policy::parse(POLICY)?;
    policy.gates.auc_min = Some(0.5);
    policy.gates.block_ms = 3_600_000;
    let slice = acgs_lifecycle::policy::Slice { field: "carrier".into(), loss_max: 1.0, rows_min: 100 };
    policy.gates.slices.push(slice);
    let constitutions = settings.constitution()?.accepted().to_vec();
    let evidence = policy.gates.compliance.principles.iter().map(|principle| ComplianceEvidence {
        principle: principle.name.clone(),
        score: 0.97,
        source: "bench".into(),
    });
    let new = NewVersion {
        constitutional_hash: constitutions.first().cloned().context("a constitution")?,
        evidence: evidence.collect(),
        metrics: BTreeMap::new(),
        ..NewVersion::default()
    };
    let mut slowest_ms = 0.0_f64;
    for _ in 0..10 {
        let since = Instant::now();
        let judged =
            gate_runner::evaluate(&policy, constitutions.clone(), new.clone(), truth.clone(), &scores)?;
        slowest_ms = slowest_ms.max(since.elapsed().as_secs_f64() * 1_000.0);
        anyhow::ensure!(judged.results.len() >= 7, "{} gates", judged.results.len());
    }
    let name = format!("gates on {HOLDOUT_ROWS} held-out records, slowest of 10");
    Ok(Figure::new(name, slowest_ms, "ms").at_most(500.0))
}
