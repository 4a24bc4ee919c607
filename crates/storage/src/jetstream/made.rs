//! Streams and buckets of the home, made where they are not there. It must not know what is kept in them.

use std::{error::Error, fmt, time::Duration};

use acgs_vocabulary::{event::ROOT, ports::PortError};
use async_nats::jetstream::{
    Context,
    context::CreateStreamErrorKind,
    kv, object_store,
    stream::{self, Stream},
};
use futures_util::TryStreamExt;

use super::{
    BUCKET, EVENTS_SUBJECT, LEDGER, LEDGER_SUBJECT, OBJECTS, Options, RECORDS, RECORDS_SUBJECT, STREAM,
    codes::{code, meaning},
};

/// Subjects of one stream that are taken by another.
const OVERLAP: u64 = 10_065;
/// More copies than the cluster has servers.
const REPLICAS: [u64; 2] = [10_074, 10_005];
/// There is no such stream.
const NOT_FOUND: u64 = 10_059;

/// All of it.
pub(super) struct Made {
    pub(super) events: Stream,
    pub(super) ledger: Stream,
    pub(super) records: Stream,
    pub(super) keys: kv::Store,
    pub(super) objects: object_store::ObjectStore,
}

fn of_file(name: &str, subjects: Vec<String>, options: &Options) -> stream::Config {
    stream::Config {
        name: name.into(),
        subjects,
        num_replicas: options.replicas,
        storage: stream::StorageType::File,
        allow_direct: true,
        ..stream::Config::default()
    }
}

/// Makes what is not there, and sets what is as it has to be.
///
/// # Errors
/// When something cannot be had, naming it and what is in the way.
pub(super) async fn all(
    context: &Context,
    options: &Options,
    limit_markers: Option<Duration>,
) -> Result<Made, PortError> {
    let public = format!("{ROOT}.>");
    let handed_in = format!("{EVENTS_SUBJECT}.>");
    let transform = stream::SubjectTransform { source: handed_in.clone(), destination: public.clone() };
    let told = stream::Republish { source: public.clone(), destination: public, headers_only: false };
    let events = stream::Config {
        max_messages: options.events_max,
        duplicate_window: Duration::from_millis(options.duplicate_window_ms),
        subject_transform: Some(transform),
        republish: Some(told),
        ..of_file(STREAM, vec![handed_in], options)
    };
    let ledger = stream::Config {
        deny_delete: true,
        deny_purge: true,
        ..of_file(LEDGER, vec![LEDGER_SUBJECT.into()], options)
    };
    let records = stream::Config {
        max_age: options.records.age,
        max_bytes: i64::try_from(options.records.bytes).unwrap_or(-1),
        ..of_file(RECORDS, vec![format!("{RECORDS_SUBJECT}.*")], options)
    };
    let keys = kv::Config {
        bucket: BUCKET.into(),
        num_replicas: options.replicas,
        limit_markers,
        ..kv::Config::default()
    };
    Ok(Made {
        events: stream(context, events).await?,
        keys: context.create_or_update_key_value(keys).await.map_err(|error| refused(BUCKET, &error))?,
        objects: objects(context, options).await?,
        ledger: stream(context, ledger).await?,
        records: stream(context, records).await?,
    })
}

async fn stream(context: &Context, config: stream::Config) -> Result<Stream, PortError> {
    let (name, subjects) = (config.name.clone(), config.subjects.clone());
    if let Err(error) = context.create_or_update_stream(config).await {
        let code = match error.kind() {
            CreateStreamErrorKind::JetStream(error) => Some(error.error_code().0),
            _ => code(&error),
        };
        if code == Some(OVERLAP) {
            let others = in_the_way(context, &name, &subjects).await.join(", ");
            return Err(PortError::Invalid(format!(
                "stream {name} cannot be made: its subjects {} are held by {others}; delete that stream, or narrow its subjects",
                subjects.join(", ")
            )));
        }
        return Err(named(&name, code, &error));
    }
    context.get_stream(&name).await.map_err(|error| refused(&name, &error))
}

async fn objects(context: &Context, options: &Options) -> Result<object_store::ObjectStore, PortError> {
    if let Ok(objects) = context.get_object_store(OBJECTS).await {
        return Ok(objects);
    }
    let config = object_store::Config {
        bucket: OBJECTS.into(),
        num_replicas: options.replicas,
        ..object_store::Config::default()
    };
    context.create_object_store(config).await.map_err(|error| refused(OBJECTS, &error))
}

fn refused<E: Error + 'static>(what: &str, error: &E) -> PortError {
    named(what, code(error), error)
}

fn named(what: &str, code: Option<u64>, error: &dyn fmt::Display) -> PortError {
    let told = format!("{what} cannot be made: {error}");
    match code {
        Some(code) if REPLICAS.contains(&code) => {
            PortError::Invalid(format!("{told}; nats.replicas asks for more copies than NATS has servers"))
        }
        code => meaning(code, &told),
    }
}

/// Streams and buckets that are not there; an answer other than that they are is an error.
///
/// # Errors
/// When NATS does not say.
pub(super) async fn missing(context: &Context) -> Result<Vec<&'static str>, PortError> {
    const ALL: [(&str, &str); 5] = [
        (STREAM, STREAM),
        (LEDGER, LEDGER),
        (RECORDS, RECORDS),
        (BUCKET, "KV_acgs-state"),
        (OBJECTS, "OBJ_acgs-blobs"),
    ];
    let mut missing = Vec::new();
    for (name, stream) in ALL {
        let Err(error) = context.get_stream(stream).await else { continue };
        let told = error.to_string();
        let code = match error.kind() {
            async_nats::jetstream::context::GetStreamErrorKind::JetStream(error) => {
                Some(error.error_code().0)
            }
            _ => code(&error),
        };
        match code {
            Some(NOT_FOUND) => missing.push(name),
            code => return Err(meaning(code, &told)),
        }
    }
    Ok(missing)
}

/// Streams other than `own` that hold any of these subjects, with the subjects that they hold.
pub(super) async fn in_the_way(context: &Context, own: &str, subjects: &[String]) -> Vec<String> {
    let all: Result<Vec<stream::Info>, _> = context.streams().try_collect().await;
    let others = all.unwrap_or_default().into_iter().filter(|info| info.config.name != own);
    others
        .filter(|info| {
            info.config.subjects.iter().any(|theirs| subjects.iter().any(|ours| overlap(theirs, ours)))
        })
        .map(|info| format!("stream {} ({})", info.config.name, info.config.subjects.join(", ")))
        .collect()
}

/// Whether one subject can match both.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(left), Some(right)) if left == right || left == "*" || right == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_that_meet() {
        for (one, other) in
            [("acgs.>", "acgs.*.x"), ("a.*", "*.b"), (">", "a"), ("a.b", "a.b"), ("a.*.c", "a.b.>")]
        {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in
            [("acgs.>", "acgs"), ("acgs.>", "acgs-events.>"), ("a.b", "a.b.c"), ("a.*", "b.*")]
        {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }
}
