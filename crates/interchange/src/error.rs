//! Why a table could not be written or read.
//! It must not know which form it was to have.

use parquet::errors::ParquetError;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arrow's trouble.
    #[error(transparent)]
    Arrow(#[from] arrow_schema::ArrowError),
    /// Parquet's trouble.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// It holds something that has no place here.
    #[error("{0}")]
    Unreadable(String),
}
