//! What the services look up for several calls, and refusals that several have.

use acgs_contracts::lifecycle::v1 as proto;
use acgs_lifecycle::{Command, policy::PolicyError};
use acgs_vocabulary::{Problem, problem::Kind};

use super::{ModelsDeps, checks::job_number, messages};

const LIST_DEFAULT: usize = 100;
const LIST_MAX: u32 = 1_000;

impl ModelsDeps {
    pub(super) fn model(&self, model_id: &str) -> Result<proto::Model, Problem> {
        let found = self.writer.look(|state| state.model(model_id).map(|model| messages::model(model)));
        found.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))
    }

    pub(super) fn version(&self, model_id: &str, name: &str) -> Result<proto::Version, Problem> {
        self.writer.look(|state| {
            let model = state.model(model_id);
            let model = model.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))?;
            let version = model.version(name);
            let version = version.ok_or_else(|| Problem::missing("version", name, "UNKNOWN_VERSION"))?;
            Ok(messages::version(model_id, version))
        })
    }

    pub(super) fn policy(&self, model_id: &str) -> Result<proto::Policy, Problem> {
        self.writer.look(|state| {
            let model = state.model(model_id);
            let model = model.ok_or_else(|| Problem::missing("model", model_id, "UNKNOWN_MODEL"))?;
            let policy = model.policy.as_ref();
            let policy = policy.ok_or_else(|| Problem::missing("policy", model_id, "UNKNOWN_POLICY"))?;
            messages::policy(model_id, model.policy_revision, policy)
        })
    }

    pub(super) async fn job(&self, number: u64) -> Result<proto::Job, Problem> {
        let found = self.writer.job(number).await?;
        let (model_id, job) =
            found.ok_or_else(|| Problem::missing("job", format!("job-{number}"), "UNKNOWN_JOB"))?;
        Ok(messages::job(&model_id, &job))
    }

    /// Sends a command about a job to its model.
    pub(super) async fn on_job(
        &self,
        job_id: &str,
        (actor, request_id): (&str, &str),
        command: impl FnOnce(u64) -> Command,
    ) -> Result<proto::Job, Problem> {
        let number = job_number(job_id)?;
        let found = self.writer.job(number).await?;
        let (model_id, _) = found.ok_or_else(|| Problem::missing("job", job_id, "UNKNOWN_JOB"))?;
        self.writer.submit_once(actor, request_id, &model_id, command(number)).await?;
        self.job(number).await
    }
}

/// A model whose streams are acknowledged in memory cannot be retrained from them.
pub(super) fn no_records() -> Problem {
    let message = "no records of the model are kept: streams have to be opened with durability LOG for that";
    Problem::new(Kind::Precondition, "NO_RECORDS", message)
}

/// The limit of a list.
pub(super) fn limit(asked: u32) -> Result<usize, Problem> {
    match asked {
        0 => Ok(LIST_DEFAULT),
        1..=LIST_MAX => Ok(asked as usize),
        _ => Err(Problem::field("limit", "BAD_LIMIT", format!("is {asked}, at most {LIST_MAX}"))),
    }
}

pub(super) fn bad_policy(field: &str, error: &PolicyError) -> Problem {
    match error {
        PolicyError::Unreadable(message) => Problem::field(field, "BAD_POLICY", message),
        PolicyError::Bound { field: part, message } | PolicyError::Contradiction { field: part, message } => {
            let within = field.trim_end_matches(".toml");
            Problem::field(part.clone(), "BAD_POLICY", message).within(within)
        }
    }
}
