//! A client's channel: stamped requests, checked responses. It must not know which service is called.

use std::time::Duration;

use acgs_vocabulary::Constitution;
use tonic::transport::{Channel, Endpoint, Error};
use tower::Layer;

use crate::constitution::{ClientLayer, ClientService};

/// A connection that is not there by then is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What generated clients are made over.
pub type MeshChannel = ClientService<Channel>;

/// Connects to `http://host:port`.
///
/// # Errors
/// When the address is wrong or nobody answers.
pub async fn connect(address: &str, constitution: Constitution) -> Result<MeshChannel, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(ClientLayer::new(constitution).layer(endpoint.connect().await?))
}
