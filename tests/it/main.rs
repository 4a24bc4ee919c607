//! The one test binary: real servers on free ports, called through real channels.

mod anything;
mod architecture;
mod binary;
mod captures;
mod constitution;
mod contract;
mod deployment_refusals;
mod deployments;
mod failover;
mod jetstream;
mod judges;
mod kept;
mod kills;
mod lifecycle;
mod mesh;
mod module_graph;
mod noise;
mod passing;
mod refusals;
mod rest;
mod rollouts;
mod stalled;
mod streams;
mod telemetry;
mod unary;
mod work;
