//! What one member of the archiver does with its partitions: which of them may be read, what is pending of each, and
//! what the vault says.
//!
//! ```text
//!             the vault's end is known           a segment is closed            durable
//!   Opening --------------------------> Filling --------------------> Storing ----------> Filling
//!    ^   \ not known yet: later                                        |   \ disk full, read-only: later,
//!    |                                                                 |     and the partition is paused
//!    +-- the vault does not end there                                  +-- another's segment is there:
//!                                                                          Filling, behind it
//! ```
//!
//! At most one segment of each partition is in memory, closed or open: while one cannot be stored, no records of its
//! partition come. Nothing behind a segment is committed before it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::commits::Commits;
use super::{Error, Options};
use crate::bus::{self, GroupConsumer, Message, Rebalance, Verdict};
use crate::codec::ids::Ids;
use crate::telemetry::archiver::{ArchiverMetrics, Trouble};
use crate::torture::{self, Point, Sabotage};
use crate::vault::archive::Batcher;
use crate::vault::{Appended, Entry, Header, LogId, SegmentDraft, Vault, VaultError};

/// The longest wait for a record: how late a request to stop may be noticed.
const POLL: Duration = Duration::from_millis(100);
/// The first and the longest wait after a vault that refused.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// See the module.
pub(super) struct Keeper {
    topic: String,
    vault: Arc<Vault>,
    /// The vault's calls wait here; nothing runs between them.
    runtime: Runtime,
    batcher: Batcher,
    shelves: BTreeMap<i32, Shelf>,
    schemas_kept: bool,
    /// By which what we keep names its schemas.
    ids: Arc<Ids>,
    commits: Commits,
    /// What the batcher's milliseconds count from.
    began: Instant,
    metrics: Arc<ArchiverMetrics>,
}

/// One partition.
enum Shelf {
    /// Assigned; where the vault ends is asked at that time.
    Opening(Patience),
    /// Its records come, into the batcher.
    Filling,
    /// A closed segment that the vault did not take; the partition is paused.
    Storing(SegmentDraft, Patience),
}

/// When something is tried again.
#[derive(Clone, Copy)]
struct Patience {
    at: Instant,
    next: Duration,
}

impl Patience {
    /// At once.
    fn new() -> Self {
        Self { at: Instant::now(), next: BACK_OFF.0 }
    }

    /// Later than the last time.
    fn longer(self) -> Self {
        Self { at: Instant::now() + self.next, next: (self.next * 2).min(BACK_OFF.1) }
    }
}

