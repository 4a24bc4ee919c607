//! Numbers of the mesh itself: events on their way, judges that take lanes. It must not count anything itself.

use std::sync::atomic::Ordering;

use acgs_mesh::{
    admission::Admission,
    metrics::{Measured, Sample},
};
use acgs_models::LedgerWriter;
use acgs_storage::Outbox;
use acgs_streams::OrchestratorService;
use acgs_vocabulary::{
    JudgeKind,
    budget::{self, Share},
};

use crate::remote::Remote;

/// Of the outbox.
pub(crate) fn outbox(outbox: Outbox) -> impl Fn() -> Vec<Measured> + Send + Sync + 'static {
    move || {
        let one =
            |name, help, value| Measured { name, help, samples: vec![Sample { labels: Vec::new(), value }] };
        vec![
            one(
                "acgs_outbox_waiting",
                "Events that the log has not acknowledged yet",
                Ok(outbox.waiting() as f64),
            ),
            one("acgs_outbox_capacity", "Events that may wait", Ok(outbox.capacity() as f64)),
            one("acgs_outbox_acknowledged", "Events that the log has", Err(outbox.acknowledged())),
            one("acgs_outbox_retried", "Attempts after the first", Err(outbox.retried())),
            one(
                "acgs_outbox_lost",
                "Events that no log takes, or that came when the outbox was full",
                Err(outbox.lost()),
            ),
            one(
                "acgs_outbox_slowest_seconds",
                "Longest time from an event to its acknowledgement since the last scrape",
                Ok(outbox.take_slowest_us() as f64 / 1e6),
            ),
        ]
    }
}

/// Of the memory that callers make this process hold.
pub(crate) fn memory() -> Vec<Measured> {
    let samples = |value: fn(&Share) -> Result<f64, u64>| {
        let sample =
            |share: &Share| Sample { labels: vec![("share", share.name().to_owned())], value: value(share) };
        budget::process().shares().map(sample).collect()
    };
    vec![
        Measured {
            name: "acgs_memory_held_bytes",
            help: "Bytes that callers make this process hold",
            samples: samples(|share| Ok(share.held() as f64)),
        },
        Measured {
            name: "acgs_memory_max_bytes",
            help: "Bytes that they may",
            samples: samples(|share| Ok(share.bytes_max() as f64)),
        },
        Measured {
            name: "acgs_memory_refused",
            help: "Requests that found no room",
            samples: samples(|share| Err(share.refused())),
        },
    ]
}

/// Of streams.
pub(crate) fn streams(service: OrchestratorService) -> impl Fn() -> Vec<Measured> + Send + Sync + 'static {
    move || {
        vec![Measured {
            name: "acgs_stalled_clients",
            help: "Clients that were let go because they took no reports",
            samples: vec![Sample { labels: Vec::new(), value: Err(service.stalled_clients()) }],
        }]
    }
}

/// Of connections.
pub(crate) fn admission(admission: Admission) -> impl Fn() -> Vec<Measured> + Send + Sync + 'static {
    move || {
        let one =
            |name, help, value| Measured { name, help, samples: vec![Sample { labels: Vec::new(), value }] };
        let counts = admission.counts();
        vec![
            one("acgs_connections", "Connections that are open", Ok(admission.connections() as f64)),
            one(
                "acgs_connections_refused",
                "Connections that found no room",
                Err(counts.connections.load(Ordering::Relaxed)),
            ),
            one(
                "acgs_connections_given_up",
                "Connections that were closed for others: they had said nothing, or had no call",
                Err(counts.given_up.load(Ordering::Relaxed)),
            ),
            one(
                "acgs_accepts_failed",
                "Connections that could not be accepted, mostly for want of open files",
                Err(counts.accepts.load(Ordering::Relaxed)),
            ),
        ]
    }
}

/// Of models and their retraining.
pub(crate) fn lifecycle(writer: LedgerWriter) -> impl Fn() -> Vec<Measured> + Send + Sync + 'static {
    move || {
        let (models, waiting, running, events, jobs) = writer.look(|state| {
            let counts = state.counts();
            (state.models_count(), state.waiting(), state.running(), counts.events, counts.jobs)
        });
        let one =
            |name, help, value| Measured { name, help, samples: vec![Sample { labels: Vec::new(), value }] };
        vec![
            one("acgs_models", "Models that are known", Ok(models as f64)),
            one("acgs_retraining_waiting", "Jobs that a worker may take", Ok(waiting as f64)),
            one("acgs_retraining_running", "Jobs that workers or gates have", Ok(running as f64)),
            one("acgs_retraining_jobs", "Jobs that there ever were", Err(jobs)),
            one("acgs_lifecycle_events", "Events of models in the ledger", Err(events)),
        ]
    }
}

/// Of the pools of judges.
pub(crate) fn judges(remote: Remote) -> impl Fn() -> Vec<Measured> + Send + Sync + 'static {
    move || {
        let mut ready = Vec::new();
        let (mut open, mut latency) = (Vec::new(), Vec::new());
        for judge in JudgeKind::ALL {
            let instances = remote.pool(judge).map(acgs_mesh::pool::Pool::instances).unwrap_or_default();
            let kind = ("judge", judge.as_str().to_owned());
            ready.push(Sample { labels: vec![kind.clone()], value: Ok(instances.len() as f64) });
            for instance in instances {
                let labels = vec![kind.clone(), ("address", instance.address)];
                open.push(Sample { labels: labels.clone(), value: Ok(instance.in_flight as f64) });
                latency.push(Sample { labels, value: Ok(instance.latency_us / 1e6) });
            }
        }
        vec![
            Measured { name: "acgs_judges_ready", help: "Instances that take lanes", samples: ready },
            Measured {
                name: "acgs_judge_open_lanes",
                help: "Lanes and calls that are open on an instance",
                samples: open,
            },
            Measured {
                name: "acgs_judge_latency_seconds",
                help: "What an instance's first answers take, as a peak that decays",
                samples: latency,
            },
        ]
    }
}
