//! The binary's parts: settings, wiring, commands, and `ConstitutionService`. The only room that knows all
//! the others, and so the one that must hold no rule of theirs.
//!
//! Reading order: [`settings`], [`wire`], [`constitution_service`], [`client`], [`model_server`], [`input`], [`commands`].

pub mod settings;

pub mod wire;
pub mod worker;

pub mod constitution_service;

pub mod client;

pub mod model_server;

pub mod input;

pub mod commands;