impl Keeper {
    /// Without partitions. `instance` becomes part of the transactional id.
    pub fn new(options: &Options, topic: &str, instance: &str, vault: Arc<Vault>) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().build().map_err(Error::Start)?;
        Ok(Self {
            topic: topic.to_owned(),
            vault,
            runtime,
            batcher: Batcher::new(options.limits),
            shelves: BTreeMap::new(),
            schemas_kept: false,
            ids: options.settings.ids(),
            commits: Commits::new(options, format!("{}-{instance}", options.group)),
            began: Instant::now(),
            metrics: options.metrics.clone(),
        })
    }

    /// Does what is due, and says how long the next poll may wait.
    pub fn tend(&mut self, consumer: &GroupConsumer) -> Result<Duration, Error> {
        let now = Instant::now();
        let due = |patience: &Patience| patience.at <= now;
        let opening = |(partition, shelf): (&i32, &Shelf)| match shelf {
            Shelf::Opening(patience) if due(patience) => Some((*partition, *patience)),
            _ => None,
        };
        for (partition, patience) in self.shelves.iter().filter_map(opening).collect::<Vec<_>>() {
            self.open(consumer, partition, patience)?;
        }
        let storing = |(partition, shelf): (&i32, &Shelf)| match shelf {
            Shelf::Storing(_, patience) if due(patience) => Some(*partition),
            _ => None,
        };
        for partition in self.shelves.iter().filter_map(storing).collect::<Vec<_>>() {
            if let Some(Shelf::Storing(draft, patience)) = self.shelves.remove(&partition) {
                self.store(consumer, draft, Some(patience))?;
            }
        }
        for draft in self.batcher.due(self.now_ms()) {
            self.store(consumer, draft, None)?;
        }
        if self.commits.is_due() {
            self.tell(consumer);
            self.commits.commit(consumer, self.settled());
        }
        Ok(self.wait())
    }

    /// How far the vault is behind, and whether every partition is being read.
    fn tell(&self, consumer: &GroupConsumer) {
        let mut refused = 0;
        for (&partition, shelf) in &self.shelves {
            let stored = match shelf {
                Shelf::Filling => self.batcher.settled(&self.log(partition)),
                Shelf::Storing(draft, _) => Some(draft.from),
                Shelf::Opening(_) => None,
            };
            refused += usize::from(matches!(shelf, Shelf::Storing(..)));
            if let (Some(stored), Some(end)) = (stored, consumer.known_end(partition)) {
                self.metrics.behind(&self.topic, partition, end - stored);
            }
        }
        let whole = !self.shelves.values().any(|shelf| matches!(shelf, Shelf::Opening(_)));
        self.metrics.hold(&self.topic, self.shelves.len(), whole && !self.shelves.is_empty());
        self.metrics.refused(&self.topic, refused);
    }

    /// Takes a record.
    pub fn record(&mut self, consumer: &GroupConsumer, message: &Message<'_>) -> Result<(), Error> {
        // A segment in the way: the partition is paused, and started anew behind it. The record comes again.
        if !matches!(self.shelves.get(&message.partition()), Some(Shelf::Filling)) {
            return Ok(());
        }
        let full = self.batcher.push(&self.log(message.partition()), entry(message), self.now_ms());
        torture::reached(Point::ArchiverTook);
        match full {
            Some(draft) => self.store(consumer, draft, None),
            None => Ok(()),
        }
    }

    /// A partition was read to its end: behind the markers there.
    pub fn moved(&mut self, consumer: &GroupConsumer, partition: i32) -> Result<(), Error> {
        if let (Some(Shelf::Filling), Some(position)) = (self.shelves.get(&partition), consumer.position(partition)?) {
            self.batcher.moved(&self.log(partition), position);
        }
        Ok(())
    }

    /// Lets the records of a partition come, from the vault's end on.
    fn open(&mut self, consumer: &GroupConsumer, partition: i32, patience: Patience) -> Result<(), Error> {
        if torture::is_without(Sabotage::ArchiveFromGroupOffset) {
            let committed = consumer.committed(&[partition])?.first().and_then(|committed| committed.offset);
            return self.go_on(consumer, partition, committed.unwrap_or(0), patience);
        }
        match self.end(partition) {
            Ok(end) => self.go_on(consumer, partition, end.unwrap_or(0), patience),
            Err(error) if error.is_retriable() => {
                tracing::warn!(topic = self.topic, partition, error = %chain(&error), "the vault does not answer");
                self.shelves.insert(partition, Shelf::Opening(patience.longer()));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self, partition: i32) -> Result<Option<i64>, VaultError> {
        if !self.schemas_kept {
            self.runtime.block_on(self.vault.keep_bus_schemas())?;
            self.runtime.block_on(self.vault.keep_ids(&self.ids))?;
            self.schemas_kept = true;
        }
        self.runtime.block_on(self.vault.end(&self.log(partition)))
    }

    /// Goes to a position of the vault, whatever was open before.
    fn go_on(
        &mut self,
        consumer: &GroupConsumer,
        partition: i32,
        position: i64,
        patience: Patience,
    ) -> Result<(), Error> {
        self.batcher.begin(self.log(partition), position);
        let shelf = match consumer.start(partition, position) {
            Ok(()) => {
                torture::reached(Point::ArchiverOpened);
                Shelf::Filling
            }
            Err(error) if error.verdict() == Verdict::Retry => {
                tracing::warn!(topic = self.topic, partition, %error, "the partition cannot be started yet");
                Shelf::Opening(patience.longer())
            }
            Err(error) => return Err(error.into()),
        };
        self.shelves.insert(partition, shelf);
        Ok(())
    }

    /// Offers a segment to the vault; `refused` if it is not the first time.
    fn store(&mut self, consumer: &GroupConsumer, draft: SegmentDraft, refused: Option<Patience>) -> Result<(), Error> {
        let partition = draft.log.partition;
        let patience = refused.unwrap_or_else(Patience::new);
        match self.append(&draft) {
            Ok(Appended::Written) if refused.is_some() => {
                tracing::info!(log = %draft.log, to = draft.to, "the vault takes segments again");
                self.go_on(consumer, partition, draft.to, patience)
            }
            Ok(Appended::Written) => Ok(()),
            Ok(Appended::LostRace { existing_to }) => {
                tracing::info!(log = %draft.log, from = draft.from, existing_to, "another archiver was first");
                self.go_on(consumer, partition, existing_to, patience)
            }
            Err(error @ VaultError::Misplaced { .. }) => {
                tracing::warn!(log = %draft.log, %error, "asking the vault again where it ends");
                consumer.pause(partition)?;
                self.shelves.insert(partition, Shelf::Opening(patience.longer()));
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(log = %draft.log, error = %chain(&error), "the vault does not take a segment");
                consumer.pause(partition)?;
                self.shelves.insert(partition, Shelf::Storing(draft, patience.longer()));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn append(&self, draft: &SegmentDraft) -> Result<Appended, VaultError> {
        torture::reached(Point::SegmentClosed);
        let began = Instant::now();
        let appended = self.runtime.block_on(self.vault.append(draft));
        match &appended {
            Ok(Appended::Written) => {
                torture::reached(Point::SegmentWritten);
                self.metrics.stored(&self.topic, draft.entries.len(), began.elapsed());
            }
            Ok(Appended::LostRace { .. }) => {}
            Err(_) => self.metrics.trouble(Trouble::Vault),
        }
        appended
    }

    /// These partitions are not ours any more.
    fn gone(&mut self, partitions: &[i32]) {
        self.commits.forget(partitions);
        partitions.iter().for_each(|partition| self.metrics.let_go(&self.topic, *partition));
    }

    /// Up to where each partition that is being read is in the vault.
    fn settled(&self) -> BTreeMap<i32, i64> {
        let all = torture::is_without(Sabotage::AcknowledgeBeforeDurable);
        let filling = self.shelves.iter().filter(|(_, shelf)| all || matches!(shelf, Shelf::Filling));
        filling.filter_map(|(partition, _)| Some((*partition, self.batcher.settled(&self.log(*partition))?))).collect()
    }

    /// Until something is due.
    fn wait(&self) -> Duration {
        let patience = |shelf: &Shelf| match shelf {
            Shelf::Opening(patience) | Shelf::Storing(_, patience) => Some(patience.at),
            Shelf::Filling => None,
        };
        let now = Instant::now();
        let again = self.shelves.values().filter_map(patience).min().map(|at| at.saturating_duration_since(now));
        let age = self
            .batcher
            .next_due()
            .map(|due| Duration::from_millis(u64::try_from(due.saturating_sub(self.now_ms())).unwrap_or(0)));
        [Some(POLL), again, age].into_iter().flatten().min().unwrap_or(POLL)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn log(&self, partition: i32) -> LogId {
        LogId::new(&self.topic, partition)
    }
}

impl Rebalance for Keeper {
    fn assigned(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.shelves.extend(partitions.iter().map(|partition| (*partition, Shelf::Opening(Patience::new()))));
    }

    fn revoked(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        let mut durable = BTreeMap::new();
        for &partition in partitions {
            let log = self.log(partition);
            let settled = self.batcher.settled(&log);
            let open = self.batcher.take(&log);
            let (draft, end) = match self.shelves.remove(&partition) {
                Some(Shelf::Filling) => (open, settled),
                Some(Shelf::Storing(draft, _)) => (Some(draft), None),
                Some(Shelf::Opening(_)) | None => (None, None),
            };
            let Some(draft) = draft else {
                durable.extend(end.map(|end| (partition, end)));
                continue;
            };
            match self.append(&draft) {
                Ok(Appended::Written) => durable.extend([(partition, draft.to)]),
                Ok(Appended::LostRace { existing_to }) => durable.extend([(partition, existing_to)]),
                // Whoever has the partition next reads it again, from where the vault ends.
                Err(error) => {
                    tracing::warn!(%log, from = draft.from, error = %chain(&error), "given up before it was stored");
                }
            }
        }
        self.commits.commit(consumer, durable);
        self.gone(partitions);
    }

    fn lost(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        for partition in partitions {
            self.batcher.forget(&self.log(*partition));
            self.shelves.remove(partition);
        }
        self.gone(partitions);
    }
}

/// A record in the vault's form.
fn entry(message: &Message<'_>) -> Entry {
    let header = |header: bus::Header<'_>| Header {
        name: header.name.into_owned().into_bytes(),
        value: header.value.map(<[u8]>::to_vec),
    };
    Entry {
        offset: message.offset(),
        timestamp: message.timestamp().ms().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.bytes().map(<[u8]>::to_vec),
        headers: message.headers().into_iter().map(header).collect(),
    }
}

/// An error with its causes, in one line: the vault's say "disk full" only there.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
