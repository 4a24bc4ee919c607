//! How sound a reference was, from and to its message. It must not know what is judged by it.

use acgs_columns::schema::FIELDS_MAX;
use acgs_contracts::drift::v1 as proto;
use acgs_vocabulary::Problem;

use crate::{
    rates::{Fences, FieldRates, Rates},
    reference::ROWS_MAX,
    runs::Runs,
    soundness::{CellCounts, Soundness},
};

/// The message.
pub(crate) fn to_proto(rates: &Rates) -> proto::Rates {
    let field = |it: &FieldRates| {
        let (cells, runs) = (it.soundness.cells, it.soundness.runs);
        let (long_rows, long_runs) = runs.long();
        proto::FieldRates {
            name: it.name.clone(),
            row_count: cells.rows,
            missing_count: cells.missing,
            blank_count: cells.blank,
            not_finite_count: cells.not_finite,
            out_of_range_count: cells.out_of_range,
            value_count: runs.values(),
            repeat_count: runs.repeats(),
            long_run_rows: long_rows,
            long_runs,
            lower_fence: it.fences.map(|fences| fences.lower),
            upper_fence: it.fences.map(|fences| fences.upper),
            beyond_count: it.fences.map_or(0, |fences| fences.beyond),
            number_count: it.fences.map_or(0, |fences| fences.count),
        }
    };
    proto::Rates {
        fields: rates.fields.iter().map(field).collect(),
        in_order: rates.in_order,
        repeated_count: rates.repeated.map(|(repeated, _)| repeated),
        repeatable_count: rates.repeated.map_or(0, |(_, all)| all),
    }
}

/// From the message.
///
/// # Errors
/// `BAD_REFERENCE`.
pub(crate) fn decode(message: proto::Rates) -> Result<Rates, Problem> {
    let bad = |what: &str| Problem::field("reference.rates", "BAD_REFERENCE", what);
    if message.fields.len() > FIELDS_MAX {
        return Err(bad("has more fields than a schema"));
    }
    let field = |it: proto::FieldRates| {
        let cells = CellCounts {
            rows: it.row_count,
            missing: it.missing_count,
            blank: it.blank_count,
            not_finite: it.not_finite_count,
            out_of_range: it.out_of_range_count,
            misfits: 0,
        };
        let runs = Runs::of_reference(it.value_count, it.repeat_count, it.long_run_rows, it.long_runs);
        let soundness = Soundness { cells, runs };
        let fences = it.lower_fence.zip(it.upper_fence).map(|(lower, upper)| Fences {
            lower,
            upper,
            beyond: it.beyond_count,
            count: it.number_count,
        });
        let are_fences = |fences: &Fences| {
            fences.lower <= fences.upper && fences.beyond <= fences.count && fences.count <= ROWS_MAX
        };
        let is_sound = soundness.is_sound() && cells.rows <= ROWS_MAX && fences.iter().all(are_fences);
        is_sound.then_some(FieldRates { name: it.name, soundness, fences })
    };
    let fields: Option<Vec<FieldRates>> = message.fields.into_iter().map(field).collect();
    let repeated = message.repeated_count.map(|repeated| (repeated, message.repeatable_count));
    if repeated.is_some_and(|(repeated, all)| repeated > all || all > ROWS_MAX) {
        return Err(bad("has more repeated rows than rows"));
    }
    let in_order = message.in_order;
    Ok(Rates {
        in_order,
        fields: fields.ok_or_else(|| bad("has a field with counts that cannot be"))?,
        repeated,
    })
}
