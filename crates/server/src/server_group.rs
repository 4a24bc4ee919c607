//! Servers of one process, with the same plumbing and the same end. It must not know what they serve.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use acgs_contracts::constitution::v1::constitution_service_server::ConstitutionServiceServer;
use acgs_mesh::server::{self, Doors, Plumbing};
use anyhow::Context;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::constitution_service::ConstitutionService;

/// Servers that share their plumbing.
pub(crate) struct Group {
    pub(crate) plumbing: Plumbing,
    pub(crate) host: IpAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) grace: Duration,
    pub(crate) servers: JoinSet<Result<(), server::ServeError>>,
}

impl Group {
    /// Takes a port; 0 takes a free one.
    pub(crate) async fn bind(&self, port: u16) -> anyhow::Result<TcpListener> {
        let address = SocketAddr::new(self.host, port);
        TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address}; is another mesh running? `--set listen.…=0` takes a free port"
            )
        })
    }

    /// Serves on a port, and says on which.
    pub(crate) async fn add(
        &mut self,
        port: u16,
        services: Routes,
        doors: Doors,
    ) -> anyhow::Result<SocketAddr> {
        let listener = self.bind(port).await?;
        let bound = listener.local_addr()?;
        self.serve(listener, services, doors);
        Ok(bound)
    }

    /// Serves on a listener, together with the constitution's service.
    pub(crate) fn serve(&mut self, listener: TcpListener, services: Routes, doors: Doors) {
        let service = ConstitutionService::new(self.plumbing.constitution.clone());
        let services = services.add_service(ConstitutionServiceServer::new(service));
        self.servers.spawn(server::serve(
            listener,
            services,
            self.plumbing.clone(),
            doors,
            self.stop.clone(),
            self.grace,
        ));
    }
}
