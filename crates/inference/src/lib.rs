//! The Open Inference Protocol: tensors to columns and back, which model a call is for without decoding it, and messages as gRPC
//! frames them.
//! It must never know where calls go, or what a model computes.
//!
//! Reading order: [`tensors`], [`peek`](mod@peek), [`framing`].

pub mod tensors;

pub mod peek;

pub mod framing;
