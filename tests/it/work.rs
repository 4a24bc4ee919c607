//! Workers through a real channel: what they are given, what they may send, and what happens to those that are late, wrong or
//! gone. The trainers that ship run as they do in `acgs worker`.

use acgs::worker::{Done, Worker};
use acgs_contracts::lifecycle::v1::{
    self as proto, Assignment, DataPart, GetArtifactRequest, JobState, PutArtifactRequest,
    ReadRecordsRequest, Stage, TableFormat, WorkRequest, put_artifact_request, work_request::Message as Say,
    work_response::Message as Told,
};
use acgs_tests::{POLICY, reason};
use acgs_vocabulary::constitution::{PLATFORM, sha256_hex};
use tonic::{Code, Status};

use crate::workers::{
    Fake, UNTIL_MS, completed, dataset, job, prepared, put, request, scores, started, upload, wait_for,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shipped_trainer_brings_a_version_into_service() {
    let refit = POLICY.replace("rows_min = 10\n[gates]", "rows_min = 10\nrefit = true\n[gates]");
    let (mesh, mut client) = prepared(&[], &refit).await;
    let queued = request(&mut client, "1").await;
    assert_eq!(queued.state(), JobState::Queued);
    let channel = mesh.channel(mesh.running.addresses.orchestrator).await;
    let mut worker = Worker::join(channel, mesh.running.constitution.clone(), "w").await.unwrap();
    let done = worker.next().await.unwrap();
    assert_eq!(done, Done::Trained { job_id: "job-1".into(), model_id: "m".into(), rows: 600 });
    let over = wait_for(&mut client, "job-1", JobState::Succeeded).await;
    let get = proto::GetVersionRequest { model_id: "m".into(), version: over.version };
    let version = client.models.get_version(get).await.unwrap().into_inner().version.unwrap();
    assert_eq!((version.stage(), version.job_id.as_str()), (Stage::Champion, "job-1"));
    assert!(version.gates.len() >= 4 && version.gates.iter().any(|gate| gate.gate == "champion"));
    let artifact = version.artifact.unwrap();
    let mut pieces = client
        .jobs
        .get_artifact(GetArtifactRequest { digest: artifact.digest.clone() })
        .await
        .unwrap()
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        bytes.extend_from_slice(&piece.chunk);
    }
    assert_eq!(sha256_hex(&bytes), artifact.digest);
    let model: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&model["rows"], &model["constitutional_hash"]), (&600.into(), &PLATFORM.into()));
    let explain = proto::ExplainJobRequest { job_id: "job-1".into() };
    let lines = client.jobs.explain_job(explain).await.unwrap().into_inner().explanation;
    for wanted in ["job_lease by w", "holds  fence", "gate champion", "version_deployment_completed"] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:#?}");
    }
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn the_data_of_a_job_are_for_who_holds_it_and_labels_come_after_scores() {
    let refit = POLICY.replace("rows_min = 10\n[gates]", "rows_min = 10\nrefit = true\n[gates]");
    let (mesh, mut client) = prepared(&[], &refit).await;
    request(&mut client, "1").await;
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let job = fake.assignment().await;
    assert_eq!((job.model_id.as_str(), job.trainer.as_str()), ("m", "logistic"));
    fake.taken(started(&job)).await;
    let train = dataset(&mut client, &job, DataPart::Train).await.unwrap();
    assert_eq!(sha256_hex(&train), job.train.as_ref().unwrap().digest);
    let (fields, batches) = acgs_interchange::from_parquet(train.into()).unwrap();
    assert_eq!(batches.iter().map(acgs_columns::RecordBatch::rows).sum::<usize>(), 540);
    assert!(fields.index_of("y").is_some());
    let holdout = dataset(&mut client, &job, DataPart::Holdout).await.unwrap();
    let (fields, batches) = acgs_interchange::from_parquet(holdout.into()).unwrap();
    assert_eq!((batches[0].rows(), fields.index_of("y")), (60, None), "held out: no labels");
    let early = dataset(&mut client, &job, DataPart::Refit).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).0.as_str()), (Code::FailedPrecondition, "SCORES_FIRST"));
    let none = dataset(&mut client, &job, DataPart::Unspecified).await.unwrap_err();
    assert_eq!(reason(&none), ("BAD_PART".into(), "part".into()));
    let other = Assignment { fence: job.fence + 1, ..job.clone() };
    let stale = dataset(&mut client, &other, DataPart::Train).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).0.as_str()), (Code::FailedPrecondition, "STALE_FENCE"));
    fake.say(scores(&job, 0.5)).await;
    assert!(matches!(fake.hear().await.unwrap(), Told::Scored(_)));
    fake.say(scores(&job, 0.5)).await;
    assert!(matches!(fake.hear().await.unwrap(), Told::Scored(_)), "the same again is fine");
    dataset(&mut client, &job, DataPart::Refit).await.unwrap();
    fake.say(scores(&job, 0.4)).await;
    let changed = fake.hear().await.unwrap_err();
    assert_eq!(reason(&changed).0, "BAD_SCORES", "who has seen the labels cannot score any more");
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn who_is_stale_or_wrong_loses_the_job_and_harms_nothing() {
    let (mesh, mut client) = prepared(&["lifecycle.backoff_ms=1"], POLICY).await;
    request(&mut client, "1").await;
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let job = fake.assignment().await;
    fake.taken(started(&job)).await;
    let stale = Assignment { fence: job.fence + 7, ..job.clone() };
    assert_eq!(fake.revoked(completed(&stale, &sha256_hex(b"x"))).await.reason, "STALE_FENCE");
    // The job is still the worker's; a result without its artifact ends the attempt.
    fake.say(scores(&job, 0.5)).await;
    assert!(matches!(fake.hear().await.unwrap(), Told::Scored(_)));
    let bad = fake.revoked(completed(&job, &sha256_hex(b"never uploaded"))).await;
    assert_eq!((bad.reason.as_str(), bad.message.as_str()), ("BAD_RESULT", "the artifact was not uploaded"));
    let job = fake.assignment().await;
    assert_eq!(job.job_id, "job-1");
    fake.taken(started(&job)).await;
    fake.say(scores(&job, 0.5)).await;
    assert!(matches!(fake.hear().await.unwrap(), Told::Scored(_)));
    // Trained on other data than the job names.
    let digest = upload(&mut client, b"a model").await;
    let mut other = job.clone();
    other.train.as_mut().unwrap().digest = sha256_hex(b"other data");
    let bad = fake.revoked(completed(&other, &digest)).await;
    assert!(bad.reason == "BAD_RESULT" && bad.message.starts_with("data_digest"), "{bad:?}");
    let job = fake.assignment().await;
    fake.taken(started(&job)).await;
    let failed = proto::Failed {
        job_id: job.job_id.clone(),
        fence: job.fence,
        retryable: false,
        why: "no memory".into(),
    };
    fake.taken(Say::Failed(failed)).await;
    let dead = wait_for(&mut client, "job-1", JobState::DeadLettered).await;
    assert_eq!((dead.why.as_str(), dead.version.as_str()), ("no memory", ""));
    let list = proto::ListVersionsRequest { model_id: "m".into() };
    assert!(client.models.list_versions(list).await.unwrap().into_inner().versions.is_empty());
    let explain = proto::ExplainJobRequest { job_id: "job-1".into() };
    let events = client.jobs.explain_job(explain).await.unwrap().into_inner().events;
    assert!(events.iter().any(|event| event.what == "stale_refused"), "refusals are written down");

    let requeue =
        proto::RequeueJobRequest { job_id: "job-1".into(), actor: "bob".into(), ..Default::default() };
    client.jobs.requeue_job(requeue).await.unwrap();
    let job = fake.assignment().await;
    let cancel =
        proto::CancelJobRequest { job_id: "job-1".into(), why: "enough".into(), ..Default::default() };
    client.jobs.cancel_job(cancel).await.unwrap();
    match fake.hear().await.unwrap() {
        Told::Revoked(revoked) => {
            assert_eq!((revoked.job_id, revoked.reason.as_str()), (job.job_id, "CANCELLED"))
        }
        other => panic!("{other:?}"),
    }
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_silent_worker_loses_its_job_to_another() {
    let flags = ["lifecycle.lease_ms=300", "lifecycle.backoff_ms=1"];
    let (mesh, mut client) = prepared(&flags, POLICY).await;
    request(&mut client, "1").await;
    let mut silent = Fake::join(&mut client, "silent").await.unwrap();
    let job = silent.assignment().await;
    silent.taken(started(&job)).await;
    match silent.hear().await.unwrap() {
        Told::Revoked(revoked) => assert_eq!(revoked.reason, "EXPIRED"),
        other => panic!("{other:?}"),
    }
    let mut other = Fake::join(&mut client, "other").await.unwrap();
    let again = other.assignment().await;
    assert!(again.job_id == job.job_id && again.fence > job.fence);
    assert_eq!(silent.revoked(completed(&job, &sha256_hex(b"late"))).await.reason, "STALE_FENCE");
    let held = self::job(&mut client, "job-1").await;
    assert_eq!((held.state(), held.worker.as_str(), held.attempt), (JobState::Leased, "other", 1));
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_version_that_fails_a_gate_is_rejected_and_one_for_approval_waits() {
    let strict = POLICY.replace("margin = 0.5", "margin = 0.5\nloss_max = 0.01");
    let (mesh, mut client) = prepared(&[], &strict).await;
    request(&mut client, "1").await;
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let job = fake.assignment().await;
    fake.taken(started(&job)).await;
    fake.say(scores(&job, 0.5)).await;
    fake.hear().await.unwrap();
    let digest = upload(&mut client, b"a coin").await;
    fake.taken(completed(&job, &digest)).await;
    let over = wait_for(&mut client, "job-1", JobState::Rejected).await;
    assert_eq!(over.why, "gates failed: loss");
    let get = |version: &str| proto::GetVersionRequest { model_id: "m".into(), version: version.into() };
    let version = client.models.get_version(get(&over.version)).await.unwrap().into_inner().version.unwrap();
    assert_eq!(version.stage(), Stage::Rejected);

    let document = Some(proto::PolicyDocument { toml: POLICY.into() });
    let put = proto::PutPolicyRequest { model_id: "m".into(), document, ..Default::default() };
    client.models.put_policy(put).await.unwrap();
    let broken = proto::RequestRetrainingRequest {
        model_id: "m".into(),
        why: "a principle is broken".into(),
        trigger: proto::TriggerKind::ComplianceViolation.into(),
        event_time_ms: Some(UNTIL_MS),
        actor: "ann".into(),
        ..Default::default()
    };
    client.jobs.request_retraining(broken).await.unwrap();
    let job = fake.assignment().await;
    fake.taken(started(&job)).await;
    fake.say(scores(&job, 0.5)).await;
    fake.hear().await.unwrap();
    let digest = upload(&mut client, b"another coin").await;
    fake.taken(completed(&job, &digest)).await;
    let waiting = wait_for(&mut client, "job-2", JobState::AwaitingApproval).await;
    let approve = |who: &str| proto::ApproveJobRequest {
        job_id: "job-2".into(),
        approved: true,
        actor: who.into(),
        ..Default::default()
    };
    let own = client.jobs.approve_job(approve("ann")).await.unwrap_err();
    assert_eq!(reason(&own).0, "SAME_PERSON");
    let over = client.jobs.approve_job(approve("bob")).await.unwrap().into_inner().job.unwrap();
    assert_eq!(over.state(), JobState::Succeeded);
    let version =
        client.models.get_version(get(&waiting.version)).await.unwrap().into_inner().version.unwrap();
    assert_eq!(version.stage(), Stage::Champion);
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_worker_says_first_and_wrongly_is_named() {
    let (mesh, mut client) = prepared(&[], POLICY).await;
    let first = |message: Say| tokio_stream::once(WorkRequest { message: Some(message) });
    let refused = client.jobs.work(first(Say::Ready(proto::Ready {}))).await.unwrap_err();
    assert_eq!(reason(&refused), ("HELLO_FIRST".into(), "message".into()));
    let hello = |id: &str, trainers: &[&str]| {
        let trainers = trainers.iter().map(ToString::to_string).collect();
        Say::Hello(proto::Hello { worker_id: id.into(), trainers })
    };
    let refused = client.jobs.work(first(hello("a b", &["x"]))).await.unwrap_err();
    assert_eq!(reason(&refused), ("BAD_NAME".into(), "hello.worker_id".into()));
    let refused = client.jobs.work(first(hello("w", &[]))).await.unwrap_err();
    assert_eq!(reason(&refused), ("BAD_NAME".into(), "hello.trainers".into()));
    for (bad, why) in [
        (Say::Started(proto::Started { job_id: "seven".into(), fence: 1 }), "BAD_JOB_ID"),
        (Say::Completed(proto::Completed { job_id: "job-1".into(), ..Default::default() }), "BAD_DIGEST"),
        (hello("w", &["x"]), "HELLO_FIRST"),
    ] {
        let mut fake = Fake::join(&mut client, "w").await.unwrap();
        fake.say(bad).await;
        assert_eq!(reason(&fake.hear().await.unwrap_err()).0, why);
    }
    let mut fake = Fake::join(&mut client, "w").await.unwrap();
    let nobodys = Say::Heartbeat(proto::Heartbeat { job_id: "job-9".into(), fence: 1 });
    assert_eq!(fake.revoked(nobodys).await.reason, "STALE_FENCE");
    mesh.running.stop().await.unwrap();
}

#[tokio::test]
async fn files_go_in_and_out_within_their_bounds() {
    let (mesh, mut client) = prepared(&[], POLICY).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let digest = upload(&mut client, &bytes).await;
    upload(&mut client, &bytes).await;
    let gone =
        client.jobs.get_artifact(GetArtifactRequest { digest: sha256_hex(b"gone") }).await.unwrap_err();
    assert_eq!(reason(&gone).0, "UNKNOWN_ARTIFACT");
    let bad = client.jobs.get_artifact(GetArtifactRequest { digest: "x".into() }).await.unwrap_err();
    assert_eq!(reason(&bad), ("BAD_DIGEST".into(), "digest".into()));
    let giant = put(&mut client, &digest, 1 << 30, b"x").await.unwrap_err();
    assert_eq!(reason(&giant), ("ARTIFACT_TOO_LARGE".into(), "header.size_bytes".into()));
    let more = put(&mut client, &digest, 10, &bytes).await.unwrap_err();
    assert_eq!(reason(&more).0, "ARTIFACT_TOO_LARGE", "more than was announced");
    let other = put(&mut client, &sha256_hex(b"other"), 1, b"x").await.unwrap_err();
    assert_eq!(reason(&other), ("DIGEST_MISMATCH".into(), "header.digest".into()));
    let first = PutArtifactRequest { message: Some(put_artifact_request::Message::Chunk(vec![1])) };
    let refused = client.jobs.put_artifact(tokio_stream::once(first)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "HEADER_FIRST");

    let wanted = |format: TableFormat| ReadRecordsRequest {
        model_id: "m".into(),
        from_ms: 0,
        until_ms: 10_000,
        labelled: true,
        format: format.into(),
        ..Default::default()
    };
    for format in [TableFormat::Parquet, TableFormat::Arrow] {
        let mut pieces = client.jobs.read_records(wanted(format)).await.unwrap().into_inner();
        let (mut bytes, mut data) = (Vec::new(), None);
        while let Some(piece) = pieces.message().await.unwrap() {
            data = data.or(piece.data);
            bytes.extend_from_slice(&piece.chunk);
        }
        let data = data.unwrap();
        assert_eq!((data.rows, data.digest), (10, sha256_hex(&bytes)));
        let (schema, batches) = match format {
            TableFormat::Arrow => acgs_interchange::from_arrow(&bytes).unwrap(),
            _ => acgs_interchange::from_parquet(bytes.into()).unwrap(),
        };
        assert!(schema.index_of("y").is_some() && batches[0].rows() == 10);
    }
    let refused = |status: Status| reason(&status).0;
    let backwards = ReadRecordsRequest { until_ms: 0, ..wanted(TableFormat::Parquet) };
    assert_eq!(refused(client.jobs.read_records(backwards).await.unwrap_err()), "BAD_RANGE");
    let many = ReadRecordsRequest { rows_max: 9_000_000, ..wanted(TableFormat::Parquet) };
    assert_eq!(refused(client.jobs.read_records(many).await.unwrap_err()), "BAD_LIMIT");
    let unknown = ReadRecordsRequest { model_id: "x".into(), ..wanted(TableFormat::Parquet) };
    assert_eq!(refused(client.jobs.read_records(unknown).await.unwrap_err()), "UNKNOWN_MODEL");
    let empty = proto::RegisterModelRequest { model_id: "empty".into(), ..Default::default() };
    client.models.register_model(empty).await.unwrap();
    let none = ReadRecordsRequest { model_id: "empty".into(), ..wanted(TableFormat::Parquet) };
    assert_eq!(refused(client.jobs.read_records(none).await.unwrap_err()), "NO_RECORDS");
    mesh.running.stop().await.unwrap();
}
