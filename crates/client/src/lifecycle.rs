//! The four services of the life of models over one channel. It must not know what is asked of them.

use acgs_contracts::lifecycle::v1::{
    deployment_service_client::DeploymentServiceClient, job_service_client::JobServiceClient,
    model_service_client::ModelServiceClient, routing_service_client::RoutingServiceClient,
};
use tonic::{body::Body, client::GrpcService, codegen::StdError};

/// A client of each service.
#[derive(Clone, Debug)]
pub struct LifecycleClients<T> {
    /// Models, versions, policies.
    pub models: ModelServiceClient<T>,
    /// Retrainings, files, workers.
    pub jobs: JobServiceClient<T>,
    /// Versions on their way into service.
    pub deployments: DeploymentServiceClient<T>,
    /// Endpoints and routes.
    pub routing: RoutingServiceClient<T>,
}

impl<T> LifecycleClients<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    /// Over this channel.
    pub fn new(channel: T) -> Self {
        Self {
            models: ModelServiceClient::new(channel.clone()),
            jobs: JobServiceClient::new(channel.clone()),
            deployments: DeploymentServiceClient::new(channel.clone()),
            routing: RoutingServiceClient::new(channel),
        }
    }

    /// Limits what one answer may hold, in bytes.
    #[must_use]
    pub fn max_decoding_message_size(self, bytes_max: usize) -> Self {
        Self {
            models: self.models.max_decoding_message_size(bytes_max),
            jobs: self.jobs.max_decoding_message_size(bytes_max),
            deployments: self.deployments.max_decoding_message_size(bytes_max),
            routing: self.routing.max_decoding_message_size(bytes_max),
        }
    }
}
