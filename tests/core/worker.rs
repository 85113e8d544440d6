//! A worker in memory: what the real one does around the core (take over, step, publish, commit), step for step, over
//! the bus in memory, with the production's pure parts: the core, its restores, the codecs, the metadata, the counts.
//! It can die between any two steps, and each of its guards can be taken away.

use std::collections::{BTreeMap, BTreeSet};

use hms_ops::codec::{self, ids::Ids, state::StateRecord};
use hms_ops::model::reading::Reading;
use hms_ops::model::rejected::{Kept, Rejected};
use hms_ops::model::state::{PartitionRecord, ServiceRecord};
use hms_ops::processor::core::{Body, Core, Effects, Elsewhere, Outcome, Record, SpecChange};
use hms_ops::processor::counts::Counts;
use hms_ops::processor::specs::Specs;
use hms_ops::processor::{Metadata, PARTITION_KEY};

use super::bus::{Bus, Fenced, Metric, Offset, Partition, Transaction};

/// Where a worker dies. Each is reached within the next few records or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    AfterPoll,
    AfterStep,
    AfterProduce,
    AfterForwards,
    CommitInFlight,
    AfterCommit,
    Fenced,
    Read,
    Replayed,
    FirstCommit,
}

/// A guard that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    Rollups,
    Replay,
    NewestState,
    OffsetsInTransaction,
    LastReplayed,
    StopOfReplay,
    Fencing,
    ForwardsInTransaction,
    PartitionsState,
}

/// How a life of a worker goes on.
#[derive(Debug, PartialEq)]
pub enum End {
    /// It died.
    Died,
    /// Its name was taken.
    Fenced,
    /// A partition was taken from it.
    Lost,
}

impl From<Fenced> for End {
    fn from(_: Fenced) -> Self {
        Self::Fenced
    }
}

struct Task {
    core: Core,
    position: i64,
    counts: Counts,
    cut: i64,
    state: Option<i64>,
    specs_seen: Option<u64>,
}

/// One life of a worker; the next begins with [`Worker::start`] under the same name.
pub struct Worker {
    name: String,
    epoch: u64,
    tasks: BTreeMap<usize, Task>,
    forwards: Vec<(usize, Metric)>,
    late_offsets: Vec<Offset>,
    pub die_at: Option<Point>,
    without: Option<Without>,
}

/// The record as the core takes it.
pub fn decode(metric: &Metric) -> Result<Reading<'_>, hms_ops::model::reading::RejectReason> {
    let stand_in = metric.from.map_or(metric.append, |(_, _, append)| append);
    codec::reading::decode_with_any_name(Ids::NONE, metric.key.as_deref(), metric.value.as_deref(), stand_in)
}

/// Steps a record of the log.
pub fn step(core: &mut Core, offset: i64, metric: &Metric, effects: &mut Effects) -> Outcome {
    let reading = decode(metric);
    let body = reading.as_ref().map_or_else(|reason| Body::Unreadable(*reason), Body::Reading);
    let elsewhere = if metric.from.is_some() { Elsewhere::Stay } else { Elsewhere::Forward };
    core.step(Record { offset, append_ms: metric.append, body, elsewhere }, effects)
}

/// Effects as records; says at which offset of `ops.state` the last full cut of them begins, if there is one.
pub fn publish(to: &mut Partition, effects: &mut Effects, transaction: Option<Transaction>) -> Option<i64> {
    for event in &effects.incidents {
        to.incidents.append(codec::incident::wire(event), transaction);
    }
    let mut full = None;
    for cut in &effects.cuts {
        for (_, value) in cut.rollups.iter() {
            to.rollups.append(value.to_vec(), transaction);
        }
        let begin = to.state.end();
        for service in &cut.services {
            to.state.append((service.service.to_string(), codec::state::encode_service(service)), transaction);
        }
        to.state.append((PARTITION_KEY.to_owned(), codec::state::encode_partition(&cut.partition)), transaction);
        full = Some(begin).filter(|_| cut.full).or(full);
    }
    effects.clear();
    full
}

/// A dead letter or a forward, if that is what became of a record.
pub fn letter(partition: usize, offset: i64, metric: &Metric, outcome: Outcome) -> Option<Vec<u8>> {
    let Outcome::Rejected(reason) = outcome else { return None };
    Some(codec::rejected::encode(&Rejected {
        reason,
        topic: "ops.metrics".to_owned(),
        partition: partition as i32,
        offset,
        append_time: metric.append,
        value: Kept::of(metric.value.as_deref()),
        key: Kept::of(metric.key.as_deref()),
        headers: Vec::new(),
        headers_left_out: 0,
    }))
}

impl Worker {
    /// Joins the group under `name`.
    pub fn start(name: &str, without: Option<Without>, bus: &mut Bus) -> Self {
        let epoch = bus.take_name(name);
        Self {
            name: name.to_owned(),
            epoch,
            tasks: BTreeMap::new(),
            forwards: Vec::new(),
            late_offsets: Vec::new(),
            die_at: None,
            without,
        }
    }

