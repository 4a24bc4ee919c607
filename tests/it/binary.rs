//! The binary as a person runs it: the demo, a mesh in another process, files, documents, signals.

use std::process::Stdio;

use acgs_tests::{PATIENCE, binary, root};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

async fn run(arguments: &[&str]) -> (bool, String, String) {
    let running = Command::new(binary()).args(arguments).current_dir(root()).output();
    let output = tokio::time::timeout(PATIENCE * 12, running).await.expect("ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_ends_with_a_better_model() {
    let (ok, output, errors) = run(&["demo", "loop", "--json"]).await;
    assert!(ok, "{errors}");
    let last: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let number = |name: &str| last[name].as_f64().unwrap();
    // What the model of January and February would have done is known; what is done about it depends on when versions are there.
    assert!((number("brier_frozen") - 0.1774).abs() < 0.0001, "{last}");
    assert!(number("brier_managed") <= 0.172, "{last}");
    assert_eq!((number("wrong_promotions"), &last["failed"]), (0.0, &serde_json::json!({})), "{last}");
    let taken = last["taken_back"].as_array().unwrap();
    let planted: Vec<_> = taken.iter().filter(|taken| taken["planted"] == true).collect();
    assert_eq!(planted.len(), 1, "{last}");
    assert!(planted[0]["why"].as_str().unwrap().contains("loss"), "{last}");
    assert!(planted[0]["decision_to_last_call_ms"].as_i64().unwrap() <= 1_000, "{last}");
    assert!(
        last["windows"].as_u64().unwrap() > 40 && !last["promoted"].as_array().unwrap().is_empty(),
        "{last}"
    );
    let jobs = last["jobs"].as_array().unwrap();
    let trained = |from: &str, until: &str| {
        let time = |text: &str| acgs_vocabulary::text::parse_rfc3339(text).unwrap();
        let within = time(from)..time(until);
        let trained = jobs.iter().filter(|job| {
            let over = ["succeeded", "rejected"].contains(&job["state"].as_str().unwrap());
            over && within.contains(&job["event_time_ms"].as_i64().unwrap())
        });
        trained.count()
    };
    let year = trained("2013-03-01", "2014-01-01");
    assert!((1..=12).contains(&year), "{year} retrainings");
    assert_eq!(trained("2013-09-01", "2013-10-01"), 0, "September drifts and does no harm");
    let (served, accepted) = (last["accepted"].as_u64().unwrap(), number("retrainings"));
    assert!(served >= 1 && served as f64 <= accepted, "{last}");
}

#[tokio::test]
async fn the_demo_tells_three_chapters() {
    let (ok, output, errors) = run(&["demo", "--json"]).await;
    assert!(ok, "{errors}");
    let lines: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 40 && lines.iter().rev().skip(1).all(|line| line["type"] == "window"));
    let months = lines.last().unwrap()["months"].as_array().unwrap();
    let month = |number: u64| months.iter().find(|month| month["month"] == number).unwrap();
    let verdict = |number| {
        let of = month(number);
        let text = |key: &str| of[key].as_str().unwrap().to_owned();
        (text("drift"), of["score_drift"].as_bool().unwrap(), text("performance"))
    };
    assert_eq!(verdict(7), ("harmful".into(), true, "decayed".into()));
    assert_eq!(verdict(9), ("harmless".into(), true, "ok".into()));
    // The share of one carrier has trebled by then.
    let (drift, _, performance) = verdict(12);
    assert_eq!((drift.as_str(), performance.as_str()), ("harmful", "decayed"));
    assert!((month(7)["brier"].as_f64().unwrap() - 0.24).abs() < 0.01);
    assert!((month(9)["brier"].as_f64().unwrap() - 0.114).abs() < 0.01);
    // The week that begins in June tells of July's decay; delays that cancelled flights never had are no fault.
    assert!(month(6)["alerts"].as_u64().unwrap() > 0);
    let alerts = |line: &serde_json::Value| line["alerts"].to_string();
    let until_december =
        lines.iter().filter(|line| line["start"].as_str().is_some_and(|at| at < "2013-12-20"));
    assert!(until_december.clone().all(|line| !alerts(line).contains("missing_values")));
    let (ok, output, _) = run(&["demo"]).await;
    assert!(ok && output.contains("July:") && output.contains("September:"), "{output}");
    assert!(output.contains("decay") && output.contains("the season is not in the reference"), "{output}");
    let december =
        lines.iter().filter(|line| line["start"].as_str().is_some_and(|at| at.starts_with("2013-12")));
    assert!(december.clone().count() > 3);
    assert!(
        december.clone().all(|line| line["drifted_features"]
            .as_array()
            .unwrap()
            .iter()
            .any(|name| name == "carrier"))
    );
}

