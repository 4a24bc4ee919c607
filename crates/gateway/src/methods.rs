//! Which methods of model servers go through, and which of them may be carried out twice. It must not know where a call goes.

use acgs_inference::peek::INFERENCE;
use acgs_vocabulary::{Problem, problem::Kind};

/// Methods of the Open Inference Protocol that ask and change nothing. Others of its servers load and unload models, share memory, change
/// settings.
const ASKING: [&str; 9] = [
    "ModelInfer",
    "ModelStreamInfer",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
];

/// Whether a call may be carried out twice: it asks, with one message each way.
#[must_use]
pub fn is_repeatable(path: &str) -> bool {
    is_asking(path) && !path.ends_with("/ModelStreamInfer") && !path.ends_with("/ServerMetadata")
}

fn is_asking(path: &str) -> bool {
    path.strip_prefix(INFERENCE).is_some_and(|method| ASKING.contains(&method))
}

/// Whether a method goes through: one that is listed, as `/package.Service/Method` or `/package.Service/*`. Where nothing is listed, what asks
/// by the Open Inference Protocol, and any method of other services.
///
/// # Errors
/// `METHOD_NOT_ALLOWED`.
pub fn check(path: &str, listed: &[String]) -> Result<(), Problem> {
    let is_listed = |entry: &String| match entry.strip_suffix('*') {
        Some(service) => path.starts_with(service),
        None => entry == path,
    };
    let allowed = match listed {
        // Servers have services of their own beside it, in its package, that load and unload models.
        [] => !path.starts_with("/inference.") || is_asking(path),
        listed => listed.iter().any(is_listed),
    };
    if allowed {
        return Ok(());
    }
    let message = format!("{path} does not go through; `methods` of the model's policy says which do");
    Err(Problem::new(Kind::Unimplemented, "METHOD_NOT_ALLOWED", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_server_goes_through_only_when_it_is_listed() {
        let unload = "/inference.GRPCInferenceService/RepositoryModelUnload";
        let infer = "/inference.GRPCInferenceService/ModelInfer";
        let other = "/tensorflow.serving.PredictionService/Predict";
        assert_eq!(check(unload, &[]).unwrap_err().reason(), "METHOD_NOT_ALLOWED");
        assert!(check(infer, &[]).is_ok() && check(other, &[]).is_ok());
        let listed = ["/inference.GRPCInferenceService/*".to_owned()];
        assert!(check(unload, &listed).is_ok() && check(infer, &listed).is_ok());
        assert!(check(other, &listed).is_err(), "what is listed is all");
        assert!(check(infer, &[unload.to_owned()]).is_err());
        assert!(is_repeatable(infer) && !is_repeatable(unload));
        assert!(!is_repeatable("/inference.GRPCInferenceService/ModelStreamInfer"));
    }
}
