//! The commands, one file each, and the command line that names them.

pub mod alerts;
pub mod constitution;
pub mod deployments;
pub mod doctor;
pub mod jobs;
pub mod model;
pub mod models;
pub mod policy;
pub mod probe;
pub mod routes;
pub mod serve;
pub mod services;
pub mod stream;
pub mod watch;
pub mod windows;
pub mod worker;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Watches machine-learning models in production: data quality, drift and performance, window by window.
#[derive(Debug, Parser)]
#[command(
    name = "acgs",
    version,
    after_help = "Start here:\n  acgs demo                    a year of real flights through the whole mesh\n  acgs serve all               the mesh on ports 8010 to 8014\n  acgs doctor                  what is wrong, and how to mend it\n  acgs stream FILE --timestamp COLUMN   your own data\n\nSettings: deploy/acgs.toml lists them all. A file (--config), the environment (ACGS_SECTION__KEY) and --set\noverride them in this order. CONSTITUTIONAL_HASH and LOG_LEVEL are read too."
)]
pub struct Cli {
    /// Settings that differ from the defaults, as TOML.
    #[arg(long, global = true, value_name = "FILE", env = "ACGS_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, for example `--set listen.quality=0`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run services until SIGTERM or Ctrl-C.
    Serve(serve::Serve),
    /// Stream a year of real flights through a mesh of its own and tell what the judges find.
    Demo(acgs_demo::Demo),
    /// Stream a file of records and print a line for each window.
    Stream(Box<stream::StreamFile>),
    /// Print events as they come.
    Watch(watch::Watch),
    /// Look at a mesh as a whole.
    Mesh(services::MeshCommand),
    /// List the services that have registered with an orchestrator.
    Services(services::Services),
    /// Show the last windows, with what each judge said of them.
    Windows(windows::Windows),
    /// Look at alerts, and say what is done about them.
    Alerts(alerts::Alerts),
    /// Look at models and their versions, also as they were.
    Models(models::Models),
    /// Serve versions of a model by the Open Inference Protocol.
    Model(model::Model),
    /// Look at deployments, begin one, and say what becomes of it.
    Deployments(deployments::Deployments),
    /// Look at where requests go, and who routes them.
    Routes(routes::RoutesCommand),
    /// Look at retraining jobs, ask for one, and say what is done about them.
    Jobs(jobs::Jobs),
    /// Train for a mesh: take retraining jobs and bring back versions.
    Worker(worker::Worker),
    /// Look at a model's policy, or put one in force.
    Policy(policy::PolicyCommand),
    /// Find what is wrong, and say how to mend it.
    Doctor(doctor::Doctor),
    /// Ask a server for its health, for containers.
    Probe(probe::Probe),
    /// Measure speed beside a baseline in the same run.
    Bench(acgs_bench::Bench),
    /// Check documents against the constitutional hash.
    Constitution(constitution::ConstitutionCommand),
}

impl Command {
    /// What traces and metrics of this process come from.
    #[must_use]
    pub fn service_name(&self) -> &'static str {
        match self {
            Self::Serve(serve) => serve.service_name(),
            _ => "acgs",
        }
    }
}
