//! What the metrics of several services have in common: counts as gauges take them, and readiness by part.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A count as the value of a gauge.
pub fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Does every part (a worker, a topic) hold all that it was given? A part is there once it has said something.
#[derive(Debug, Default)]
pub struct Whole(Mutex<BTreeMap<String, bool>>);

impl Whole {
    /// What a part says.
    pub fn set(&self, part: &str, whole: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), whole);
    }

    /// All of them, and there are some.
    pub fn is_whole(&self) -> bool {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.is_empty() && parts.values().all(|whole| *whole)
    }
}
