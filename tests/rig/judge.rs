//! Judges what the processors of a fleet have published: the oracle reads the same log of `ops.metrics` and says
//! which events and dead letters must be there, field by field, in order, each once.
//!
//! A partition is judged up to the offset that the group has committed, so the processors must have stopped in
//! order before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hms_ops::bus::{Isolation, Next, Offsets, Reader};
use hms_ops::codec;
use hms_ops::model::ids::{TICK_SERVICE, home_partition};
use hms_ops::model::incident::{EventKind, IncidentEvent};
use hms_ops::model::reading::Reading;
use hms_ops::model::rejected::Rejected;
use serde_json::{Value, json};

use super::cluster::PATIENCE;
use super::fleet::{Fleet, PARTITIONS, kept_file};

use crate::oracle::json::{first_difference, keep};
use crate::oracle::{self, Counts, Entry, Oracle, Told};

/// The header of a forwarded reading: `partition/offset/append time` of where it was found.
const FORWARDED: &str = "ops-from";

/// A record as it lies in its partition.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Offset.
    pub offset: i64,
    /// Append time, ms.
    pub append: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(String::from_utf8(value.clone()?).unwrap())
    }

    fn is_forwarded(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == FORWARDED)
    }
}

/// Everything committed of a partition. Waits for transactions that are open now.
pub fn stored(fleet: &Fleet, topic: &str, partition: i32) -> Vec<Stored> {
    let offsets = Offsets::new(&fleet.settings).unwrap();
    let reader = Reader::open(&fleet.settings, topic, Isolation::Committed, [(partition, 0)]).unwrap();
    let mut reader = reader.until_now(&offsets).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => records.push(Stored {
                offset: message.offset(),
                append: message.timestamp().ms().unwrap(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.value().map(<[u8]>::to_vec),
                headers: message
                    .headers()
                    .into_iter()
                    .map(|header| (header.name.into_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            }),
            Next::End => return records,
            Next::Idle => panic!("{topic}/{partition} has no end"),
        }
    }
}

/// What the oracle confirmed.
#[derive(Debug, Default)]
pub struct Judged {
    /// Every event, partition by partition, in order.
    pub events: Vec<IncidentEvent>,
    /// What the oracle says, which is the same, in the same order.
    pub told: Vec<Told>,
    /// Every dead letter, partition by partition, in order.
    pub rejected: Vec<Rejected>,
    /// What became of the records.
    pub counts: Counts,
    /// Readings that were found away from home.
    pub forwarded: u64,
}

/// Compares everything. The first difference is the error.
pub fn judge(fleet: &Fleet) -> Result<Judged, String> {
    let mut judged = Judged::default();
    let mut wanted_forwards = BTreeSet::new();
    let mut found_forwards = Vec::new();
    for (partition, (committed, _)) in (0..).zip(fleet.committed()) {
        let log = stored(fleet, &fleet.topics.metrics, partition);
        found_forwards
            .extend(log.iter().filter(|record| record.is_forwarded()).map(|record| Forward::found(partition, record)));
        let end = committed.unwrap_or(0);
        judge_partition(fleet, partition, &log, end, &mut judged, &mut wanted_forwards)
            .map_err(|difference| format!("partition {partition}, judged up to {end}: {difference}"))?;
    }
    judged.forwarded = wanted_forwards.len() as u64;
    let found: BTreeSet<Forward> = found_forwards.iter().cloned().collect();
    if found.len() != found_forwards.len() {
        return Err(format!("{} readings were forwarded twice", found_forwards.len() - found.len()));
    }
    match found.symmetric_difference(&wanted_forwards).next() {
        Some(forward) => Err(format!("forwarded, or should be: {forward:?}")),
        None => Ok(judged),
    }
}

/// Like [`judge`], for tests in which nothing may differ.
pub fn confirm(fleet: &Fleet) -> Judged {
    judge(fleet).unwrap_or_else(|difference| panic!("{}: {difference}", fleet.prefix))
}

/// What was seen at the moment of a kill and is not committed in the end, was in a transaction that was open then.
/// Says whether an event is there for good.
pub fn is_committed(fleet: &Fleet, partition: i32, offset: i64) -> bool {
    stored(fleet, &fleet.topics.incidents, partition).iter().any(|record| record.offset == offset)
}

/// A reading on its way home.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Forward {
    /// `partition/offset/append time`.
    from: String,
    home: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Forward {
    fn wanted(partition: i32, record: &Stored, service: &str) -> Self {
        Self {
            from: format!("{partition}/{}/{}", record.offset, record.append),
            home: home_partition(service, PARTITIONS),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        }
    }

    fn found(partition: i32, record: &Stored) -> Self {
        let mut headers = record.headers.clone();
        headers.retain(|(name, _)| name != FORWARDED);
        Self {
            from: record.header(FORWARDED).unwrap_or_default(),
            home: partition,
            key: record.key.clone(),
            value: record.value.clone(),
            headers,
        }
    }
}

/// A spec takes effect, or ends, where the published events say so.
enum Change {
    Activated { text: String, from_offset: i64 },
    Retired { id: String, at: i64 },
}

impl Change {
    fn of(event: &IncidentEvent) -> Option<Self> {
        match &event.kind {
            EventKind::SpecActivated { text, from_offset, .. } => {
                Some(Self::Activated { text: text.to_string(), from_offset: *from_offset })
            }
            EventKind::SpecRetired => Some(Self::Retired { id: event.service.to_string(), at: event.at }),
            _ => None,
        }
    }

    fn is_known_to_lie_before(&self, offset: i64) -> bool {
        matches!(self, Self::Activated { from_offset, .. } if *from_offset <= offset)
    }

    /// `spec_retired` tells the clock alone. Nothing happens while it stands still, so the last place is as good
    /// as any: before the record that moves it on (none: the end of the log).
    fn is_over(&self, oracle: &Oracle, append: Option<i64>) -> bool {
        let Self::Retired { at, .. } = self else { return false };
        oracle.clock().unwrap_or(0) == *at && append.is_none_or(|append| append > *at)
    }

    /// Where it takes effect, if the next record is at `offset`.
    fn place(&self, offset: i64) -> i64 {
        match self {
            Self::Activated { from_offset, .. } => *from_offset,
            Self::Retired { .. } => offset,
        }
    }

    fn entry(self) -> Entry {
        match self {
            Self::Activated { text, .. } => Entry::Spec(text),
            Self::Retired { id, .. } => Entry::Retire(id),
        }
    }
}

/// The oracle on one partition's log.
struct Hearing {
    oracle: Oracle,
    told: Vec<Told>,
    /// What was heard, to be kept if there is a difference.
    heard: Vec<Entry>,
    /// Offset and reason of what must be a dead letter.
    rejected: Vec<(i64, &'static str)>,
}

impl Hearing {
    fn hear(&mut self, entry: Entry) {
        let told = self.oracle.step(&entry);
        self.take(told, entry);
    }

    fn take(&mut self, told: Vec<Told>, entry: Entry) {
        self.told.extend(told);
        self.heard.push(entry);
    }

    fn changes(&mut self, changes: &mut VecDeque<Change>, offset: i64, append: Option<i64>) {
        // What was published after a change took effect after it.
        let known = changes.iter().rposition(|change| change.is_known_to_lie_before(offset));
        let mut due = known.map_or(0, |place| place + 1);
        while due > 0 || changes.front().is_some_and(|change| change.is_over(&self.oracle, append)) {
            due = due.saturating_sub(1);
            let Some(change) = changes.pop_front() else { return };
            self.oracle.next_offset = change.place(offset);
            self.hear(change.entry());
        }
    }

    /// A reading that is judged here.
    fn reading(&mut self, record: &Stored, reading: Reading) {
        let before = self.oracle.counts.rejected.clone();
        let Reading { service, sensor, ts, value, .. } = reading;
        let reading = (service != TICK_SERVICE).then_some(oracle::Reading { service, sensor, ts: Some(ts), value });
        self.hear(Entry::Record { append: record.append, reading });
        let rejected = self.oracle.counts.rejected.iter().find(|(reason, count)| before.get(*reason) != Some(count));
        self.rejected.extend(rejected.map(|(reason, _)| (record.offset, *reason)));
    }

    /// A record that moves the clock alone.
    fn pass(&mut self, record: &Stored) {
        let told = self.oracle.pass(record.append);
        self.take(told, Entry::Record { append: record.append, reading: None });
    }
}

fn judge_partition(
    fleet: &Fleet,
    partition: i32,
    log: &[Stored],
    end: i64,
    judged: &mut Judged,
    forwards: &mut BTreeSet<Forward>,
) -> Result<(), String> {
    let events = published(fleet, partition)?;
    let mut changes: VecDeque<Change> = events.iter().filter_map(Change::of).collect();
    let oracle = Oracle::new(partition);
    let mut hearing = Hearing { oracle, told: Vec::new(), heard: Vec::new(), rejected: Vec::new() };
    for record in log.iter().filter(|record| record.offset < end) {
        hearing.changes(&mut changes, record.offset, Some(record.append));
        hearing.oracle.next_offset = record.offset;
        let stands_in = record.header(FORWARDED).and_then(|from| from.rsplit('/').next()?.parse().ok());
        let key = record.key.as_deref();
        let headers = record.headers.iter().filter(|(name, _)| name != FORWARDED);
        let length = codec::reading::headers_length(headers.map(|(name, value)| (name.as_str(), value.as_deref())));
        let append = stands_in.unwrap_or(record.append);
        match codec::reading::decode_with_headers(key, record.value.as_deref(), length, append) {
            Err(reason) => {
                hearing.pass(record);
                hearing.rejected.push((record.offset, reason.name()));
                *hearing.oracle.counts.rejected.entry(reason.name()).or_default() += 1;
            }
            Ok(reading) if is_away(&reading, partition) && !record.is_forwarded() => {
                forwards.insert(Forward::wanted(partition, record, &reading.service));
                hearing.pass(record);
            }
            Ok(reading) => hearing.reading(record, reading),
        }
        // What no definition can reach any more costs time in a log of weeks.
        if hearing.oracle.counts.consumed.is_multiple_of(100) {
            hearing.oracle.forget();
        }
    }
    hearing.changes(&mut changes, end, None);
    if !changes.is_empty() {
        return Err(format!("{} changes of specs lie beyond the log", changes.len()));
    }
    let told: Vec<Value> = hearing.told.iter().map(in_full).collect();
    let found: Vec<Value> = events.iter().map(comparable).collect();
    if let Some(difference) = first_difference(&told, &found) {
        let file = keep(&format!("{}{partition}", fleet.prefix), &hearing.heard);
        let lines: Vec<String> = found.iter().map(Value::to_string).collect();
        let found = kept_file(&format!("{}{partition}.found", fleet.prefix));
        std::fs::write(&found, lines.join("\n")).unwrap();
        return Err(format!("{difference}(kept: the log in {}, the events in {})", file.display(), found.display()));
    }
    let letters = dead_letters(fleet, partition)?;
    let found: Vec<(i64, &str)> = letters.iter().map(|letter| (letter.offset, letter.reason.name())).collect();
    if found != hearing.rejected {
        return Err(format!("dead letters {:?} expected, {found:?} found", hearing.rejected));
    }
    judged.events.extend(events);
    judged.told.extend(hearing.told);
    judged.rejected.extend(letters);
    add(&mut judged.counts, &hearing.oracle.counts);
    Ok(())
}

fn is_away(reading: &Reading, partition: i32) -> bool {
    reading.service != TICK_SERVICE && home_partition(&reading.service, PARTITIONS) != partition
}

fn add(sum: &mut Counts, counts: &Counts) {
    sum.consumed += counts.consumed;
    sum.counted += counts.counted;
    sum.late += counts.late;
    sum.ticks += counts.ticks;
    for (reason, count) in &counts.rejected {
        *sum.rejected.entry(reason).or_default() += count;
    }
}

/// The committed events of a partition, whose keys and ids are looked at here.
fn published(fleet: &Fleet, partition: i32) -> Result<Vec<IncidentEvent>, String> {
    let mut ids = BTreeMap::new();
    let mut events = Vec::new();
    for record in stored(fleet, &fleet.topics.incidents, partition) {
        let event = codec::incident::decode(record.value.as_deref().unwrap_or_default())
            .map_err(|error| format!("offset {} of ops.incidents: {error}", record.offset))?;
        if record.key.as_deref() != Some(event.service.as_str().as_bytes()) {
            return Err(format!("the key of {event:?} is {:?}", record.key));
        }
        let id = record.header("ce_id").ok_or_else(|| format!("{event:?} has no ce_id"))?;
        if let Some(other) = ids.insert(id.clone(), record.offset) {
            return Err(format!("{id} is at offset {other} and at {} of ops.incidents", record.offset));
        }
        events.push(event);
    }
    Ok(events)
}

/// What the oracle says of an event, all of it.
fn in_full(told: &Told) -> Value {
    let mut event = told.event.clone();
    event["spec_hash"] = json!(told.spec_hash);
    if let Some((partition, offset)) = told.from {
        event["from_partition"] = json!(partition);
        event["from_offset"] = json!(offset);
    }
    event
}

/// The event with the fields that the oracle tells too. `from_*` show that the oracle heard of a spec in time.
fn comparable(event: &IncidentEvent) -> Value {
    let mut value = serde_json::to_value(event).unwrap();
    for name in ["args", "p95_estimate", "text", "semantics"] {
        value.as_object_mut().unwrap().remove(name);
    }
    value
}

/// The dead letters of a partition; their bytes are compared with the log by the tests that send garbage.
fn dead_letters(fleet: &Fleet, partition: i32) -> Result<Vec<Rejected>, String> {
    let letters = stored(fleet, &fleet.topics.rejected, partition).into_iter().map(|record| {
        codec::rejected::decode(record.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())
    });
    let letters: Vec<Rejected> = letters.collect::<Result<_, _>>()?;
    match letters.iter().find(|letter| letter.partition != partition || letter.topic != fleet.topics.metrics) {
        Some(letter) => Err(format!("a dead letter of {}/{} is here", letter.topic, letter.partition)),
        None => Ok(letters),
    }
}
