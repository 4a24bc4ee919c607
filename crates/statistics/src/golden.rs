//! Reference values made with scipy and scikit-learn. See tests/golden/README.md.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use crate::{
    categorical,
    classes::{ClassCount, ClassFigures, ClassLosses},
    moments::Moments,
    regression::ErrorSums,
    score, two_sample,
};

fn golden(path: &str) -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    serde_json::from_str(&fs::read_to_string(root.join(path)).unwrap()).unwrap()
}

/// The generator that the golden files describe.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 * 2f64.powi(-53)
    }
}

fn sample(input: &Value) -> Vec<f64> {
    match input["kind"].as_str().unwrap() {
        "values" => input["values"].as_array().unwrap().iter().filter_map(Value::as_f64).collect(),
        "bits" => input["bits"].as_str().unwrap().bytes().map(|bit| f64::from(bit - b'0')).collect(),
        "lcg" => generate(input),
        other => panic!("kind {other}"),
    }
}

fn generate(input: &Value) -> Vec<f64> {
    let mut lcg = Lcg(input["seed"].as_u64().unwrap());
    let missing = input["missing_p"].as_f64();
    let mut values = Vec::new();
    for segment in input["segments"].as_array().unwrap() {
        let of = |name: &str| segment[name].as_f64().unwrap();
        for _ in 0..segment["n"].as_u64().unwrap() {
            let value = match segment["dist"].as_str().unwrap() {
                "uniform" => of("a") + (of("b") - of("a")) * lcg.next(),
                "ih12" => {
                    let sum: f64 = (0..12).fold(0.0, |sum, _| sum + lcg.next());
                    of("mu") + of("sigma") * (sum - 6.0)
                }
                "ratio" => {
                    let u = lcg.next();
                    of("scale") * u / (1.0 - u)
                }
                "grid" => of("a") + of("step") * (lcg.next() * of("k")).floor(),
                "bern" => f64::from(u8::from(lcg.next() < of("p"))),
                "const" => {
                    lcg.next();
                    of("c")
                }
                other => panic!("dist {other}"),
            };
            if missing.is_none_or(|share| lcg.next() >= share) {
                values.push(value);
            }
        }
    }
    values
}

fn close(name: &str, found: f64, wanted: f64, relative: f64) {
    let error = (found - wanted).abs();
    assert!(error <= relative * wanted.abs() + 1e-12, "{name}: {found} for {wanted}");
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect()
}

#[test]
fn two_samples_agree_with_scipy() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/two_sample");
    let mut exact_checked = 0;
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let case = golden(&format!("two_sample/{name}"));
        let (mut first, mut second) = (sample(&case["reference"]), sample(&case["current"]));
        let check = &case["input_check"]["reference"];
        let missing = check["n_missing"].as_u64().unwrap();
        assert_eq!(first.len() as u64 + missing, check["n_total"].as_u64().unwrap(), "{name}");
        first.sort_by(f64::total_cmp);
        second.sort_by(f64::total_cmp);
        let scipy = &case["scipy"];
        let statistic = two_sample::ks_statistic(&first, &second);
        close(&name, statistic, scipy["ks"]["statistic"].as_f64().unwrap(), 1e-9);
        if let Some(p_value) = scipy["ks"]["exact"]["pvalue"].as_f64()
            && first.len() * second.len() <= two_sample::EXACT_PRODUCT_MAX
            && p_value > 1e-12
        {
            close(&name, two_sample::ks_p_value(statistic, first.len(), second.len()), p_value, 1e-4);
            exact_checked += 1;
        }
        if let Some(distance) = scipy["wasserstein"].as_f64() {
            close(&name, two_sample::wasserstein(&first, &second), distance, 1e-9);
        }
    }
    assert!(exact_checked >= 12, "{exact_checked} exact p-values");
}

