//! The binary's parts: the commands, and what they share. It must hold no rule of a room.
//!
//! Reading order: [`model_server`], [`worker`], [`commands`], [`run`].

pub mod model_server;

pub mod worker;

pub mod commands;

pub mod run;
