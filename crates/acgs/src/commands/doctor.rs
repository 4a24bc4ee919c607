//! `acgs doctor`: what is wrong with these settings and the mesh that they describe, and how to mend it.

use std::{process::ExitCode, time::Duration};

use acgs_contracts::{
    constitution::v1::{GetConstitutionRequest, constitution_service_client::ConstitutionServiceClient},
    grpc::health::v1::health_check_response::ServingStatus,
    lifecycle::v1::{CaptureLoss, ListRoutersRequest, routing_service_client::RoutingServiceClient},
};
use acgs_server::{Settings, home::records_kept};
use acgs_storage::{JetStream, jetstream};
use acgs_vocabulary::ports::PortError;
use clap::Args;
use tonic::Code;

use super::{probe, services};
use acgs_console::connect::channel;

const PATIENCE: Duration = Duration::from_secs(2);

/// Find what is wrong, and say how to mend it; the exit code is 0 when nothing is.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The orchestrator; default: as these settings have it.
    #[arg(long)]
    address: Option<String>,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    wrong: u32,
}

impl Findings {
    fn well(&self, what: &str) {
        println!("ok     {what}");
    }

    fn wrong(&mut self, what: &str, mend: &str) {
        self.wrong += 1;
        println!("WRONG  {what}\n       -> {mend}");
    }
}

