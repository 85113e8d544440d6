//! One partition before the judge: the oracle hears its log, and what it tells is laid beside what was published,
//! event by event, as both come in. Reads nothing. Used by the judge alone.
//!
//! ```text
//! ops.metrics/p:    r r r r r r|r r r     heard up to the committed offset
//! told by the oracle      t  t           confirmed as soon as ...
//! ops.incidents/p:        e  e    e      ... the same event was found; the last is of a later record, and waits
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use hms_ops::codec;
use hms_ops::model::ids::{TICK_SERVICE, home_partition};
use hms_ops::model::incident::IncidentEvent;
use hms_ops::model::reading::{Reading, RejectReason};
use hms_ops::model::rejected::Rejected;
use serde_json::Value;

use super::change::Change;
use super::compare::{comparable, in_full};
use super::forwards::{FORWARDED, Forwards};
use super::{Judged, Stored};
use crate::oracle::json::{first_difference, keep, same};
use crate::oracle::{self, Entry, Oracle, Told, estimate};
use crate::rig::fleet::{PARTITIONS, kept_file};

/// So much of the clock passes between two times that readings out of reach are dropped, ms.
const FORGET_MS: i64 = 10_000;
/// So many records are kept to be shown with a difference (five minutes of a heavy load); specs are all kept.
const KEPT: usize = 1_500_000;
/// So many confirmed events are shown before a difference.
const SHOWN: usize = 3;

/// See the module.
pub struct Hearing {
    /// Which one.
    pub partition: i32,
    /// What the definitions say.
    pub oracle: Oracle,
    changes: VecDeque<Change>,
    told: VecDeque<Told>,
    found: VecDeque<IncidentEvent>,
    /// Offset and reason of what must be a dead letter.
    refused: VecDeque<(i64, &'static str)>,
    letters: VecDeque<Rejected>,
    /// Where an event of this identity (its hash) lies in `ops.incidents`.
    identities: HashMap<u64, i64>,
    /// The last that were confirmed.
    shown: VecDeque<Value>,
    specs: Vec<Entry>,
    heard: VecDeque<Entry>,
    forgot_at: i64,
}

impl Hearing {
    /// A partition before its first record.
    pub fn new(partition: i32) -> Self {
        Self {
            partition,
            oracle: Oracle::new(partition),
            changes: VecDeque::new(),
            told: VecDeque::new(),
            found: VecDeque::new(),
            refused: VecDeque::new(),
            letters: VecDeque::new(),
            identities: HashMap::new(),
            shown: VecDeque::new(),
            specs: Vec::new(),
            heard: VecDeque::new(),
            forgot_at: 0,
        }
    }

    /// A committed record of `ops.incidents`.
    pub fn find(&mut self, record: &Stored) -> Result<(), String> {
        let event = codec::incident::decode(record.value.as_deref().unwrap_or_default())
            .map_err(|error| format!("offset {} of ops.incidents: {error}", record.offset))?;
        if record.key.as_deref() != Some(event.service.as_str().as_bytes()) {
            return Err(format!("the key of {event:?} is {:?}", record.key));
        }
        let id = record.header("ce_id").ok_or_else(|| format!("{event:?} has no ce_id"))?;
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        if let Some(other) = self.identities.insert(hasher.finish(), record.offset) {
            return Err(format!("{id} is at offset {other} and at {} of ops.incidents", record.offset));
        }
        self.changes.extend(Change::of(&event));
        self.found.push_back(event);
        Ok(())
    }

    /// A committed dead letter. Its bytes are compared with the log by the tests that send garbage.
    pub fn find_letter(&mut self, record: &Stored, metrics: &str) -> Result<(), String> {
        let letter = codec::rejected::decode(record.value.as_deref().unwrap_or_default())
            .map_err(|error| format!("offset {} of ops.metrics.rejected: {error}", record.offset))?;
        if letter.partition != self.partition || letter.topic != metrics {
            return Err(format!("a dead letter of {}/{} is here", letter.topic, letter.partition));
        }
        self.letters.push_back(letter);
        Ok(())
    }

    /// A record of `ops.metrics` that the processors have consumed.
    pub fn hear(&mut self, record: &Stored, forwards: &mut Forwards) -> Result<(), String> {
        self.change(record.offset, Some(record.append));
        self.oracle.next_offset = record.offset;
        let stands_in = record.header(FORWARDED).and_then(|from| from.rsplit('/').next()?.parse().ok());
        let key = record.key.as_deref();
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let append = stands_in.unwrap_or(record.append);
        match codec::reading::decode(key, record.value.as_deref(), append) {
            Err(reason) => self.refuse(record, reason),
            Ok(reading) if self.is_away(&reading) && !record.is_forwarded() => {
                if codec::reading::is_movable(key, record.value.as_deref(), headers) {
                    forwards.want(self.partition, record, &reading.service)?;
                    self.pass(record);
                } else {
                    self.refuse(record, RejectReason::TooLarge);
                }
            }
            Ok(reading) => self.reading(record, reading),
        }
        // What no definition can reach any more costs time and room.
        if let Some(clock) = self.oracle.clock()
            && clock >= self.forgot_at + FORGET_MS
        {
            self.oracle.forget();
            self.forgot_at = clock;
        }
        Ok(())
    }

