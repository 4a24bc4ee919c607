//! Traces and metrics to wherever OTLP leads, logs to standard error, and W3C trace context on what comes in and goes out. It
//! must not know what is traced.

mod lines;

use std::{io::IsTerminal, sync::Arc, time::Duration};

use acgs_vocabulary::text;
use http::{HeaderMap, HeaderName, HeaderValue};
use lines::{Lines, Seldom};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider as _},
};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// A collector that does not answer by then gets nothing this time.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two exports of metrics.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// What carries the exports must not be traced itself.
const NOT_TRACED: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

/// What is told, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Least level of logs, or a filter by target.
    pub level: String,
    /// Logs as one JSON object a line.
    pub json: bool,
    /// `http://host:4317` of a collector; empty exports nothing.
    pub otlp_endpoint: String,
    /// Share of traces that begin here which are recorded, in [0, 1]; traces that come in keep what their caller decided.
    pub sampled: f64,
    /// `service.name`.
    pub service: String,
}

/// Why telemetry cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// No level or filter.
    #[error("log.level {0:?} is none of error, warn, info, debug, trace, or a filter of them")]
    Level(String),
    /// No endpoint.
    #[error("telemetry.otlp_endpoint {0:?} cannot be used: {1}")]
    Endpoint(String, String),
    /// There is a subscriber already.
    #[error("logs are set up already: {0}")]
    Twice(String),
}

/// What has to be ended, so that nothing recorded is lost.
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: Option<SdkMeterProvider>,
}

/// Sets up logs, traces and metrics of this process. Must be called inside of the runtime.
///
/// # Errors
/// When a setting is wrong.
pub fn start(options: &Options) -> Result<Telemetry, TelemetryError> {
    let filter =
        EnvFilter::try_new(&options.level).map_err(|_| TelemetryError::Level(options.level.clone()))?;
    let bad = |error: &dyn std::fmt::Display| {
        TelemetryError::Endpoint(options.otlp_endpoint.clone(), error.to_string())
    };
    let instance = text::unique_id("", 0);
    let resource = Resource::builder()
        .with_service_name(options.service.clone())
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sampled)));
    let mut traces = SdkTracerProvider::builder().with_resource(resource.clone()).with_sampler(sampler);
    let mut metrics = None;
    if !options.otlp_endpoint.is_empty() {
        let channel = tonic::transport::Endpoint::from_shared(options.otlp_endpoint.clone())
            .map_err(|error| bad(&error))?
            .timeout(EXPORT_TIMEOUT)
            .connect_timeout(EXPORT_TIMEOUT)
            .connect_lazy();
        let spans = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| bad(&error))?;
        traces = traces.with_batch_exporter(spans);
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| bad(&error))?;
        let reader = PeriodicReader::builder(exporter).with_interval(METRICS_EVERY).build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        opentelemetry::global::set_meter_provider(provider.clone());
        metrics = Some(provider);
    }
    let traces = traces.build();
    let traced = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("acgs"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| {
            let root = metadata.target().split("::").next().unwrap_or_default();
            metadata.is_span() && !NOT_TRACED.contains(&root)
        }));
    let seldom = Seldom::default();
    let colours = !options.json && std::io::stderr().is_terminal();
    let lines = Lines { seldom: seldom.clone(), json: options.json, colours };
    let logs = tracing_subscriber::fmt::layer().with_writer(lines);
    let filter = filter.and(seldom);
    let logs = if options.json {
        logs.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        logs.with_ansi(colours).with_filter(filter).boxed()
    };
    tracing_subscriber::registry()
        .with(traced)
        .with(logs)
        .try_init()
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    Ok(Telemetry { traces, metrics })
}

impl Telemetry {
    /// Exports what is recorded, within a few seconds.
    pub async fn end(self) {
        let Self { traces, metrics } = self;
        let ended = tokio::task::spawn_blocking(move || {
            let _what_is_left_is_lost = traces.shutdown_with_timeout(EXPORT_TIMEOUT);
            if let Some(metrics) = metrics {
                let _what_is_left_is_lost = metrics.shutdown();
            }
        });
        let _took_too_long = tokio::time::timeout(3 * EXPORT_TIMEOUT, ended).await;
    }
}

struct From<'a>(&'a HeaderMap);

impl Extractor for From<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Into<'a>(&'a mut HeaderMap);

impl Injector for Into<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value))
            && !value.is_empty()
        {
            self.0.insert(key, value);
        }
    }
}

/// Makes a span the child of the trace in these headers, if there is one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &From(headers));
    if context.span().span_context().is_valid() {
        // Without a tracer nothing is recorded, and the trace goes on by its header.
        let _no_tracer = span.set_parent(context);
    }
}

/// The trace context of a span; without a tracer, what came in the headers.
#[must_use]
pub fn traceparent_of(span: &Span, headers: &HeaderMap) -> Option<Arc<str>> {
    let context = span.context();
    let held = context.span().span_context().clone();
    if held.is_valid() {
        let flags = held.trace_flags().to_u8();
        return Some(format!("00-{}-{}-{flags:02x}", held.trace_id(), held.span_id()).into());
    }
    let sent = TraceContextPropagator::new().extract_with_context(&Context::new(), &From(headers));
    let valid = sent.span().span_context().is_valid();
    valid.then(|| headers.get("traceparent")?.to_str().ok().map(Arc::from)).flatten()
}

/// The trace context of the current span, if there is one.
#[must_use]
pub fn traceparent() -> Option<Arc<str>> {
    traceparent_of(&Span::current(), &HeaderMap::new())
}

/// Puts the trace of the current span into headers that go out.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Into(headers));
    }
}
