//! Files to and from the mesh, in pieces. It must not know what is in them.

use acgs_contracts::lifecycle::v1::{
    Artifact, ArtifactHeader, GetArtifactRequest, PutArtifactRequest, job_service_client::JobServiceClient,
    put_artifact_request,
};
use acgs_vocabulary::constitution::sha256_hex;
use tonic::{Status, body::Body, client::GrpcService, codegen::StdError};

/// A piece of an artifact that is stored, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The bytes of an artifact that the mesh keeps.
///
/// # Errors
/// What the server says against it; DATA_LOSS when what came is something else.
pub async fn get<T>(client: &mut JobServiceClient<T>, digest: &str) -> Result<Vec<u8>, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let request = GetArtifactRequest { digest: digest.to_owned() };
    let mut pieces = client.get_artifact(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend_from_slice(&piece.chunk);
    }
    let found = sha256_hex(&bytes);
    if found != digest {
        let message = format!("what came has {} bytes and the digest {found}, not {digest}", bytes.len());
        return Err(Status::data_loss(message));
    }
    Ok(bytes)
}

/// Gives the mesh an artifact to keep.
///
/// # Errors
/// What the server says against it.
pub async fn put<T>(client: &mut JobServiceClient<T>, bytes: &[u8], format: &str) -> Result<Artifact, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let (digest, size_bytes) = (sha256_hex(bytes), bytes.len() as u64);
    let header = ArtifactHeader { digest: digest.clone(), size_bytes };
    let mut messages = vec![put_artifact_request::Message::Header(header)];
    messages
        .extend(bytes.chunks(PIECE_BYTES).map(|chunk| put_artifact_request::Message::Chunk(chunk.to_vec())));
    let messages = messages.into_iter().map(|message| PutArtifactRequest { message: Some(message) });
    client.put_artifact(tokio_stream::iter(messages)).await?;
    Ok(Artifact { digest, size_bytes, format: format.to_owned(), uri: String::new() })
}
