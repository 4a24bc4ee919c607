//! Registration, heartbeats, expiry, and who is not let in.

use super::*;

fn registry(allowed: &[&str]) -> Registry {
    let allowed: Vec<String> = allowed.iter().map(|pattern| (*pattern).to_owned()).collect();
    Registry::new(AllowList::parse(&allowed).unwrap(), 3_000)
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
    let first = registry.register(service("a", "127.0.0.1", 8010), 0).unwrap().incarnation;
    registry.register(service("b", "127.0.0.1", 8020), 0).unwrap();
    assert_eq!(registry.find("quality").count(), 2);
    assert_eq!(registry.find("drift").count(), 0);
    assert!(!registry.heartbeat("a", true, 3, 2_000).unwrap());
    assert!(registry.heartbeat("a", false, 3, 2_500).unwrap(), "it takes no new work");
    assert!(registry.expire(3_000), "b is silent");
    assert_eq!(registry.find("").map(|known| known.service.service_id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(registry.heartbeat("b", true, 0, 3_000).unwrap_err().reason(), "UNKNOWN_SERVICE");
    let again = registry.register(service("a", "127.0.0.1", 8011), 4_000).unwrap();
    assert!(again.incarnation > first && again.serving);
    assert!(registry.deregister("a") && !registry.deregister("a"));
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
        let registered = registry.register(service("a", host, port), 0);
        assert_eq!(registered.is_ok(), allowed, "{host}:{port}");
        if let Err(problem) = registered {
            assert_eq!(problem.reason(), "NOT_ALLOWED");
        }
    }
    let mut wrong = service("a", "localhost", 1);
    wrong.capabilities.clear();
    assert_eq!(registry.register(wrong, 0).unwrap_err().field_path(), Some("capabilities"));
    assert_eq!(
        registry.register(service("", "localhost", 1), 0).unwrap_err().field_path(),
        Some("service_id")
    );
    assert_eq!(registry.register(service("a", "localhost", 0), 0).unwrap_err().field_path(), Some("port"));
}

#[test]
fn patterns_have_a_form() {
    for bad in ["", "x", "x:", "x:0", "x:9-8", "*:80", "*x:80", "10.0.0.0/33:1", "a b:1", "x:99999"] {
        assert!(AllowList::parse(&[bad.to_owned()]).is_err(), "{bad}");
    }
}
