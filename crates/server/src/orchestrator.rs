//! The orchestrator: streams over judges, here or elsewhere. It must not decide anything that a room decides.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use acgs_drift::ReferenceStore;
use acgs_lane::{
    Connector,
    in_process::{InProcess, JudgeFactory},
};
use acgs_mesh::server::Doors;
use acgs_records::Records;
use acgs_storage::Outbox;
use acgs_streams::{OrchestratorService, StreamsDeps, alerts::Alerts, directory::Directory, leases::Leases};
use acgs_vocabulary::{AllowList, JudgeKind};
use anyhow::Context;

use crate::{announce, home, remote::Remote, tools::Tools};

impl Tools<'_> {
    pub(crate) fn orchestrator(
        &self,
        factories: HashMap<JudgeKind, JudgeFactory>,
        home: &home::Home,
        outbox: Outbox,
        references: ReferenceStore,
        bound: SocketAddr,
    ) -> anyhow::Result<(OrchestratorService, Option<Remote>, Doors)> {
        let mesh = &self.settings.mesh;
        let allowed = AllowList::parse(&mesh.allowed).context("mesh.allowed")?;
        let directory = Directory::start(allowed, mesh.lease_ms, Arc::clone(self.clock), self.stop.clone());
        let remote = factories.is_empty().then(|| {
            Remote::start(
                &mesh.addresses,
                &mesh.names,
                Duration::from_millis(mesh.names_refresh_ms),
                &directory,
                self.constitution.clone(),
                self.stop,
            )
        });
        let connector: Arc<dyn Connector> = match &remote {
            Some(remote) => Arc::new(remote.clone()),
            None => Arc::new(InProcess::new(factories)),
        };
        let announcement =
            announce::Announcement::of(&mesh.advertise, bound, "analytics-orchestrator", "orchestrator");
        // Alone with its home, a process is every stream's owner.
        let leases = home.connected.is_some().then(|| {
            let owner = format!("{}:{}", announcement.host, announcement.port);
            Leases::new(Arc::clone(&home.keys), Arc::clone(self.clock), &owner, mesh.stream_lease_ms)
        });
        let doors = self.sources.orchestrator(&directory);
        let service = OrchestratorService::new(StreamsDeps {
            config: self.settings.orchestrator,
            constitution: self.constitution.clone(),
            clock: Arc::clone(self.clock),
            connector,
            references: Arc::new(references),
            log: Arc::clone(&home.log),
            outbox: Arc::new(outbox),
            records: Arc::new(Records::new(Arc::clone(&home.records), self.constitution.clone())),
            alerts: Alerts::new(Arc::clone(&home.keys), Arc::clone(self.clock)),
            directory,
            leases,
            stop: self.stop.clone(),
        });
        Ok((service, remote, doors))
    }
}
