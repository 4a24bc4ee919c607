//! gRPC as bytes over HTTP/2, with nothing of a gRPC library's own on the caller's side. It must not know a test.

use std::net::SocketAddr;

use acgs_inference::framing::framed;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A call that sends its headers and then nothing; what came back as headers.
pub async fn silent(address: SocketAddr, path: &str) -> HeaderMap {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header(acgs_vocabulary::constitution::HEADER, acgs_vocabulary::constitution::PLATFORM);
    let body =
        StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>());
    let response = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
    response.into_parts().0.headers
}

/// One call on a connection of its own; what came back as trailers, or as headers when there was nothing else.
pub async fn unary(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    message: &impl prost::Message,
) -> HeaderMap {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request =
        Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = framed(&message.encode_to_vec()).expect("it fits a frame");
    let response =
        sender.send_request(request.body(Full::new(body)).expect("a request")).await.expect("an answer");
    let (parts, body) = response.into_parts();
    body.collect().await.expect("a body").trailers().cloned().unwrap_or(parts.headers)
}