#[test]
fn bins_agree_with_scipy() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/two_sample");
    let mut checked = 0;
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let case = golden(&format!("two_sample/{name}"));
        for binning in ["ref_decile_right_closed", "pooled_10_equal_width"] {
            let binned = &case["scipy"]["binned"][binning];
            if !binned["reference_counts"].is_array() {
                continue;
            }
            let (first, second) = (counts(&binned["reference_counts"]), counts(&binned["current_counts"]));
            let wanted = |key: &str| binned[key].as_f64().unwrap();
            close(&name, categorical::psi(&first, &second), wanted("psi_eps1e-4"), 1e-9);
            close(&name, categorical::jensen_shannon(&first, &second), wanted("js_distance_base2"), 1e-6);
            close(&name, categorical::total_variation(&first, &second), wanted("tvd"), 1e-9);
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} binnings");
}

#[test]
fn categories_agree_with_scipy() {
    for case in golden("categorical.json")["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let scipy = &case["scipy"];
        let (first, second) = (counts(&scipy["reference_counts"]), counts(&scipy["current_counts"]));
        if let Some(statistic) = scipy["chi2_no_yates"]["statistic"].as_f64() {
            let Some(test) = categorical::chi_square_plain(&first, &second) else {
                assert_eq!(first.len(), 1, "{name}: only one category is not testable");
                continue;
            };
            close(name, test.statistic, statistic, 1e-9);
            close(name, test.p_value, scipy["chi2_no_yates"]["pvalue"].as_f64().unwrap(), 1e-6);
            close(name, test.degrees_of_freedom, scipy["chi2_no_yates"]["dof"].as_f64().unwrap(), 0.0);
        }
        let distances = &scipy["distances"];
        close(name, categorical::psi(&first, &second), distances["psi_eps1e-4"].as_f64().unwrap(), 1e-9);
        let js = distances["js_distance_base2"].as_f64().unwrap();
        close(name, categorical::jensen_shannon(&first, &second), js, 1e-6);
        close(name, categorical::total_variation(&first, &second), distances["tvd"].as_f64().unwrap(), 1e-9);
    }
}

#[test]
fn scores_agree_with_scikit_learn() {
    for case in golden("windows_performance.json")["performance"].as_array().unwrap() {
        let mut lcg = Lcg(case["seed"].as_u64().unwrap());
        let shift = case["shift"].as_f64().unwrap();
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..case["n"].as_u64().unwrap() {
            let s = lcg.next();
            scores.push((s * 1000.0).floor() / 1000.0);
            labels.push(lcg.next() < (s * (1.0 - shift) + shift * 0.3).clamp(0.0, 1.0));
            lcg.next();
            lcg.next();
        }
        let sum = labels.iter().filter(|label| **label).count() as u64;
        assert_eq!(sum, case["check"]["sum_y"].as_u64().unwrap());
        let mut sums = score::ScoreSums::default();
        let half = scores.len() / 2;
        sums.push_slice(&scores[..half], &labels[..half]);
        let mut rest = score::ScoreSums::default();
        rest.push_slice(&scores[half..], &labels[half..]);
        sums.merge(&rest);
        let wanted = |key: &str| case["classification"][key].as_f64().unwrap();
        close("brier", sums.brier().unwrap().value, wanted("brier"), 1e-9);
        close("log loss", sums.log_loss().unwrap().value, wanted("log_loss_clip1e-15"), 1e-9);
        close("accuracy", sums.accuracy().unwrap().value, wanted("accuracy"), 1e-9);
        close("calibration", sums.calibration_error().unwrap(), wanted("ece_10_equal_width_bins"), 1e-9);
        close("area", score::area_exact(&scores, &labels).unwrap().value, wanted("roc_auc"), 1e-9);
        close("area of cells", sums.area().unwrap().value, wanted("roc_auc"), 1e-3);
    }
}

