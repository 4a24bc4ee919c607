//! Metrics in Prometheus text. It must not know what is measured: rooms bring their own.

use std::sync::{Arc, Mutex, PoisonError};

use acgs_vocabulary::Constitution;
use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
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

    /// Adds numbers that are asked for when they are read.
    pub fn ask(&self, numbers: impl Fn() -> Vec<Measured> + Send + Sync + 'static) {
        self.add(|registry| registry.register_collector(Box::new(Asked(numbers))));
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

/// One measured number.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// A gauge, or as an error a counter.
    pub value: Result<f64, u64>,
}

/// Numbers under one name, all gauges or all counters.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Without the `_total` of counters.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// The numbers.
    pub samples: Vec<Sample>,
}

/// Asks for numbers when they are read.
struct Asked<F>(F);

impl<F> std::fmt::Debug for Asked<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Asked")
    }
}

impl<F: Fn() -> Vec<Measured> + Send + Sync + 'static> Collector for Asked<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut write = |measured: &Measured| {
            let Some(first) = measured.samples.first() else { return Ok(()) };
            let kind = if first.value.is_ok() { MetricType::Gauge } else { MetricType::Counter };
            let mut family = encoder.encode_descriptor(measured.name, measured.help, None, kind)?;
            for sample in &measured.samples {
                let encode = |encoder: MetricEncoder<'_>| match sample.value {
                    Ok(value) => ConstGauge::new(value).encode(encoder),
                    Err(value) => ConstCounter::new(value).encode(encoder),
                };
                if sample.labels.is_empty() {
                    return encode(family);
                }
                encode(family.encode_family(&sample.labels)?)?;
            }
            Ok(())
        };
        (self.0)().iter().try_for_each(&mut write)
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
