//! `Compare` without a service: two samples of one variable, and tests by name.

use acgs_contracts::drift::v1 as proto;
use acgs_vocabulary::Problem;

use super::report_message;
use crate::compare::{self, TESTS};

/// Most values of one sample to compare.
const SAMPLE_MAX: usize = 1_000_000;

/// Runs the tests that are asked for.
///
/// # Errors
/// Naming the field.
pub(super) fn compare_now(request: &proto::CompareRequest) -> Result<proto::CompareResponse, Problem> {
    let of_categories = !request.reference_categories.is_empty() || !request.current_categories.is_empty();
    let lengths = [
        ("reference", request.reference.len(), of_categories),
        ("current", request.current.len(), of_categories),
        ("reference_categories", request.reference_categories.len(), !of_categories),
        ("current_categories", request.current_categories.len(), !of_categories),
    ];
    for (path, length, other) in lengths {
        if length > SAMPLE_MAX {
            return Err(Problem::field(
                path,
                "TOO_MANY_ROWS",
                format!("holds {length} values, at most {SAMPLE_MAX}"),
            ));
        }
        if length == 0 && !other {
            return Err(Problem::field(path, "EMPTY_DATA", "holds no values"));
        }
        if length > 0 && other {
            return Err(Problem::field(path, "MIXED_SAMPLES", "numbers and categories cannot be mixed"));
        }
    }
    if request.tests.len() > TESTS.len() {
        let message = format!("names {} tests, there are {}", request.tests.len(), TESTS.len());
        return Err(Problem::field("tests", "TOO_MANY", message));
    }
    if let Some(index) = request.tests.iter().position(|test| !TESTS.contains(&test.as_str())) {
        let message = format!("{:?} is none of {TESTS:?}", request.tests[index]);
        return Err(Problem::field(format!("tests[{index}]"), "UNKNOWN_TEST", message));
    }
    let (then, now) = (compare::sorted(&request.reference), compare::sorted(&request.current));
    let run = |test: &str| {
        if of_categories {
            compare::categorical(test, &request.reference_categories, &request.current_categories)
        } else {
            compare::numeric(test, &then, &now)
        }
    };
    let outcomes: Vec<compare::Outcome> = if request.tests.is_empty() {
        TESTS.iter().map(|test| run(test)).filter(|outcome| outcome.not_applicable.is_empty()).collect()
    } else {
        request.tests.iter().map(|test| run(test)).collect()
    };
    let count = |numbers: &[f64], categories: &[String]| if of_categories { categories.len() } else { numbers.len() } as u64;
    Ok(proto::CompareResponse {
        results: outcomes.into_iter().map(report_message::outcome).collect(),
        reference_count: count(&then, &request.reference_categories),
        current_count: count(&now, &request.current_categories),
    })
}
