//! The core against a plain judge.