    fn reach(&self, point: Point) -> Result<(), End> {
        if self.die_at == Some(point) { Err(End::Died) } else { Ok(()) }
    }

    fn is_without(&self, guard: Without) -> bool {
        self.without == Some(guard)
    }

    /// One turn of the loop: takes over what is ours and new, lets specs take effect, steps up to `records` records.
    pub fn turn(&mut self, ours: &BTreeSet<usize>, records: usize, bus: &mut Bus) -> Result<usize, End> {
        bus.check(&self.name, self.epoch)?;
        self.take_over(ours, bus)?;
        self.apply_specs(bus)?;
        let mut done = 0;
        for partition in self.tasks.keys().copied().collect::<Vec<_>>() {
            let log = &bus.partitions[partition].metrics;
            let polled: Vec<_> = bus
                .committed(log, self.tasks[&partition].position)
                .take(records)
                .map(|(offset, metric)| (offset, metric.clone()))
                .collect();
            for (offset, metric) in polled {
                self.reach(Point::AfterPoll)?;
                self.process(partition, offset, &metric, bus)?;
                done += 1;
            }
        }
        Ok(done)
    }

    fn process(&mut self, partition: usize, offset: i64, metric: &Metric, bus: &mut Bus) -> Result<(), End> {
        let mut effects = Effects::default();
        let task = self.tasks.get_mut(&partition).expect("it is polled");
        let outcome = step(&mut task.core, offset, metric, &mut effects);
        task.counts.consumed += 1;
        task.counts.note(outcome);
        task.position = offset + 1;
        self.reach(Point::AfterStep)?;
        self.publish(partition, &mut effects, bus)?;
        if let Some(letter) = letter(partition, offset, metric, outcome) {
            let transaction = bus.transaction(&self.name, self.epoch)?;
            bus.partitions[partition].rejected.append(letter, Some(transaction));
        }
        if let Outcome::Forwarded { home } = outcome {
            let from = Some((partition, offset, metric.append));
            self.forwards.push((home as usize, Metric { from, ..metric.clone() }));
        }
        self.reach(Point::AfterProduce)
    }

    fn publish(&mut self, partition: usize, effects: &mut Effects, bus: &mut Bus) -> Result<(), End> {
        if effects.incidents.is_empty() && effects.cuts.is_empty() {
            return Ok(());
        }
        let task = self.tasks.get_mut(&partition).expect("it is ours");
        task.cut = effects.cuts.last().map_or(task.cut, |cut| cut.partition.cut_position);
        let transaction = bus.transaction(&self.name, self.epoch)?;
        task.state = publish(&mut bus.partitions[partition], effects, Some(transaction)).or(task.state);
        Ok(())
    }

    fn apply_specs(&mut self, bus: &mut Bus) -> Result<(), End> {
        let partitions = bus.partitions.len() as i32;
        for partition in self.tasks.keys().copied().collect::<Vec<_>>() {
            let task = self.tasks.get_mut(&partition).expect("it is ours");
            if task.specs_seen == Some(bus.version) {
                continue;
            }
            let wanted: Vec<_> = bus.specs.iter().filter(|(id, _)| id.home(partitions) == partition as i32).collect();
            let gone = task.core.specs().map(|spec| spec.id.clone()).filter(|id| !bus.specs.contains_key(id));
            let changes: Vec<SpecChange> =
                gone.map(SpecChange::Retire).chain(wanted.into_iter().map(|(_, change)| change.clone())).collect();
            let mut effects = Effects::default();
            let (position, mut applied) = (task.position, Vec::new());
            for change in changes {
                if task.core.apply([change.clone()], position, &mut effects) {
                    applied.push((position, change));
                }
            }
            task.specs_seen = Some(bus.version);
            self.publish(partition, &mut effects, bus)?;
            for change in applied {
                let transaction = bus.transaction(&self.name, self.epoch)?;
                bus.partitions[partition].changes.append(change, Some(transaction));
            }
        }
        Ok(())
    }

    /// Outputs, forwards last, and the offsets of all partitions, in one.
    pub fn commit(&mut self, released: &BTreeSet<usize>, bus: &mut Bus) -> Result<(), End> {
        bus.check(&self.name, self.epoch)?;
        for task in self.tasks.values() {
            assert!(task.counts.is_conserved(), "{:?}", task.counts);
        }
        for (home, metric) in std::mem::take(&mut self.forwards) {
            let transaction = Some(bus.transaction(&self.name, self.epoch)?);
            let transaction = transaction.filter(|_| !self.is_without(Without::ForwardsInTransaction));
            let append = bus.now;
            bus.partitions[home].metrics.append(Metric { append, ..metric }, transaction);
        }
        self.reach(Point::AfterForwards)?;
        let mut offsets = Vec::new();
        for (&partition, task) in &self.tasks {
            let metadata = Metadata {
                writer: self.name.clone(),
                cut: task.cut,
                state: task.state.unwrap_or(0),
                released: released.contains(&partition),
            };
            offsets.push((partition, bus.behind_holes(partition, task.position), metadata.to_text()));
        }
        if self.die_at == Some(Point::CommitInFlight) {
            bus.transaction(&self.name, self.epoch)?;
            bus.in_flight = Some((self.name.clone(), self.epoch, offsets));
            return Err(End::Died);
        }
        if self.is_without(Without::OffsetsInTransaction) {
            let before = std::mem::replace(&mut self.late_offsets, offsets);
            bus.commit_apart(before);
            offsets = Vec::new();
        }
        bus.commit(&self.name, self.epoch, offsets)?;
        self.reach(Point::AfterCommit)?;
        self.tasks.retain(|partition, _| !released.contains(partition));
        Ok(())
    }

