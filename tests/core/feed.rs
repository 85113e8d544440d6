//! Feeds the oracle's log entries to a production core, and keeps what the bus would keep of its cuts.

use std::collections::BTreeMap;
use std::sync::Arc;

use hms_ops::codec;
use hms_ops::model::ids::{TICK_SENSOR, TICK_SERVICE};
use hms_ops::model::reading::Reading;
use hms_ops::model::state::{PartitionRecord, Rollup, ServiceRecord};
use hms_ops::model::{ServiceId, spec::Spec};
use hms_ops::processor::core::{Body, Core, Effects, Elsewhere, Outcome, Record, SpecChange};
use hms_ops::processor::specs::Specs;

use super::oracle::{self, Entry};

pub fn parse(text: &str) -> Arc<Spec> {
    Arc::new(hms_ops::spec::parse(text).expect("the log's spec parses").spec)
}

/// Steps one entry; `offset` is that of the next record and moves on. `None` for entries that are no record.
pub fn step(core: &mut Core, entry: &Entry, offset: &mut i64, effects: &mut Effects) -> Option<Outcome> {
    match entry {
        Entry::Spec(text) => {
            core.apply([SpecChange::Register(parse(text))], *offset, effects);
            None
        }
        Entry::Retire(id) => {
            core.apply([SpecChange::Retire(ServiceId::new(id).expect("an id"))], *offset, effects);
            None
        }
        Entry::Record { append, reading } => {
            let reading = reading_of(*append, reading.as_ref());
            let body = Body::Reading(&reading);
            let outcome = core
                .step(Record { offset: *offset, append_ms: *append, body, elsewhere: Elsewhere::default() }, effects);
            *offset += 1;
            Some(outcome)
        }
    }
}

/// What the codec makes of a record of the log.
pub fn reading_of(append: i64, reading: Option<&oracle::Reading>) -> Reading<'_> {
    let (service, sensor, ts, value) = match reading {
        Some(reading) => (&*reading.service, &*reading.sensor, reading.ts.unwrap_or(append), reading.value),
        None => (TICK_SERVICE, TICK_SENSOR, append, 0.0),
    };
    Reading { service: service.into(), sensor: sensor.into(), ts, value: value + 0.0, attributes: BTreeMap::new() }
}

/// What the bus keeps of the cuts: the latest state record of each service, every rollup.
#[derive(Default)]
pub struct Kept {
    pub partition: Option<PartitionRecord>,
    pub services: BTreeMap<ServiceId, ServiceRecord>,
    pub rollups: Vec<Rollup>,
}

impl Kept {
    /// Takes the cuts out of `effects` and keeps them.
    pub fn keep(&mut self, effects: &Effects) {
        for cut in &effects.cuts {
            self.partition = Some(cut.partition.clone());
            self.services.extend(cut.services.iter().map(|record| (record.service.clone(), record.clone())));
            self.rollups.extend(cut.rollups.iter().map(|(_, value)| codec::state::decode_rollup(value).unwrap()));
        }
    }

    /// A core from the last cut, reading no more rollups than it says it needs.
    pub fn restore(&self) -> Core {
        let partition = self.partition.clone().unwrap_or_default();
        let services: Vec<_> = self.services.values().cloned().collect();
        let from =
            Core::rollups_needed_from(&partition, &services, &mut Specs::default()).expect("specs in the state parse");
        let rollups = self.rollups.iter().filter(|rollup| rollup.cut_clock >= from).cloned();
        Core::restore(1, &partition, services, rollups, &mut Specs::default())
            .expect("what a cut wrote can be restored")
    }
}
