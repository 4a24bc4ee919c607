//! One call of `StreamWindows`: what is sent and what comes, as it is. It must not number frames or count credit.

use std::{future::Future, pin::Pin, time::Duration};

use acgs_contracts::orchestrator::v1::{
    Open, Opened, StreamWindowsRequest, StreamWindowsResponse,
    orchestrator_service_client::OrchestratorServiceClient, stream_windows_request::Message as Say,
    stream_windows_response::Message as Told,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, body::Body, client::GrpcService, codegen::StdError};

/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 16;
/// Largest message received, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A call that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = Result<Streaming<StreamWindowsResponse>, Status>> + Send>>;

/// Starts a call at an address, `host:port`.
pub trait Dial: Send + Sync {
    /// Sends what comes from `outgoing`.
    fn dial(&self, address: &str, outgoing: ReceiverStream<StreamWindowsRequest>) -> Dialing;
}

/// Dials over the channels that `connect` makes; it is given the address, and says itself why it cannot.
pub fn dial<F, R, T, E>(connect: F) -> Box<dyn Dial>
where
    F: Fn(String) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T, E>> + Send + 'static,
    T: GrpcService<Body> + Send + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
    E: std::fmt::Display,
{
    Box::new(Dialer(connect))
}

struct Dialer<F>(F);

impl<F, R, T, E> Dial for Dialer<F>
where
    F: Fn(String) -> R + Send + Sync,
    R: Future<Output = Result<T, E>> + Send + 'static,
    T: GrpcService<Body> + Send + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
    E: std::fmt::Display,
{
    fn dial(&self, address: &str, outgoing: ReceiverStream<StreamWindowsRequest>) -> Dialing {
        let connecting = (self.0)(address.to_owned());
        Box::pin(async move {
            let channel = connecting.await.map_err(|error| Status::unavailable(error.to_string()))?;
            let mut client =
                OrchestratorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(client.stream_windows(outgoing).await?.into_inner())
        })
    }
}

/// An open call.
#[derive(Debug)]
pub struct Connection {
    out: Option<mpsc::Sender<StreamWindowsRequest>>,
    incoming: Streaming<StreamWindowsResponse>,
    opened: Opened,
}

impl Connection {
    /// Opens at an address, and waits this long for the first answer.
    ///
    /// # Errors
    /// The server's, or DEADLINE_EXCEEDED.
    pub async fn open(
        dial: &dyn Dial,
        address: &str,
        open: Open,
        patience: Duration,
    ) -> Result<Self, Status> {
        Self::begin(|outgoing| dial.dial(address, outgoing), open, patience).await
    }

    /// Opens over a client that there is, and waits this long for the first answer.
    ///
    /// # Errors
    /// The server's, or DEADLINE_EXCEEDED.
    pub async fn over<T>(
        mut client: OrchestratorServiceClient<T>,
        open: Open,
        patience: Duration,
    ) -> Result<Self, Status>
    where
        T: GrpcService<Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
    {
        let call = async |outgoing| Ok(client.stream_windows(outgoing).await?.into_inner());
        Self::begin(call, open, patience).await
    }

    async fn begin(
        call: impl AsyncFnOnce(
            ReceiverStream<StreamWindowsRequest>,
        ) -> Result<Streaming<StreamWindowsResponse>, Status>,
        open: Open,
        patience: Duration,
    ) -> Result<Self, Status> {
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        let first = StreamWindowsRequest { message: Some(Say::Open(open)) };
        let _has_room = out.try_send(first);
        let opening = async {
            let mut incoming = call(ReceiverStream::new(outgoing)).await?;
            match incoming.message().await?.and_then(|message| message.message) {
                Some(Told::Opened(opened)) => Ok((incoming, opened)),
                _ => Err(Status::internal("the server did not say that the stream is open")),
            }
        };
        let silent = |_| Status::deadline_exceeded("the server did not open the stream in time");
        let (incoming, opened) = timeout(patience, opening).await.map_err(silent)??;
        Ok(Self { out: Some(out), incoming, opened })
    }

    /// The first answer.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What takes messages; `None` when nothing more is sent.
    #[must_use]
    pub fn sender(&self) -> Option<mpsc::Sender<StreamWindowsRequest>> {
        self.out.clone()
    }

    /// Sends nothing more, when what comes back is dropped too; answers still come.
    pub fn close(&mut self) -> Option<mpsc::Sender<StreamWindowsRequest>> {
        self.out.take()
    }

    /// The next answer; `None` at the end. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// The server's, or the connection's.
    pub async fn next(&mut self) -> Result<Option<Told>, Status> {
        while let Some(answer) = self.incoming.message().await? {
            // What a newer server says in words that this client does not know is passed over.
            if answer.message.is_some() {
                return Ok(answer.message);
            }
        }
        Ok(None)
    }
}