    fn take_over(&mut self, ours: &BTreeSet<usize>, bus: &mut Bus) -> Result<(), End> {
        if self.tasks.keys().any(|partition| !ours.contains(partition)) {
            // The open transaction holds effects of a partition that is somebody else's by now.
            return Err(End::Lost);
        }
        let waiting: Vec<_> = ours.iter().copied().filter(|partition| !self.tasks.contains_key(partition)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        self.commit(&BTreeSet::new(), bus)?;
        for &partition in &waiting {
            let last = bus.partitions[partition].committed.as_ref().and_then(|(_, text)| Metadata::parse(text));
            let is_to_fence = |last: &Metadata| !last.released && last.writer != self.name;
            if let Some(last) = last.filter(is_to_fence).filter(|_| !self.is_without(Without::Fencing)) {
                bus.take_name(&last.writer);
            }
        }
        if !self.is_without(Without::Fencing) {
            waiting.iter().for_each(|partition| bus.settle(&self.name, *partition));
        }
        self.reach(Point::Fenced)?;
        for partition in waiting {
            let mut effects = Effects::default();
            let mut task = self.restore(partition, bus)?;
            let is_new = task.state.is_none();
            if is_new {
                task.core.cut(task.position, &mut effects);
            }
            self.tasks.insert(partition, task);
            self.publish(partition, &mut effects, bus)?;
        }
        self.commit(&BTreeSet::new(), bus)?;
        self.reach(Point::FirstCommit)
    }

    /// From what is committed to a core that stands there.
    fn restore(&self, partition: usize, bus: &Bus) -> Result<Task, End> {
        let (log, partitions) = (&bus.partitions[partition], bus.partitions.len() as i32);
        let Some((offset, text)) = &log.committed else {
            let core = Core::new(partition as i32, partitions);
            let counts = Counts::default();
            return Ok(Task { core, position: 0, counts, cut: 0, state: None, specs_seen: None });
        };
        let metadata = Metadata::parse(text).expect("we wrote it");
        let (mut record, mut services) = (PartitionRecord::default(), BTreeMap::<_, ServiceRecord>::new());
        for (_, (key, value)) in bus.committed(&log.state, metadata.state) {
            match codec::state::decode_state(value).expect("we wrote it") {
                StateRecord::Partition(new) if key == PARTITION_KEY => record = new,
                StateRecord::Service(new) => {
                    let is_older = self.is_without(Without::NewestState) && services.contains_key(&new.service);
                    if !is_older {
                        services.insert(new.service.clone(), new);
                    }
                }
                StateRecord::Partition(_) => panic!("the key of a partition's record is {key}"),
            }
        }
        assert_eq!(record.cut_position, metadata.cut, "p{partition}: offset and state do not fit: a gap");
        if self.is_without(Without::PartitionsState) {
            record = PartitionRecord { suspended_since: None, full_cut_clock: None, ahead: None, ..record };
        }
        let services: Vec<_> = services.into_values().collect();
        let mut specs = Specs::default();
        let needed = Core::rollups_needed_from(&record, &services, &mut specs).expect("specs in the state parse");
        let rollups = bus
            .committed(&log.rollups, 0)
            .map(|(_, value)| codec::state::decode_rollup(value).expect("we wrote it"))
            .filter(|rollup| rollup.cut_clock >= needed && rollup.cut_position <= metadata.cut)
            .filter(|_| !self.is_without(Without::Rollups));
        let mut core =
            Core::restore(partitions, &record, services, rollups, &mut specs).expect("what a cut wrote is restored");
        self.reach(Point::Read)?;
        let mut replay: Vec<_> = bus.committed(&log.metrics, metadata.cut).take_while(|(at, _)| at < offset).collect();
        match self.without {
            Some(Without::Replay) => replay.clear(),
            Some(Without::LastReplayed) => drop(replay.pop()),
            Some(Without::StopOfReplay) => replay.extend(bus.committed(&log.metrics, *offset).take(1)),
            _ => {}
        }
        let mut muted = Effects::default();
        for (at, metric) in replay {
            step(&mut core, at, metric, &mut muted);
        }
        self.reach(Point::Replayed)?;
        let (counts, cut) = (Counts::default(), metadata.cut);
        Ok(Task { core, position: *offset, counts, cut, state: Some(metadata.state), specs_seen: None })
    }
}
