//! Routes in force: weights, epochs, and what happens when nobody is heard.

use acgs_contracts::lifecycle::v1 as proto;

use super::*;
use crate::warm::probe;

fn routes(epoch: u64, weight: u32) -> proto::ModelRoutes {
    let share = |version: &str, weight| proto::RouteShare { version: version.into(), weight };
    let mut shares = vec![share("old", 100 - weight), share("new", weight)];
    shares.retain(|share| share.weight > 0);
    proto::ModelRoutes {
        model_id: "m".into(),
        epoch,
        shares,
        deployment_id: "deployment-1".into(),
        candidate: "new".into(),
        endpoints: ["old", "new"]
            .map(|version| proto::VersionEndpoints {
                version: version.into(),
                endpoints: vec!["127.0.0.1:1".into()],
            })
            .into(),
        ..proto::ModelRoutes::default()
    }
}

fn share_of_new(table: &Table) -> f64 {
    let headers = HeaderMap::new();
    let of_new = (0..20_000).filter(|_| {
        let route = table.route_of("m").unwrap();
        &*table.choose(route, &headers, table.draw()).unwrap().target.version == "new"
    });
    of_new.count() as f64 / 20_000.0
}

#[tokio::test]
async fn a_newer_epoch_replaces_and_an_older_one_does_not() {
    let table = Table::new(probe(), Shards::start(2).unwrap());
    table.heard(Duration::from_secs(60));
    assert!(table.apply(routes(5, 25)).await);
    assert!((share_of_new(&table) - 0.25).abs() < 0.02);
    assert!(!table.apply(routes(4, 100)).await && !table.apply(routes(5, 100)).await);
    assert!(table.apply(routes(6, 0)).await);
    assert!(share_of_new(&table) == 0.0);
    assert_eq!(table.epochs()[0].epoch, 6);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_is_heard_a_candidate_has_nothing() {
    let table = Table::new(probe(), Shards::start(2).unwrap());
    table.apply(routes(1, 50)).await;
    assert!(share_of_new(&table) == 0.0, "nobody was heard yet");
    table.heard(Duration::from_millis(30));
    assert!((share_of_new(&table) - 0.5).abs() < 0.02);
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert!(share_of_new(&table) == 0.0);
    // Also when it had all: what served before is still connected.
    table.heard(Duration::from_millis(30));
    table.apply(routes(2, 100)).await;
    assert!((share_of_new(&table) - 1.0).abs() < 1e-9);
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert!(share_of_new(&table) == 0.0);
}

#[tokio::test]
async fn callers_with_a_key_stay_where_they_are() {
    let table = Table::new(probe(), Shards::start(2).unwrap());
    table.heard(Duration::from_secs(60));
    let sticky = proto::ModelRoutes { sticky_by: "x-user".into(), ..routes(1, 30) };
    table.apply(sticky).await;
    let version = |key: &str| {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-user"), HeaderValue::from_str(key).unwrap())]);
        table.choose(table.route_of("m").unwrap(), &headers, table.draw()).unwrap().target.version.to_string()
    };
    let all: Vec<String> = (0..100).map(|user| version(&format!("user-{user}"))).collect();
    assert_eq!(all, (0..100).map(|user| version(&format!("user-{user}"))).collect::<Vec<_>>());
    assert!(all.iter().any(|version| version == "new") && all.iter().any(|version| version == "old"));
}

#[tokio::test]
async fn a_change_is_in_force_when_nobody_goes_by_the_old_one() {
    let table = Arc::new(Table::new(probe(), Shards::start(2).unwrap()));
    table.apply(routes(1, 0)).await;
    let held = table.choose(table.route_of("m").unwrap(), &HeaderMap::new(), 0).unwrap();
    let applying = tokio::spawn({
        let table = Arc::clone(&table);
        async move { table.apply(routes(2, 0)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!applying.is_finished(), "a call that was given the old route is on its way out");
    drop(held);
    assert!(applying.await.unwrap());
}
