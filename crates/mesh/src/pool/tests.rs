//! The pool against real servers: who gets work, who does not any more, and what fails at once.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use acgs_contracts::grpc::health::v1::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::Code;
use tonic::transport::{Server as Transport, server::TcpIncoming};
use tower::Layer;

use super::*;
use crate::health::HealthSwitch;

const SERVICE: &str = "acgs.test";

/// Counts calls of `Check`, and answers late.
#[derive(Clone)]
struct Late {
    calls: Arc<AtomicUsize>,
    by: Duration,
}

#[derive(Clone)]
struct LateService<S>(S, Late);

impl<S> Layer<S> for Late {
    type Service = LateService<S>;

    fn layer(&self, inner: S) -> LateService<S> {
        LateService(inner, self.clone())
    }
}

impl<S> Service<Request<Body>> for LateService<S>
where
    S: Service<Request<Body>> + Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let counted = request.uri().path().ends_with("/Check");
        if counted {
            self.1.calls.fetch_add(1, Ordering::Relaxed);
        }
        let (answer, by) = (self.0.call(request), self.1.by);
        Box::pin(async move {
            if counted && !by.is_zero() {
                tokio::time::sleep(by).await;
            }
            answer.await
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server of health alone.
struct Server {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    health: HealthSwitch,
    stop: CancellationToken,
    /// Its own, so that it can end as a process does: with all its connections.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    async fn start(by: Duration) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), by).await
    }

    async fn start_at(address: SocketAddr, by: Duration) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let inside = runtime.enter();
        let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap()).with_nodelay(Some(true));
        drop(inside);
        let (health, stop, calls) =
            (HealthSwitch::new(&[SERVICE]), CancellationToken::new(), Arc::<AtomicUsize>::default());
        let late = Late { calls: Arc::clone(&calls), by };
        let serving = Transport::builder()
            .layer(late)
            .add_service(HealthServer::new(health.service_of("")))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        runtime.spawn(async move { serving.await.unwrap() });
        Self { address, calls, health, stop, runtime: Some(runtime) }
    }

    /// Without goodbye: connections are cut.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn pool(servers: &[&Server]) -> (Pool, watch::Sender<Addresses>) {
    let (sender, source) = watch::channel(servers.iter().map(|server| server.address.to_string()).collect());
    (Pool::start(SERVICE, source), sender)
}

async fn check(pool: &Pool) -> Result<(), Status> {
    let request = HealthCheckRequest { service: SERVICE.into() };
    HealthClient::new(pool.clone()).check(request).await.map(|_| ())
}

/// Calls from so many callers for so long; failures are returned.
async fn call(pool: &Pool, callers: usize, time: Duration) -> (usize, Vec<Status>) {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let pool = pool.clone();
        tasks.spawn(async move {
            let (since, mut done, mut failed) = (Instant::now(), 0, Vec::new());
            while since.elapsed() < time {
                match check(&pool).await {
                    Ok(()) => done += 1,
                    Err(status) => failed.push(status),
                }
            }
            (done, failed)
        });
    }
    let (mut done, mut failed) = (0, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (calls, failures) = ended.unwrap();
        done += calls;
        failed.extend(failures);
    }
    (done, failed)
}

