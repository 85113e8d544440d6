//! Measures from `ops.rollups` how a service was, for the effect check. Blocks while it reads: on the runtime's
//! threads for that, never on an actor's loop.

use std::time::{Duration, Instant};

use super::effect::{Check, LATENESS_MS, choose};
use crate::bus::{self, Isolation, Message, Next, Offsets, Reader, Settings};
use crate::codec::{self, state::StateRecord};
use crate::model::state::Rollup;
use crate::model::topics::Topics;
use crate::sdk::measure::Measured;

/// Longest time for one look.
const PATIENCE: Duration = Duration::from_secs(20);
/// One wait for the next record.
const WAIT: Duration = Duration::from_millis(200);
/// Records are looked for by the time at which they were written; clocks of hosts differ, and cuts come after what
/// they hold, ms.
const SLACK_MS: i64 = 60_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Gauge {
    bus: Settings,
    rollups: String,
    state: String,
}

impl Gauge {
    /// Of this cluster.
    pub fn new(bus: &Settings, topics: &Topics) -> Self {
        Self { bus: bus.clone(), rollups: topics.rollups.clone(), state: topics.state.clone() }
    }

    /// The readings before and after, once the processor has cut what came after; `None`: not yet.
    ///
    /// # Errors
    /// The bus.
    pub fn measure(&self, check: &Check, sensor: &str) -> Result<Option<(Measured, Measured)>, bus::Error> {
        let offsets = Offsets::new(&self.bus)?;
        let partition = check.service.home(offsets.partitions(&self.rollups)?);
        let wanted = check.due_ms().saturating_add(LATENESS_MS);
        let mut cut: Option<i64> = None;
        let since = check.due_ms() - SLACK_MS;
        let whole = self.read(&offsets, &self.state, partition, since, |message| {
            let record = message.value().and_then(|value| codec::state::decode_state(value).ok());
            if let Some(StateRecord::Partition(found)) = record
                && found.clock.is_some_and(|at| at >= wanted)
            {
                cut.get_or_insert(found.cut_position);
            }
        })?;
        let Some(cut) = cut.filter(|_| whole) else { return Ok(None) };
        let mut rollups: Vec<Rollup> = Vec::new();
        let [_, ((first, _), _)] = check.stretches();
        let whole = self.read(&offsets, &self.rollups, partition, first - SLACK_MS, |message| {
            let rollup = message.value().and_then(|value| codec::state::decode_rollup(value).ok());
            // What came later than that cut is left out, whenever it is that somebody looks.
            let is_it = |rollup: &Rollup| {
                *rollup.service == *check.service.as_str() && *rollup.sensor == *sensor && rollup.cut_position <= cut
            };
            rollups.extend(rollup.filter(is_it));
        })?;
        let rollups: Vec<_> = rollups.iter().collect();
        let of = |stretch| Measured::of(&rollups, stretch, check.objective_ppm);
        let pairs = check.stretches().map(|(before, after)| (of(before), of(after)));
        Ok(whole.then(|| choose(pairs)))
    }

    /// Takes what was written since a time (ms), to the topic's end. False: it was not reached in time.
    fn read(
        &self,
        offsets: &Offsets,
        topic: &str,
        partition: i32,
        since_ms: i64,
        mut take: impl FnMut(&Message<'_>),
    ) -> Result<bool, bus::Error> {
        let deadline = Instant::now() + PATIENCE;
        let start = offsets.at_time(topic, &[partition], since_ms.max(0))?.into_iter().find_map(|(_, offset)| offset);
        let Some(start) = start else { return Ok(true) };
        let reader = Reader::open(&self.bus, topic, Isolation::Committed, [(partition, start)])?;
        let mut reader = reader.until_now(offsets)?;
        loop {
            match reader.next(WAIT)? {
                Next::End => return Ok(true),
                Next::Record(message) => take(&message),
                Next::Idle if Instant::now() >= deadline => return Ok(false),
                Next::Idle => {}
            }
        }
    }
}