    fn refuse(&mut self, record: &Stored, reason: RejectReason) {
        self.pass(record);
        self.refused.push_back((record.offset, reason.name()));
        *self.oracle.counts.rejected.entry(reason.name()).or_default() += 1;
    }

    fn is_away(&self, reading: &Reading<'_>) -> bool {
        reading.service != TICK_SERVICE && home_partition(&reading.service, PARTITIONS) != self.partition
    }

    /// A reading that is judged here.
    fn reading(&mut self, record: &Stored, reading: Reading<'_>) {
        let before = self.oracle.counts.rejected.clone();
        let Reading { service, sensor, ts, value, .. } = reading;
        let (service, sensor) = (service.into_owned(), sensor.into_owned());
        let reading = (service != TICK_SERVICE).then_some(oracle::Reading { service, sensor, ts: Some(ts), value });
        self.step(Entry::Record { append: record.append, reading });
        let refused = self.oracle.counts.rejected.iter().find(|(reason, count)| before.get(*reason) != Some(count));
        self.refused.extend(refused.map(|(reason, _)| (record.offset, *reason)));
    }

    /// A record that moves the clock alone.
    fn pass(&mut self, record: &Stored) {
        let told = self.oracle.pass(record.append);
        self.take(told, Entry::Record { append: record.append, reading: None });
    }

    fn step(&mut self, entry: Entry) {
        let told = self.oracle.step(&entry);
        self.take(told, entry);
    }

    fn take(&mut self, told: Vec<Told>, entry: Entry) {
        self.told.extend(told);
        self.heard.push_back(entry);
        if self.heard.len() > KEPT {
            self.specs.extend(self.heard.pop_front().filter(|entry| !matches!(entry, Entry::Record { .. })));
        }
    }

    /// What takes effect before the record at `offset`, which was appended at `append` (none: the end of the log).
    fn change(&mut self, offset: i64, append: Option<i64>) {
        // What was published after a change took effect after it.
        let known = self.changes.iter().rposition(|change| change.is_known_to_lie_before(offset));
        let mut due = known.map_or(0, |place| place + 1);
        while due > 0 || self.changes.front().is_some_and(|change| change.is_over(self.oracle.clock(), append)) {
            due = due.saturating_sub(1);
            let Some(change) = self.changes.pop_front() else { return };
            self.oracle.next_offset = change.place(offset);
            self.step(change.entry());
        }
    }

    /// Nothing more comes: everything was heard up to `end`, and everything that was published was found.
    pub fn finish(&mut self, end: i64, judged: &mut Judged) -> Result<(), String> {
        self.change(end, None);
        if !self.changes.is_empty() {
            return Err(format!("{} changes of specs lie beyond the log", self.changes.len()));
        }
        self.confirm(judged)?;
        if !self.found.is_empty() {
            return Err(self.difference());
        }
        match self.letters.front() {
            None => Ok(()),
            Some(letter) => {
                Err(format!("a dead letter too many: {} of offset {}", letter.reason.name(), letter.offset))
            }
        }
    }

    /// Lays both sides beside each other. What the oracle tells must have been found; what was found more is of
    /// records that are not heard yet.
    pub fn confirm(&mut self, judged: &mut Judged) -> Result<(), String> {
        while let Some(told) = self.told.front() {
            let full = in_full(told);
            if !self.found.front().is_some_and(|found| same(&full, &comparable(found))) {
                return Err(self.difference());
            }
            if let Some(found) = self.found.front()
                && let Some(difference) = estimate::difference(told, &serde_json::to_value(found).unwrap())
            {
                return Err(difference);
            }
            judged.told.extend(self.told.pop_front());
            judged.events.extend(self.found.pop_front());
            self.shown.push_back(full);
            if self.shown.len() > SHOWN {
                self.shown.pop_front();
            }
        }
        while let Some((offset, reason)) = self.refused.pop_front() {
            let letter = self.letters.pop_front();
            let found = letter.as_ref().map(|letter| (letter.offset, letter.reason.name()));
            if found != Some((offset, reason)) {
                return Err(format!("dead letter {:?} expected, {found:?} found", (offset, reason)));
            }
            judged.rejected.extend(letter);
        }
        Ok(())
    }

    /// The difference at the front, with what came before it. Keeps both sides.
    fn difference(&self) -> String {
        let told: Vec<Value> = self.shown.iter().cloned().chain(self.told.iter().map(in_full)).collect();
        let found: Vec<Value> = self.shown.iter().cloned().chain(self.found.iter().map(comparable)).collect();
        // The end of one side may not be heard of yet, which is no difference; the front is one.
        let place = first_difference(&told, &found).unwrap_or_default();
        let log: Vec<Entry> = self.specs.iter().chain(&self.heard).cloned().collect();
        let name = format!("differs-{}-{}", std::process::id(), self.partition);
        let file = keep(&name, &log);
        let lines: Vec<String> = found.iter().map(Value::to_string).collect();
        let events = kept_file(&format!("{name}.found"));
        std::fs::write(&events, lines.join("\n")).unwrap();
        format!("{place}(kept: the log in {}, the events in {})", file.display(), events.display())
    }
}