async fn wait_for(pool: &Pool, count: usize, within: Duration) -> Duration {
    let since = Instant::now();
    while pool.instances().len() != count {
        assert!(since.elapsed() < within, "{:?} after {within:?}, not {count}", pool.instances());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    since.elapsed()
}

#[tokio::test]
async fn an_empty_pool_fails_at_once() {
    let (pool, _source) = pool(&[]);
    let since = Instant::now();
    let status = check(&pool).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(since.elapsed() < Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_instance_gets_little() {
    let (one, two, slow) = (
        Server::start(Duration::ZERO).await,
        Server::start(Duration::ZERO).await,
        Server::start(Duration::from_millis(50)).await,
    );
    let (pool, _source) = pool(&[&one, &two, &slow]);
    wait_for(&pool, 3, Duration::from_secs(1)).await;
    let (_, failed) = call(&pool, 8, Duration::from_millis(500)).await;
    assert!(failed.is_empty(), "{failed:?}");
    let before = slow.calls();
    let (done, failed) = call(&pool, 8, Duration::from_secs(1)).await;
    assert!(failed.is_empty(), "{failed:?}");
    let share = (slow.calls() - before) as f64 / done as f64;
    assert!(share < 0.05, "{share} of {done}, and a third would be even");
    let both = (one.calls() as f64, two.calls() as f64);
    assert!(both.0 > both.1 / 3.0 && both.1 > both.0 / 3.0, "{both:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_and_go() {
    let (one, mut two) = (Server::start(Duration::ZERO).await, Server::start(Duration::ZERO).await);
    let (pool, source) = pool(&[&one]);
    wait_for(&pool, 1, Duration::from_secs(1)).await;
    // A new one gets work within a second, also when nobody calls meanwhile.
    source.send_modify(|addresses| {
        addresses.insert(two.address.to_string());
    });
    wait_for(&pool, 2, Duration::from_secs(1)).await;
    call(&pool, 2, Duration::from_millis(100)).await;
    assert!(two.calls() > 0);
    // One that says that it is not well gets none.
    one.health.set(SERVICE, false);
    wait_for(&pool, 1, Duration::from_secs(1)).await;
    let before = one.calls();
    assert!(call(&pool, 2, Duration::from_millis(100)).await.1.is_empty());
    assert_eq!(one.calls(), before);
    one.health.set(SERVICE, true);
    wait_for(&pool, 2, Duration::from_secs(1)).await;
    // One that is gone without a word gets none after two seconds, and its place is taken again when it is back.
    two.kill();
    wait_for(&pool, 1, Duration::from_secs(2)).await;
    assert!(call(&pool, 2, Duration::from_millis(100)).await.1.is_empty());
    let again = Server::start_at(two.address, Duration::ZERO).await;
    wait_for(&pool, 2, Duration::from_secs(2)).await;
    call(&pool, 2, Duration::from_millis(100)).await;
    assert!(again.calls() > 0);
    // One that discovery takes back is let go.
    source.send_modify(|addresses| {
        addresses.remove(&one.address.to_string());
    });
    wait_for(&pool, 1, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_a_rolling_restart_do_not_fail() {
    let (one, two) = (Server::start(Duration::ZERO).await, Server::start(Duration::ZERO).await);
    let (pool, _source) = pool(&[&one, &two]);
    wait_for(&pool, 2, Duration::from_secs(1)).await;
    let calling = pool.clone();
    let calls = tokio::spawn(async move { call(&calling, 4, Duration::from_secs(1)).await });
    let mut running = Vec::new();
    for mut server in [one, two] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // Nothing is said before: who calls meanwhile is told by the connection that it was not taken.
        server.stop.cancel();
        server.health.all_down();
        // The watch of its health is a stream that it does not end itself.
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.kill();
        running.push(Server::start_at(server.address, Duration::ZERO).await);
        wait_for(&pool, 2, Duration::from_secs(2)).await;
    }
    let (done, failed) = calls.await.unwrap();
    assert!(failed.is_empty(), "{} of {done}: {:?}", failed.len(), failed.first());
    assert!(done > 100);
}

/// A peer that takes connections and says nothing, as a stopped process does, is never ready.
#[tokio::test]
async fn a_silent_peer_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_sender, source) = watch::channel(Addresses::from([listener.local_addr().unwrap().to_string()]));
    let pool = Pool::start(SERVICE, source);
    let _open = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(pool.instances(), []);
    assert_eq!(check(&pool).await.unwrap_err().code(), Code::Unavailable);
}

/// Looks at what generated clients send.
#[derive(Clone, Default)]
struct Look(Arc<Mutex<Vec<bool>>>);

impl Service<Request<Body>> for Look {
    type Response = Response<Body>;
    type Error = Status;
    type Future = std::future::Ready<Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.lock().unwrap().push(replay::copy(request).1.is_some());
        std::future::ready(Err(Status::unavailable("looked")))
    }
}

#[tokio::test]
async fn unary_calls_can_be_sent_again() {
    let look = Look::default();
    let mut client = HealthClient::new(look.clone());
    client.check(HealthCheckRequest { service: SERVICE.into() }).await.unwrap_err();
    client.check(HealthCheckRequest { service: "x".repeat(100_000) }).await.unwrap_err();
    assert_eq!(*look.0.lock().unwrap(), [true, false]);
}
