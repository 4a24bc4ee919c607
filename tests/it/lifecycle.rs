//! Models, versions, policies and jobs through a real channel: one success of each RPC, and each refusal that it promises.

use acgs_client::LifecycleClients;
use acgs_contracts::{
    lifecycle::v1::{
        self as proto, AsOfRequest, GetJobRequest, GetModelRequest, GetPolicyRequest, GetVersionRequest,
        JobState, ListJobsRequest, ListModelsRequest, ListVersionsRequest, PutPolicyRequest,
        RegisterModelRequest, RegisterVersionRequest, RequestRetrainingRequest, Stage,
    },
    orchestrator::v1::{Durability, SubscribeRequest, stream_windows_response},
};
use acgs_mesh::client::MeshChannel;
use acgs_tests::{Mesh, POLICY, open, reason, rows};
use acgs_vocabulary::constitution::sha256_hex;
use futures_util::{StreamExt, stream};
use tonic::Code;

type Client = LifecycleClients<MeshChannel>;

/// The call is refused with this code, reason and, where it is the input, field.
macro_rules! refused {
    ($call:expr, $code:ident, $reason:literal) => {
        refused!($call, $code, $reason, "")
    };
    ($call:expr, $code:ident, $reason:literal, $field:literal) => {{
        let status = $call.await.unwrap_err();
        let (why, field) = reason(&status);
        assert_eq!(
            (status.code(), why.as_str(), field.as_str()),
            (Code::$code, $reason, $field),
            "{status:?}"
        );
    }};
}

async fn register(client: &mut Client, model: &str) {
    let request = RegisterModelRequest { model_id: model.into(), ..Default::default() };
    client.models.register_model(request).await.unwrap();
}

fn version(model: &str, name: &str) -> RegisterVersionRequest {
    let artifact = proto::Artifact {
        digest: sha256_hex(name.as_bytes()),
        size_bytes: 7,
        format: "elsewhere/1".into(),
        uri: format!("https://models.example/{name}"),
    };
    RegisterVersionRequest {
        model_id: model.into(),
        version: name.into(),
        artifact: Some(artifact),
        actor: "ann".into(),
        ..Default::default()
    }
}

fn policy(model: &str, toml: &str) -> PutPolicyRequest {
    let document = Some(proto::PolicyDocument { toml: toml.into() });
    PutPolicyRequest { model_id: model.into(), document, ..Default::default() }
}

fn retrain(model: &str, id: &str) -> RequestRetrainingRequest {
    RequestRetrainingRequest {
        model_id: model.into(),
        why: "the season changed".into(),
        request_id: id.into(),
        actor: "ann".into(),
        ..Default::default()
    }
}

