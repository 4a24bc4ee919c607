//! The life of models, kept: commands become events in the ledger, events become what the bus is told. What a command comes
//! to is decided in `acgs-lifecycle`; here are the tasks around it. It must not know protobuf or what home the ledger has.

pub mod entry;

pub mod foreman;

pub mod herald;

pub mod history;

mod look_back;

mod position;

pub mod refusals;

pub mod registrar;

pub mod steward;

pub use registrar::{Registrar, RegistrarParts};

/// The topic of a model's records: any id of a model makes a topic.
#[must_use]
pub fn topic(model_id: &str) -> String {
    acgs_vocabulary::constitution::sha256_hex(model_id.as_bytes())[..32].to_owned()
}
