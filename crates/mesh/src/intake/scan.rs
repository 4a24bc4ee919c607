//! A reader of messages in gRPC's framing that decodes nothing: it adds up what decoding would take, byte by byte as they come. It must not
//! know what is decoded.

use std::{collections::HashMap, sync::Arc};

use acgs_vocabulary::{
    Problem,
    convert::rows::{CALL_CELLS_MAX, CALL_ROWS_MAX},
};

use super::plan::{Counts, Field, Inside, Plan};

/// Levels of messages in messages, as prost reads them.
const DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Part {
    Prefix(usize),
    Tag,
    Length,
    Varint,
    Skip(u64),
}

#[derive(Clone, Copy, Debug)]
struct Level {
    message: u32,
    end: u64,
    /// Whether the field that was last seen has come before in it.
    last: u32,
}

/// The state of a reader.
#[derive(Debug)]
pub(crate) struct Scan {
    plan: Arc<Plan>,
    root: u32,
    part: Part,
    prefix: [u8; 5],
    at: u64,
    end: u64,
    stack: Vec<Level>,
    number: u64,
    shift: u32,
    /// Groups that have begun: what is in them is skipped when it is decoded.
    groups: u32,
    field: Option<Field>,
    field_number: u32,
    records: HashMap<u32, usize>,
    cells: usize,
    /// Bytes that decoding the message takes, so far.
    pub(crate) heap: u64,
    /// Messages that have begun.
    pub(crate) messages: u64,
}

impl Scan {
    /// For the input of a method.
    pub(crate) fn new(plan: &Arc<Plan>, root: u32) -> Self {
        Self {
            plan: Arc::clone(plan),
            root,
            part: Part::Prefix(0),
            prefix: [0; 5],
            at: 0,
            end: 0,
            stack: Vec::new(),
            number: 0,
            shift: 0,
            groups: 0,
            field: None,
            field_number: 0,
            records: HashMap::new(),
            cells: 0,
            heap: 0,
            messages: 0,
        }
    }

