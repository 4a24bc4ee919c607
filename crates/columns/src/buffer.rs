//! Shared, sliceable runs of numbers and bits. It must not know fields or meaning.

use std::{ops::Deref, sync::Arc};

/// Numbers that are shared and sliced without copying.
#[derive(Clone, Debug)]
pub struct Buffer<T> {
    data: Arc<Vec<T>>,
    start: usize,
    length: usize,
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(data: Vec<T>) -> Self {
        let length = data.len();
        Self { data: Arc::new(data), start: 0, length }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.length]
    }
}

impl<T: PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Copy> Buffer<T> {
    /// `length` values from `start`, sharing the storage.
    ///
    /// # Panics
    /// When the slice does not lie inside.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        assert!(start + length <= self.length, "slice inside the buffer");
        Self { data: Arc::clone(&self.data), start: self.start + start, length }
    }

    /// The values at these places, copied.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        rows.iter().map(|&row| self[row as usize]).collect::<Vec<_>>().into()
    }
}

/// Bits, least significant first in each byte, shared and sliced without copying.
#[derive(Clone, Debug)]
pub struct Bitmap {
    bytes: Arc<[u8]>,
    start: usize,
    length: usize,
}

impl PartialEq for Bitmap {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && (0..self.length).all(|bit| self.get(bit) == other.get(bit))
    }
}

impl Bitmap {
    /// Takes packed bits; `None` when the bytes are not exactly those that `length` bits need.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], length: usize) -> Option<Self> {
        (bytes.len() == length.div_ceil(8)).then(|| Self { bytes: Arc::from(bytes), start: 0, length })
    }

    /// Packs bits.
    #[must_use]
    pub fn from_bits(bits: impl ExactSizeIterator<Item = bool>) -> Self {
        let length = bits.len();
        let mut bytes = vec![0_u8; length.div_ceil(8)];
        for (index, bit) in bits.enumerate() {
            bytes[index / 8] |= u8::from(bit) << (index % 8);
        }
        Self { bytes: bytes.into(), start: 0, length }
    }

    /// Bits in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// One bit.
    ///
    /// # Panics
    /// When the bit does not lie inside.
    #[must_use]
    pub fn get(&self, bit: usize) -> bool {
        assert!(bit < self.length, "bit inside the bitmap");
        let place = self.start + bit;
        self.bytes[place / 8] >> (place % 8) & 1 == 1
    }

    /// Bits that are 1.
    #[must_use]
    pub fn count_ones(&self) -> usize {
        if self.start.is_multiple_of(8) {
            let whole = self.length / 8;
            let first = self.start / 8;
            let ones: u32 = self.bytes[first..first + whole].iter().map(|byte| byte.count_ones()).sum();
            return ones as usize + (whole * 8..self.length).filter(|&bit| self.get(bit)).count();
        }
        (0..self.length).filter(|&bit| self.get(bit)).count()
    }

    /// `length` bits from `start`, sharing the storage.
    ///
    /// # Panics
    /// When the slice does not lie inside.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        assert!(start + length <= self.length, "slice inside the bitmap");
        Self { bytes: Arc::clone(&self.bytes), start: self.start + start, length }
    }

    /// The bits at these places, copied.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        Self::from_bits(rows.iter().map(|&row| self.get(row as usize)))
    }

    /// The packed bytes from the first bit on, padded with zeros.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; self.length.div_ceil(8)];
        for bit in 0..self.length {
            bytes[bit / 8] |= u8::from(self.get(bit)) << (bit % 8);
        }
        bytes
    }
}
