//! `acgs bench`: the numbers of docs/benchmarks.md, each with its baseline from the same run. The profile is frozen
//! here, so that later defaults do not change what is measured. It must never know more of the mesh than a client does.

mod bus;
mod cpu;
mod discard;
mod gateway;
mod latency;
mod lifecycle;
mod memory;
mod mesh;
mod monitor;
mod pool;
mod processes;
mod profile;
mod rest;
mod throughput;
mod unary;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use acgs_server::Settings;

/// Measure speed beside a baseline in the same run. Profile v1: 7 numeric features, id, score, label on every row,
/// latency; completeness, validity, uniqueness, freshness, outliers; KS, PSI, Jensen-Shannon and Wasserstein against
/// a reference; Brier, log loss, accuracy, AUC, calibration and latency percentiles.
#[derive(Debug, Args)]
pub struct Bench {
    /// Which measurements; default: all.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Print one JSON object for each figure.
    #[arg(long)]
    json: bool,
    /// A tenth of the work: to see that it runs, not to quote.
    #[arg(long)]
    short: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Rows per CPU second through the whole mesh, beside a bare stream that discards.
    Throughput,
    /// From a closing frame to its report, open loop.
    Latency,
    /// Unary Assess, and the hash check.
    Unary,
    /// Resident memory, idle and under load.
    Memory,
    /// What the monitor of drift costs, in windows of a thousand rows.
    Monitor,
    /// Rows per CPU second through a mesh of processes; needs nats-server.
    Mesh,
    /// What the pool adds to a unary call.
    Pool,
    /// From a finding to NATS's acknowledgement; needs nats-server.
    Bus,
    /// What JSON costs beside gRPC.
    Rest,
    /// The queue of retrainings, recovery, from a finding to a job, and gates.
    Lifecycle,
    /// What the gateway costs a call, beside nginx and HAProxy where they are installed; capture; rollbacks and routes.
    Gateway,
}

/// One measured number.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: String,
    /// The number.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The bound that docs/benchmarks.md promises, and whether it is one from above.
    pub(crate) target: Option<(f64, bool)>,
}

impl Figure {
    fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, target: None }
    }

    fn at_most(mut self, bound: f64) -> Self {
        self.target = Some((bound, true));
        self
    }

    fn at_least(mut self, bound: f64) -> Self {
        self.target = Some((bound, false));
        self
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            None => "",
            Some((bound, true)) if self.value <= bound => "met",
            Some((bound, false)) if self.value >= bound => "met",
            Some(_) => "MISSED",
        }
    }
}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// When something cannot be started. A missed target is reported, not an error.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let scale = if self.short { 10 } else { 1 };
        let wanted = |what: What| self.what.is_empty() || self.what.contains(&what);
        let mut figures = Vec::new();
        if wanted(What::Throughput) {
            figures.extend(throughput::measure(&settings, 6_000 / scale).await?);
        }
        if wanted(What::Latency) {
            figures.extend(latency::measure(&settings, 60 / scale as u64).await?);
        }
        if wanted(What::Unary) {
            figures.extend(unary::measure(&settings, 2_000 / scale).await?);
        }
        if wanted(What::Memory) {
            figures.extend(memory::measure(10_000_000 / scale).await?);
        }
        if wanted(What::Monitor) {
            figures.extend(monitor::measure(&settings, 3_000 / scale).await?);
        }
        if wanted(What::Mesh) {
            figures.extend(mesh::measure(&settings, 4_000 / scale).await?);
        }
        if wanted(What::Pool) {
            figures.extend(pool::measure(48_000 / scale).await?);
        }
        if wanted(What::Bus) {
            figures.extend(bus::measure(&settings, 20 / scale as u64).await?);
        }
        if wanted(What::Rest) {
            figures.extend(rest::measure(&settings, 500 / scale).await?);
        }
        if wanted(What::Lifecycle) {
            figures.extend(lifecycle::measure(&settings, scale).await?);
        }
        if wanted(What::Gateway) {
            figures.extend(gateway::measure(&settings, scale).await?);
        }
        self.print(&figures);
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, figures: &[Figure]) {
        if self.json {
            for figure in figures {
                let line = serde_json::json!({
                    "name": figure.name, "value": figure.value, "unit": figure.unit, "verdict": figure.verdict(),
                });
                println!("{line}");
            }
            return;
        }
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["figure", "value", "unit", "target", ""]);
        for figure in figures {
            let target = match figure.target {
                Some((bound, true)) => format!("at most {bound}"),
                Some((bound, false)) => format!("at least {bound}"),
                None => String::new(),
            };
            let value = if figure.value >= 1_000.0 {
                format!("{:.0}", figure.value)
            } else {
                format!("{:.3}", figure.value)
            };
            table.add_row([
                figure.name.clone(),
                value,
                figure.unit.to_owned(),
                target,
                figure.verdict().to_owned(),
            ]);
        }
        println!("{table}");
    }
}
