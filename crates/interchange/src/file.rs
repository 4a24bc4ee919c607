//! Files in memory: Parquet and Arrow IPC streams. The same batches make the same bytes. It must not know where files are kept.

use std::{collections::HashMap, io::Cursor, sync::Arc};

use acgs_columns::{RecordBatch, Schema, batch::ROWS_MAX};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::WriterProperties,
};

use crate::{
    arrow::{batch_from_arrow, batch_to_arrow, schema_from_arrow, schema_to_arrow},
    error::Error,
};

/// What a file holds.
pub type Table = (Arc<Schema>, Vec<RecordBatch>);

/// Batches of one schema as a Parquet file.
///
/// # Errors
/// Never for batches that fit the schema.
pub fn to_parquet(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, Error> {
    let arrow = schema_to_arrow(schema);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&arrow), Some(properties))?;
    for batch in batches {
        writer.write(&batch_to_arrow(&arrow, batch)?)?;
    }
    Ok(writer.into_inner()?)
}

/// Words that travel with a file, by name.
pub type Tags = HashMap<String, String>;

/// Batches of one schema as an Arrow IPC stream.
///
/// # Errors
/// Never for batches that fit the schema.
pub fn to_arrow(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, Error> {
    to_arrow_tagged(schema, batches, Tags::new())
}

/// Batches of one schema as an Arrow IPC stream, with tags as metadata of its schema.
///
/// # Errors
/// Never for batches that fit the schema.
pub fn to_arrow_tagged(schema: &Schema, batches: &[RecordBatch], tags: Tags) -> Result<Vec<u8>, Error> {
    let arrow = Arc::new(schema_to_arrow(schema).as_ref().clone().with_metadata(tags));
    let mut writer = StreamWriter::try_new(Vec::new(), &arrow)?;
    for batch in batches {
        writer.write(&batch_to_arrow(&arrow, batch)?)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// Reads a Parquet file.
///
/// # Errors
/// When it is none, or has types without a kind.
pub fn from_parquet(bytes: Bytes) -> Result<Table, Error> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(ROWS_MAX);
    let schema = schema_from_arrow(builder.schema())?;
    let batches =
        builder.build()?.map(|batch| batch_from_arrow(&schema, &batch?)).collect::<Result<_, _>>()?;
    Ok((schema, batches))
}

/// Reads an Arrow IPC stream.
///
/// # Errors
/// When it is none, has types without a kind, or batches of more rows than ours have.
pub fn from_arrow(bytes: &[u8]) -> Result<Table, Error> {
    from_arrow_tagged(bytes).map(|(table, _)| table)
}

/// Reads an Arrow IPC stream with its tags.
///
/// # Errors
/// As [`from_arrow`].
pub fn from_arrow_tagged(bytes: &[u8]) -> Result<(Table, Tags), Error> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let tags = reader.schema().metadata().clone();
    let schema = schema_from_arrow(&reader.schema())?;
    let batches = reader.map(|batch| batch_from_arrow(&schema, &batch?)).collect::<Result<_, _>>()?;
    Ok(((schema, batches), tags.into()))
}

/// The tags alone; the rows are not decoded.
///
/// # Errors
/// As [`from_arrow`].
pub fn tags_of_arrow(bytes: &[u8]) -> Result<Tags, Error> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    Ok(reader.schema().metadata().clone().into())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
