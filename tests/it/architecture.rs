//! Rooms, floors and arrows as ARCHITECTURE.md draws them, and sizes that stay readable.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use acgs_tests::root;

use crate::module_graph;

/// Which of our packages a package may use. Arrows go down only.
const ALLOWED: [(&str, &[&str]); 30] = [
    ("acgs-contracts", &[]),
    ("acgs-budget", &[]),
    ("acgs-columns", &[]),
    ("acgs-windowing", &[]),
    ("acgs-statistics", &[]),
    ("acgs-vocabulary", &["acgs-budget", "acgs-contracts", "acgs-columns"]),
    ("acgs-reference", &["acgs-contracts", "acgs-columns", "acgs-statistics", "acgs-vocabulary"]),
    ("acgs-inference", &["acgs-contracts", "acgs-columns", "acgs-vocabulary"]),
    ("acgs-lane", &["acgs-contracts", "acgs-columns", "acgs-vocabulary"]),
    (
        "acgs-quality",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-reference",
            "acgs-vocabulary",
            "acgs-judge-kit",
            "acgs-lane",
        ],
    ),
    (
        "acgs-drift",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-reference",
            "acgs-vocabulary",
            "acgs-judge-kit",
            "acgs-lane",
        ],
    ),
    (
        "acgs-performance",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-reference",
            "acgs-vocabulary",
            "acgs-judge-kit",
            "acgs-lane",
        ],
    ),
    ("acgs-judge-kit", &["acgs-vocabulary"]),
    ("acgs-mesh", &["acgs-contracts", "acgs-inference", "acgs-vocabulary"]),
    ("acgs-storage", &["acgs-vocabulary"]),
    ("acgs-interchange", &["acgs-columns"]),
    ("acgs-trainers", &["acgs-columns"]),
    ("acgs-lifecycle", &["acgs-statistics", "acgs-vocabulary"]),
    (
        "acgs-gateway",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-inference",
            "acgs-mesh",
            "acgs-client",
            "acgs-statistics",
            "acgs-vocabulary",
        ],
    ),
    ("acgs-client", &["acgs-contracts", "acgs-vocabulary"]),
    (
        "acgs-streams",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-windowing",
            "acgs-vocabulary",
            "acgs-lane",
        ],
    ),
    (
        "acgs-models",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-statistics",
            "acgs-vocabulary",
            "acgs-interchange",
            "acgs-lifecycle",
        ],
    ),
    ("acgs-records", &["acgs-columns", "acgs-interchange", "acgs-vocabulary"]),
    (
        "acgs-server",
        &[
            "acgs-contracts",
            "acgs-columns",
            "acgs-vocabulary",
            "acgs-lane",
            "acgs-quality",
            "acgs-drift",
            "acgs-performance",
            "acgs-mesh",
            "acgs-storage",
            "acgs-lifecycle",
            "acgs-streams",
            "acgs-models",
            "acgs-records",
            "acgs-gateway",
        ],
    ),
    ("acgs-console", &["acgs-contracts", "acgs-columns", "acgs-vocabulary", "acgs-mesh", "acgs-client"]),
    (
        "acgs-demo",
        &[
            "acgs-server",
            "acgs-console",
            "acgs-client",
            "acgs-contracts",
            "acgs-columns",
            "acgs-vocabulary",
            "acgs-mesh",
            "acgs-inference",
            "acgs-lifecycle",
            "acgs-trainers",
        ],
    ),
    (
        "acgs-bench",
        &[
            "acgs-server",
            "acgs-console",
            "acgs-client",
            "acgs-contracts",
            "acgs-columns",
            "acgs-vocabulary",
            "acgs-interchange",
            "acgs-mesh",
            "acgs-storage",
            "acgs-lifecycle",
            "acgs-models",
            "acgs-records",
        ],
    ),
    (
        "acgs",
        &[
            "acgs-server",
            "acgs-console",
            "acgs-demo",
            "acgs-bench",
            "acgs-client",
            "acgs-contracts",
            "acgs-columns",
            "acgs-vocabulary",
            "acgs-mesh",
            "acgs-storage",
            "acgs-inference",
            "acgs-interchange",
            "acgs-lifecycle",
            "acgs-trainers",
        ],
    ),
    (
        "acgs-tests",
        &[
            "acgs",
            "acgs-server",
            "acgs-client",
            "acgs-contracts",
            "acgs-columns",
            "acgs-storage",
            "acgs-inference",
            "acgs-interchange",
            "acgs-lane",
            "acgs-mesh",
            "acgs-vocabulary",
        ],
    ),
    ("xtask", &[]),
];
const FILE_LINES_MAX: usize = 400;
const VOCABULARY_LINES_MAX: usize = 2_000;
/// Most of the production code that one room may hold, in percent.
const ROOM_PERCENT_MAX: usize = 20;
/// Rooms and files without clocks, I/O, tasks or protobuf: what they are given decides what they answer.
const PURE: [&str; 35] = [
    "crates/columns/src",
    "crates/statistics/src",
    "crates/windowing/src",
    "crates/interchange/src",
    "crates/trainers/src",
    "crates/lifecycle/src",
    "crates/reference/src/categories.rs",
    "crates/reference/src/counts.rs",
    "crates/reference/src/effect.rs",
    "crates/reference/src/freeze.rs",
    "crates/reference/src/reference.rs",
    "crates/inference/src",
    "crates/vocabulary/src/alert.rs",
    "crates/vocabulary/src/allow_list.rs",
    "crates/vocabulary/src/event",
    "crates/vocabulary/src/finding.rs",
    "crates/vocabulary/src/steady.rs",
    "crates/client/src/windows/unaccepted.rs",
    "crates/lane/src/assessor.rs",
    "crates/lane/src/carry.rs",
    "crates/lane/src/configs.rs",
    "crates/lane/src/epochs.rs",
    "crates/lane/src/message.rs",
    "crates/lane/src/opening.rs",
    "crates/lane/src/panes",
    "crates/lane/src/pieces.rs",
    "crates/lane/src/replay_log.rs",
    "crates/streams/src/alert_tracker.rs",
    "crates/streams/src/core",
    "crates/streams/src/projection.rs",
    "crates/streams/src/registry.rs",
    "crates/streams/src/spec.rs",
    "crates/models/src/places.rs",
    "crates/models/src/routes/pairs.rs",
    "crates/models/src/routes/traffic_totals.rs",
];
/// Words that production code of pure rooms must not say.
const IMPURE: [&str; 6] = ["SystemTime", "Instant::now", "tokio", "std::fs", "std::net::Tcp", "async fn"];

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
fn no_files_use_each_other_in_a_circle() {
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        let found = module_graph::circle(&module_graph::edges(&source));
        let circle: Vec<String> =
            found.iter().flatten().map(|module| format!("{}.rs", module.join("/"))).collect();
        assert!(found.is_none(), "{}: {} use each other", source.display(), circle.join(", "));
    }
}

