//! Rooms, floors and arrows as ARCHITECTURE.md draws them, and sizes that stay readable.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use acgs_tests::root;

/// Which of our packages a package may use. Arrows go down only.
const ALLOWED: [(&str, &[&str]); 20] = [
    ("acgs-contracts", &[]),
    ("acgs-columns", &[]),
    ("acgs-windowing", &[]),
    ("acgs-statistics", &[]),
    ("acgs-vocabulary", &["acgs-contracts", "acgs-columns"]),
    ("acgs-lane", &["acgs-contracts", "acgs-columns", "acgs-vocabulary"]),
    (
        "acgs-quality",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-vocabulary",
            "acgs-standing",
            "acgs-lane",
        ],
    ),
    (
        "acgs-drift",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-vocabulary",
            "acgs-standing",
            "acgs-lane",
        ],
    ),
    (
        "acgs-performance",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-vocabulary",
            "acgs-standing",
            "acgs-lane",
        ],
    ),
    ("acgs-standing", &["acgs-vocabulary"]),
    ("acgs-mesh", &["acgs-contracts", "acgs-vocabulary"]),
    ("acgs-events", &["acgs-vocabulary"]),
    ("acgs-interchange", &["acgs-columns"]),
    ("acgs-trainers", &["acgs-columns"]),
    ("acgs-lifecycle", &["acgs-statistics", "acgs-vocabulary"]),
    ("acgs-gateway", &["acgs-contracts", "acgs-columns", "acgs-mesh", "acgs-statistics", "acgs-vocabulary"]),
    (
        "acgs-orchestrator",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-windowing",
            "acgs-vocabulary",
            "acgs-interchange",
            "acgs-lane",
            "acgs-lifecycle",
        ],
    ),
    (
        "acgs",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-vocabulary",
            "acgs-lane",
            "acgs-quality",
            "acgs-drift",
            "acgs-performance",
            "acgs-mesh",
            "acgs-events",
            "acgs-interchange",
            "acgs-lifecycle",
            "acgs-orchestrator",
            "acgs-gateway",
            "acgs-trainers",
        ],
    ),
    (
        "acgs-tests",
        &[
            "acgs",
            "acgs-contracts",
            "acgs-columns",
            "acgs-events",
            "acgs-interchange",
            "acgs-lane",
            "acgs-mesh",
            "acgs-vocabulary",
        ],
    ),
    ("xtask", &[]),
];
const FILE_LINES_MAX: usize = 500;
const VOCABULARY_LINES_MAX: usize = 2_000;
/// Words that production code of pure rooms must not say.
const IMPURE: [&str; 5] = ["SystemTime", "Instant::now", "tokio", "std::fs", "std::net"];

#[test]
fn arrows_go_down_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(room, below)| (*room, below.iter().copied().collect())).collect();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let below = allowed.get(name).unwrap_or_else(|| panic!("{name} has no place in the table"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let ours = packages.iter().any(|package| package["name"] == used);
            let fine = !ours || below.contains(used) || used == name;
            assert!(fine, "{name} must not use {used}");
        }
    }
    assert_eq!(packages.len(), ALLOWED.len(), "a room is in the table when it exists");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = vec![root().join("build.rs"), root().join("proto/lib.rs")];
    sources(&root().join("crates"), &mut found);
    sources(&root().join("tests"), &mut found);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn files_say_what_they_are_and_stay_readable() {
    for (path, text) in all_sources() {
        let shown = path.display();
        assert!(text.starts_with("//!"), "{shown} does not open with what it is");
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{shown} has {lines} lines, at most {FILE_LINES_MAX}");
    }
}

#[test]
fn the_vocabulary_stays_small() {
    let lines: usize = all_sources()
        .iter()
        .filter(|(path, _)| path.starts_with(root().join("crates/vocabulary/src")))
        .filter(|(path, _)| !path.to_string_lossy().ends_with("_tests.rs"))
        .map(|(_, text)| text.lines().count())
        .sum();
    assert!(lines <= VOCABULARY_LINES_MAX, "{lines} lines");
}

#[test]
fn ground_and_domains_are_pure() {
    let pure = [
        "crates/columns/src",
        "crates/statistics/src",
        "crates/windowing/src",
        "crates/orchestrator/src/core",
        "crates/lifecycle/src",
        "crates/interchange/src",
        "crates/trainers/src",
    ];
    let domains = ["quality", "drift", "performance"];
    for (path, text) in all_sources() {
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let domain = domains.iter().any(|room| inside.starts_with(&format!("crates/{room}/src")))
            && !inside.contains("/service");
        let is_test =
            inside.contains("tests.rs") || inside.ends_with("golden.rs") || inside.ends_with("explorer.rs");
        if is_test || !(domain || pure.iter().any(|room| inside.starts_with(room))) {
            continue;
        }
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in IMPURE {
            assert!(!code.contains(word), "{inside} says {word}");
        }
        if domain {
            assert!(!code.contains("acgs_contracts") && !code.contains("tonic"), "{inside} knows the wire");
        }
    }
}
