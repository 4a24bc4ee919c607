//! The service of models: who decides, who tells the bus, who reads findings, who prepares jobs, who flies deployments. It must
//! not decide anything itself.

use std::sync::Arc;

use acgs_contracts::lifecycle::v1::lifecycle_service_server::LifecycleServiceServer;
use acgs_events::Outbox;
use acgs_orchestrator::{
    LifecycleFace, LifecycleParts,
    lifecycle::{Registrar, RegistrarParts, foreman::Foreman, herald::Herald, steward::Steward},
    registry::AllowList,
    routes::{Board, pilot::Pilot},
};
use anyhow::Context;

use super::{MESSAGE_BYTES_MAX, Tools, home};

impl Tools<'_> {
    /// The service of models, after everything that ever happened to them was read.
    pub(super) async fn lifecycle(
        &self,
        home: &home::Home,
        outbox: &Outbox,
    ) -> anyhow::Result<(LifecycleServiceServer<LifecycleFace>, Registrar)> {
        let registrar = Registrar::start(RegistrarParts {
            ledger: Arc::clone(&home.ledger),
            clock: Arc::clone(self.clock),
            limits: self.settings.lifecycle,
            constitution: self.constitution.clone(),
            stop: self.stop.clone(),
        });
        let registrar = registrar.await.context("the ledger of models cannot be used")?;
        let herald = Herald {
            ledger: Arc::clone(&home.ledger),
            keys: Arc::clone(&home.keys),
            outbox: Arc::new(outbox.clone()),
            stop: self.stop.clone(),
        };
        tokio::spawn(herald.run());
        let steward = Steward {
            log: Arc::clone(&home.log),
            keys: Arc::clone(&home.keys),
            records: Arc::clone(&home.records),
            registrar: registrar.clone(),
            stop: self.stop.clone(),
        };
        tokio::spawn(steward.run());
        let foreman = Foreman::new(
            registrar.clone(),
            Arc::clone(&home.blobs),
            Arc::clone(&home.records),
            self.constitution.clone(),
        );
        tokio::spawn(foreman.clone().run(self.stop.clone()));
        let board = Board::new(self.settings.routes.routers_max);
        let pilot = Pilot {
            registrar: registrar.clone(),
            board: board.clone(),
            clock: Arc::clone(self.clock),
            records: Arc::clone(&home.records),
            settings: self.settings.routes,
            stop: self.stop.clone(),
        };
        tokio::spawn(pilot.run());
        let face = LifecycleFace::new(LifecycleParts {
            registrar: registrar.clone(),
            foreman,
            blobs: Arc::clone(&home.blobs),
            records: Arc::clone(&home.records),
            clock: Arc::clone(self.clock),
            limits: self.settings.lifecycle,
            board,
            routing: self.settings.routes,
            allowed: AllowList::parse(&self.settings.mesh.allowed).context("mesh.allowed")?,
            home: home.connected.clone(),
            stop: self.stop.clone(),
        });
        let server = LifecycleServiceServer::new(face).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok((server, registrar))
    }
}
