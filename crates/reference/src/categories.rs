//! The categories of a column, whatever its kind. It must not know a reference.

use std::{collections::HashMap, sync::Arc};

use acgs_columns::{Column, Values};
use acgs_statistics::distinct::hash_text;

/// Each category of a column once, with its rows.
pub fn for_each_category(column: &Column, mut visit: impl FnMut(&Arc<str>, u64)) {
    match &column.values {
        Values::Text { codes, dictionary } if codes.len() < dictionary.len() => {
            // A few rows of a large dictionary: only what they use is looked at.
            let mut rows: HashMap<u32, u64> = HashMap::new();
            for (_, &code) in codes.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                *rows.entry(code).or_default() += 1;
            }
            rows.iter().for_each(|(&code, &rows)| visit(&dictionary[code as usize], rows));
        }
        Values::Text { codes, dictionary } => {
            let mut rows = vec![0_u64; dictionary.len()];
            for (row, &code) in codes.iter().enumerate() {
                rows[code as usize] += u64::from(column.is_valid(row));
            }
            for (category, &rows) in dictionary.iter().zip(&rows).filter(|(_, rows)| **rows > 0) {
                visit(category, rows);
            }
        }
        Values::Boolean(bits) => {
            let valid = (0..bits.len()).filter(|&row| column.is_valid(row));
            let (yes, no): (Vec<usize>, Vec<usize>) = valid.partition(|&row| bits.get(row));
            for (name, rows) in [("true", yes.len()), ("false", no.len())] {
                if rows > 0 {
                    visit(&Arc::from(name), rows as u64);
                }
            }
        }
        Values::Integer(values) => {
            let mut rows: HashMap<i64, u64> = HashMap::new();
            for (_, &value) in values.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                *rows.entry(value).or_default() += 1;
            }
            rows.iter().for_each(|(value, rows)| visit(&Arc::from(value.to_string()), *rows));
        }
        Values::Double(_) => {}
    }
}

/// What is kept of a category that was seen: two of many are taken for one in a few of a million cases.
#[must_use]
pub fn short_hash(category: &str) -> u32 {
    (hash_text(category) >> 32) as u32
}
