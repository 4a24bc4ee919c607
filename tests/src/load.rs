//! A steady load on a gateway with every answer accounted for. It must not know a test.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use acgs_contracts::inference::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status, transport::Channel};

use crate::models::{inference, question};

/// What became of a load's calls.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by version.
    pub versions: BTreeMap<String, u64>,
    /// Failures by code and message.
    pub failures: BTreeMap<String, u64>,
    /// The longest wait for an answer.
    pub longest: Duration,
}

impl Tally {
    /// Answers of one version.
    pub fn of(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }

    /// Everything that came back.
    pub fn all(&self) -> u64 {
        self.versions.values().sum::<u64>() + self.failures.values().sum::<u64>()
    }

    /// Failures that the models did not make.
    pub fn lost(&self) -> Vec<(String, u64)> {
        let ours = |failure: &&String| !failure.contains("the model is broken");
        let all = self.failures.iter().filter(|(failure, _)| ours(failure));
        all.map(|(failure, count)| (failure.clone(), *count)).collect()
    }
}

/// So many calls a second, whatever becomes of those before.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    open: Arc<AtomicU64>,
}

impl Load {
    /// On one or several gateways in turn; a call that one could not take is sent to the next, as clients do.
    pub async fn start(gateways: &[SocketAddr], model: &str, per_second: u64) -> Self {
        Self::asking(gateways, question(model), per_second).await
    }

    /// With a question of the test's own.
    pub async fn asking(gateways: &[SocketAddr], question: ModelInferRequest, per_second: u64) -> Self {
        Self::waiting(gateways, question, per_second, None).await
    }

    /// By callers that go when they have waited for so long, without having said so before.
    pub async fn giving_up(gateways: &[SocketAddr], model: &str, per_second: u64, after: Duration) -> Self {
        Self::waiting(gateways, question(model), per_second, Some(after)).await
    }

    async fn waiting(
        gateways: &[SocketAddr],
        question: ModelInferRequest,
        per_second: u64,
        patience: Option<Duration>,
    ) -> Self {
        let mut clients = Vec::new();
        for gateway in gateways {
            clients.push(inference(*gateway).await);
        }
        let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicBool::new(false)));
        let open = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn({
            let (tally, stop, open) = (Arc::clone(&tally), Arc::clone(&stop), Arc::clone(&open));
            async move {
                let began = Instant::now();
                let mut sent = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                    while sent < due {
                        let place = sent as usize % clients.len();
                        let (tally, open, clients) = (Arc::clone(&tally), Arc::clone(&open), clients.clone());
                        let question = question.clone();
                        open.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(async move {
                            let call = call(&clients, place, question, &tally);
                            match patience {
                                Some(after) => drop(tokio::time::timeout(after, call).await),
                                None => call.await,
                            }
                            open.fetch_sub(1, Ordering::Relaxed);
                        });
                        sent += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        Self { tally, stop, task, open }
    }

    /// What came back so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().expect("no panic").clone()
    }

    /// Waits until so many calls have been answered, by a version or in all.
    pub async fn until(&self, version: Option<&str>, answered: u64) {
        let since = Instant::now();
        loop {
            let tally = self.tally();
            let now = version.map_or_else(|| tally.all(), |version| tally.of(version));
            if now >= answered {
                return;
            }
            assert!(since.elapsed() < crate::PATIENCE, "{now} of {answered} calls: {tally:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// No more calls; what is open is waited for.
    pub async fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load");
        let since = Instant::now();
        while self.open.load(Ordering::Relaxed) > 0 && since.elapsed() < crate::PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.open.load(Ordering::Relaxed), 0, "calls hang");
        self.tally.lock().expect("no panic").clone()
    }
}

/// A call whose connection breaks is sent to the next gateway, as a client's own retry does: asking a model changes nothing.
async fn call(
    clients: &[GrpcInferenceServiceClient<Channel>],
    place: usize,
    question: ModelInferRequest,
    tally: &Mutex<Tally>,
) {
    let since = Instant::now();
    let mut answer = Err(Status::unavailable("nobody was asked"));
    for attempt in 0..clients.len() {
        let mut client = clients[(place + attempt) % clients.len()].clone();
        let mut request = Request::new(question.clone());
        request.set_timeout(crate::PATIENCE);
        answer = client.model_infer(request).await;
        // What has a source in the transport was not said by the gateway.
        let broke = answer.as_ref().is_err_and(|status| std::error::Error::source(status).is_some());
        if !broke {
            break;
        }
    }
    let mut tally = tally.lock().expect("no panic");
    tally.longest = tally.longest.max(since.elapsed());
    match answer {
        Ok(answer) => *tally.versions.entry(answer.into_inner().model_version).or_default() += 1,
        Err(status) => {
            let code: Code = status.code();
            *tally.failures.entry(format!("{code:?}: {}", status.message())).or_default() += 1;
        }
    }
}