impl Doctor {
    /// Looks.
    ///
    /// # Errors
    /// When the settings themselves cannot be used.
    pub async fn run(self, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut findings = Findings::default();
        findings.well("the settings can be read");
        let address = self.address.unwrap_or_else(|| probe::address(&settings, "orchestrator"));
        home(&settings, &mut findings).await;
        orchestrator(&settings, &address, &mut findings).await;
        match findings.wrong {
            0 => println!("nothing is wrong"),
            1 => println!("1 thing is wrong"),
            many => println!("{many} things are wrong"),
        }
        Ok(if findings.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn home(settings: &Settings, findings: &mut Findings) {
    if settings.nats.url.is_empty() {
        findings.well("no NATS is set: the embedded home serves one process");
        return;
    }
    let options = jetstream::Options {
        url: settings.nats.url.clone(),
        replicas: settings.nats.replicas,
        events_max: i64::try_from(settings.home.events_max).unwrap_or(i64::MAX),
        duplicate_window_ms: settings.nats.duplicate_window_ms,
        records: records_kept(settings),
    };
    match JetStream::open(&options).await {
        Ok(home) => {
            findings.well(&format!("NATS answers: {}", home.server()));
            for copy in home.copies().await {
                findings.well(&format!("{copy} keeps a copy of every event, too"));
            }
        }
        Err(error @ PortError::Unavailable(_)) => findings.wrong(
            &error.to_string(),
            "start nats-server 2.10 or newer with --jetstream, or set nats.url (NATS_URL) to where it is",
        ),
        Err(error) => findings.wrong(&error.to_string(), "NATS answers: change what the message names"),
    }
}

async fn orchestrator(settings: &Settings, address: &str, findings: &mut Findings) {
    match probe::health(address, "", PATIENCE).await {
        Ok(ServingStatus::Serving) => findings.well(&format!("the orchestrator answers at {address}")),
        Ok(_) => {
            if let Ok(ServingStatus::NotServing) = probe::health(address, "acgs.home", PATIENCE).await {
                let mend = format!("http://{address}/health says why, and so does its log");
                findings.wrong("its home takes no writes: events wait, and new streams are refused", &mend);
            } else {
                findings.wrong("the orchestrator is stopping", "wait for it, or look at its log");
            }
            return;
        }
        Err(error) => {
            let mend = "start it: `acgs serve all`, or `acgs serve orchestrator` with judges of its own";
            findings.wrong(&format!("{error:#}"), mend);
            return;
        }
    }
    if !constitution(settings, address, findings).await {
        return;
    }
    match services::list(settings, address, String::new()).await {
        Ok(known) if known.is_empty() => {
            findings.well("no judge has registered: right for `serve all`, whose judges live in its process");
        }
        Ok(known) => judges(&known, findings).await,
        Err(error) => findings.wrong(&format!("{error:#}"), "look at the orchestrator's log"),
    }
    routers(settings, address, findings).await;
}

/// Who routes, and which captured calls became no records.
async fn routers(settings: &Settings, address: &str, findings: &mut Findings) {
    let asked = async {
        let mut client = RoutingServiceClient::new(channel(address, settings.constitution()?).await?);
        anyhow::Ok(client.list_routers(ListRoutersRequest {}).await?.into_inner().routers)
    };
    let routers = match asked.await {
        Ok(routers) => routers,
        Err(error) => return findings.wrong(&format!("{error:#}"), "look at the orchestrator's log"),
    };
    for router in routers {
        findings.well(&format!("the gateway {} follows it", router.router_id));
        for loss in router.captures_lost {
            let CaptureLoss { model_id, version, reason, calls, detail } = loss;
            let what = format!(
                "{calls} captured calls of {model_id} {version} became no records at {}: {reason}: {detail}",
                router.router_id
            );
            findings.wrong(&what, mend_of(&reason));
        }
    }
}

/// What helps against a loss, by its reason.
fn mend_of(reason: &str) -> &'static str {
    match reason {
        "no_room" => {
            "the orchestrator takes them too slowly, or is away: look at it, or raise gateway.capture_waiting_bytes_max"
        }
        "too_large" => "raise gateway.capture_bytes_max, or call with fewer rows at once",
        "encoding" => "send identity, gzip or deflate",
        "not_inference" => "capture ModelInfer of the Open Inference Protocol only",
        "tensor" | "text_too_long" => {
            "what such a call sends cannot be a record: change its client, or leave the tensor out of capture"
        }
        "score" => {
            "set capture.score of the policy to the name of the output that has one score for each row"
        }
        "meaning" => "change the roles of the policy's [capture], or what the client sends",
        "streams" => "raise orchestrator.streams_max, or capture fewer versions",
        "refused" => "the stream refuses them: the gateway's log has its reason",
        _ => "look at the gateway's log",
    }
}

/// Whether the orchestrator takes our constitutional hash.
async fn constitution(settings: &Settings, address: &str, findings: &mut Findings) -> bool {
    let asked = async {
        let channel = channel(address, settings.constitution()?).await?;
        let mut client = ConstitutionServiceClient::new(channel);
        anyhow::Ok(client.get_constitution(GetConstitutionRequest {}).await)
    };
    match asked.await {
        Ok(Ok(_)) => {
            findings.well("it serves under our constitutional hash");
            true
        }
        Ok(Err(status)) if status.code() == Code::PermissionDenied => {
            let mend = "set CONSTITUTIONAL_HASH to the identifier that the mesh serves under; \
                        `acgs constitution verify FILE` computes a document's";
            findings.wrong("it serves under another constitution", mend);
            false
        }
        Ok(Err(status)) => {
            findings.wrong(status.message(), "look at its log");
            false
        }
        Err(error) => {
            findings.wrong(&format!("{error:#}"), "look at its log");
            false
        }
    }
}

async fn judges(known: &[acgs_contracts::orchestrator::v1::ServiceInfo], findings: &mut Findings) {
    for judge in ["quality", "drift", "performance"] {
        let able: Vec<_> =
            known.iter().filter(|service| service.capabilities.iter().any(|can| can == judge)).collect();
        if able.is_empty() {
            let mend = format!("start one: `acgs serve {judge} --set 'mesh.orchestrators=[\"HOST:PORT\"]'`");
            findings.wrong(&format!("no {judge} judge has registered: its verdicts are UNAVAILABLE"), &mend);
        }
        for service in able {
            let at = format!("{}:{}", service.host, service.port);
            match probe::health(&at, "", PATIENCE).await {
                Ok(ServingStatus::Serving) => findings.well(&format!("{judge} answers at {at}")),
                Ok(_) => findings.wrong(&format!("{judge} at {at} is stopping"), "wait for it"),
                Err(error) => findings.wrong(
                    &format!("{error:#}"),
                    "it has registered but cannot be reached from here: check mesh.advertise and the network",
                ),
            }
        }
    }
}