/// A mesh in a process of its own.
async fn serve(folder: &std::path::Path) -> (Child, serde_json::Value) {
    let mut command = Command::new(binary());
    command.args(["serve", "all", "--json"]).arg("--set");
    command.arg(format!("home.folder={}", folder.join("events").display()));
    for service in ["quality", "drift", "performance", "orchestrator", "gateway"] {
        command.args(["--set", &format!("listen.{service}=0")]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("starts in time").unwrap().unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn files_stream_through_a_mesh_in_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, addresses) = serve(folder.path()).await;
    let orchestrator = addresses["orchestrator"].as_str().unwrap();
    let drift = addresses["drift"].as_str().unwrap();
    let csv = folder.path().join("rides.csv");
    let row = |row: u32| {
        let (minute, second) = (row / 60 % 60, row % 60);
        let price = if row == 7 { String::new() } else { format!("{:.2}", f64::from(row % 50) / 3.0) };
        format!("2026-03-01T00:{minute:02}:{second:02}Z,{row},{price},0.{},{}\n", row % 10, row % 2)
    };
    std::fs::write(&csv, format!("when,id,price,p,y\n{}", (0..1_200).map(row).collect::<String>())).unwrap();
    let csv = csv.to_str().unwrap();
    let roles = ["--timestamp", "when", "--id", "id", "--score", "p", "--label", "y", "--window", "5m"];
    let frozen = ["stream", csv, "--put-reference", "rides", "--drift-address", drift];
    let (ok, output, errors) = run(&[&frozen[..], &roles[..]].concat()).await;
    assert!(ok && output.contains("rides version 1: 1200 rows"), "{output}{errors}");
    let streamed = ["stream", csv, "--reference", "rides", "--address", orchestrator, "--json"];
    let (ok, output, errors) = run(&[&streamed[..], &roles[..]].concat()).await;
    assert!(ok, "{errors}");
    let reports: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 4);
    assert!(
        reports
            .iter()
            .all(|report| report["rows"] == 300 && report["labelled"] == 300 && report["harm"] == "none")
    );

    let ndjson = folder.path().join("rides.ndjson");
    let line = |row: u32| {
        format!("{{\"when\":{},\"price\":{row}}}\n", 1_772_323_200_000_i64 + i64::from(row) * 1_000)
    };
    std::fs::write(&ndjson, (0..600).map(line).collect::<String>()).unwrap();
    let plain = [
        "stream",
        ndjson.to_str().unwrap(),
        "--timestamp",
        "when",
        "--window",
        "5m",
        "--address",
        orchestrator,
    ];
    let (ok, output, errors) = run(&plain).await;
    assert!(ok && output.contains("600 rows in 2 windows"), "{output}{errors}");

    let fields = folder.path().join("schema.json");
    let field = |name: &str, kind: &str, role: &str| {
        format!("{{\"name\":\"{name}\",\"kind\":\"{kind}\",\"role\":\"{role}\"}}")
    };
    let price = "{\"name\":\"price\",\"kind\":\"double\",\"role\":\"feature\",\"maximum\":10}";
    let given = format!("{{\"fields\":[{},{price}]}}", field("when", "timestamp", "timestamp"));
    std::fs::write(&fields, given).unwrap();
    let fields = fields.to_str().unwrap();
    let given = ["stream", csv, "--timestamp", "when", "--schema", fields, "--window", "1h", "--json"];
    let given = [&given[..], &["--stream-id", "given", "--address", orchestrator]].concat();
    let (ok, output, errors) = run(&given).await;
    assert!(ok && output.contains("\"field_invalid_values\""), "a price is above 10: {output}{errors}");
    std::fs::write(fields, "{\"fields\":[{\"name\":\"x\",\"kind\":\"tensor\"}]}").unwrap();
    let (ok, _, errors) = run(&given).await;
    assert!(!ok && errors.contains("unknown variant `tensor`"), "{errors}");

    // Whoever reads it has seen enough.
    let mut quiet = Command::new(binary())
        .args(["stream", csv, "--timestamp", "when", "--window", "1s", "--stream-id", "piped", "--json"])
        .args(["--address", orchestrator])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(quiet.stdout.take());
    let ended = tokio::time::timeout(PATIENCE, quiet.wait_with_output()).await.expect("ends").unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(141) && !errors.contains("panicked"), "{:?} {errors}", ended.status);

    let (ok, _, errors) = run(&["stream", csv, "--timestamp", "nope", "--address", orchestrator]).await;
    assert!(
        !ok && errors.contains("there is no column \"nope\"; the file has when, id, price, p, y"),
        "{errors}"
    );
    let (ok, _, errors) = run(&["stream", csv, "--timestamp", "when", "--address", "127.0.0.1:1"]).await;
    assert!(!ok && errors.contains("start the mesh with `acgs serve all`"), "{errors}");

    // SIGTERM ends it in order.
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("stops in time").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn state_survives_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, addresses) = serve(folder.path()).await;
    let csv = folder.path().join("data.csv");
    std::fs::write(
        &csv,
        format!("t,x\n{}", (0..500).map(|row| format!("{row},{row}.5\n")).collect::<String>()),
    )
    .unwrap();
    let csv = csv.to_str().unwrap();
    let put = ["stream", csv, "--timestamp", "t", "--put-reference", "kept"];
    let (ok, _, errors) =
        run(&[&put[..], &["--drift-address", addresses["drift"].as_str().unwrap()]].concat()).await;
    assert!(ok, "{errors}");
    child.kill().await.unwrap();
    let (_second, addresses) = serve(folder.path()).await;
    let orchestrator = addresses["orchestrator"].as_str().unwrap();
    let streamed = [
        "stream",
        csv,
        "--timestamp",
        "t",
        "--window",
        "1s",
        "--reference",
        "kept",
        "--address",
        orchestrator,
    ];
    let (ok, output, errors) = run(&streamed).await;
    assert!(ok && output.contains("drift no"), "{output}{errors}");
}

