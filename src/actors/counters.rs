//! What an actor counts: outcomes by reason, possible repeats, records that could not be read. Shared between its
//! loop and its effects; read by tests, the demo and, later, the metrics page.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by kind and label. Kinds are the names of events of `ops.actions` (the label is the reason code of
/// `suppressed`, else the verb) and `repeat` (an effect that may have happened twice, by verb), `undecodable` (by
/// topic) and `session` (a new connection to the bus after an error, by verdict).
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Counters {
    /// One more.
    pub fn count(&self, kind: &'static str, label: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((kind, label.to_owned())).or_default() += 1;
    }

    /// How many so far.
    pub fn get(&self, kind: &'static str, label: &str) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&(kind, label.to_owned())).copied().unwrap_or(0)
    }

    /// All counts.
    pub fn all(&self) -> BTreeMap<(&'static str, String), u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