    /// Reads on.
    ///
    /// # Errors
    /// `TOO_MANY_ROWS` when there are more records or cells than a call may have.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        while let [byte, rest @ ..] = bytes {
            match self.part {
                Part::Prefix(have) => {
                    self.prefix[have] = *byte;
                    bytes = rest;
                    self.part = if have < 4 { Part::Prefix(have + 1) } else { self.begin() };
                }
                Part::Skip(left) => {
                    let now = left.min(bytes.len() as u64);
                    bytes = &bytes[now as usize..];
                    self.at += now;
                    self.part = if now < left { Part::Skip(left - now) } else { Part::Tag };
                    self.ascend();
                }
                Part::Tag | Part::Length | Part::Varint => {
                    bytes = rest;
                    self.at += 1;
                    self.number |= u64::from(byte & 0x7f) << self.shift.min(63);
                    if byte & 0x80 != 0 {
                        self.shift += 7;
                        if self.shift > 63 || self.at >= self.end {
                            self.blind();
                        }
                        continue;
                    }
                    let number = std::mem::take(&mut self.number);
                    self.shift = 0;
                    self.whole(number)?;
                    let over = self.at >= self.end && !self.stack.is_empty();
                    if over || matches!(self.part, Part::Skip(left) if self.at + left > self.end) {
                        // It breaks off in a field: what decodes it will say so.
                        self.blind();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether no message is on its way.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.part, Part::Prefix(0))
    }

    /// A message begins.
    fn begin(&mut self) -> Part {
        let length =
            u64::from(u32::from_be_bytes([self.prefix[1], self.prefix[2], self.prefix[3], self.prefix[4]]));
        (self.at, self.end, self.heap, self.cells, self.groups) = (0, length, 0, 0, 0);
        self.messages += 1;
        self.records.clear();
        self.stack.clear();
        self.stack.push(Level { message: self.root, end: length, last: 0 });
        match (length, self.prefix[0]) {
            (0, _) => Part::Prefix(0),
            // Compressed: the server refuses it.
            (_, flag) if flag != 0 => Part::Skip(length),
            _ => Part::Tag,
        }
    }

    fn whole(&mut self, number: u64) -> Result<(), Problem> {
        match self.part {
            Part::Tag => {
                self.field_number = u32::try_from(number >> 3).unwrap_or(0);
                let level = self.stack.last().map_or(self.root, |level| level.message);
                let is_known = self.groups == 0 && !matches!(number & 7, 3 | 4);
                self.field = if is_known { self.plan.field(level, self.field_number) } else { None };
                self.part = match number & 7 {
                    0 => Part::Varint,
                    1 => Part::Skip(8),
                    2 => Part::Length,
                    3 => {
                        self.groups += 1;
                        Part::Tag
                    }
                    4 => {
                        self.groups = self.groups.saturating_sub(1);
                        Part::Tag
                    }
                    5 => Part::Skip(4),
                    _ => {
                        self.blind();
                        return Ok(());
                    }
                };
                if matches!(number & 7, 0 | 1 | 5) {
                    self.found(0)?;
                }
                self.ascend();
            }
            Part::Varint => {
                self.part = Part::Tag;
                self.ascend();
            }
            Part::Length => {
                let end = self.at.saturating_add(number);
                if end > self.stack.last().map_or(self.end, |level| level.end) {
                    // What decodes it will say what is wrong.
                    self.blind();
                    return Ok(());
                }
                self.found(number)?;
                let inside = self.field.map(|field| field.inside);
                self.part = match inside {
                    Some(Inside::Message(message)) if self.stack.len() < DEPTH_MAX => {
                        self.stack.push(Level { message, end, last: 0 });
                        Part::Tag
                    }
                    _ if number == 0 => Part::Tag,
                    _ => Part::Skip(number),
                };
                self.ascend();
            }
            Part::Prefix(_) | Part::Skip(_) => {}
        }
        Ok(())
    }

    /// A value of a field, so long, has come.
    fn found(&mut self, length: u64) -> Result<(), Problem> {
        let Some(field) = self.field else { return Ok(()) };
        let number = self.field_number;
        let depth = self.stack.len();
        let message = self.stack.last().map_or(self.root, |level| level.message);
        let level = self.stack.last_mut();
        let first = level.is_some_and(|level| std::mem::replace(&mut level.last, number) != number);
        self.heap += u64::from(if first && field.first > 0 { field.first } else { field.each });
        match field.inside {
            Inside::Bytes => self.heap += length.next_multiple_of(16),
            Inside::Packed(wide) => self.heap += length * u64::from(wide),
            Inside::Message(_) | Inside::Plain => {}
        }
        match field.counts {
            Counts::Records => {
                let records = self.records.entry(if depth == 1 { number } else { 0 }).or_default();
                *records += 1;
                if *records > CALL_ROWS_MAX {
                    let told =
                        format!("holds more than {CALL_ROWS_MAX} records, as many as one call may have");
                    return Err(Problem::field(self.plan.list(message, number), "TOO_MANY_ROWS", told));
                }
            }
            Counts::Cells => {
                self.cells += 1;
                if self.cells > CELLS_MAX {
                    let told = format!("has records with more than {CELLS_MAX} fields together");
                    return Err(Problem::field("request", "TOO_MANY_ROWS", told));
                }
            }
            Counts::Nothing => {}
        }
        Ok(())
    }

    /// Levels that are over.
    fn ascend(&mut self) {
        if !matches!(self.part, Part::Tag) {
            return;
        }
        while self.stack.last().is_some_and(|level| self.at >= level.end) {
            self.stack.pop();
            self.groups = 0;
        }
        if self.stack.is_empty() {
            self.part = Part::Prefix(0);
        }
    }

    /// The rest of the message is not read.
    fn blind(&mut self) {
        (self.number, self.shift) = (0, 0);
        self.stack.truncate(1);
        let left = self.end.saturating_sub(self.at);
        self.part = if left > 0 { Part::Skip(left) } else { Part::Tag };
        self.ascend();
    }
}

/// Fields of all records of a request: two lists of the most that a call may have.
const CELLS_MAX: usize = 2 * CALL_CELLS_MAX;

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
