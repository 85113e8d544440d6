//! The oracle: incidents computed from the plain definitions by brute force, as a second opinion on the
//! production core.
//!
//! It shares no code with `window` or `processor`: all counted readings of a service lie in one list, and at
//! every instant the window is filtered out of it and sorted. Nothing here is fast, and nothing should become
//! fast: it is right when a reader who holds it beside the definitions finds them again, sentence by sentence.
//! It is not a model of the bus: it takes one partition's records in order. Called by tests only.

// Several test binaries include this module, and each uses a part of it.
#![allow(dead_code)]

pub mod dice;
pub mod estimate;
pub mod generate;
pub mod history;
pub mod json;
mod machine;
mod partition;
mod plan;
mod service;
mod verdict;

use std::collections::BTreeMap;

use serde_json::Value;

pub use partition::Oracle;

/// What happens to a partition, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A spec is registered: the text of a `*.ops.yaml`.
    Spec(String),
    /// The service of this id is unregistered.
    Retire(String),
    /// A record of `ops.metrics`.
    Record {
        /// Broker append time, ms.
        append: i64,
        /// What it carries; `None` is a tick.
        reading: Option<Reading>,
    },
}

/// A reading as it stands in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Id of the service.
    pub service: String,
    /// Name of the sensor.
    pub sensor: String,
    /// Event time, ms; the append time if there is none.
    pub ts: Option<i64>,
    /// Any number, NaN and infinities included.
    pub value: f64,
}

/// One event that the definitions ask for, and what stands behind it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The event under its names on the bus, without `spec_hash`, `args`, `p95_estimate`, `text`, `semantics`
    /// and `from_*`; fields that do not apply are left out.
    pub event: Value,
    /// Hash, in hex, of the spec that the event belongs to.
    pub spec_hash: String,
    /// Of `spec_activated`: partition and offset of the first record that the spec judges.
    pub from: Option<(i32, i64)>,
    /// Of `opened` and `resolved` of an SLO: the exact nearest-rank quantile of the window.
    pub p95: Option<f64>,
    /// Of the same: the readings behind `p95_estimate`. None: there are none, and no estimate either.
    pub estimate: Option<estimate::Held>,
}

/// What became of the records of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// All records.
    pub consumed: u64,
    /// Readings that count.
    pub counted: u64,
    /// Those among them that came after an instant they belong to.
    pub late: u64,
    /// Ticks.
    pub ticks: u64,
    /// Refused readings by reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

/// All that a log comes to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every event, in order.
    pub told: Vec<Told>,
    /// What became of the records.
    pub counts: Counts,
}

impl Outcome {
    /// The events alone.
    pub fn events(&self) -> Vec<Value> {
        self.told.iter().map(|told| told.event.clone()).collect()
    }
}

/// Runs a whole log through a partition that never saw a record before.
pub fn run(log: &[Entry]) -> Outcome {
    let mut oracle = Oracle::new(0);
    let told = log.iter().flat_map(|entry| oracle.step(entry)).collect();
    Outcome { told, counts: oracle.counts }
}
