//! The services of models: who decides, who tells the bus, who reads findings, who prepares and judges jobs, who takes
//! deployments on. It must not decide anything itself.

use std::sync::Arc;

use acgs_contracts::lifecycle::v1::{
    deployment_service_server::DeploymentServiceServer, job_service_server::JobServiceServer,
    model_service_server::ModelServiceServer, routing_service_server::RoutingServiceServer,
};
use acgs_models::{
    LedgerWriter, LedgerWriterDeps, ModelsDeps,
    blob_retention::BlobRetention,
    event_relay::{self, EventRelay},
    gate_runner::GateRunner,
    job_holds::JobHolds,
    job_preparer::JobPreparer,
    retrain_trigger::{self, RetrainTrigger},
    routes::{RouterRegistry, deployment_controller::DeploymentController},
    service::{deployment::DeploymentService, job::JobService, model::ModelService, routing::RoutingService},
};
use acgs_records::Records;
use acgs_storage::{Beginning, Consumer, Entries, Events, Outbox, Position};
use acgs_vocabulary::{AllowList, event::EventKind, ports::records::ModelRecords};
use anyhow::Context;
use tonic::service::Routes;

use crate::{
    home,
    tools::{MESSAGE_BYTES_MAX, Tools},
};

impl Tools<'_> {
    /// Adds the services of models, after everything that ever happened to them was read.
    pub(crate) async fn models(
        &self,
        home: &home::Home,
        outbox: &Outbox,
        routes: Routes,
    ) -> anyhow::Result<(Routes, LedgerWriter)> {
        let writer = LedgerWriter::start(LedgerWriterDeps {
            ledger: Arc::clone(&home.ledger),
            clock: Arc::clone(self.clock),
            limits: self.settings.lifecycle,
            constitution: self.constitution.clone(),
            stop: self.stop.clone(),
        });
        let writer = writer.await.context("the ledger of models cannot be used")?;
        let records: Arc<dyn ModelRecords> =
            Arc::new(Records::new(Arc::clone(&home.records), self.constitution.clone()));
        let (holds, routers) = (JobHolds::default(), RouterRegistry::new(self.settings.routes.routers_max));
        self.run_models(home, outbox, &writer, &records, &holds, &routers);
        let deps = ModelsDeps {
            writer: writer.clone(),
            preparer: JobPreparer::new(Arc::clone(&home.blobs), Arc::clone(&records)),
            holds,
            blobs: Arc::clone(&home.blobs),
            records,
            clock: Arc::clone(self.clock),
            limits: self.settings.lifecycle,
            routers,
            routing: self.settings.routes,
            allowed: AllowList::parse(&self.settings.mesh.allowed).context("mesh.allowed")?,
            home: Some(self.home_trouble.clone()),
            stop: self.stop.clone(),
        };
        let models = ModelServiceServer::new(ModelService(deps.clone()));
        let jobs = JobServiceServer::new(JobService(deps.clone()));
        let deployments = DeploymentServiceServer::new(DeploymentService(deps.clone()));
        let routing = RoutingServiceServer::new(RoutingService(deps));
        let routes = routes
            .add_service(models.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(jobs.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(deployments.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(routing.max_decoding_message_size(MESSAGE_BYTES_MAX));
        Ok((routes, writer))
    }

    /// Starts the tasks around the ledger; they end with everything else.
    fn run_models(
        &self,
        home: &home::Home,
        outbox: &Outbox,
        writer: &LedgerWriter,
        records: &Arc<dyn ModelRecords>,
        holds: &JobHolds,
        routers: &RouterRegistry,
    ) {
        let position = |name, beginning| Position { keys: Arc::clone(&home.keys), name, beginning };
        let relay = Consumer {
            source: Entries(Arc::clone(&home.ledger)),
            position: position(event_relay::POSITION, Beginning::Oldest),
            handler: EventRelay::new(Arc::new(outbox.clone()), Arc::clone(&home.log)),
        };
        tokio::spawn(relay.run(self.stop.clone()));
        let filter = EventKind::WindowReported.subject();
        let trigger = Consumer {
            source: Events { log: Arc::clone(&home.log), filter },
            position: position(retrain_trigger::POSITION, Beginning::Next),
            handler: RetrainTrigger::new(Arc::clone(records), writer.clone()),
        };
        tokio::spawn(trigger.run(self.stop.clone()));
        let gates = GateRunner {
            writer: writer.clone(),
            blobs: Arc::clone(&home.blobs),
            constitution: self.constitution.clone(),
            holds: holds.clone(),
        };
        tokio::spawn(gates.run(self.stop.clone()));
        let retention =
            BlobRetention { writer: writer.clone(), blobs: Arc::clone(&home.blobs), holds: holds.clone() };
        tokio::spawn(retention.run(self.stop.clone()));
        let controller = DeploymentController {
            writer: writer.clone(),
            routers: routers.clone(),
            clock: Arc::clone(self.clock),
            records: Arc::clone(records),
            settings: self.settings.routes,
            stop: self.stop.clone(),
        };
        tokio::spawn(controller.run());
    }
}
