//! A process of the mesh: settings, roles, and the wiring of every service into listeners. The only room that knows all the others
//! that serve.
//! It must never know a rule of another room, or the command line.
//!
//! Reading order: [`settings`], [`role`], [`serve`](mod@serve), `judges`, `orchestrator`, `models`, `gateway`, [`home`], [`running`].

pub mod settings;

mod machine;

mod home_watch;

mod role;

pub mod addresses;

mod tools;

mod doors;

mod gauges;

pub mod home;

pub mod remote;

mod constitution_service;

mod server_group;

mod announce;

pub mod judges;

mod orchestrator;

mod models;

mod gateway;

mod unsent;

pub mod running;

pub mod serve;

pub use addresses::Addresses;
pub use role::Role;
pub use running::Running;
pub use serve::{serve, serve_all};
pub use settings::Settings;
