//! `acgs demo loop`: the same year, and a model that is looked after. Flights are calls through the gateway; what is captured of them
//! is judged; a retraining is queued when the loss is surely worse; what passes the gates takes traffic step by step. In
//! November a version that is surely bad is put past the gates, and has to be found out by what it answers.

mod cast;
mod scores;
mod story;
mod summary;
mod traffic;

use std::{collections::HashMap, process::ExitCode, sync::Arc, time::Duration};

use acgs_client::{LifecycleClients, artifacts};
use acgs_columns::Schema;
use acgs_contracts::lifecycle::v1::{GetVersionRequest, Version};
use acgs_mesh::client::MeshChannel;
use acgs_server::{Running, Settings};
use acgs_trainers::Artifact;
use acgs_vocabulary::text::{parse_rfc3339, rfc3339};
use anyhow::{Context, anyhow, ensure};
use tokio::time::{Instant, sleep_until};

use self::{
    cast::{Cast, FIRST, PLANTED},
    scores::Scores,
    story::{Heard, Story},
    summary::TakenBack,
    traffic::Traffic,
};
use super::{HOUR_MS, NAME, WEEK_MS};
use acgs_console::{
    Progress,
    connect::{channel, explain},
    stop_signal,
};

use crate::flights::{self, Flight, SERVED_SCORE};

/// A retraining, or a server that is warmed, that takes longer than this is no demonstration.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// A window that is not reported by then is waited for no longer.
const WINDOW_WAIT: Duration = Duration::from_millis(500);
/// While a version is on its way, an hour takes as long as this: a year that passes in seconds leaves nothing to be seen on a step.
const DEPLOYING_HOUR: Duration = Duration::from_millis(10);
/// When the bad version is planted.
const PLANTED_AT: &str = "2013-11-04T12:00:00Z";
/// The year is over, in universal time: the last flights of its last evening are left out.
const END: &str = "2014-01-01T00:00:00Z";

type Client = LifecycleClients<MeshChannel>;

/// The loop.
struct Loop {
    json: bool,
    began: Instant,
    client: Client,
    traffic: Traffic,
    story: Story,
    scores: Scores,
    rows: Arc<Schema>,
    /// Models by version.
    models: HashMap<String, Arc<Artifact>>,
    champion: String,
    /// How far records may be out of order before a window closes, as the policy says.
    out_of_orderness_ms: i64,
    /// How much worse a version is unacceptable, as the policy says.
    unacceptable: f64,
    planted: bool,
    taken_back: Vec<TakenBack>,
    /// Event time.
    now_ms: i64,
    progress: Progress,
}

/// Runs it in a mesh of its own.
///
/// # Errors
/// When the mesh or one of its processes cannot be started, or refuses something.
pub(super) async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let running = acgs_server::serve_all(settings).await?;
    let told = tokio::select! {
        told = play(&running, json, began) => told,
        // Whoever takes part ends with it.
        () = stop_signal() => Err(anyhow!("told to stop")),
    };
    let ended = tokio::select! {
        ended = running.stop() => ended,
        () = stop_signal() => Err(anyhow!("told to stop twice")),
    };
    told?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

