//! The face of `ConstitutionService`, on every port. It must not know headers: the layer checks those.

use acgs_contracts::constitution::v1 as proto;
use acgs_vocabulary::{
    Constitution, Problem,
    constitution::{DOCUMENT_BYTES_MAX, identifier, sha256_hex},
};
use tonic::{Request, Response, Status};

/// Answers `ConstitutionService`.
#[derive(Clone, Debug)]
pub(crate) struct ConstitutionService {
    constitution: Constitution,
}

impl ConstitutionService {
    /// For this constitution.
    #[must_use]
    pub(crate) fn new(constitution: Constitution) -> Self {
        Self { constitution }
    }
}

#[tonic::async_trait]
impl proto::constitution_service_server::ConstitutionService for ConstitutionService {
    async fn get_constitution(
        &self,
        _request: Request<proto::GetConstitutionRequest>,
    ) -> Result<Response<proto::GetConstitutionResponse>, Status> {
        let (validations_total, mismatches_total) = self.constitution.counts();
        let accepted = self.constitution.accepted().to_vec();
        Ok(Response::new(proto::GetConstitutionResponse { accepted, validations_total, mismatches_total }))
    }

    async fn verify_document(
        &self,
        request: Request<proto::VerifyDocumentRequest>,
    ) -> Result<Response<proto::VerifyDocumentResponse>, Status> {
        let document = request.into_inner().document;
        if document.is_empty() || document.len() > DOCUMENT_BYTES_MAX {
            let message = format!("has {} bytes, not 1 to {DOCUMENT_BYTES_MAX}", document.len());
            return Err(Problem::field("document", "BAD_DOCUMENT", message).into());
        }
        let identifier = identifier(&document);
        let valid = self.constitution.accepts(&identifier);
        Ok(Response::new(proto::VerifyDocumentResponse { identifier, sha256: sha256_hex(&document), valid }))
    }
}
