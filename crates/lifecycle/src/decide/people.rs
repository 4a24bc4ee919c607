//! What people say of models and jobs.

use std::sync::Arc;

use super::{Answer, Refusal, draft::Draft};
use crate::{
    compliance::{ComplianceEvidence, EVIDENCE_MAX},
    event::{Change, Guard, JobMoved},
    job::{JobState, JobStep},
    policy::Policy,
};

impl Draft<'_> {
    pub(super) fn register_model(
        &mut self,
        model_name: String,
        service_id: String,
    ) -> Result<Answer, Refusal> {
        let is_new = self.model.model_id.is_empty();
        if is_new && self.models >= self.limits.models_max {
            return Err(Refusal::Full(format!("there are {} models already", self.models)));
        }
        if is_new || self.model.model_name != model_name || self.model.service_id != service_id {
            self.push(Change::ModelRegistered { model_name, service_id }, Vec::new())?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn supply_evidence(&mut self, evidence: Vec<ComplianceEvidence>) -> Result<Answer, Refusal> {
        let kept = self
            .model
            .evidence
            .iter()
            .filter(|known| !evidence.iter().any(|piece| piece.principle == known.principle));
        if kept.count() + evidence.len() > EVIDENCE_MAX {
            return Err(Refusal::Full(format!("a model has at most {EVIDENCE_MAX} pieces of evidence")));
        }
        self.push(Change::EvidenceSupplied { evidence }, Vec::new())?;
        Ok(Answer::Done)
    }

    pub(super) fn put_policy(
        &mut self,
        policy: Arc<Policy>,
        expected: Option<u64>,
    ) -> Result<Answer, Refusal> {
        let found = self.model.policy_revision;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Refusal::Revision { expected, found });
        }
        if self.model.policy.as_ref() == Some(&policy) {
            return Ok(Answer::Policy(found));
        }
        self.push(Change::PolicyPut { revision: found + 1, policy }, Vec::new())?;
        Ok(Answer::Policy(found + 1))
    }

    pub(super) fn set_freeze(&mut self, frozen: bool, why: String) -> Result<Answer, Refusal> {
        if frozen || self.model.frozen.is_some() {
            self.push(Change::FreezeSet { frozen, why }, Vec::new())?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn clear_loop(&mut self) -> Result<Answer, Refusal> {
        if self.model.unhelpful > 0 {
            self.push(Change::LoopCleared, Vec::new())?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn decide_job(&mut self, number: u64, approved: bool, why: &str) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        if job.state != JobState::AwaitingApproval {
            let message = format!("job-{number} is {}; nobody is asked to agree", job.state.as_str());
            return Err(Refusal::WrongState(message));
        }
        let actor = &self.order.actor;
        if *actor == job.requester {
            return Err(Refusal::SamePerson(format!("{actor:?} asked for the job; another has to agree")));
        }
        let requester = format!("not {:?}", job.requester);
        let guards = vec![
            Guard::new("approver", true, actor, requester),
            Guard::new("approved", approved, if why.is_empty() { "no reason given" } else { why }, "agreed"),
        ];
        if approved {
            self.succeed(&job, job.helped, guards)?;
        } else {
            self.reject(&job, &format!("not agreed to: {why}"), guards, true)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn cancel(&mut self, number: u64, why: &str) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        if job.state.after(JobStep::Cancel).is_none() {
            return Err(Refusal::WrongState(format!("job-{number} is {} already", job.state.as_str())));
        }
        self.end_of_version(number, "its job was cancelled")?;
        self.move_job(number, JobMoved::Cancel { why: why.to_owned() }, Vec::new())?;
        Ok(Answer::Done)
    }

    pub(super) fn requeue(&mut self, number: u64) -> Result<Answer, Refusal> {
        let job = self.job(number)?;
        if job.state != JobState::DeadLettered {
            let message =
                format!("job-{number} is {}; only a dead letter is queued again", job.state.as_str());
            return Err(Refusal::WrongState(message));
        }
        let now_ms = self.now_ms();
        let moved =
            JobMoved::Requeue { rank: self.rank(&job, now_ms), expires_at_ms: now_ms + self.limits.queue_ms };
        self.move_job(number, moved, Vec::new())?;
        Ok(Answer::Done)
    }
}
