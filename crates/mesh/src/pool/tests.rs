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

/// Counts calls of `Check` and of `Watch`, and answers the former late.
#[derive(Clone)]
struct Late {
    calls: Arc<AtomicUsize>,
    watches: Arc<AtomicUsize>,
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
        } else {
            self.1.watches.fetch_add(1, Ordering::Relaxed);
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
    watches: Arc<AtomicUsize>,
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
        let watches = Arc::<AtomicUsize>::default();
        let late = Late { calls: Arc::clone(&calls), watches: Arc::clone(&watches), by };
        let serving = Transport::builder()
            .layer(late)
            .add_service(HealthServer::new(health.service_of("")))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        runtime.spawn(async move { serving.await.unwrap() });
        Self { address, calls, watches, health, stop, runtime: Some(runtime) }
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

/// Calls from so many callers, so many each or until it is enough; failures are returned.
async fn call_until(
    pool: &Pool,
    callers: usize,
    enough: impl Fn(usize) -> bool + Clone + Send + 'static,
) -> (usize, Vec<Status>) {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (pool, enough) = (pool.clone(), enough.clone());
        tasks.spawn(async move {
            let (mut done, mut failed) = (0, Vec::new());
            while !enough(done + failed.len()) {
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

/// So many calls from each of so many callers.
async fn call(pool: &Pool, callers: usize, each: usize) -> (usize, Vec<Status>) {
    call_until(pool, callers, move |done| done >= each).await
}

/// Nothing in a test takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

async fn wait_for(pool: &Pool, count: usize, within: Duration) {
    let since = Instant::now();
    while pool.instances().len() != count {
        assert!(since.elapsed() < within, "{:?} after {within:?}, not {count}", pool.instances());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_fails_at_once() {
    let (pool, _source) = pool(&[]);
    let since = tokio::time::Instant::now();
    let status = check(&pool).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_instance_gets_little() {
    let (one, two, slow) = (
        Server::start(Duration::ZERO).await,
        Server::start(Duration::ZERO).await,
        Server::start(Duration::from_millis(500)).await,
    );
    let (pool, _source) = pool(&[&one, &two, &slow]);
    wait_for(&pool, 3, PATIENCE).await;
    let (_, failed) = call(&pool, 8, 50).await;
    assert!(failed.is_empty(), "{failed:?}");
    let before = slow.calls();
    let (done, failed) = call(&pool, 8, 300).await;
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
    wait_for(&pool, 1, PATIENCE).await;
    // A new one gets work within a second, also when nobody calls meanwhile.
    source.send_modify(|addresses| {
        addresses.insert(two.address.to_string());
    });
    wait_for(&pool, 2, PATIENCE).await;
    call(&pool, 2, 50).await;
    assert!(two.calls() > 0);
    // One that says that it is not well gets none.
    one.health.set(SERVICE, false);
    wait_for(&pool, 1, PATIENCE).await;
    let before = one.calls();
    assert!(call(&pool, 2, 50).await.1.is_empty());
    assert_eq!(one.calls(), before);
    one.health.set(SERVICE, true);
    wait_for(&pool, 2, PATIENCE).await;
    // One that is gone without a word gets none after two seconds, and its place is taken again when it is back.
    two.kill();
    wait_for(&pool, 1, PATIENCE).await;
    assert!(call(&pool, 2, 50).await.1.is_empty());
    let again = Server::start_at(two.address, Duration::ZERO).await;
    wait_for(&pool, 2, PATIENCE).await;
    call(&pool, 2, 50).await;
    assert!(again.calls() > 0);
    // One that discovery takes back is let go.
    source.send_modify(|addresses| {
        addresses.remove(&one.address.to_string());
    });
    wait_for(&pool, 1, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_a_rolling_restart_do_not_fail() {
    let (one, two) = (Server::start(Duration::ZERO).await, Server::start(Duration::ZERO).await);
    let (pool, _source) = pool(&[&one, &two]);
    wait_for(&pool, 2, PATIENCE).await;
    let calling = pool.clone();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let enough = Arc::clone(&over);
    let calls = tokio::spawn(async move {
        call_until(&calling, 4, move |done| done > 50 && enough.load(Ordering::Relaxed)).await
    });
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
        wait_for(&pool, 2, PATIENCE).await;
    }
    over.store(true, Ordering::Relaxed);
    let (done, failed) = calls.await.unwrap();
    assert!(failed.is_empty(), "{} of {done}: {:?}", failed.len(), failed.first());
}

/// A peer that takes connections and says nothing, as a stopped process does, is never ready.
#[tokio::test]
async fn a_silent_peer_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_sender, source) = watch::channel(Addresses::from([listener.local_addr().unwrap().to_string()]));
    let pool = Pool::start(SERVICE, source);
    let _open = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(pool.instances(), []);
    assert_eq!(check(&pool).await.unwrap_err().code(), Code::Unavailable);
}

fn probe(panic_percent: usize) -> Probe {
    Probe { service: SERVICE.into(), otherwise: None, panic_percent }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_of_one_address_share_a_watch() {
    let server = Server::start(Duration::ZERO).await;
    let (_sender, source) = watch::channel(Addresses::from([server.address.to_string()]));
    let first = Connections::default();
    let runtimes = [first.clone(), first.beside()];
    let pool = |runtime: usize| Pool::probing("p", probe(0), source.clone(), &runtimes[runtime]);
    // The first of its runtime watches: it has its answer before there is any other.
    let mut pools = vec![pool(0)];
    pools[0].ready().await;
    pools.extend((1..20).map(|number| pool(number % 2)));
    for pool in &pools {
        pool.ready().await;
        check(pool).await.unwrap();
    }
    assert_eq!(server.watches.load(Ordering::Relaxed), 1);
    // When its runtime has no pool any more, the other takes the watch over.
    let last = pools.into_iter().next_back().unwrap();
    tokio::time::timeout(PATIENCE, async {
        while server.watches.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the watch is taken over");
    check(&last).await.unwrap();
    drop(last);
    let again = Pool::probing("p", probe(0), source.clone(), &runtimes[0]);
    again.ready().await;
    assert_eq!(server.watches.load(Ordering::Relaxed), 3, "the last pool took the watch with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_well_ones_do_not_carry_all() {
    let servers = [
        Server::start(Duration::ZERO).await,
        Server::start(Duration::ZERO).await,
        Server::start(Duration::ZERO).await,
    ];
    servers[1].health.set(SERVICE, false);
    servers[2].health.set(SERVICE, false);
    let addresses: Addresses = servers.iter().map(|server| server.address.to_string()).collect();
    let (_sender, source) = watch::channel(addresses);
    for (panic_percent, all) in [(50, true), (0, false)] {
        let pool = Pool::probing("p", probe(panic_percent), source.clone(), &Connections::default());
        wait_for(&pool, 1, PATIENCE).await;
        let before: Vec<usize> = servers.iter().map(Server::calls).collect();
        for _ in 0..100_000 {
            check(&pool).await.unwrap();
            let called = servers.iter().zip(&before).all(|(server, before)| server.calls() > *before);
            if called || (!all && servers[0].calls() > before[0] + 100) {
                break;
            }
        }
        let called: Vec<bool> =
            servers.iter().zip(&before).map(|(server, before)| server.calls() > *before).collect();
        assert_eq!(called, [true, all, all], "{panic_percent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_worth_waiting_for_who_is_expected() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (sender, source) = watch::channel(Addresses::new());
    let pool = Pool::start(SERVICE, source);
    assert_eq!(pool.worth_waiting_until(), None, "nobody is expected");
    sender.send_modify(|addresses| {
        addresses.insert(free.to_string());
    });
    assert!(pool.worth_waiting_until().is_some(), "at once, whether or not the pool's task has heard of it");
    let server = Server::start_at(free, Duration::ZERO).await;
    tokio::time::timeout(PATIENCE, pool.somebody()).await.unwrap();
    assert_eq!(pool.worth_waiting_until(), None, "somebody takes calls");
    drop(server);
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
