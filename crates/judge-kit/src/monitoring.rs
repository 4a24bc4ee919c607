//! Monitors: what arrives for a service or model is gathered, and judged together at each interval. Which monitors there are
//! is in the key-value home; what they gather is in this process. It must not know what is judged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use acgs_vocabulary::{
    Problem,
    budget::{self, Reservation, Use},
    constitution::sha256_hex,
    ports::{Clock, KeyValue},
    text,
};

/// Most monitors of one judge.
pub const MONITORS_MAX: usize = 1_000;
/// Longest interval, in seconds.
pub const INTERVAL_SECONDS_MAX: u32 = 86_400;
/// How often monitors are looked at, and how many of these pass between two readings of them.
const TICK: Duration = Duration::from_millis(250);
const REFRESH_TICKS: u64 = 20;
/// Different schemas or references that are gathered apart for one monitor; rows of more are not gathered.
const APART_MAX: usize = 16;
/// What one may hold whatever others hold.
const LITTLE_BYTES: usize = 64 << 10;
/// Between two lines about rows that are left out.
const TELL_EVERY_US: u64 = 60_000_000;

/// A monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// The service or model.
    pub about: String,
    /// Between two judgements.
    pub interval_seconds: u32,
    /// RFC 3339.
    pub started_at: String,
}

/// The monitors of one kind, and what is gathered for them. Clones share both.
#[derive(Debug)]
pub struct Monitors<P> {
    keys: Option<Arc<dyn KeyValue>>,
    clock: Arc<dyn Clock>,
    kind: &'static str,
    monitors: Arc<RwLock<BTreeMap<String, (Monitor, u64)>>>,
    any: Arc<AtomicBool>,
    gathered: Arc<Mutex<HashMap<String, Vec<Held<P>>>>>,
    weigh: fn(&P) -> usize,
    /// When it was last told that rows were left out.
    told_us: Arc<AtomicU64>,
}

/// What is gathered, and what it takes of the process's memory.
#[derive(Debug)]
struct Held<P> {
    what: P,
    room: Reservation,
}

impl<P> Clone for Monitors<P> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            clock: Arc::clone(&self.clock),
            kind: self.kind,
            monitors: Arc::clone(&self.monitors),
            any: Arc::clone(&self.any),
            gathered: Arc::clone(&self.gathered),
            weigh: self.weigh,
            told_us: Arc::clone(&self.told_us),
        }
    }
}

impl<P> Monitors<P> {
    /// Of a kind, in a home; without one, monitors are refused. `weigh` says what is held on the heap, in bytes.
    #[must_use]
    pub fn new(
        keys: Option<Arc<dyn KeyValue>>,
        clock: Arc<dyn Clock>,
        kind: &'static str,
        weigh: fn(&P) -> usize,
    ) -> Self {
        Self {
            keys,
            clock,
            kind,
            monitors: Arc::default(),
            any: Arc::default(),
            gathered: Arc::new(Mutex::new(HashMap::new())),
            weigh,
            told_us: Arc::default(),
        }
    }

    fn home(&self) -> Result<&Arc<dyn KeyValue>, Problem> {
        self.keys.as_ref().ok_or_else(|| Problem::home_required("monitors"))
    }

    fn prefix(&self) -> String {
        format!("monitors/{}/", self.kind)
    }

    fn key(&self, about: &str) -> String {
        format!("{}{}", self.prefix(), &sha256_hex(about.as_bytes())[..32])
    }

    /// Starts one, or changes its interval.
    ///
    /// # Errors
    /// `HOME_REQUIRED`, `OUT_OF_RANGE`, `MONITORS`, or the home's trouble.
    pub async fn start(&self, about: &str, interval_seconds: u32, default: u32) -> Result<Monitor, Problem> {
        let home = self.home()?;
        let interval_seconds = if interval_seconds == 0 { default } else { interval_seconds };
        if interval_seconds > INTERVAL_SECONDS_MAX {
            let message = format!("is {interval_seconds}, not 1 to {INTERVAL_SECONDS_MAX}");
            return Err(Problem::field("monitoring_interval", "OUT_OF_RANGE", message));
        }
        let known = self.list().await?;
        if known.len() >= MONITORS_MAX && !known.iter().any(|monitor| monitor.about == about) {
            return Err(Problem::exhausted("MONITORS", format!("there are {MONITORS_MAX} already"), 60_000));
        }
        let started_at = text::rfc3339(self.clock.now_ms());
        let monitor = Monitor { about: about.to_owned(), interval_seconds, started_at };
        let value = serde_json::to_vec(&monitor).map_err(|error| Problem::internal(error.to_string()))?;
        home.put(&self.key(about), value, None).await?;
        self.refresh().await?;
        Ok(monitor)
    }

    /// Ends one; false when there was none.
    ///
    /// # Errors
    /// `HOME_REQUIRED`, or the home's trouble.
    pub async fn stop(&self, about: &str) -> Result<bool, Problem> {
        let (home, key) = (self.home()?, self.key(about));
        let was = home.get(&key).await?.is_some();
        home.delete(&key, None).await?;
        self.refresh().await?;
        Ok(was)
    }

