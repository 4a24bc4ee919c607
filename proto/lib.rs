//! The contracts of the mesh: what `proto/` says, as Rust modules, and the descriptor set for reflection.
//! It must never know a rule, a default or a transport.

pub mod acgs {
    pub mod common {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.common.v1.rs"));
        }
    }
    pub mod lane {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.lane.v1.rs"));
        }
    }
    pub mod constitution {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.constitution.v1.rs"));
        }
    }
    pub mod quality {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.quality.v1.rs"));
        }
    }
    pub mod drift {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.drift.v1.rs"));
        }
    }
    pub mod performance {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.performance.v1.rs"));
        }
    }
    pub mod lifecycle {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.lifecycle.v1.rs"));
        }
    }
    pub mod orchestrator {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/acgs.orchestrator.v1.rs"));
        }
    }
}

pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub mod grpc {
    pub mod health {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
        }
    }
}

pub use acgs::{common, constitution, drift, lane, lifecycle, orchestrator, performance, quality};

/// The encoded `FileDescriptorSet` of every file in `proto/`, with imports and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
