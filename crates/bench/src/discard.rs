//! A service that takes frames, answers as the mesh does, and does nothing else: the baseline of throughput.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use acgs_contracts::orchestrator::v1::{
    Accepted, Closed, Opened, StreamWindowsRequest, StreamWindowsResponse, stream_windows_request,
    stream_windows_response,
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService},
};
use tower::Service;

/// Answers `StreamWindows` whatever is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discard;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl NamedService for Discard {
    const NAME: &'static str = "acgs.orchestrator.v1.OrchestratorService";
}

impl Service<http::Request<Body>> for Discard {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let discard = *self;
        Box::pin(async move {
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::default());
            Ok(grpc.streaming(discard, request).await)
        })
    }
}

impl StreamingService<StreamWindowsRequest> for Discard {
    type Response = StreamWindowsResponse;
    type ResponseStream = ReceiverStream<Result<StreamWindowsResponse, Status>>;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<StreamWindowsRequest>>) -> Self::Future {
        use stream_windows_response::Message;
        let (out, answers) = mpsc::channel(64);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            let answer = |message| Ok(StreamWindowsResponse { message: Some(message) });
            while let Some(Ok(message)) = incoming.next().await {
                let reply = match message.message {
                    Some(stream_windows_request::Message::Open(_)) => {
                        Message::Opened(Opened { credit_bytes: 8 << 20, ..Opened::default() })
                    }
                    Some(stream_windows_request::Message::Rows(rows)) => {
                        let credit_bytes =
                            rows.batch.map_or(0, |batch| batch.columns.len() as u64 * 8 * 1_024);
                        Message::Accepted(Accepted { through_seq: rows.seq, credit_bytes, dropped: None })
                    }
                    Some(stream_windows_request::Message::End(_)) => Message::Closed(Closed::default()),
                    _ => return,
                };
                if out.send(answer(reply)).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(answers))) })
    }
}