    /// The monitors, by name.
    ///
    /// # Errors
    /// `HOME_REQUIRED`, or the home's trouble.
    pub async fn list(&self) -> Result<Vec<Monitor>, Problem> {
        let home = self.home()?;
        let mut monitors = Vec::new();
        for key in home.list(&self.prefix(), "", MONITORS_MAX).await? {
            let held = home.get(&key).await?;
            monitors.extend(held.and_then(|held| serde_json::from_slice::<Monitor>(&held.value).ok()));
        }
        monitors.sort_by(|one, other| one.about.cmp(&other.about));
        Ok(monitors)
    }

    /// Looks at the monitors anew: other processes give them too.
    ///
    /// # Errors
    /// `HOME_REQUIRED`, or the home's trouble.
    pub async fn refresh(&self) -> Result<(), Problem> {
        let now = self.list().await?;
        let now_us = self.clock.monotonic_us();
        let mut monitors = self.monitors.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = BTreeMap::new();
        for monitor in now {
            let due_us = match monitors.get(&monitor.about) {
                Some((known, due_us)) if known.interval_seconds == monitor.interval_seconds => *due_us,
                _ => now_us + u64::from(monitor.interval_seconds) * 1_000_000,
            };
            fresh.insert(monitor.about.clone(), (monitor, due_us));
        }
        self.any.store(!fresh.is_empty(), Ordering::Relaxed);
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|about, _| fresh.contains_key(about));
        *monitors = fresh;
        Ok(())
    }

    /// How many monitors there are, as they were last read.
    #[must_use]
    pub fn count(&self) -> usize {
        self.monitors.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether what arrives for somebody is gathered.
    #[must_use]
    pub fn watches(&self, about: &str) -> bool {
        self.any.load(Ordering::Relaxed)
            && self.monitors.read().unwrap_or_else(PoisonError::into_inner).contains_key(about)
    }

    /// Between two judgements of somebody, in seconds; 0 when nothing is gathered.
    #[must_use]
    pub fn interval_seconds(&self, about: &str) -> u32 {
        let monitors = self.monitors.read().unwrap_or_else(PoisonError::into_inner);
        monitors.get(about).map_or(0, |(monitor, _)| monitor.interval_seconds)
    }

    /// Adds to what fits, or begins something new; rows without room are left out of the next judgement, which is told.
    pub fn gather(
        &self,
        about: &str,
        fits: impl Fn(&P) -> bool,
        begin: impl FnOnce() -> P,
        add: impl FnOnce(&mut P),
    ) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let share = budget::process().of(Use::Panes);
        let held = gathered.entry(about.to_owned()).or_default();
        let place = held.iter().position(|held| fits(&held.what));
        // One that holds little goes on; what one more frame adds to the others is little beside the share.
        let is_little = place.is_none_or(|place| held[place].room.bytes() <= LITTLE_BYTES);
        if place.is_none() && held.len() >= APART_MAX || (!is_little && share.held() >= share.bytes_max()) {
            drop(gathered);
            return self.tell_left_out(about);
        }
        let place = place.unwrap_or_else(|| {
            held.push(Held { what: begin(), room: share.nothing() });
            held.len() - 1
        });
        let Held { what, room } = &mut held[place];
        add(what);
        room.force((self.weigh)(what));
    }

    fn tell_left_out(&self, about: &str) {
        let now_us = self.clock.monotonic_us().max(1);
        let told_us = self.told_us.load(Ordering::Relaxed);
        let may = told_us == 0 || now_us.saturating_sub(told_us) >= TELL_EVERY_US;
        if may && self.told_us.compare_exchange(told_us, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(
                kind = self.kind,
                about,
                "a monitor leaves rows out: too many schemas or references, or no memory (memory.panes)"
            );
        }
    }

    /// Has what is due judged, and looks at the monitors anew now and then, until `stop` is done.
    pub async fn run(&self, stop: impl Future<Output = ()>, mut judge: impl FnMut(String, P)) {
        tokio::pin!(stop);
        let mut ticks = tokio::time::interval(TICK);
        let mut rounds = 0_u64;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut stop => return,
            }
            if self.keys.is_some()
                && rounds.is_multiple_of(REFRESH_TICKS)
                && let Err(problem) = self.refresh().await
            {
                tracing::warn!(%problem, kind = self.kind, "monitors could not be read");
            }
            rounds += 1;
            for (about, held) in self.due() {
                judge(about, held);
            }
        }
    }

    /// What was gathered for the monitors that are due now; each is due again an interval later.
    #[must_use]
    pub fn due(&self) -> Vec<(String, P)> {
        let now_us = self.clock.monotonic_us();
        let mut monitors = self.monitors.write().unwrap_or_else(PoisonError::into_inner);
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (about, (monitor, due_us)) in monitors.iter_mut().filter(|(_, (_, due_us))| *due_us <= now_us) {
            *due_us = now_us + u64::from(monitor.interval_seconds) * 1_000_000;
            found.extend(gathered.remove(about).into_iter().flatten().map(|held| (about.clone(), held.what)));
        }
        found
    }
}
