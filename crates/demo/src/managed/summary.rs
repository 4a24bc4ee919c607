//! What the year came to. It must not know how it passed.

use acgs_contracts::lifecycle::v1::{Job, JobState, ListJobsRequest};
use serde_json::{Value, json};

use super::{Loop, PLANTED, scores::Reign, story::Open, traffic::Traffic};
use acgs_console::{connect::explain, render::job_json};

use crate::NAME;

/// A version that was taken back.
#[derive(Debug)]
pub(super) struct TakenBack {
    version: String,
    why: String,
    /// Time of the deciding event.
    decided_ms: i64,
}

impl TakenBack {
    pub(super) fn new(open: &Open) -> Self {
        let (decided_ms, why) = open.decided.clone().unwrap_or_default();
        Self { version: open.version.clone(), why, decided_ms }
    }

    /// Calls that it has answered.
    fn calls(&self, traffic: &Traffic) -> u64 {
        traffic.answered.get(&self.version).copied().unwrap_or(0)
    }

    /// Milliseconds from the deciding event to its last answer so far.
    fn last_after_ms(&self, traffic: &Traffic) -> i64 {
        let last_ms = traffic.last_ms.get(&self.version).copied().unwrap_or(self.decided_ms);
        (last_ms - self.decided_ms).max(0)
    }

    pub(super) fn told(&self, traffic: &Traffic) -> String {
        let (calls, last_after_ms) = (self.calls(traffic), self.last_after_ms(traffic));
        format!("{}; {calls} calls, the last {last_after_ms} ms after it was decided", self.why)
    }
}

impl Loop {
    /// Versions that should not have been promoted: the planted one, and any that did unacceptably worse than what it replaced would
    /// have, on the flights that it answered.
    fn wrong(&self) -> usize {
        let worse = |reign: &&Reign| {
            let bound = reign.brier_before() + self.unacceptable;
            reign.version == PLANTED || reign.flights > 0 && reign.brier() >= bound
        };
        self.scores.reigns.iter().filter(worse).count()
    }

    async fn jobs(&mut self) -> anyhow::Result<Vec<Job>> {
        let request = ListJobsRequest { model_id: NAME.into(), limit: 1_000, ..Default::default() };
        Ok(self.client.jobs.list_jobs(request).await.map_err(|status| explain(&status))?.into_inner().jobs)
    }

    pub(super) async fn sum_up(&mut self) -> anyhow::Result<()> {
        let jobs = self.jobs().await?;
        let retrainings =
            jobs.iter().filter(|job| matches!(job.state(), JobState::Succeeded | JobState::Rejected)).count();
        let accepted = jobs.iter().filter(|job| job.state() == JobState::Succeeded).count();
        match self.json {
            true => println!("{}", self.as_json(&jobs, retrainings, accepted)),
            false => self.print(retrainings, accepted),
        }
        Ok(())
    }

    fn print(&self, retrainings: usize, accepted: usize) {
        println!("\n{}\n", self.scores.table());
        let reigns = &self.scores.reigns;
        for reign in reigns.iter().filter(|reign| reign.flights > 0) {
            println!(
                "{:<10} answered {:>6} flights: Brier {:.4}; {} would have had {:.4}",
                reign.version,
                reign.flights,
                reign.brier(),
                reign.baseline,
                reign.brier_before()
            );
        }
        let calls: u64 = self.traffic.answered.values().sum();
        println!(
            "\nBrier score from March to December: {:.4} frozen, {:.4} managed. {retrainings} retrainings, of which {accepted} passed \
             the gates.\n{} versions promoted; {} wrong promotions: the planted one, or one worse by {} than what it replaced. \
             {} taken back.",
            self.scores.frozen(),
            self.scores.managed(),
            reigns.len(),
            self.wrong(),
            self.unacceptable,
            self.taken_back.len(),
        );
        for taken in self.taken_back.iter().filter(|taken| taken.version == PLANTED) {
            println!(
                "The planted version answered {} calls; the last of them {} ms after it was decided to take it back.",
                taken.calls(&self.traffic),
                taken.last_after_ms(&self.traffic)
            );
        }
        println!(
            "{calls} calls answered, {} failed, in {:.1} s.",
            self.traffic.failed.values().sum::<u64>(),
            self.began.elapsed().as_secs_f64()
        );
        for (said, count) in &self.traffic.failed {
            println!("  {count} x {said}");
        }
        println!(
            "\nWhat to look at next:\n  examples/policies/flights-gateway.toml   what was done about it, and when\n  \
             acgs models | jobs | deployments         the same of your mesh; `acgs deployments explain ID` says why\n  \
             acgs worker, acgs model serve            train for it, and answer\n  docs/deployments.md                      what decides, and what it promises"
        );
    }

    fn as_json(&self, jobs: &[Job], retrainings: usize, accepted: usize) -> Value {
        let reigns = &self.scores.reigns;
        let promoted = reigns.iter().map(|reign| {
            json!({
                "version": reign.version, "baseline": reign.baseline, "flights": reign.flights,
                "brier": reign.brier(), "brier_of_baseline": reign.brier_before(),
            })
        });
        let taken_back = self.taken_back.iter().map(|taken| {
            json!({
                "version": taken.version, "why": taken.why, "calls": taken.calls(&self.traffic),
                "decision_to_last_call_ms": taken.last_after_ms(&self.traffic), "planted": taken.version == PLANTED,
            })
        });
        json!({
            "brier_frozen": self.scores.frozen(), "brier_managed": self.scores.managed(),
            "retrainings": retrainings, "accepted": accepted, "wrong_promotions": self.wrong(),
            "promoted": promoted.collect::<Vec<_>>(), "taken_back": taken_back.collect::<Vec<_>>(),
            "calls": self.traffic.answered, "failed": self.traffic.failed, "windows": self.story.windows.len(),
            "months": self.scores.json(), "jobs": jobs.iter().rev().map(job_json).collect::<Vec<_>>(),
            "seconds": self.began.elapsed().as_secs_f64(),
        })
    }
}
