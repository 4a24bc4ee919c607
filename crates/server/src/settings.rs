//! Settings: the defaults of deploy/acgs.toml, then a file, the environment, flags. The only place that reads the
//! environment; it must not know what a setting does.

use std::{net::IpAddr, path::Path};

use acgs_vocabulary::{Constitution, JudgeKind};
use anyhow::{Context, bail};
use serde::Deserialize;
use toml::{Table, Value};

/// The defaults, shipped in the binary.
pub const DEFAULTS: &str = include_str!("../../../deploy/acgs.toml");
/// What the names of our environment variables begin with.
const PREFIX: &str = "ACGS_";

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// Which constitution.
    pub constitution: ConstitutionSettings,
    /// What to tell.
    pub log: Log,
    /// What to export.
    pub telemetry: TelemetrySettings,
    /// Who may call from pages.
    pub web: Web,
    /// How much may come in.
    pub admission: acgs_mesh::admission::Config,
    /// Threads.
    pub runtime: Runtime,
    /// What callers may make this process hold.
    pub memory: Memory,
    /// Where events and state are kept.
    pub home: Home,
    /// The home that processes share.
    pub nats: Nats,
    /// How processes find each other.
    pub mesh: Mesh,
    /// How to end.
    pub drain: Drain,
    /// The judge of quality.
    pub quality: acgs_quality::Config,
    /// The judge of drift.
    pub drift: acgs_drift::Config,
    /// The judge of performance.
    pub performance: acgs_performance::Config,
    /// The orchestrator.
    pub orchestrator: acgs_streams::Config,
    /// Models, versions and retraining.
    pub lifecycle: acgs_lifecycle::decide::Limits,
    /// How routers are held to what is decided.
    pub routes: acgs_models::RouteSettings,
    /// The gateway.
    pub gateway: acgs_gateway::Config,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The address.
    pub host: IpAddr,
    /// Whether an address beyond loopback is meant, without identity.
    pub insecure: bool,
    /// Port of quality.
    pub quality: u16,
    /// Port of drift.
    pub drift: u16,
    /// Port of performance.
    pub performance: u16,
    /// Port of the orchestrator.
    pub orchestrator: u16,
    /// Port of the gateway.
    pub gateway: u16,
}

/// Which constitution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstitutionSettings {
    /// The current identifier, and perhaps the next.
    pub accepted: Vec<String>,
}

/// What to tell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least level.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What to export.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A collector's OTLP endpoint over gRPC; empty exports nothing.
    pub otlp_endpoint: String,
    /// Share of traces that begin here which are recorded.
    pub sampled: f64,
}

/// Who may call from pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Origins; `*` for any.
    pub origins: Vec<String>,
    /// Names by which the servers may be called; `*` for any.
    pub hosts: Vec<String>,
}

/// Threads.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// 0 = one for each core.
    pub worker_threads: usize,
}

/// What callers may make this process hold: bytes in all, and shares of them in percent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// 0 = half of what the machine, or its control group, has, at most 4 GiB.
    pub bytes_max: usize,
    /// Calls that are read.
    pub calls: u8,
    /// Panes of judges.
    pub panes: u8,
    /// Frames that wait, and what judges may be told again.
    pub frames: u8,
    /// Reports that clients have not taken.
    pub reports: u8,
    /// Predictions and labels that wait for each other.
    pub labels: u8,
    /// Files and references on their way.
    pub files: u8,
}

impl Memory {
    /// The shares, in the order of `budget::Use`.
    #[must_use]
    pub fn percent(&self) -> [u8; 6] {
        [self.calls, self.panes, self.frames, self.reports, self.labels, self.files]
    }
}

/// Where events and state are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The folder.
    pub folder: std::path::PathBuf,
    /// `system` or `always`.
    pub durability: HomeDurability,
    /// Bytes of its disk that stay free; 0 = 256 MiB, or a twentieth of a small one.
    pub free_bytes_min: u64,
    /// Events kept.
    pub events_max: u64,
    /// How long records of LOG streams are kept, in milliseconds.
    pub records_ms_max: u64,
    /// Bytes of records that are kept.
    pub records_bytes_max: u64,
    /// Bytes of artifacts, data sets and scores; more are refused (`HOME_FULL`).
    pub blobs_bytes_max: u64,
}

/// When an acknowledged write is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HomeDurability {
    /// From the death of the process.
    System,
    /// From the death of the machine.
    Always,
}

/// The home that processes share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Servers by commas; empty means none.
    pub url: String,
    /// Copies of everything.
    pub replicas: usize,
    /// How long a repeated event is known as one.
    pub duplicate_window_ms: u64,
    /// Events that wait while the log cannot be reached.
    pub outbox_max: usize,
}

/// How processes find each other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Orchestrators that a judge registers with.
    pub orchestrators: Vec<String>,
    /// Where others reach this process; empty means where it listens.
    pub advertise: String,
    /// Between two heartbeats of a judge.
    pub heartbeat_ms: u64,
    /// A judge that is silent for this long is forgotten.
    pub lease_ms: u64,
    /// Hosts and ports that may register.
    pub allowed: Vec<String>,
    /// A stream whose owner is silent for this long may be opened elsewhere.
    pub stream_lease_ms: u64,
    /// Judges by address.
    pub addresses: JudgeAddresses,
    /// Judges by names in DNS.
    pub names: JudgeAddresses,
    /// How often names are looked up.
    pub names_refresh_ms: u64,
}

