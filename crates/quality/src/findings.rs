//! What is wrong, in words, and how grave it is. It must not know how it was measured, nor protobuf.

use acgs_statistics::surely::Rate;
use acgs_vocabulary::{Finding, Severity, finding::gravest, text::apart};

use crate::{
    config::Config,
    rates::{Counted, Then},
    report::{ColumnReport, Report},
};

/// Share of a column beyond which it is lost.
const LOST: f64 = 0.5;
/// Rows from which on a column without any value is lost, where nobody knows what to expect.
const LOST_ROWS_MIN: u64 = 20;
/// Fields that a description names.
const NAMED_MAX: usize = 5;

/// A rule of columns.
struct Rule {
    name: &'static str,
    what: &'static str,
    counted: Counted,
    /// Above which it is wrong where nobody knows what to expect; `None` where only a person can tell.
    alone: Option<f64>,
}

fn rules(config: &Config) -> [Rule; 4] {
    [
        Rule { name: "field_missing_values", what: "is missing", counted: Counted::Absent, alone: None },
        Rule {
            name: "field_invalid_values",
            what: "is invalid",
            counted: Counted::Invalid,
            alone: Some(config.invalid_rate_max),
        },
        Rule {
            name: "field_outliers",
            what: "is far from all other values",
            counted: Counted::Outliers,
            alone: Some(config.outlier_rate_max),
        },
        Rule {
            name: "field_stuck",
            what: "is in long runs of one value",
            counted: Counted::Stuck,
            alone: Some(config.stuck_rate_max),
        },
    ]
}

/// What is wrong with one column by one rule.
fn of_column(config: &Config, alpha: f64, column: &ColumnReport, rule: &Rule) -> Option<Finding> {
    if rule.counted == Counted::Absent && column.is_label {
        // A label that has not come yet is late, not missing.
        return None;
    }
    let found = column.found.of(rule.counted);
    let then = column.expected.map_or(Then::Unknown, |expected| expected.of(rule.counted).beside(found));
    let share = found.share();
    let worth = found.worth(column.worth.of(rule.counted));
    let (severity, threshold) = match (then, then.share()) {
        (Then::ByKey(_), _) => return None,
        (_, Some(expected)) => {
            let threshold = expected + config.rate_tolerance;
            let surely = share > threshold && then.is_surely_below(worth, alpha) == Some(true);
            let lost = share - expected > LOST;
            (surely.then_some(if lost { Severity::High } else { Severity::Medium })?, threshold)
        }
        (_, None) => alone(config, column, rule, found)?,
    };
    let (now, bound) = apart(share * 100.0, threshold * 100.0, 1);
    let then = match then {
        Then::Known(then) => format!("the reference had {:.1} %", then.share() * 100.0),
        Then::Never => "though it is required".to_owned(),
        Then::Unknown | Then::ByKey(_) => format!("the bound is {bound} %"),
    };
    let described = format!("{now} % of {} {}, {then}{}", column.name, rule.what, examples(column, rule));
    Some(Finding {
        rule: rule.name.into(),
        subject: column.name.clone(),
        severity,
        value: share,
        threshold,
        description: described,
    })
}

/// Where nobody knows what to expect.
fn alone(config: &Config, column: &ColumnReport, rule: &Rule, found: Rate) -> Option<(Severity, f64)> {
    let share = found.share();
    let Some(threshold) = rule.alone else {
        let threshold = config.field_missing_rate_max;
        let is_lost = found.events >= found.rows && found.rows >= LOST_ROWS_MIN as f64;
        let must = column.required && found.is_surely_beyond(config.invalid_rate_max, config.alpha_alone());
        return match (must, is_lost) {
            (true, _) if share > LOST => Some((Severity::High, config.invalid_rate_max)),
            (true, _) => Some((Severity::Medium, config.invalid_rate_max)),
            (false, true) => Some((Severity::Medium, threshold)),
            (false, false) => (share > threshold).then_some((Severity::Low, threshold)),
        };
    };
    let is_sure = found.is_surely_beyond(threshold, config.alpha_alone());
    is_sure.then_some((if share > LOST { Severity::High } else { Severity::Medium }, threshold))
}

