//! Refusals of the machines in the words of everyone. It must not know who asked.

use acgs_lifecycle::Refusal;
use acgs_vocabulary::{Problem, problem::Kind};

/// A refusal in the words of everyone.
#[must_use]
pub(crate) fn problem(refusal: &Refusal) -> Problem {
    let says = refusal.to_string();
    let precondition = |reason| Problem::new(Kind::Precondition, reason, says.clone());
    match refusal {
        Refusal::UnknownModel(model) => Problem::missing("model", model, "UNKNOWN_MODEL"),
        Refusal::UnknownVersion(version) => Problem::missing("version", version, "UNKNOWN_VERSION"),
        Refusal::UnknownJob(job) => Problem::missing("job", format!("job-{job}"), "UNKNOWN_JOB"),
        Refusal::UnknownDeployment(number) => {
            Problem::missing("deployment", format!("deployment-{number}"), "UNKNOWN_DEPLOYMENT")
        }
        Refusal::NoPolicy(_) => precondition("NO_POLICY"),
        Refusal::VersionExists(_) => precondition("VERSION_EXISTS"),
        Refusal::DigestExists(_) => precondition("DIGEST_EXISTS"),
        Refusal::Full(_) => Problem::exhausted("LIFECYCLE_FULL", says, 60_000),
        Refusal::Revision { .. } => precondition("REVISION"),
        Refusal::WrongState(_) => precondition("WRONG_STATE"),
        Refusal::NoStandby(_) => precondition("NO_STANDBY"),
        Refusal::Champion { .. } => precondition("CHAMPION"),
        Refusal::RequestReused { .. } => precondition("REQUEST_REUSED"),
        Refusal::SamePerson(_) => precondition("SAME_PERSON"),
        Refusal::NotNow(_) => precondition("NOT_NOW"),
        Refusal::Broken(_) => Problem::internal(says),
    }
}