#[tokio::test]
async fn documents_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document.txt");
    std::fs::write(&path, "We the people who watch models.  \n").unwrap();
    let path = path.to_str().unwrap();
    let (ok, output, _) = run(&["constitution", "verify", path]).await;
    assert!(!ok && output.contains("NOT valid"), "{output}");
    let identifier = output.split_whitespace().next().unwrap().to_owned();
    let flag = format!("constitution.accepted=[\"{identifier}\"]");
    let (ok, output, _) = run(&["constitution", "verify", path, "--set", &flag]).await;
    assert!(ok && output.contains("is the document in force"), "{output}");
    std::fs::write(path, "We the people who watch models.\n").unwrap();
    let (ok, ..) = run(&["constitution", "verify", path, "--set", &flag]).await;
    assert!(!ok, "stripped blanks change it");
}

#[tokio::test]
async fn mistakes_say_what_to_do() {
    let (ok, _, errors) = run(&["serve", "all", "--set", "listen.host=0.0.0.0"]).await;
    assert!(!ok && errors.contains("listen.insecure = true"), "{errors}");
    let (ok, _, errors) = run(&["serve", "all", "--set", "drift.alhpa=1"]).await;
    assert!(!ok && errors.contains("there is no setting"), "{errors}");
    let (ok, output, _) = run(&["--help"]).await;
    assert!(ok && output.contains("acgs demo") && output.contains("CONSTITUTIONAL_HASH"), "{output}");
}

#[tokio::test]
async fn the_bench_runs() {
    let (ok, output, errors) = run(&["bench", "unary", "throughput", "--short", "--json"]).await;
    assert!(ok, "{errors}");
    assert!(
        output.lines().count() == 8 && output.contains("hash check") && output.contains("of the bare stream"),
        "{output}"
    );
}