/// Lines of production code.
fn production(text: &str) -> usize {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count()
}

#[test]
fn no_room_is_crowded() {
    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in all_sources() {
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let is_test = inside.ends_with("tests.rs") || inside.ends_with("golden.rs");
        if let (Some(room), false) =
            (inside.strip_prefix("crates/").and_then(|path| path.split('/').next()), is_test)
        {
            *rooms.entry(room.to_owned()).or_default() += production(&text);
        }
    }
    let all: usize = rooms.values().sum();
    for (room, lines) in rooms {
        let percent = 100 * lines / all;
        assert!(percent <= ROOM_PERCENT_MAX, "{room} has {percent} % of {all} lines");
    }
}

/// What each kind of event says is a contract and grows with it: it is not counted here.
#[test]
fn the_vocabulary_stays_small() {
    let lines: usize = all_sources()
        .iter()
        .filter(|(path, _)| path.starts_with(root().join("crates/vocabulary/src")))
        .filter(|(path, _)| !path.to_string_lossy().ends_with("_tests.rs"))
        .filter(|(path, _)| !path.to_string_lossy().contains("vocabulary/src/event"))
        .map(|(_, text)| production(text))
        .sum();
    assert!(lines <= VOCABULARY_LINES_MAX, "{lines} lines");
}

#[test]
fn ground_and_domains_are_pure() {
    let domains = ["quality", "drift", "performance"];
    for place in PURE {
        let path = root().join(place);
        let exists = path.exists() || path.with_extension("rs").exists();
        assert!(exists, "{place} is called pure and is not there");
    }
    for (path, text) in all_sources() {
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let domain = domains.iter().any(|room| inside.starts_with(&format!("crates/{room}/src")))
            && !inside.contains("/service");
        let is_test =
            inside.contains("tests.rs") || inside.ends_with("golden.rs") || inside.ends_with("explorer.rs");
        if is_test || !(domain || PURE.iter().any(|room| inside.starts_with(room))) {
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
