//! A transactional producer whose transactions end behind the back of its owner.
//!
//! The end of a transaction (everything delivered, offsets, commit) is three round trips to the cluster, during which
//! its owner need not stand still. A second thread takes the producer, ends the transaction and hands it back; what
//! the owner sends meanwhile is held here, and goes first into the next transaction once it is known that the last one
//! was committed. If it was not, what is held was built on nothing and is thrown away.
//!
//! ```text
//!          send                end                        ended: Committed, go_on
//!   Here --------> Here --------------> Away (send: held) ------------------------> Here, what was held is sent
//!                                         |
//!                                         | ended: anything else, abort or renew
//!                                         v
//!                                       Here, what was held is gone
//! ```
//!
//! So never more than one transaction is under way, and none is begun before the fate of the one before it is known.

use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::error::{Error, Place};
use super::record::Record;
use super::transaction::{Outcome, TransactionalProducer};
use super::verdict::Verdict;
use crate::torture::{self, Point};

/// From so many bytes on the owner should wait for the end before it sends more.
const ENOUGH: usize = 8 << 20;

/// How a transaction is ended: flushes, commits; whatever it returns comes back by [`Outbox::ended`].
pub type End = Box<dyn FnOnce(&mut TransactionalProducer) -> Result<Outcome, Error> + Send>;

/// What comes back from the thread.
type Done = (TransactionalProducer, Result<Outcome, Error>);

/// See the module.
pub struct Outbox {
    transactional_id: String,
    /// None while it is away.
    producer: Option<TransactionalProducer>,
    held: Held,
    closer: Closer,
}

impl Outbox {
    /// Around a producer, whose transactions are all to go this way.
    ///
    /// # Errors
    /// No thread.
    pub fn new(producer: TransactionalProducer) -> std::io::Result<Self> {
        let (transactional_id, closer) = (producer.transactional_id().to_owned(), Closer::start()?);
        Ok(Self { transactional_id, producer: Some(producer), held: Held::default(), closer })
    }

    /// Whose transactions these are.
    pub fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// Sends a record within the transaction, or holds it for the next.
    ///
    /// # Errors
    /// As [`TransactionalProducer::send`].
    pub fn send(&mut self, record: &Record<'_>) -> Result<(), Error> {
        match &mut self.producer {
            Some(producer) => producer.send(record),
            None => self.hold(record),
        }
    }

    /// As [`Self::send`], many records of one partition: keys and values.
    ///
    /// # Errors
    /// As [`TransactionalProducer::send`].
    pub fn send_all<'a>(
        &mut self,
        topic: &str,
        partition: i32,
        mut records: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Error> {
        match &mut self.producer {
            Some(producer) => producer.send_all(topic, partition, records),
            None => records.try_for_each(|entry| self.hold(&Record::of(topic, partition, entry))),
        }
    }

    fn hold(&mut self, record: &Record<'_>) -> Result<(), Error> {
        self.held.push(record);
        torture::reached(Point::EffectsHeld);
        Ok(())
    }

    /// Lets the open transaction end. Its outcome must have been taken before the next end.
    ///
    /// # Errors
    /// The last end is still under way, or its thread is gone.
    pub fn end(&mut self, end: End) -> Result<(), Error> {
        let Some(producer) = self.producer.take() else {
            return Err(lost("the last transaction has not ended yet"));
        };
        self.closer.begin(producer, end)
    }

    /// Is an end under way, or its outcome not taken yet?
    pub fn is_ending(&self) -> bool {
        self.producer.is_none()
    }

    /// Is so much held that the end should be waited for?
    pub fn is_full(&self) -> bool {
        self.held.bytes.len() >= ENOUGH
    }

    /// Waits up to `timeout` for the end that is under way; `None` if there is none, or it takes longer. After
    /// [`Outcome::Committed`] call [`Self::go_on`], else [`Self::abort`] or [`Self::renew`], before anything is sent.
    ///
    /// # Errors
    /// Those of the [`End`].
    pub fn ended(&mut self, timeout: Duration) -> Result<Option<Outcome>, Error> {
        if self.producer.is_some() {
            return Ok(None);
        }
        let Some((producer, outcome)) = self.closer.ended(timeout)? else { return Ok(None) };
        self.producer = Some(producer);
        outcome.map(Some)
    }