/// As near as sums in another order come, and as cells of scores do.
fn same(name: &str, found: Option<f64>, wanted: &Value, tolerance: f64) {
    match (found, wanted.as_f64()) {
        (Some(found), Some(wanted)) => close(name, found, wanted, tolerance),
        (found, wanted) => assert_eq!(found, wanted, "{name}"),
    }
}

#[test]
fn every_figure_of_scores_agrees_with_scikit_learn() {
    for case in golden("scores.json")["binary"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let numbers = |of: &str| case[of].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        let scores: Vec<f64> = numbers("scores");
        let labels: Vec<f64> = numbers("labels");
        let labels: Vec<bool> = labels.into_iter().map(|label| label > 0.5).collect();
        let mut sums = score::ScoreSums::default();
        for (scores, labels) in scores.chunks(37).zip(labels.chunks(37)) {
            let mut part = score::ScoreSums::default();
            part.push_slice(scores, labels);
            sums.merge(&part);
        }
        let wanted = &case["expected"];
        let confusion = sums.confusion();
        // Of few rows two that share a cell make a difference.
        let of_cells = if scores.len() < 10 { 1.0 } else { 4e-3 };
        let value = |estimate: Option<score::Estimate>| estimate.map(|estimate| estimate.value);
        for (figure, found, tolerance) in [
            ("brier", value(sums.brier()), 1e-9),
            ("log_loss", value(sums.log_loss()), 1e-9),
            ("accuracy", value(sums.accuracy()), 1e-12),
            ("roc_auc", value(sums.area()), of_cells),
            ("roc_auc", value(score::area_exact(&scores, &labels)), 1e-12),
            ("average_precision", sums.average_precision(), 20.0 * of_cells),
            ("precision", value(confusion.precision()), 1e-12),
            ("recall", value(confusion.recall()), 1e-12),
            ("specificity", value(confusion.specificity()), 1e-12),
            ("f1", confusion.f1(), 1e-12),
            ("balanced_accuracy", confusion.balanced_accuracy(), 1e-12),
            ("matthews", confusion.matthews(), 1e-12),
        ] {
            same(&format!("{name}: {figure}"), found, &wanted[figure], tolerance);
        }
        let counts = [
            ("true_positives", confusion.true_positives),
            ("false_positives", confusion.false_positives),
            ("false_negatives", confusion.false_negatives),
            ("true_negatives", confusion.true_negatives),
        ];
        assert!(counts.iter().all(|(count, found)| wanted[*count].as_u64() == Some(*found)), "{name}");
    }
}

#[test]
fn every_figure_of_numbers_agrees_with_scikit_learn() {
    for case in golden("scores.json")["numbers"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let numbers = |of: &str| case[of].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        let (said, truths): (Vec<f64>, Vec<f64>) = (numbers("predictions"), numbers("labels"));
        let mut sums = ErrorSums::default();
        for (said, truths) in said.chunks(37).zip(truths.chunks(37)) {
            let mut part = ErrorSums::default();
            part.push_slice(said, truths);
            sums.merge(&part);
        }
        let wanted = &case["expected"];
        for (figure, found) in [
            ("mean_absolute_error", sums.mean_absolute().map(|it| it.value)),
            ("root_mean_square_error", sums.root_mean_square().map(|it| it.value)),
            ("bias", sums.bias().map(|it| it.value)),
            ("mean_absolute_percentage_error", sums.mean_absolute_percentage().map(|it| it.value)),
            ("r_squared", sums.explained()),
        ] {
            same(&format!("{name}: {figure}"), found, &wanted[figure], 1e-9);
        }
    }
}

