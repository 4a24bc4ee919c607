//! Who gives way, what silence costs, and by which names a server is known.

use std::net::Ipv4Addr;

use super::*;
use crate::admission::{
    connection::Admitted,
    gate::{Gate, Names},
};

fn config(connections_max: usize, per_peer: usize) -> Config {
    Config {
        connections_max,
        connections_per_peer_max: per_peer,
        first_bytes_ms: 60_000,
        body_ms: 1_000,
        body_bytes_per_second: 1_000,
    }
}

fn peer(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

#[tokio::test]
async fn who_says_nothing_gives_way_and_who_has_a_call_does_not() {
    let admission = Admission::new(&config(3, 3));
    let slots: Vec<Slot> = (1..=3).map(|last| admission.admit(peer(last)).unwrap()).collect();
    // The second one has not spoken; the others have calls.
    let calls: Vec<_> = [&slots[0], &slots[2]].map(connection::tests_only::begin).into();
    let fourth = admission.admit(peer(4)).expect("the second gives way");
    assert_eq!(admission.connections(), 3);
    let fourth_call = connection::tests_only::begin(&fourth);
    assert!(admission.admit(peer(5)).is_none(), "all have calls");
    drop(slots);
    assert_eq!(admission.connections(), 1, "a slot that gave way is not given back twice");
    drop((calls, fourth, fourth_call));
    assert_eq!(admission.connections(), 0);
}

#[tokio::test]
async fn one_peer_leaves_room_for_others() {
    let admission = Admission::new(&config(100, 2));
    let slots: Vec<Slot> = (0..2).map(|_| admission.admit(peer(1)).unwrap()).collect();
    let calls: Vec<_> = slots.iter().map(connection::tests_only::begin).collect();
    assert!(admission.admit(peer(1)).is_none());
    assert!(admission.admit(peer(2)).is_some());
    drop((slots, calls));
    assert!(admission.admit(peer(1)).is_some());
    let six = |text: &str| group_of(text.parse().unwrap());
    assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
    assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
    assert_eq!(six("::ffff:10.0.0.1"), peer(1));
}

#[tokio::test]
async fn silence_and_half_a_preface_have_an_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut config = config(10, 10);
    config.first_bytes_ms = 50;
    let admission = Admission::new(&config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (said, ends) in [(&b""[..], true), (b"PRI * HT", true), (b"GET / HTTP/1.1\r\n", false)] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said).await.unwrap();
        let (stream, slot) = admission.accept(&listener).await;
        let mut admitted = Admitted::new(stream, slot);
        let mut heard = Vec::new();
        if ends {
            let error = admitted.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        } else {
            let mut buffer = [0; 64];
            assert_eq!(admitted.read(&mut buffer).await.unwrap(), said.len());
            drop(client);
            assert_eq!(admitted.read(&mut buffer).await.unwrap(), 0);
        }
    }
    assert_eq!(admission.connections(), 0);
}

#[test]
fn names_and_origins() {
    let names = Names {
        hosts: vec!["Mesh.example".into(), "*.deep.example".into()],
        origins: vec!["https://page.example".into()],
    };
    let gate = Gate::new(&config(1, 1), names);
    let check = |host: &str, origin: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(http::header::ORIGIN, origin.parse().unwrap());
        }
        let checked = gate.check(&http::Method::POST, &"/x".parse().unwrap(), &headers);
        checked.err().map(|problem| problem.reason().to_owned())
    };
    for host in [
        "127.0.0.1:8013",
        "[::1]:8013",
        "localhost",
        "orchestrator:8013",
        "localhost.",
        "b.a.deep.example:1",
        "a.mesh.svc.cluster.local:1",
        "mesh.example",
    ] {
        assert_eq!(check(host, None), None, "{host}");
    }
    for host in ["evil.example", "evil.example:8013", "127.0.0.1.evil.example", "x.mesh.example"] {
        assert_eq!(check(host, None).as_deref(), Some("HOST"), "{host}");
    }
    assert_eq!(check("localhost:8013", Some("https://page.example")), None);
    assert_eq!(check("localhost:8013", Some("http://localhost:8013")), None, "a page that this server gave");
    for origin in ["https://other.example", "null", "http://localhost:9999"] {
        assert_eq!(check("localhost:8013", Some(origin)).as_deref(), Some("ORIGIN"), "{origin}");
    }
}
