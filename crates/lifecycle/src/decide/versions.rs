//! What happens to versions outside jobs, and how one takes another's place.

use super::{Answer, Refusal, draft::Draft};
use crate::{
    deployment::Cause,
    event::{Change, Guard, NewVersion},
    job::JobState,
    model::VERSIONS_MAX,
    stage::{Stage, StageStep},
};

impl Draft<'_> {
    pub(super) fn register_version(&mut self, new: NewVersion, serving: bool) -> Result<Answer, Refusal> {
        if let Some(known) = self.model.version(&new.version) {
            if known.new == new {
                return Ok(Answer::Done);
            }
            return Err(Refusal::VersionExists(new.version));
        }
        let same = |version: &&std::sync::Arc<crate::model::Version>| {
            version.new.artifact.digest == new.artifact.digest
        };
        if let Some(other) = self.model.versions.values().find(same) {
            return Err(Refusal::DigestExists(other.new.version.clone()));
        }
        if self.model.versions.len() >= VERSIONS_MAX {
            return Err(Refusal::Full(format!("a model has at most {VERSIONS_MAX} versions")));
        }
        if let (true, Some(champion)) = (serving, &self.model.champion) {
            let message = format!("version {champion:?} serves already; a new one has to pass the gates");
            return Err(Refusal::WrongState(message));
        }
        let name = new.version.clone();
        self.push(Change::VersionRegistered(Box::new(new)), Vec::new())?;
        if serving {
            let why = "it serves already; there was no champion";
            let guards = || vec![Guard::new("champion", true, "none", "none")];
            self.move_version(&name, StageStep::ValidationStarted, why, Vec::new())?;
            self.move_version(&name, StageStep::ValidationPassed, why, guards())?;
            self.promote(&name, why)?;
        }
        Ok(Answer::Done)
    }

    /// One version takes another's place, in events that are written together.
    pub(super) fn promote(&mut self, name: &str, why: &str) -> Result<(), Refusal> {
        self.move_version(name, StageStep::DeploymentStarted, why, Vec::new())?;
        self.swap(name, StageStep::Replaced, why)
    }

    /// A candidate becomes the champion, and the old one, replaced or taken back, is kept warm.
    pub(super) fn swap(&mut self, name: &str, leaves: StageStep, why: &str) -> Result<(), Refusal> {
        if let Some(old) = self.model.champion.clone() {
            self.move_version(&old, leaves, why, Vec::new())?;
        }
        self.move_version(name, StageStep::DeploymentCompleted, why, Vec::new())?;
        let (kept, warm_ms, now_ms) = (self.limits.standbys_kept, self.limits.standby_ms, self.now_ms());
        // What was taken back is nothing to go back to, and takes no place of what is.
        let (back, good): (Vec<_>, Vec<_>) =
            self.model.standbys().into_iter().partition(|version| version.taken_back);
        let cold: Vec<String> = good
            .into_iter()
            .skip(kept)
            .chain(back.into_iter().skip(kept))
            .filter(|version| now_ms - version.staged_at_ms >= warm_ms)
            .map(|version| version.new.version.clone())
            .collect();
        for version in cold {
            let guards = vec![
                Guard::new("age", true, "kept warm for long enough", format!("{warm_ms} ms")),
                Guard::new("newest", true, "not among them", kept),
            ];
            self.move_version(&version, StageStep::StandbyElapsed, "", guards)?;
        }
        Ok(())
    }

    pub(super) fn quarantine(&mut self, name: &str, why: &str) -> Result<Answer, Refusal> {
        let version = self.version(name)?;
        if version.stage.after(StageStep::Quarantine).is_none() {
            let message = format!("version {name:?} is {}", version.stage.as_str());
            return Err(Refusal::WrongState(message));
        }
        if version.stage != Stage::Champion {
            self.move_version(name, StageStep::Quarantine, why, Vec::new())?;
            if version.stage == Stage::Candidate {
                self.take_back(Cause::Operator, &format!("{name} was quarantined"))?;
            }
            let judged = self.model.jobs.values().find(|job| {
                let open = matches!(job.state, JobState::Evaluating | JobState::AwaitingApproval);
                open && job.version.as_deref() == Some(name)
            });
            if let Some(job) = judged.cloned() {
                self.reject(&job, "its version was quarantined", Vec::new(), true)?;
            }
            return Ok(Answer::Done);
        }
        // Something has to serve: what was itself taken back only where there is nothing else.
        let standbys = self.model.standbys();
        let standby = standbys.iter().find(|standby| !standby.taken_back).or_else(|| standbys.first());
        let standby = standby.map(|standby| standby.new.version.clone());
        let Some(standby) = standby else { return Err(Refusal::NoStandby(name.to_owned())) };
        let guards = vec![Guard::new("standby", true, &standby, "one that is warm")];
        self.take_back(Cause::Operator, &format!("{name}, its baseline, was quarantined"))?;
        self.move_version(name, StageStep::Quarantine, why, guards)?;
        self.promote(&standby, &format!("{name} was quarantined"))?;
        Ok(Answer::Done)
    }

    /// The first of two people asks, the second lets it out.
    pub(super) fn release(&mut self, name: &str, intact: bool) -> Result<Answer, Refusal> {
        let version = self.version(name)?;
        if version.stage != Stage::Quarantined {
            return Err(Refusal::WrongState(format!("version {name:?} is {}", version.stage.as_str())));
        }
        let Some(first) = &version.release_asked_by else {
            self.push(Change::ReleaseAsked { version: name.to_owned() }, Vec::new())?;
            return Ok(Answer::Done);
        };
        let actor = &self.order.actor;
        if first == actor {
            let message = format!("{actor:?} asked already; another person has to agree");
            return Err(Refusal::SamePerson(message));
        }
        let guards = vec![
            Guard::new("two_people", true, format!("{first}, {actor}"), "two"),
            Guard::new("artifact", intact, if intact { "intact" } else { "not as registered" }, "intact"),
        ];
        if !intact {
            return Err(Refusal::WrongState(format!(
                "the artifact of version {name:?} is not as registered"
            )));
        }
        self.move_version(name, StageStep::Release, "two people agreed", guards)?;
        Ok(Answer::Done)
    }

    pub(super) fn archive(&mut self, name: &str) -> Result<Answer, Refusal> {
        let version = self.version(name)?;
        if version.stage.after(StageStep::Archive).is_none() {
            let message =
                format!("version {name:?} is {}; only a retired one is put away", version.stage.as_str());
            return Err(Refusal::WrongState(message));
        }
        self.move_version(name, StageStep::Archive, "", Vec::new())?;
        Ok(Answer::Done)
    }
}