async fn play(running: &Running, json: bool, began: Instant) -> anyhow::Result<()> {
    let flights = flights::load()?;
    let address = running.addresses.orchestrator.to_string();
    let constitution = running.constitution.clone();
    let orchestrator = channel(&address, constitution.clone()).await?;
    let gateway = channel(&running.addresses.gateway.to_string(), constitution.clone()).await?;
    let mut client = Client::new(orchestrator.clone());
    let until_ms = parse_rfc3339(flights::REFERENCE_END).context("the reference's end")?;
    let (before, after) = flights.split_at(flights.partition_point(|flight| flight.time_ms < until_ms));
    let end_ms = parse_rfc3339(END).context("the end of the year")?;
    let after = &after[..after.partition_point(|flight| flight.time_ms < end_ms)];
    let policy = cast::policy()?;
    let first = cast::prepare(running, &mut client, &policy, before).await?;
    let capture = policy.capture.context("the policy captures")?;
    let loss = policy.deployment.analysis.loss.context("the policy judges the loss")?;
    let cast = Cast::start(&address, constitution.current())?;
    let mut year = Loop {
        json,
        began,
        client,
        traffic: Traffic::new(gateway, orchestrator.clone())?,
        story: Story::new(orchestrator).await?,
        scores: Scores::new(first.clone()),
        rows: flights::row_schema(SERVED_SCORE)?,
        models: HashMap::from([(FIRST.to_owned(), Arc::new(first))]),
        champion: FIRST.to_owned(),
        out_of_orderness_ms: capture.out_of_orderness_ms,
        unacceptable: loss.unacceptable,
        planted: false,
        taken_back: Vec::new(),
        now_ms: until_ms,
        progress: Progress::new(after.len() as u64, "flights", json),
    };
    year.introduce(before.len(), after.len(), running);
    let told = year.pass(after).await;
    year.progress.finish();
    let summed = match told {
        Ok(()) => year.sum_up().await,
        Err(error) => Err(error),
    };
    cast.end().await;
    summed
}

impl Loop {
    fn introduce(&self, before: usize, after: usize, running: &Running) {
        if self.json {
            return;
        }
        println!(
            "A mesh runs in this process; `acgs worker` and `acgs model serve` in processes of their own. The model of {before}\n\
             flights of January and February answers {after} more through the gateway at {}, two to a call, until a\n\
             better one does. Every call is captured, judged by week when flights have landed, and kept to be trained on.\n",
            running.addresses.gateway
        );
    }

    /// The year from March on.
    async fn pass(&mut self, flights: &[Flight]) -> anyhow::Result<()> {
        self.traffic.ready().await?;
        let planted_at_ms = parse_rfc3339(PLANTED_AT).context("the time of the planted version")?;
        let mut landing: Vec<Flight> =
            flights.iter().filter(|flight| flight.landed_ms.is_some()).cloned().collect();
        landing.sort_by_key(|flight| flight.landed_ms);
        let mut landed = 0;
        let mut week_end_ms = self.now_ms / WEEK_MS * WEEK_MS + WEEK_MS;
        for hour in flights.chunk_by(|one, next| one.time_ms / HOUR_MS == next.time_ms / HOUR_MS) {
            let began = Instant::now();
            self.now_ms = hour[0].time_ms;
            let known = landing[landed..].partition_point(|flight| flight.landed_ms <= Some(self.now_ms));
            self.traffic.landed(&landing[landed..landed + known]).await?;
            landed += known;
            let served = self.traffic.serve(hour).await;
            self.scores.note(hour, &flights::batch(&self.rows, hour.iter())?, &served);
            self.progress.advance(hour.len() as u64, &day(self.now_ms));
            if self.now_ms >= week_end_ms + self.out_of_orderness_ms {
                self.await_window(week_end_ms).await?;
                week_end_ms += WEEK_MS;
            }
            self.listen().await?;
            let idle = self.story.deployment.is_none();
            if !self.planted && idle && self.now_ms >= planted_at_ms {
                self.planted = true;
                let model = self.model(&self.champion.clone()).await?;
                cast::plant(&mut self.client, &model).await?;
            }
            if !idle {
                sleep_until(began + DEPLOYING_HOUR).await;
            }
        }
        self.traffic.landed(&landing[landed..]).await?;
        self.listen().await
    }