#[test]
fn every_figure_of_classes_agrees_with_scikit_learn() {
    for case in golden("scores.json")["classes"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let words = |of: &str| case[of].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let (said, truths): (Vec<&str>, Vec<&str>) = (words("predictions"), words("labels"));
        let mut classes: BTreeMap<&str, ClassCount> = BTreeMap::new();
        for (said, truth) in said.into_iter().zip(truths) {
            classes.entry(truth).or_default().truth += 1;
            classes.entry(said).or_default().said += 1;
            classes.entry(said).or_default().right += u64::from(said == truth);
        }
        let counts: Vec<ClassCount> = classes.into_values().collect();
        let found = ClassFigures::of(&counts).unwrap();
        let wanted = &case["expected"];
        for (figure, found) in [
            ("macro_precision", Some(found.macro_precision.value)),
            ("macro_recall", Some(found.macro_recall.value)),
            ("macro_f1", Some(found.macro_f1)),
            ("weighted_f1", Some(found.weighted_f1)),
            ("kappa", found.kappa),
            ("matthews", found.matthews),
        ] {
            same(&format!("{name}: {figure}"), found, &wanted[figure], 1e-9);
        }
    }
}

#[test]
fn losses_of_class_scores_agree_with_scikit_learn() {
    for case in golden("scores.json")["class_scores"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let numbers = |of: &Value| of.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        let scores: Vec<Vec<f64>> = case["scores"].as_array().unwrap().iter().map(numbers).collect();
        let truths: Vec<f64> = numbers(&case["labels"]);
        let rows: Vec<(&[f64], usize)> =
            scores.iter().zip(truths).map(|(scores, truth)| (scores.as_slice(), truth as usize)).collect();
        let mut losses = ClassLosses::default();
        for rows in rows.chunks(37) {
            let mut part = ClassLosses::default();
            part.push(rows.iter().copied());
            losses.merge(&part);
        }
        assert_eq!(losses.counts(), (rows.len() as u64, 0));
        let wanted = &case["expected"];
        same(&format!("{name}: log loss"), losses.log_loss().map(|it| it.value), &wanted["log_loss"], 1e-9);
        same(&format!("{name}: Brier"), losses.brier().map(|it| it.value), &wanted["brier"], 1e-9);
    }
}

#[test]
fn losses_of_quantiles_agree_with_scikit_learn() {
    for case in golden("scores.json")["quantiles"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let numbers = |of: &str| case[of].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        let (said, truths): (Vec<f64>, Vec<f64>) = (numbers("predictions"), numbers("labels"));
        let mut sums = ErrorSums::default();
        for (said, truths) in said.chunks(37).zip(truths.chunks(37)) {
            let mut part = ErrorSums::default();
            part.push_quantiles(said, truths, case["quantile"].as_f64().unwrap());
            sums.merge(&part);
        }
        let wanted = &case["expected"];
        let loss = sums.mean_quantile_loss().map(|it| it.value);
        same(&format!("{name}: loss"), loss, &wanted["quantile_loss"], 1e-9);
        same(&format!("{name}: covered"), sums.covered().map(|it| it.value), &wanted["covered"], 1e-9);
    }
}

#[test]
fn moments_agree_with_the_cases() {
    let cases = golden("windows.json");
    for case in cases["statistics_cases"].as_array().unwrap() {
        let panes: Vec<&Value> = match case["panes"].as_array() {
            Some(panes) => panes.iter().collect(),
            None => vec![&case["values"]],
        };
        let mut moments = Moments::default();
        for pane in panes {
            let values: Vec<f64> = pane.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
            let mut of_pane = Moments::default();
            of_pane.push_slice(&values);
            moments.merge(&of_pane);
        }
        let wanted = &case["expected"];
        assert_eq!(moments.count(), wanted["count"].as_u64().unwrap());
        close("mean", moments.mean().unwrap(), wanted["mean"].as_f64().unwrap(), 1e-12);
        match wanted.get("std_sample") {
            Some(Value::Null) => assert_eq!(moments.sample_standard_deviation(), None),
            Some(value) => {
                close("std", moments.sample_standard_deviation().unwrap(), value.as_f64().unwrap(), 1e-9);
            }
            None => {}
        }
        if let Some(value) = wanted["std_population"].as_f64() {
            close("std", moments.population_standard_deviation().unwrap(), value, 1e-9);
        }
    }
}