    /// Sends what was held, in the next transaction.
    ///
    /// # Errors
    /// As [`TransactionalProducer::send`].
    pub fn go_on(&mut self) -> Result<(), Error> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let sent = self.held.entries.iter().try_for_each(|entry| self.held.send(entry, producer));
        self.held.clear();
        sent
    }

    /// Gives up the open transaction, if there is one, and throws away what is held.
    ///
    /// # Errors
    /// As [`TransactionalProducer::abort`].
    pub fn abort(&mut self) -> Result<(), Error> {
        self.producer.as_mut().map_or(Ok(()), TransactionalProducer::abort)?;
        self.held.clear();
        Ok(())
    }

    /// Goes on with another producer of the same id; the last one goes, and what is held with it.
    pub fn renew(&mut self, producer: TransactionalProducer) {
        self.held.clear();
        self.producer = Some(producer);
    }
}

/// Records that wait, one after the other.
#[derive(Default)]
struct Held {
    entries: Vec<Entry>,
    /// Their topics; there are few.
    topics: Vec<String>,
    /// Their keys, values and headers.
    bytes: Vec<u8>,
}

/// Where a record lies in `bytes`.
struct Entry {
    /// In `topics`.
    topic: usize,
    partition: i32,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
    timestamp_ms: Option<i64>,
}

impl Held {
    fn push(&mut self, record: &Record<'_>) {
        let topic = self.topics.iter().position(|topic| topic == record.topic).unwrap_or_else(|| {
            self.topics.push(record.topic.to_owned());
            self.topics.len() - 1
        });
        let mut keep = |bytes: &[u8]| {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            begin..self.bytes.len()
        };
        let (key, value) = (record.key.map(&mut keep), record.value.map(&mut keep));
        let headers =
            record.headers.iter().map(|(name, value)| (keep(name.as_bytes()), value.map(&mut keep))).collect();
        let (partition, timestamp_ms) = (record.partition, record.timestamp_ms);
        self.entries.push(Entry { topic, partition, key, value, headers, timestamp_ms });
    }

    fn send(&self, entry: &Entry, producer: &mut TransactionalProducer) -> Result<(), Error> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        // What was text is text.
        let name = |range| std::str::from_utf8(bytes(range)).unwrap_or_default();
        let headers: Vec<_> = entry.headers.iter().map(|(key, value)| (name(key), value.as_ref().map(bytes))).collect();
        let record = Record {
            topic: &self.topics[entry.topic],
            partition: entry.partition,
            key: entry.key.as_ref().map(bytes),
            value: entry.value.as_ref().map(bytes),
            headers: &headers,
            timestamp_ms: entry.timestamp_ms,
        };
        producer.send(&record)
    }

    /// Forgets everything, keeps its room.
    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}

/// The thread that ends transactions. Dropped, it waits for the one under way.
struct Closer {
    /// Taken when we are dropped.
    jobs: Option<Sender<(TransactionalProducer, End)>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Closer {
    fn start() -> std::io::Result<Self> {
        let (jobs, inbox) = channel::<(TransactionalProducer, End)>();
        let (report, done) = channel();
        let work = move || {
            for (mut producer, end) in inbox {
                let outcome = end(&mut producer);
                // Nobody waits for it if its owner has gone.
                let _ = report.send((producer, outcome));
            }
        };
        let name = format!("{} ends", std::thread::current().name().unwrap_or("transaction"));
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    fn begin(&self, producer: TransactionalProducer, end: End) -> Result<(), Error> {
        let is_sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((producer, end)).is_ok());
        if is_sent { Ok(()) } else { Err(lost("the thread that ends it is gone")) }
    }

    fn ended(&self, timeout: Duration) -> Result<Option<Done>, Error> {
        match self.done.recv_timeout(timeout) {
            Ok(done) => Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(lost("the thread that ends it is gone")),
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.jobs = None;
        // A panic there was told by itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn lost(why: &str) -> Error {
    Error::judged("ending a transaction", Place::none(), Verdict::Fatal, why)
}
