//! Waits for what the processors publish: `ops.incidents` in the committed or the uncommitted view.

use std::time::{Duration, Instant};

use hms_ops::bus::{Isolation, Next, Reader};
use hms_ops::codec;
use hms_ops::model::incident::{EventKind, IncidentEvent};

use super::cluster::PATIENCE;
use super::fleet::{Fleet, PARTITIONS};

/// Follows `ops.incidents` from its beginning.
pub struct Watch {
    reader: Reader,
    /// Everything so far, in the order in which it was seen.
    pub seen: Vec<Seen>,
}

/// An event and its place.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Partition of `ops.incidents`.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// What it says.
    pub event: IncidentEvent,
}

impl Watch {
    /// Sees nothing yet.
    pub fn new(fleet: &Fleet, isolation: Isolation) -> Self {
        let starts = (0..PARTITIONS).map(|partition| (partition, 0));
        let reader = Reader::open(&fleet.settings, &fleet.topics.incidents, isolation, starts).unwrap();
        Self { reader, seen: Vec::new() }
    }

    /// Waits up to `timeout` for one more event. Says whether one came.
    pub fn one(&mut self, timeout: Duration) -> bool {
        match self.reader.next(timeout).unwrap() {
            Next::Record(message) => {
                let event = codec::incident::decode(message.value().unwrap()).unwrap();
                self.seen.push(Seen { partition: message.partition(), offset: message.offset(), event });
                true
            }
            Next::Idle | Next::End => false,
        }
    }

    /// Takes what is there, until nothing comes for a moment.
    pub fn drain(&mut self) {
        while self.one(Duration::from_millis(20)) {}
    }

    /// Waits until `done` of all that was seen.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&[Seen]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.seen) {
            if !self.one(Duration::from_millis(100)) {
                assert!(Instant::now() < deadline, "still waiting for {what}; the last: {:#?}", self.last());
            }
        }
    }

    /// Waits until an event satisfies `wanted`.
    pub fn until_one(&mut self, what: &str, wanted: impl Fn(&IncidentEvent) -> bool) {
        self.until(what, |seen| seen.iter().any(|seen| wanted(&seen.event)));
    }

    fn last(&self) -> &[Seen] {
        &self.seen[self.seen.len().saturating_sub(3)..]
    }
}

/// Opened or resolved?
pub fn is_turn(event: &IncidentEvent) -> bool {
    matches!(event.kind, EventKind::Opened { .. } | EventKind::Resolved { .. })
}

/// Did the service `id` open an incident?
pub fn opens(event: &IncidentEvent, id: &str) -> bool {
    event.service.as_str() == id && matches!(event.kind, EventKind::Opened { .. })
}

/// Both views of `ops.incidents`.
pub struct Views {
    /// What is committed.
    pub committed: Watch,
    uncommitted: Watch,
}

impl Views {
    /// Sees nothing yet.
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            committed: Watch::new(fleet, Isolation::Committed),
            uncommitted: Watch::new(fleet, Isolation::Uncommitted),
        }
    }

    /// Forgets what was seen: a long run sees much.
    pub fn forget(&mut self) {
        self.committed.drain();
        self.committed.seen.clear();
        self.uncommitted.seen.clear();
    }

    /// Waits for an event of a transaction that is, most likely, still open. Says where it lies.
    pub fn wait_for_open(&mut self) -> (i32, i64) {
        self.uncommitted.drain();
        let seen = self.uncommitted.seen.len();
        self.uncommitted.until("one more event", |all| all.len() > seen);
        let last = self.uncommitted.seen.last().unwrap();
        (last.partition, last.offset)
    }
}
