//! Registration, heartbeats, expiry, and who is not let in.

use super::*;

fn registry(allowed: &[&str]) -> Registry {
    let allowed: Vec<String> = allowed.iter().map(|pattern| (*pattern).to_owned()).collect();
    Registry::new(AllowList::parse(&allowed).unwrap(), 3_000)
}

fn at(steady_ms: i64) -> Moment {
    Moment { wall_ms: 0, steady_ms }
}

fn service(id: &str, host: &str, port: u16) -> Service {
    Service {
        service_id: id.into(),
        service_name: "data-quality-service".into(),
        host: host.into(),
        port,
        capabilities: vec!["quality".into()],
        health_endpoint: "/health".into(),
    }
}

#[test]
fn a_service_lives_by_its_heartbeats() {
    let mut registry = registry(&["127.0.0.1:*"]);
    let first = registry.register(service("a", "127.0.0.1", 8010), at(0)).unwrap().incarnation;
    registry.register(service("b", "127.0.0.1", 8020), at(0)).unwrap();
    assert_eq!(registry.find("quality").count(), 2);
    assert_eq!(registry.find("drift").count(), 0);
    assert!(!registry.heartbeat("a", true, 3, at(2_000)).unwrap());
    assert!(registry.heartbeat("a", false, 3, at(2_500)).unwrap(), "it takes no new work");
    assert!(registry.expire(at(3_000)), "b is silent");
    assert_eq!(registry.find("").map(|known| known.service.service_id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(registry.heartbeat("b", true, 0, at(3_000)).unwrap_err().reason(), "UNKNOWN_SERVICE");
    let again = registry.register(service("a", "127.0.0.1", 8011), at(4_000)).unwrap();
    assert!(again.incarnation > first && again.serving);
    assert!(registry.deregister("a") && !registry.deregister("a"));
}

#[test]
fn no_wall_clock_and_no_standstill_takes_a_service_out() {
    let mut registry = registry(&["127.0.0.1:*"]);
    let mut now = at(0);
    registry.register(service("a", "127.0.0.1", 8010), now).unwrap();
    registry.register(service("dead", "127.0.0.1", 8020), now).unwrap();
    for (step, wall_ms) in [3_600_000, -3_600_000, i64::MAX / 2, 0].into_iter().enumerate() {
        now = Moment { wall_ms, steady_ms: (step as i64 + 1) * 1_000 };
        registry.heartbeat("a", true, 0, now).unwrap();
        registry.expire(now);
    }
    assert_eq!(registry.find("").count(), 1, "the dead one is gone, whatever the wall clock says");
    // This process stood still for a minute; heartbeats wait at its door.
    now.steady_ms += 60_000;
    assert!(!registry.expire(now));
    for _ in 0..2 {
        now.steady_ms += 1_000;
        assert!(!registry.expire(now));
    }
    now.steady_ms += 1_000;
    assert!(registry.expire(now), "it is as silent as before");
}

#[test]
fn who_is_not_on_the_list_does_not_register() {
    let mut registry =
        registry(&["10.0.0.0/8:8000-8100", "*.judges.svc:8010", "localhost:*", "[fd00::/8]:80"]);
    for (host, port, allowed) in [
        ("10.1.2.3", 8000, true),
        ("10.1.2.3", 8101, false),
        ("11.0.0.1", 8000, false),
        ("169.254.169.254", 80, false),
        ("q.judges.svc", 8010, true),
        ("Q.Judges.SVC", 8010, true),
        ("judges.svc", 8010, false),
        ("evil-judges.svc", 8010, false),
        ("localhost", 1, true),
        ("127.0.0.1", 8010, false),
        ("fd12::1", 80, true),
        ("fe80::1", 80, false),
        ("::ffff:10.0.0.1", 8000, true),
    ] {
        let registered = registry.register(service("a", host, port), at(0));
        assert_eq!(registered.is_ok(), allowed, "{host}:{port}");
        if let Err(problem) = registered {
            assert_eq!(problem.reason(), "NOT_ALLOWED");
        }
    }
    let mut wrong = service("a", "localhost", 1);
    wrong.capabilities.clear();
    assert_eq!(registry.register(wrong, at(0)).unwrap_err().field_path(), Some("capabilities"));
    assert_eq!(
        registry.register(service("", "localhost", 1), at(0)).unwrap_err().field_path(),
        Some("service_id")
    );
    assert_eq!(
        registry.register(service("a", "localhost", 0), at(0)).unwrap_err().field_path(),
        Some("port")
    );
}

#[test]
fn patterns_have_a_form() {
    for bad in ["", "x", "x:", "x:0", "x:9-8", "*:80", "*x:80", "10.0.0.0/33:1", "a b:1", "x:99999"] {
        assert!(AllowList::parse(&[bad.to_owned()]).is_err(), "{bad}");
    }
}
