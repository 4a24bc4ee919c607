//! Where settings come from, and what mistakes in them say.

use super::*;

fn load(environment: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<Settings> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Settings::load(None, environment, &flags)
}

#[test]
fn later_sources_win() {
    let settings = load(
        &[
            ("ACGS_LISTEN__QUALITY", "1"),
            ("ACGS_LISTEN__DRIFT", "2"),
            ("LOG_LEVEL", "DEBUG"),
            ("CONSTITUTIONAL_HASH", "0123456789abcdef"),
            ("HOME", "/root"),
        ],
        &["listen.drift=3"],
    )
    .unwrap();
    assert_eq!((settings.listen.quality, settings.listen.drift), (1, 3));
    assert_eq!(settings.log.level, "debug");
    assert_eq!(load(&[("NATS_URL", "nats://n:1")], &[]).unwrap().nats.url, "nats://n:1");
    let listed = load(&[], &["mesh.addresses.drift=[\"a:1\", \"b:2\"]"]).unwrap();
    assert_eq!(listed.mesh.addresses.of(JudgeKind::Drift), ["a:1", "b:2"]);
    assert_eq!(settings.constitution.accepted, ["0123456789abcdef"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[drift]\nalpha = 0.01\n").unwrap();
    let settings = Settings::load(Some(file.path()), std::iter::empty(), &[]).unwrap();
    assert!((settings.drift.alpha - 0.01).abs() < 1e-12);
    assert!((settings.drift.drift_share - 0.5).abs() < 1e-12, "what the file leaves out stays");
}

#[test]
fn mistakes_say_what_to_do() {
    let why =
        |environment: &[(&str, &str)], flags: &[&str]| format!("{:#}", load(environment, flags).unwrap_err());
    assert!(why(&[("ACGS_LISTEN__QUALTIY", "1")], &[]).contains("there is no setting"));
    assert!(why(&[], &["listen.host=0.0.0.0"]).contains("listen.insecure = true"));
    assert!(why(&[("CONSTITUTIONAL_HASH", "xyz")], &[]).contains("16 lower-case hex digits"));
    let nowhere = ["listen.host=0.0.0.0", "listen.insecure=true", "nats.url=nats://n:1"];
    assert!(why(&[], &nowhere).contains("mesh.advertise"));
    assert!(why(&[], &["listen"]).contains("key=value"));
    assert!(load(&[], &["listen.host=0.0.0.0", "listen.insecure=true"]).is_ok());
}
