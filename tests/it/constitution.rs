//! The hash on every RPC of every service, in both directions; health, reflection and metrics are open.

use std::sync::Arc;

use acgs_contracts::{
    constitution::v1::{
        GetConstitutionRequest, VerifyDocumentRequest, constitution_service_client::ConstitutionServiceClient,
    },
    grpc::health::v1::{
        HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    lifecycle::v1::ListRoutersRequest,
    orchestrator::v1::{SubscribeRequest, orchestrator_service_client::OrchestratorServiceClient},
    quality::v1::{AssessRequest, quality_service_client::QualityServiceClient},
};
use acgs_tests::{Mesh, PATIENCE, reason};
use acgs_vocabulary::constitution::{HEADER, PLATFORM};
use tonic::{Code, Request, metadata::MetadataValue};

fn with_hash<T>(message: T, hash: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, MetadataValue::from_static(hash));
    request
}

#[tokio::test]
async fn absent_and_wrong_are_refused_and_counted_on_every_port() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let ports = [
        addresses.quality,
        addresses.drift,
        addresses.performance,
        addresses.orchestrator,
        addresses.gateway,
    ];
    // The gateway of the same process asks the orchestrator for routes, which counts too: once it has.
    let mut lifecycle = mesh.lifecycle().await;
    let since = std::time::Instant::now();
    while lifecycle.routing.list_routers(ListRoutersRequest {}).await.unwrap().into_inner().routers.is_empty()
    {
        assert!(since.elapsed() < acgs_tests::PATIENCE, "the gateway follows");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let counted = || async {
        let mut client = ConstitutionServiceClient::new(mesh.plain(addresses.drift).await);
        let right = with_hash(GetConstitutionRequest {}, PLATFORM);
        client.get_constitution(right).await.unwrap().into_inner()
    };
    let before = counted().await;
    for address in ports {
        let mut client = ConstitutionServiceClient::new(mesh.plain(address).await);
        let absent = client.get_constitution(GetConstitutionRequest {}).await.unwrap_err();
        assert_eq!(absent.code(), Code::InvalidArgument);
        assert_eq!(reason(&absent).0, "CONSTITUTION_MISSING");
        let wrong = client.get_constitution(with_hash(GetConstitutionRequest {}, "0123456789abcdef")).await;
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.code(), Code::PermissionDenied);
        assert_eq!(reason(&wrong).0, "CONSTITUTION_MISMATCH");
        assert!(!format!("{wrong:?}{absent:?}").contains(PLATFORM), "a refusal does not tell");
        let right = client.get_constitution(with_hash(GetConstitutionRequest {}, PLATFORM)).await.unwrap();
        assert_eq!(right.metadata().get(HEADER).unwrap(), PLATFORM, "answers are stamped");
    }
    let told = counted().await;
    let validations = told.validations_total - before.validations_total;
    assert_eq!((validations, told.mismatches_total), (16, 10), "exact counts");
    assert_eq!(told.accepted, [PLATFORM]);
}

#[tokio::test]
async fn odd_forms_are_refused() {
    let mesh = Mesh::start().await;
    let mut client = QualityServiceClient::new(mesh.plain(mesh.running.addresses.quality).await);
    for hash in
        ["CDD01EF066BC6CF2", "cdd01ef066bc6cf", "cdd01ef066bc6cf3", "x", "cdd01ef066bc6cf2,cdd01ef066bc6cf2"]
    {
        let refused = client.assess(with_hash(AssessRequest::default(), hash)).await.unwrap_err();
        assert_eq!(reason(&refused).0, "CONSTITUTION_MISMATCH", "{hash}");
    }
    let mut twice = with_hash(AssessRequest::default(), PLATFORM);
    twice.metadata_mut().append(HEADER, MetadataValue::from_static(PLATFORM));
    assert_eq!(reason(&client.assess(twice).await.unwrap_err()).0, "CONSTITUTION_MISMATCH", "two values");
    let mut stream = OrchestratorServiceClient::new(mesh.plain(mesh.running.addresses.orchestrator).await);
    let refused = stream.stream_windows(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "CONSTITUTION_MISSING", "streams too");
}

