//! A client of the mesh, as the commands are: connected, stamped, with messages a person can act on. It must not know
//! which command it serves.

use std::time::Duration;

use acgs_client::{OnLoss, SessionConfig, SessionError, WindowSession, dial};
use acgs_contracts::orchestrator::v1::Open;
use acgs_mesh::{
    client::{MeshChannel, connect},
    clock::SystemClock,
};
use acgs_vocabulary::{Constitution, ports::Clock, text};
use anyhow::Context;
use tonic::{Code, Status};

/// For the first answer to a stream.
const OPENING: Duration = Duration::from_secs(60);

fn url(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

fn nobody(address: &str) -> String {
    format!("nobody answers at {address}; start the mesh with `acgs serve all`")
}

/// An id for what a command wants: sent again by anything on the way, it is done once.
#[must_use]
pub fn wish() -> String {
    text::unique_id("cli-", SystemClock::new().now_ms())
}

/// Connects to a server.
///
/// # Errors
/// Saying what to start, or what to check.
pub async fn channel(address: &str, constitution: Constitution) -> anyhow::Result<MeshChannel> {
    connect(&url(address), constitution).await.with_context(|| nobody(address))
}

/// A status for a person: code, sentence, and what to do where that is known.
#[must_use]
pub fn explain(status: &Status) -> anyhow::Error {
    let advice = match status.code() {
        Code::PermissionDenied => "\nset CONSTITUTIONAL_HASH to the identifier that the server serves under",
        Code::Unavailable => "\nis the mesh still running?",
        _ => "",
    };
    anyhow::anyhow!("{:?}: {}{advice}", status.code(), status.message())
}

/// Opens a stream, which is opened again for so long when its connection breaks; zero means that it is not.
///
/// # Errors
/// What the server says against it.
pub async fn stream(
    address: &str,
    constitution: Constitution,
    open: Open,
    reconnect: Duration,
) -> anyhow::Result<WindowSession> {
    let config = SessionConfig {
        addresses: vec![address.to_owned()],
        opening: OPENING,
        reconnect,
        on_loss: OnLoss::Fail,
    };
    let dial = dial(move |address| {
        let constitution = constitution.clone();
        async move { connect(&url(&address), constitution).await.map_err(|_| nobody(&address)) }
    });
    WindowSession::open(dial, config, open).await.map_err(|error| gone(&error))
}

/// Why a stream cannot go on, for a person.
#[must_use]
pub fn gone(error: &SessionError) -> anyhow::Error {
    match error.status() {
        Some(status) => explain(status),
        None => anyhow::anyhow!("{error}; open it again from the start"),
    }
}
