//! The life of models, kept: commands become events in the ledger, events become what the bus is told; routers, and what they
//! count; the services over both. What a command comes to is decided in `acgs-lifecycle`; here are the tasks around it.
//! It must never know streams, the NATS API or what home the ledger has.
//!
//! Reading order: [`ledger_writer`] (who decides), [`places`] and [`history`] (looking back), [`event_relay`],
//! [`retrain_trigger`], [`job_files`], [`job_holds`], [`job_preparer`], [`gate_runner`], [`blob_retention`], [`routes`], [`service`].

pub mod entry;

pub mod places;

mod refusals;

pub mod ledger_writer;

mod history;

pub mod event_relay;

pub mod retrain_trigger;

pub mod job_files;

pub mod job_holds;

pub mod job_preparer;

mod truth;

pub mod gate_runner;

pub mod blob_retention;

pub mod routes;

pub mod service;

pub use ledger_writer::{LedgerWriter, LedgerWriterDeps};
pub use routes::RouteSettings;
pub use service::ModelsDeps;
