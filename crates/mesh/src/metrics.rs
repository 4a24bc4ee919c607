//! Metrics in Prometheus text. It must not know what is measured: rooms bring their own.

use std::sync::{Arc, Mutex, PoisonError};

use acgs_vocabulary::Constitution;
use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// With the constitution's counts.
    #[must_use]
    pub fn new(constitution: Constitution) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ConstitutionCollector(constitution)));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Adds a room's metrics.
    pub fn add<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(%error, "metrics could not be written");
                String::new()
            }
        }
    }

    /// The text as an answer.
    #[must_use]
    pub fn answer(&self) -> Response {
        ([(CONTENT_TYPE, CONTENT)], self.text()).into_response()
    }
}

#[derive(Debug)]
struct ConstitutionCollector(Constitution);

impl Collector for ConstitutionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (validations, mismatches) = self.0.counts();
        let counters = [
            (
                "acgs_constitutional_hash_validations",
                "Requests checked for their constitutional hash",
                validations,
            ),
            (
                "acgs_constitutional_hash_mismatches",
                "Requests refused for their constitutional hash",
                mismatches,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let valid = ConstGauge::new(1_i64);
        let help = "1 while the server serves under a constitution that it has checked";
        valid.encode(encoder.encode_descriptor(
            "acgs_constitutional_hash_valid",
            help,
            None,
            valid.metric_type(),
        )?)
    }
}
