//! The services that have said that they are there: registered by allow-list, kept by heartbeats. Pure: times are passed
//! in. It must not know who calls them.

use std::collections::BTreeMap;

use acgs_vocabulary::{AllowList, Problem, names};

/// Most services.
pub const SERVICES_MAX: usize = 1_024;
/// Longest name, host, id or path, in bytes.
const TEXT_BYTES_MAX: usize = 253;
/// Most capabilities of one service.
const CAPABILITIES_MAX: usize = 32;

/// A service that registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique: one process.
    pub service_id: String,
    /// The kind, for example `data-quality-service`.
    pub service_name: String,
    /// Where it is.
    pub host: String,
    /// And there.
    pub port: u16,
    /// What it can do: `quality`, `drift`, `performance`.
    pub capabilities: Vec<String>,
    /// Where its health is asked for over HTTP.
    pub health_endpoint: String,
}

/// A service that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// As registered.
    pub service: Service,
    /// Counts the registrations of its id.
    pub incarnation: u64,
    /// When the last heartbeat came, milliseconds since the epoch.
    pub last_heartbeat_ms: i64,
    /// Whether it takes new work.
    pub serving: bool,
    /// What it says of its load: open lanes.
    pub load: u32,
    /// By steady time.
    expires_ms: i64,
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For people to read.
    pub wall_ms: i64,
    /// What is acted upon: a wall clock that is set takes nobody out and keeps nobody in.
    pub steady_ms: i64,
}

/// All of them.
#[derive(Debug)]
pub struct Registry {
    allowed: AllowList,
    lease_ms: i64,
    services: BTreeMap<String, Registered>,
    incarnations: u64,
    /// When silence was looked for last.
    swept_ms: Option<i64>,
}

impl Registry {
    /// None yet. Without a heartbeat for `lease_ms` a service is forgotten.
    #[must_use]
    pub fn new(allowed: AllowList, lease_ms: u64) -> Self {
        Self {
            allowed,
            lease_ms: lease_ms as i64,
            services: BTreeMap::new(),
            incarnations: 0,
            swept_ms: None,
        }
    }

    /// How long a registration lives without a heartbeat, in milliseconds.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms as u64
    }

    /// A service is there; the same id again replaces what was known of it.
    ///
    /// # Errors
    /// Naming the field; `NOT_ALLOWED` for a host or port that is not on the list.
    pub fn register(&mut self, service: Service, now: Moment) -> Result<&Registered, Problem> {
        check(&service)?;
        if !self.allowed.allows(&service.host, service.port) {
            let message = format!(
                "{}:{} is not on the list of hosts and ports that may register",
                service.host, service.port
            );
            return Err(Problem::new(acgs_vocabulary::problem::Kind::Denied, "NOT_ALLOWED", message));
        }
        if !self.services.contains_key(&service.service_id) && self.services.len() >= SERVICES_MAX {
            let message = format!("there are {SERVICES_MAX} services already");
            return Err(Problem::exhausted("SERVICES", message, 10_000));
        }
        self.incarnations += 1;
        let registered = Registered {
            incarnation: self.incarnations,
            last_heartbeat_ms: now.wall_ms,
            serving: true,
            load: 0,
            expires_ms: now.steady_ms + self.lease_ms,
            service,
        };
        let id = registered.service.service_id.clone();
        self.services.insert(id.clone(), registered);
        self.services.get(&id).ok_or_else(|| Problem::internal("a registration was lost"))
    }

    /// A service is still there. True when what others see of it changed.
    ///
    /// # Errors
    /// `UNKNOWN_SERVICE`: it registers again then.
    pub fn heartbeat(&mut self, id: &str, serving: bool, load: u32, now: Moment) -> Result<bool, Problem> {
        let Some(known) = self.services.get_mut(id) else {
            return Err(Problem::missing("service", id, "UNKNOWN_SERVICE"));
        };
        let changed = known.serving != serving;
        known.serving = serving;
        known.load = load;
        known.last_heartbeat_ms = now.wall_ms;
        known.expires_ms = now.steady_ms + self.lease_ms;
        Ok(changed)
    }

    /// A service is gone; unknown is fine. True when it was known.
    pub fn deregister(&mut self, id: &str) -> bool {
        self.services.remove(id).is_some()
    }

    /// Forgets those whose heartbeats have stopped. True when there were such.
    pub fn expire(&mut self, now: Moment) -> bool {
        let before = self.services.len();
        let gap_ms = now.steady_ms - self.swept_ms.replace(now.steady_ms).unwrap_or(now.steady_ms);
        if gap_ms > self.lease_ms / 2 {
            // This process stood still: nobody could be heard meanwhile.
            self.services.values_mut().for_each(|known| known.expires_ms += gap_ms);
        }
        self.services.retain(|_, known| known.expires_ms > now.steady_ms);
        self.services.len() < before
    }

    /// Those with a capability, or all with the empty one, by id.
    pub fn find<'a>(&'a self, capability: &'a str) -> impl Iterator<Item = &'a Registered> {
        let has = move |known: &&Registered| {
            capability.is_empty() || known.service.capabilities.iter().any(|has| has == capability)
        };
        self.services.values().filter(has)
    }
}

fn check(service: &Service) -> Result<(), Problem> {
    let texts = [
        ("service_id", &service.service_id, 1),
        ("service_name", &service.service_name, 1),
        ("host", &service.host, 1),
        ("health_endpoint", &service.health_endpoint, 0),
    ];
    for (path, text, least) in texts {
        if !(least..=TEXT_BYTES_MAX).contains(&text.len()) {
            let message = format!("has {} bytes, not {least} to {TEXT_BYTES_MAX}", text.len());
            return Err(Problem::field(path, "BAD_NAME", message));
        }
        names::check_plain(path, text)?;
    }
    if service.port == 0 {
        return Err(Problem::field("port", "OUT_OF_RANGE", "is 0, not 1 to 65535"));
    }
    let few = (1..=CAPABILITIES_MAX).contains(&service.capabilities.len());
    if !few || service.capabilities.iter().any(|name| name.is_empty() || name.len() > TEXT_BYTES_MAX) {
        let message = format!("are not 1 to {CAPABILITIES_MAX} names of 1 to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::field("capabilities", "BAD_NAME", message));
    }
    service.capabilities.iter().try_for_each(|name| names::check_plain("capabilities", name))?;
    Ok(())
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