/// Judges of each kind, `host:port`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeAddresses {
    /// Quality.
    pub quality: Vec<String>,
    /// Drift.
    pub drift: Vec<String>,
    /// Performance.
    pub performance: Vec<String>,
}

impl JudgeAddresses {
    /// Those of one kind.
    #[must_use]
    pub fn of(&self, judge: JudgeKind) -> &[String] {
        match judge {
            JudgeKind::Quality => &self.quality,
            JudgeKind::Drift => &self.drift,
            JudgeKind::Performance => &self.performance,
        }
    }
}

/// How to end.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// After saying that nothing new is taken, before open work is handed over.
    pub notice_ms: u64,
    /// How long open calls may go on.
    pub grace_ms: u64,
}

impl Settings {
    /// The same for a mesh that only this process uses: on free ports of this machine, with its home in a folder.
    #[must_use]
    pub fn alone(&self, folder: &Path) -> Self {
        let mut alone = self.clone();
        alone.home.folder = folder.join("events");
        alone.nats.url.clear();
        alone.listen.host = std::net::Ipv4Addr::LOCALHOST.into();
        (alone.listen.quality, alone.listen.drift) = (0, 0);
        (alone.listen.performance, alone.listen.orchestrator) = (0, 0);
        alone.listen.gateway = 0;
        alone
    }

    /// Defaults, then the file, then the environment, then `key=value` flags such as `listen.quality=0`.
    ///
    /// # Errors
    /// Naming the source and the key.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> anyhow::Result<Self> {
        let mut table: Table = DEFAULTS.parse().context("the built-in defaults cannot be read")?;
        if let Some(path) = file {
            let shown = path.display();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            let given: Table = text.parse().with_context(|| format!("{shown} is not TOML"))?;
            merge(&mut table, given);
        }
        for (name, value) in environment {
            apply_variable(&mut table, &name, &value)?;
        }
        for flag in flags {
            let (key, value) =
                flag.split_once('=').with_context(|| format!("--set {flag}: write key=value"))?;
            set(&mut table, &key.split('.').collect::<Vec<_>>(), value)
                .with_context(|| format!("--set {flag}"))?;
        }
        let settings: Self =
            table.try_into().context("a setting is wrong; deploy/acgs.toml lists them all")?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        if !self.listen.host.is_loopback() && !self.listen.insecure {
            bail!(
                "listen.host is {}, beyond this machine, and this version checks no identity: \
                 set listen.insecure = true if that is meant, or listen on 127.0.0.1",
                self.listen.host
            );
        }
        if self.listen.host.is_unspecified() && self.mesh.advertise.is_empty() && !self.nats.url.is_empty() {
            bail!(
                "listen.host is {}, which is nowhere for others, and nats.url makes this process a part of a mesh: \
                 set mesh.advertise to the host by which others reach it",
                self.listen.host
            );
        }
        let shares: u32 = self.memory.percent().iter().map(|percent| u32::from(*percent)).sum();
        if shares > 100 {
            bail!("the shares of [memory] are {shares} percent together, more than 100");
        }
        self.constitution()?;
        Ok(())
    }

    /// The constitution to serve under, its counts at zero.
    ///
    /// # Errors
    /// When an identifier has not the form of one.
    pub fn constitution(&self) -> anyhow::Result<Constitution> {
        Constitution::new(self.constitution.accepted.clone())
            .context("constitution.accepted (or CONSTITUTIONAL_HASH) cannot be used")
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn apply_variable(table: &mut Table, name: &str, value: &str) -> anyhow::Result<()> {
    match name {
        "CONSTITUTIONAL_HASH" => set(table, &["constitution", "accepted"], &format!("[{value:?}]")),
        "LOG_LEVEL" => set(table, &["log", "level"], &value.to_lowercase()),
        "NATS_URL" => set(table, &["nats", "url"], value),
        _ => match name.strip_prefix(PREFIX).filter(|key| key.contains("__")) {
            Some(key) => {
                let key = key.to_lowercase();
                set(table, &key.split("__").collect::<Vec<_>>(), value)
            }
            None => Ok(()),
        },
    }
    .with_context(|| format!("environment variable {name}"))
}

/// Sets a known key, reading the text as the kind of value that is there.
fn set(table: &mut Table, path: &[&str], text: &str) -> anyhow::Result<()> {
    let Some((last, sections)) = path.split_last() else { bail!("the key is empty") };
    let mut at = table;
    for section in sections {
        at = match at.get_mut(*section) {
            Some(Value::Table(table)) => table,
            _ => bail!("there is no section {section:?}; deploy/acgs.toml lists them all"),
        };
    }
    let Some(known) = at.get_mut(*last) else {
        bail!("there is no setting {:?}; deploy/acgs.toml lists them all", path.join("."))
    };
    *known = match known {
        Value::String(_) => Value::String(text.to_owned()),
        _ => {
            let line: Table =
                format!("value = {text}").parse().with_context(|| format!("cannot read {text:?}"))?;
            line.get("value").cloned().context("no value")?
        }
    };
    Ok(())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
