//! The binary's parts: the commands, and what they share. It must hold no rule of a room.
//!
//! Reading order: [`client`], [`model_server`], [`worker`], [`input`], [`commands`], [`run`].

pub mod client;

pub mod model_server;

pub mod worker;

pub mod input;

pub mod commands;

pub mod run;