/// A few cells that cannot be.
fn examples(column: &ColumnReport, rule: &Rule) -> String {
    if column.examples.is_empty() || rule.name != "field_invalid_values" {
        return String::new();
    }
    let named: Vec<String> =
        column.examples.iter().map(|example| format!("{} in row {}", example.value, example.row)).collect();
    format!(" (such as {})", named.join(", "))
}

/// Of which fields, the worst first.
fn worst_invalid(report: &Report) -> String {
    let mut fields: Vec<&ColumnReport> =
        report.columns.iter().filter(|column| column.invalid_count > 0).collect();
    fields.sort_by_key(|column| std::cmp::Reverse(column.invalid_count));
    let name = |column: &&ColumnReport| format!("{} of {}", column.invalid_count, column.name);
    let more = fields.len().saturating_sub(NAMED_MAX);
    let mut names: Vec<String> = fields.iter().take(NAMED_MAX).map(name).collect();
    if more > 0 {
        names.push(format!("{more} more fields"));
    }
    names.join(", ")
}

/// What is wrong, gravest first.
#[must_use]
pub fn findings(config: &Config, report: &Report) -> Vec<Finding> {
    let alpha = config.alpha(report.columns.len());
    let rules = rules(config);
    let mut found: Vec<Finding> = report
        .columns
        .iter()
        .flat_map(|column| rules.iter().filter_map(|rule| of_column(config, alpha, column, rule)))
        .collect();
    found.extend(report.columns.iter().filter_map(constant));
    found.extend(report.columns.iter().filter_map(|column| not_finite(config, report, column)));
    // One fact is told once: of the column, where that is known.
    let of_columns =
        |rule: &str| found.iter().any(|finding| finding.rule == rule && finding.severity > Severity::Low);
    let is_beside = report.columns.iter().any(|column| column.expected.is_some());
    let mut of_all = Vec::new();
    let sum = |counted: Counted| {
        let counts = |column: &&ColumnReport| counted != Counted::Absent || !column.is_label;
        let rates = report.columns.iter().filter(counts).map(|column| column.found.of(counted));
        rates.fold(Rate::default(), |sum, rate| Rate {
            events: sum.events + rate.events,
            rows: sum.rows + rate.rows,
        })
    };
    let mut above = |rule: &str, of_column: &str, counted: Counted, threshold: f64, what: &str| {
        let rate = sum(counted);
        let is_sure = rate.is_surely_beyond(threshold, config.alpha_alone());
        if is_sure && !is_beside && !of_columns(of_column) {
            let value = rate.share();
            let severity = if value > 2.0 * threshold { Severity::High } else { Severity::Medium };
            let (found_value, bound) = apart(value * 100.0, threshold * 100.0, 1);
            let words = format!("{found_value} % {what}; the bound is {bound} %");
            of_all.push(table(rule, severity, (value, threshold), words));
        }
    };
    let (absent, invalid, outliers) = (Counted::Absent, Counted::Invalid, Counted::Outliers);
    let (missing_max, invalid_max) = (config.missing_rate_max, config.invalid_rate_max);
    above("missing_values", "field_missing_values", absent, missing_max, "of cells are missing");
    let of_invalid = format!("of present cells are invalid ({})", worst_invalid(report));
    above("invalid_values", "field_invalid_values", invalid, invalid_max, &of_invalid);
    above("outliers", "field_outliers", outliers, config.outlier_rate_max, "of numbers are far outliers");
    found.extend(of_all);
    found.extend(duplicates(config, alpha, report));
    found.extend(times(config, report));
    // The original calls less than three quarters of its bound critical.
    let score = report.overall_score;
    if score < config.overall_score_min {
        let grave = score < config.overall_score_min * 0.75;
        let severity = if grave { Severity::Critical } else { Severity::High };
        let (found_value, bound) = apart(score, config.overall_score_min, 2);
        let worst = report.column_score_worst.as_ref().map_or_else(String::new, |(name, score)| {
            format!("; the worst column is {name} with {score:.2}")
        });
        let words = format!("the overall score is {found_value}, below {bound}{worst}");
        found.push(table("overall_score", severity, (score, config.overall_score_min), words));
    }
    gravest(found)
}