#[tokio::test]
async fn a_client_refuses_a_server_under_another_constitution() {
    let mesh =
        Mesh::start_with(&["constitution.accepted=[\"0123456789abcdef\", \"cdd01ef066bc6cf2\"]"]).await;
    // The server takes the platform's as its next one, but stamps its current one.
    let constitution = acgs_vocabulary::Constitution::new(vec![PLATFORM.into()]).unwrap();
    let address = format!("http://{}", mesh.running.addresses.quality);
    let channel = acgs_mesh::client::connect(&address, constitution).await.unwrap();
    let mut client = ConstitutionServiceClient::new(channel);
    let refused = client.get_constitution(GetConstitutionRequest {}).await.unwrap_err();
    assert!(refused.message().contains("did not answer with an accepted"), "{refused:?}");
    let mut both = ConstitutionServiceClient::new(mesh.channel(mesh.running.addresses.quality).await);
    assert!(both.get_constitution(GetConstitutionRequest {}).await.is_ok(), "who accepts both goes on");
}

#[tokio::test]
async fn documents_are_verified() {
    let document = b"Article 1. What is measured is told.\n";
    let identifier = acgs_vocabulary::constitution::identifier(document);
    let flag = format!("constitution.accepted=[{identifier:?}]");
    let mesh = Mesh::start_with(&[&flag]).await;
    let mut client = ConstitutionServiceClient::new(mesh.channel(mesh.running.addresses.quality).await);
    let request = |document: &[u8]| VerifyDocumentRequest { document: document.to_vec() };
    let right = client.verify_document(request(document)).await.unwrap().into_inner();
    assert!(right.valid && right.identifier == identifier && right.sha256.starts_with(&identifier));
    let stripped = client.verify_document(request(document.trim_ascii_end())).await.unwrap().into_inner();
    assert!(!stripped.valid, "white space counts");
    let empty = client.verify_document(request(b"")).await.unwrap_err();
    assert_eq!(reason(&empty), ("BAD_DOCUMENT".into(), "document".into()));
}

#[tokio::test]
async fn health_and_metrics_are_open() {
    let mesh = Mesh::start().await;
    let address = mesh.running.addresses.orchestrator;
    let mut health = HealthClient::new(mesh.plain(address).await);
    let check = |service: &str| HealthCheckRequest { service: service.into() };
    let serving = health.check(check("acgs.orchestrator.v1.OrchestratorService")).await.unwrap().into_inner();
    assert_eq!(serving.status(), ServingStatus::Serving);
    assert_eq!(health.check(check("nobody")).await.unwrap_err().code(), Code::NotFound);
    // Each is there when it has been asked how it is.
    tokio::time::timeout(PATIENCE, async {
        while health.list(HealthListRequest {}).await.unwrap().into_inner().statuses.len() != 11 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("all services are listed");
    let mut unknown = health.watch(check("nobody")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut watch = health.watch(check("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let text = http_get(address, "/metrics").await;
    assert!(text.contains("acgs_constitutional_hash_valid 1"), "{text}");
    let counted = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("acgs_constitutional_hash_validations_total "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).expect("a count")
    };
    // The gateway of the same process has perhaps asked for routes; what is open is not counted.
    assert!(counted(&text) <= 1, "{text}");

    mesh.running.stop().await.unwrap();
    let last = watch.message().await.map(|message| message.map(|message| message.status()));
    assert!(matches!(last, Ok(Some(ServingStatus::NotServing)) | Err(_)), "{last:?}");
}

async fn http_get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn every_event_carries_the_hash_and_refusals_are_events() {
    let mesh = Mesh::start().await;
    let mut plain = QualityServiceClient::new(mesh.plain(mesh.running.addresses.quality).await);
    for _ in 0..3 {
        plain.assess(AssessRequest::default()).await.unwrap_err();
    }
    let log = Arc::clone(mesh.running.log.as_ref().unwrap());
    let mut orchestrator = mesh.orchestrator().await;
    let request = SubscribeRequest { after_sequence: Some(0), subject_filter: "acgs.compliance.>".into() };
    let mut events = orchestrator.subscribe(request).await.unwrap().into_inner();
    drop(plain);
    // Refusals are told by the minute, and at the end.
    mesh.running.stop().await.unwrap();
    let _closing = events.message().await;
    let told = log.read(0, 10).await.unwrap();
    assert_eq!(told[0].envelope.constitutional_hash, PLATFORM);
    // Where a minute ends between two of them, they are told in two parts.
    let refused = told.iter().filter_map(|logged| logged.envelope.payload["refused"].as_u64());
    assert_eq!(refused.sum::<u64>(), 3);
    assert_eq!(told[0].envelope.payload["reason"], "CONSTITUTION_MISSING");
}