/// Records of a model, acknowledged when they are kept.
async fn keep_records(mesh: &Mesh, model: &str, durability: Durability) {
    let mut wanted = open(&format!("{model}-stream"), 1_000);
    (wanted.model_id, wanted.durability) = (model.into(), durability.into());
    let mut stream = mesh.stream(wanted).await.unwrap();
    let times: Vec<i64> = (0..500).collect();
    stream.rows(1, &rows(0, &times, 0.0)).await;
    loop {
        match stream.next().await.unwrap().unwrap() {
            stream_windows_response::Message::Accepted(accepted) if accepted.through_seq == 1 => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn models_and_versions_are_known_as_they_are_and_as_they_were() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    let before = acgs_vocabulary::text::rfc3339(0);
    register(&mut client, "m").await;
    register(&mut client, "a").await;
    let models = client.models.list_models(ListModelsRequest::default()).await.unwrap().into_inner().models;
    assert_eq!(models.iter().map(|model| model.model_id.as_str()).collect::<Vec<_>>(), ["a", "m"]);
    let page = ListModelsRequest { limit: 1, after: "a".into() };
    assert_eq!(client.models.list_models(page).await.unwrap().into_inner().models[0].model_id, "m");

    let serving = RegisterVersionRequest { serving: true, ..version("m", "one") };
    let first = client.models.register_version(serving.clone()).await.unwrap().into_inner().version.unwrap();
    assert_eq!(first.stage(), Stage::Champion);
    let again = client.models.register_version(serving).await.unwrap().into_inner().version.unwrap();
    assert_eq!(again, first, "the same again changes nothing");
    client.models.register_version(version("m", "two")).await.unwrap();
    let get = |name: &str| GetVersionRequest { model_id: "m".into(), version: name.into() };
    let two = client.models.get_version(get("two")).await.unwrap().into_inner().version.unwrap();
    assert_eq!((two.stage(), two.number), (Stage::Registered, 2));
    let list = ListVersionsRequest { model_id: "m".into() };
    let versions = client.models.list_versions(list).await.unwrap().into_inner().versions;
    assert_eq!(versions.iter().map(|known| known.version.as_str()).collect::<Vec<_>>(), ["two", "one"]);
    let model = client.models.get_model(GetModelRequest { model_id: "m".into() }).await.unwrap().into_inner();
    assert_eq!(model.model.unwrap().champion, "one");

    let at = |time: &str| AsOfRequest { model_id: "m".into(), time: time.into() };
    let then = client.models.as_of(at(&first.staged_at)).await.unwrap().into_inner();
    assert_eq!(then.model.unwrap().champion, "one");
    refused!(client.models.as_of(at(&before)), NotFound, "UNKNOWN_MODEL");
    refused!(client.models.as_of(at("yesterday")), InvalidArgument, "BAD_TIME", "time");

    refused!(client.models.get_model(GetModelRequest { model_id: "x".into() }), NotFound, "UNKNOWN_MODEL");
    refused!(client.models.get_version(get("x")), NotFound, "UNKNOWN_VERSION");
    refused!(
        client.models.list_versions(ListVersionsRequest { model_id: "x".into() }),
        NotFound,
        "UNKNOWN_MODEL"
    );
    let many = ListModelsRequest { limit: 1_001, ..Default::default() };
    refused!(client.models.list_models(many), InvalidArgument, "BAD_LIMIT", "limit");
    let named = |model: &str| RegisterModelRequest { model_id: model.into(), ..Default::default() };
    refused!(client.models.register_model(named("a b")), InvalidArgument, "BAD_NAME", "model_id");
    let evidence = proto::ComplianceEvidence { principle: "privacy".into(), score: 1.5, source: "x".into() };
    let bad = RegisterModelRequest { evidence: vec![evidence], ..named("m") };
    refused!(client.models.register_model(bad), InvalidArgument, "BAD_EVIDENCE", "evidence[0].score");

    refused!(client.models.register_version(version("x", "v")), NotFound, "UNKNOWN_MODEL");
    let mut other = version("m", "one");
    other.artifact.as_mut().unwrap().digest = sha256_hex(b"other");
    refused!(client.models.register_version(other), FailedPrecondition, "VERSION_EXISTS");
    let mut same = version("m", "three");
    same.artifact.as_mut().unwrap().digest = sha256_hex(b"one");
    refused!(client.models.register_version(same), FailedPrecondition, "DIGEST_EXISTS");
    let beside = RegisterVersionRequest { serving: true, ..version("m", "three") };
    refused!(client.models.register_version(beside), FailedPrecondition, "WRONG_STATE");
    let mut here = version("m", "three");
    here.artifact.as_mut().unwrap().uri.clear();
    refused!(client.models.register_version(here), NotFound, "UNKNOWN_ARTIFACT");
    let mut bad = version("m", "three");
    bad.artifact.as_mut().unwrap().digest = "abc".into();
    refused!(client.models.register_version(bad), InvalidArgument, "BAD_DIGEST", "artifact.digest");
    let mut bad = version("m", "three");
    bad.metrics.insert("auc".into(), f64::NAN);
    refused!(client.models.register_version(bad), InvalidArgument, "BAD_METRICS", "metrics");
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_version_is_taken_out_by_one_and_let_in_by_two() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    register(&mut client, "m").await;
    client
        .models
        .register_version(RegisterVersionRequest { serving: true, ..version("m", "one") })
        .await
        .unwrap();
    client.models.register_version(version("m", "two")).await.unwrap();
    let out = |name: &str, why: &str| proto::QuarantineVersionRequest {
        model_id: "m".into(),
        version: name.into(),
        why: why.into(),
        actor: "ann".into(),
        ..Default::default()
    };
    refused!(client.models.quarantine_version(out("one", "bad")), FailedPrecondition, "NO_STANDBY");
    refused!(client.models.quarantine_version(out("two", "")), InvalidArgument, "MISSING", "why");
    refused!(client.models.quarantine_version(out("x", "bad")), NotFound, "UNKNOWN_VERSION");
    let gone = client.models.quarantine_version(out("two", "bad")).await.unwrap().into_inner();
    assert_eq!((gone.version.unwrap().stage(), gone.champion.as_str()), (Stage::Quarantined, "one"));
    refused!(client.models.quarantine_version(out("two", "bad")), FailedPrecondition, "WRONG_STATE");
    let release = |who: &str| proto::ReleaseVersionRequest {
        model_id: "m".into(),
        version: "two".into(),
        actor: who.into(),
        ..Default::default()
    };
    refused!(client.models.release_version(release("")), InvalidArgument, "MISSING", "actor");
    let first = client.models.release_version(release("ann")).await.unwrap().into_inner().version.unwrap();
    assert_eq!(first.stage(), Stage::Quarantined);
    refused!(client.models.release_version(release("ann")), FailedPrecondition, "SAME_PERSON");
    let second = client.models.release_version(release("bob")).await.unwrap().into_inner().version.unwrap();
    assert_eq!(second.stage(), Stage::Validated);
    refused!(client.models.release_version(release("bob")), FailedPrecondition, "WRONG_STATE");
    let away =
        proto::ArchiveVersionRequest { model_id: "m".into(), version: "two".into(), ..Default::default() };
    refused!(client.models.archive_version(away), FailedPrecondition, "WRONG_STATE");
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_policy_is_put_in_force_and_contradictions_are_named() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    refused!(client.models.put_policy(policy("m", POLICY)), NotFound, "UNKNOWN_MODEL");
    register(&mut client, "m").await;
    let get = GetPolicyRequest { model_id: "m".into() };
    refused!(client.models.get_policy(get.clone()), NotFound, "UNKNOWN_POLICY");
    let put = client.models.put_policy(policy("m", POLICY)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((put.revision, put.enabled, put.rules.len()), (1, true, 6));
    let text = put.document.clone().unwrap().toml;
    let again = client.models.put_policy(policy("m", &text)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(again, put, "what is told back is the same policy");
    assert_eq!(client.models.get_policy(get).await.unwrap().into_inner().policy.unwrap(), put);
    let stale = PutPolicyRequest { expected_revision: Some(0), ..policy("m", &POLICY.replace("0.5", "0.4")) };
    refused!(client.models.put_policy(stale), FailedPrecondition, "REVISION");
    refused!(client.models.put_policy(policy("m", "x = ")), InvalidArgument, "BAD_POLICY", "document.toml");
    let cron = format!("{POLICY}\n[triggers.scheduled]\nmode = \"auto\"\ncron = \"whenever\"\n");
    refused!(
        client.models.put_policy(policy("m", &cron)),
        InvalidArgument,
        "BAD_POLICY",
        "document.triggers.scheduled.cron"
    );
    let nothing = POLICY.replace("holdout_ms = 60000", "holdout_ms = 600000");
    refused!(
        client.models.put_policy(policy("m", &nothing)),
        InvalidArgument,
        "BAD_POLICY",
        "document.training.holdout_ms"
    );
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_retraining_is_asked_for_explained_and_ended() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    refused!(client.jobs.request_retraining(retrain("m", "1")), NotFound, "UNKNOWN_MODEL");
    register(&mut client, "m").await;
    keep_records(&mesh, "other", Durability::Memory).await;
    refused!(client.jobs.request_retraining(retrain("m", "1")), FailedPrecondition, "NO_RECORDS");
    keep_records(&mesh, "m", Durability::Log).await;
    refused!(client.jobs.request_retraining(retrain("m", "1")), FailedPrecondition, "NO_POLICY");
    client.models.put_policy(policy("m", POLICY)).await.unwrap();
    let mut events = mesh
        .orchestrator()
        .await
        .subscribe(SubscribeRequest {
            subject_filter: "acgs.model.retraining.*".into(),
            after_sequence: Some(0),
        })
        .await
        .unwrap()
        .into_inner();

    let asked = client.jobs.request_retraining(retrain("m", "1")).await.unwrap().into_inner();
    let job = asked.job.unwrap();
    assert_eq!((job.job_id.as_str(), job.state(), asked.known), ("job-1", JobState::Queued, false));
    let again = client.jobs.request_retraining(retrain("m", "1")).await.unwrap().into_inner();
    assert_eq!((again.job.unwrap().job_id.as_str(), again.known), ("job-1", true));
    let other = client.jobs.request_retraining(retrain("m", "2")).await.unwrap().into_inner().job.unwrap();
    assert_eq!(other.state(), JobState::Suppressed);
    assert!(other.why.starts_with("other_job"), "{}", other.why);
    let bad =
        RequestRetrainingRequest { trigger: proto::TriggerKind::DriftDetected.into(), ..retrain("m", "3") };
    refused!(client.jobs.request_retraining(bad), InvalidArgument, "BAD_TRIGGER", "trigger");
    let bad = RequestRetrainingRequest { why: " ".into(), ..retrain("m", "3") };
    refused!(client.jobs.request_retraining(bad), InvalidArgument, "MISSING", "why");
    let bad = RequestRetrainingRequest { why: "x".repeat(2_000), ..retrain("m", "3") };
    refused!(client.jobs.request_retraining(bad), InvalidArgument, "TOO_LONG", "why");

    let jobs = client.jobs.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>(), ["job-2", "job-1"]);
    let queued = ListJobsRequest { states: vec![JobState::Queued.into()], ..Default::default() };
    assert_eq!(client.jobs.list_jobs(queued).await.unwrap().into_inner().jobs.len(), 1);
    let before = ListJobsRequest { before: "job-2".into(), ..Default::default() };
    assert_eq!(client.jobs.list_jobs(before).await.unwrap().into_inner().jobs[0].job_id, "job-1");
    let bad = ListJobsRequest { before: "7".into(), ..Default::default() };
    refused!(client.jobs.list_jobs(bad), InvalidArgument, "BAD_JOB_ID", "before");
    let bad = ListJobsRequest { limit: 2_000, ..Default::default() };
    refused!(client.jobs.list_jobs(bad), InvalidArgument, "BAD_LIMIT", "limit");

    let job = |id: &str| id.to_owned();
    refused!(client.jobs.get_job(GetJobRequest { job_id: job("job-9") }), NotFound, "UNKNOWN_JOB");
    refused!(
        client.jobs.get_job(GetJobRequest { job_id: job("9") }),
        InvalidArgument,
        "BAD_JOB_ID",
        "job_id"
    );
    let explain = |id: &str| proto::ExplainJobRequest { job_id: id.into() };
    let explained = client.jobs.explain_job(explain("job-2")).await.unwrap().into_inner();
    let suppress = explained.events.iter().find(|event| event.what == "job_suppress").unwrap();
    assert!(suppress.guards.iter().any(|guard| guard.name == "other_job" && !guard.holds));
    assert!(suppress.guards.iter().any(|guard| guard.name == "circuit" && guard.holds));
    assert!(explained.explanation.iter().any(|line| line.contains("FAILS  other_job")));
    refused!(client.jobs.explain_job(explain("job-9")), NotFound, "UNKNOWN_JOB");

    let approve =
        proto::ApproveJobRequest { job_id: job("job-1"), actor: "bob".into(), ..Default::default() };
    refused!(client.jobs.approve_job(approve), FailedPrecondition, "WRONG_STATE");
    let requeue =
        proto::RequeueJobRequest { job_id: job("job-1"), actor: "bob".into(), ..Default::default() };
    refused!(client.jobs.requeue_job(requeue), FailedPrecondition, "WRONG_STATE");
    let cancel = |why: &str| proto::CancelJobRequest {
        job_id: job("job-1"),
        why: why.into(),
        actor: "".into(),
        ..Default::default()
    };
    refused!(client.jobs.cancel_job(cancel("")), InvalidArgument, "MISSING", "why");
    let over = client.jobs.cancel_job(cancel("a mistake")).await.unwrap().into_inner().job.unwrap();
    assert_eq!((over.state(), over.why.as_str()), (JobState::Cancelled, "a mistake"));
    refused!(client.jobs.cancel_job(cancel("again")), FailedPrecondition, "WRONG_STATE");
    let mut subjects = Vec::new();
    while !subjects.iter().any(|subject| subject == "acgs.model.retraining.cancelled") {
        subjects.push(events.message().await.unwrap().unwrap().subject);
    }
    assert!(subjects.iter().any(|subject| subject == "acgs.model.retraining.required"), "{subjects:?}");
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn the_kill_switch_stops_one_or_all() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    register(&mut client, "m").await;
    client.models.put_policy(policy("m", POLICY)).await.unwrap();
    keep_records(&mesh, "m", Durability::Log).await;
    let freeze = |model: &str, frozen, why: &str, who: &str| proto::SetFreezeRequest {
        model_id: model.into(),
        frozen,
        why: why.into(),
        actor: who.into(),
        ..Default::default()
    };
    refused!(client.models.set_freeze(freeze("", true, "", "ann")), InvalidArgument, "MISSING", "why");
    refused!(client.models.set_freeze(freeze("", true, "incident", "")), InvalidArgument, "MISSING", "actor");
    refused!(client.models.set_freeze(freeze("x", true, "incident", "ann")), NotFound, "UNKNOWN_MODEL");
    for model in ["", "m"] {
        client.models.set_freeze(freeze(model, true, "incident", "ann")).await.unwrap();
        let job = client.jobs.request_retraining(retrain("m", &format!("while {model}"))).await.unwrap();
        let job = job.into_inner().job.unwrap();
        assert!(job.state() == JobState::Suppressed && job.why.contains("incident"), "{job:?}");
        client.models.set_freeze(freeze(model, false, "", "ann")).await.unwrap();
    }
    let job = client.jobs.request_retraining(retrain("m", "after")).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), JobState::Queued);
    let clear = |model: &str| proto::ClearLoopRequest {
        model_id: model.into(),
        actor: "ann".into(),
        ..Default::default()
    };
    refused!(client.models.clear_loop(clear("x")), NotFound, "UNKNOWN_MODEL");
    assert_eq!(
        client.models.clear_loop(clear("m")).await.unwrap().into_inner().model.unwrap().unhelpful_in_a_row,
        0
    );
    mesh.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_triggers_are_a_few_events() {
    let mesh = Mesh::start().await;
    let mut client = mesh.lifecycle().await;
    register(&mut client, "m").await;
    client.models.put_policy(policy("m", POLICY)).await.unwrap();
    keep_records(&mesh, "m", Durability::Log).await;
    let calls = (0..10_000).map(|number| {
        let mut client = client.clone();
        async move { client.jobs.request_retraining(retrain("m", &number.to_string())).await }
    });
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(64).collect().await;
    // Each is answered: it made the job, or was told why not; a full queue would say so.
    for answer in answers {
        if let Err(status) = answer {
            assert_eq!(reason(&status).0, "LIFECYCLE_QUEUE", "{status:?}");
        }
    }
    let jobs = client.jobs.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert!(jobs.len() <= 3, "{} jobs", jobs.len());
    assert_eq!(jobs.iter().filter(|job| job.state() == JobState::Queued).count(), 1);
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_bound_that_is_reached_is_named_and_a_freeze_is_all_that_concerns_all() {
    let mesh = Mesh::start_with(&["lifecycle.models_max=1"]).await;
    let mut client = mesh.lifecycle().await;
    register(&mut client, "m").await;
    register(&mut client, "m").await;
    let another = RegisterModelRequest { model_id: "n".into(), ..Default::default() };
    refused!(client.models.register_model(another), ResourceExhausted, "LIFECYCLE_FULL");
    refused!(client.models.put_policy(policy("", POLICY)), NotFound, "UNKNOWN_MODEL");
    mesh.running.stop().await.unwrap();
}