    /// The clock of a demonstration waits for nobody, so event time stands still at the end of a window until it is judged.
    async fn await_window(&mut self, end_ms: i64) -> anyhow::Result<()> {
        let stream_id = format!("gateway/{NAME}/{}", self.champion);
        let until = Instant::now() + WINDOW_WAIT;
        while self.story.deployment.is_none() && !self.story.has_window(&stream_id, end_ms) {
            let left = until.saturating_duration_since(Instant::now());
            match self.story.hear(left).await? {
                Some(heard) => self.react(heard).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// Takes what was said, and stands still while a retraining runs or a server is warmed.
    async fn listen(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + HOLD_MAX;
        loop {
            let holds = self.story.holds();
            let wait = if holds { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.story.hear(wait).await? {
                Some(heard) => self.react(heard).await?,
                None => {
                    ensure!(
                        !holds,
                        "nothing was heard for {} s of {}",
                        HOLD_MAX.as_secs(),
                        self.story.awaited()
                    );
                    return Ok(());
                }
            }
        }
    }

    async fn react(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Window | Heard::Dropped => {}
            Heard::Ordered(observed) => {
                let line = format!("{}: a retraining is ordered", observed.evidence.description);
                self.say(&format!("job-{}", observed.job), &line);
            }
            Heard::Trained { job, version, why } => {
                let line = self.trained(version.as_deref().unwrap_or(""), why).await?;
                self.say(&format!("job-{job}"), &line);
            }
            Heard::Begun(new) => {
                let line = format!("{} is warmed, to take traffic beside {}", new.version, new.baseline);
                self.say(&format!("deployment-{}", new.deployment), &line);
            }
            Heard::Shifted(open) => {
                let line = format!("{} has {} %", open.version, open.weight);
                self.say(&format!("deployment-{}", open.number), &line);
            }
            Heard::Promoted(open) => {
                let replaced = self.model(&open.baseline).await?;
                self.scores.promoted(&open.version, &open.baseline, replaced);
                self.champion.clone_from(&open.version);
                let line = format!("{} serves instead of {}", open.version, open.baseline);
                self.say(&format!("deployment-{}", open.number), &line);
            }
            Heard::TakenBack(open) => {
                let taken = TakenBack::new(&open);
                let line = format!("{} is taken back: {}", open.version, taken.told(&self.traffic));
                self.say(&format!("deployment-{}", open.number), &line);
                self.taken_back.push(taken);
            }
            Heard::Help(in_a_row) => {
                self.say("", &format!("{in_a_row} retrainings in a row did not help: a person is asked for"));
            }
        }
        Ok(())
    }

    /// What a retraining came to.
    async fn trained(&mut self, name: &str, why: Option<String>) -> anyhow::Result<String> {
        if name.is_empty() {
            return Ok(why.unwrap_or_default());
        }
        let version = self.version(name).await?;
        let rows = version.data.map_or(0, |data| data.rows);
        let gate = version.gates.into_iter().find(|gate| gate.gate == "champion");
        let gate = gate.map(|gate| gate.description).unwrap_or_default();
        Ok(match why {
            None => format!("{name}, made of {rows} flights, passes: {gate}"),
            Some(why) => format!("{name}, made of {rows} flights, does not pass, {why}: {gate}"),
        })
    }

    fn say(&self, who: &str, line: &str) {
        if self.json {
            let told = serde_json::json!({ "event_time": rfc3339(self.now_ms), "who": who, "told": line });
            println!("{told}");
        } else {
            self.progress.line(&format!("{}  {who:<14} {line}", day(self.now_ms)));
        }
    }

    async fn version(&mut self, version: &str) -> anyhow::Result<Version> {
        let request = GetVersionRequest { model_id: NAME.into(), version: version.into() };
        let answer = self.client.models.get_version(request).await.map_err(|status| explain(&status))?;
        answer.into_inner().version.context("no version came back")
    }

    /// The model of a version, read once.
    async fn model(&mut self, version: &str) -> anyhow::Result<Arc<Artifact>> {
        if let Some(known) = self.models.get(version) {
            return Ok(Arc::clone(known));
        }
        let digest = self.version(version).await?.artifact.unwrap_or_default().digest;
        let model = Arc::new(Artifact::decode(
            &artifacts::get(&mut self.client.jobs, &digest).await.map_err(|status| explain(&status))?,
        )?);
        self.models.insert(version.to_owned(), Arc::clone(&model));
        Ok(model)
    }
}

fn day(time_ms: i64) -> String {
    rfc3339(time_ms).get(..10).unwrap_or("").to_owned()
}