fn table(rule: &str, severity: Severity, (value, threshold): (f64, f64), description: String) -> Finding {
    Finding { rule: rule.into(), subject: String::new(), severity, value, threshold, description }
}

/// A column that used to change and does no more.
fn constant(column: &ColumnReport) -> Option<Finding> {
    let changes = column.expected.filter(|_| column.score.is_lost_constant)?.changes?;
    let changed = 1.0 - changes.repeats.share();
    Some(Finding {
        rule: "field_constant".into(),
        subject: column.name.clone(),
        severity: Severity::Medium,
        value: 0.0,
        threshold: changed,
        description: format!(
            "all values of {} are the same, in the reference {:.1} % of rows changed it",
            column.name,
            changed * 100.0
        ),
    })
}

fn not_finite(config: &Config, report: &Report, column: &ColumnReport) -> Option<Finding> {
    let (count, threshold) = (column.not_finite_count, config.invalid_rate_max);
    let value = count as f64 / report.row_count.max(1) as f64;
    (value > threshold).then(|| Finding {
        rule: "field_not_finite".into(),
        subject: column.name.clone(),
        severity: Severity::Low,
        value,
        threshold,
        description: format!("{:.1} % of {} is not a finite number", value * 100.0, column.name),
    })
}

/// Rows that repeat.
fn duplicates(config: &Config, alpha: f64, report: &Report) -> Option<Finding> {
    report.uniqueness_score?;
    let (found, what) =
        (report.duplicates, if report.by_id { "of rows repeat an id" } else { "of rows repeat a row" });
    let share = found.share();
    let (is_wrong, threshold, then) = match report.expected_duplicates {
        Some(expected) => {
            let threshold = expected.share() + config.rate_tolerance;
            let surely = found.worth(report.worth).is_surely_above(expected, alpha);
            (
                share > threshold && surely,
                threshold,
                format!("the reference had {:.1} %", expected.share() * 100.0),
            )
        }
        None => {
            let threshold = config.duplicate_rate_max;
            let surely = found.is_surely_beyond(threshold, config.alpha_alone());
            (surely, threshold, format!("the bound is {:.1} %", threshold * 100.0))
        }
    };
    let severity = if share > 2.0 * threshold { Severity::High } else { Severity::Medium };
    is_wrong.then(|| {
        table("duplicates", severity, (share, threshold), format!("{:.1} % {what}, {then}", share * 100.0))
    })
}

/// Times that are ahead, or old.
fn times(config: &Config, report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let (ahead, bound) = (report.future_rate, config.invalid_rate_max);
    if ahead > bound {
        let severity = if ahead > LOST { Severity::High } else { Severity::Medium };
        let words = format!("{:.1} % of event times are ahead of the clock", ahead * 100.0);
        found.push(table("future_times", severity, (ahead, bound), words));
    }
    let untimed = report.untimed_rate;
    if untimed > bound {
        let severity = if untimed > LOST { Severity::High } else { Severity::Medium };
        let words = format!("{:.1} % of rows have no event time", untimed * 100.0);
        found.push(table("missing_times", severity, (untimed, bound), words));
    }
    if let Some(score) = report.freshness_score.filter(|score| *score < config.freshness_score_min) {
        let (found_value, bound) = apart(score, config.freshness_score_min, 2);
        let words = format!("the freshness score is {found_value}, below {bound}");
        found.push(table("freshness", Severity::Low, (score, config.freshness_score_min), words));
    }
    found
}
