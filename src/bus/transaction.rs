//! One object owns the transaction: lazy begin, send, flush, commit with the group's offsets, abort.
//!
//! ```text
//!            send / commit             commit ok, abort ok
//!   Idle ------------------> Open -----------------------------> Idle
//!                             |
//!                             | commit or abort without a clear answer; fenced; fatal
//!                             v
//!                          InDoubt      (only dropping it is left)
//! ```
//!
//! A commit that timed out may still land later: the client lacks the half of KIP-890 that would tell a late
//! answer from the next transaction's. So an object in doubt is never used again; its successor's
//! `init_transactions` raises the epoch and thereby settles, one way or the other, whatever is in flight.
//! The caller finds out which by reading the committed offsets.
//! The same goes for a commit that succeeded, but in whose transaction a connection was lost or a request timed out:
//! the client repeats by itself what was in flight. It counts as committed, and the object is in doubt all the same,
//! because the lost copy of a request could still end the *next* transaction, or set its offsets back.
//!
//! [`super::outbox`] lets a transaction end while its owner goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::batch::{self, Batches, Taken};
use super::context::Deliveries;
use super::error::{Error, Place};
use super::group::GroupMetadata;
use super::record::{PartitionOffset, Record, offset_list};
use super::room::Room;
use super::served::Served;
use super::settings::{Settings, TRANSACTION_TIMEOUT};
use super::verdict::Verdict;
use crate::codec::ids::Ids;
use crate::torture::{self, Point, Sabotage};

/// How long `init_transactions` may take: the coordinator first ends what a predecessor left open.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call may take, and one that the client says to repeat is repeated. Beyond it the cluster has given up the
/// transaction anyway. It holds for commit and abort too, which the client would rather have without a limit: a call
/// that is cut short there has lost step, but its object is in doubt and nothing is called on it again. Without a limit
/// a coordinator that loads for ever, or is away, would hold the worker for as long, deaf to its group and to a stop.
const PATIENCE: Duration = TRANSACTION_TIMEOUT;

/// Between two of those calls.
const PAUSE: Duration = Duration::from_millis(5);

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was sent, and the offsets, are visible together. If the cluster was disturbed meanwhile,
    /// the next call asks to recreate the producer.
    Committed,
    /// Nothing is visible; the producer is ready for the next transaction. Rewind to the committed offsets and
    /// restore the state.
    Aborted(Error),
    /// Another client has taken over. Nothing is visible; drop the producer and leave.
    Fenced(Error),
    /// It may or may not become visible: drop the producer, make a new one, then read the committed offsets.
    InDoubt(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Open,
    InDoubt,
}

/// The exactly-once producer of one worker.
pub struct TransactionalProducer {
    batches: Batches,
    client: Served<Deliveries>,
    transactional_id: String,
    state: State,
    /// The client's disturbances when the transaction began.
    calm: u32,
    ids: Arc<Ids>,
}

impl TransactionalProducer {
    /// Takes `transactional_id` over: whoever had it is fenced, and what it left open is aborted.
    ///
    /// # Errors
    /// With `Retry` the cluster did not answer in time.
    pub fn new(settings: &Settings, transactional_id: &str) -> Result<Self, Error> {
        let client = Served::new(&settings.transactional(transactional_id), Deliveries::default())?;
        let deadline = Instant::now() + INIT_TIMEOUT;
        loop {
            match client.init_transactions(deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => break,
                Err(error) if Verdict::of(&error) == Verdict::Retry && Instant::now() < deadline => {}
                Err(error) => return Err(Error::client("taking over a transactional id", Place::none())(error)),
            }
        }
        Ok(Self {
            batches: Batches::default(),
            client,
            transactional_id: transactional_id.to_owned(),
            state: State::Idle,
            calm: 0,
            ids: settings.ids(),
        })
    }

    /// Whose transactions these are.
    pub fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// Is a transaction open? Its time runs from the first record.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Records that were sent and not yet delivered.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    /// Sends a record within the transaction, which begins with the first. Copies it. Blocks only while the
    /// client's queue is full.
    ///
    /// # Errors
    /// `AbortAndRewind`: the transaction is lost, call [`Self::abort`]. `Fatal`: this record can never be sent.
    pub fn send(&mut self, record: &Record<'_>) -> Result<(), Error> {
        self.begin()?;
        // The only readings within a transaction are strangers', which go home as they are.
        let framed = record.value.and_then(|value| self.ids.frame_decided(value));
        let mut outgoing = record.framed(framed.as_deref()).outgoing(());
        let mut room = Room::within(PATIENCE);
        loop {
            match self.client.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((error, back)) if room.waits_for(&self.client, &error) => outgoing = back,
                Err((error, _)) => return Err(self.send_failed(error, record.place())),
            }
        }
    }

    /// As [`Self::send`], many records of one partition: keys and values.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_all<'a>(
        &mut self,
        topic: &str,
        partition: i32,
        mut records: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Error> {
        if !self.ids.is_empty() {
            // Each value is copied into its frame.
            return records.try_for_each(|entry| self.send(&Record::of(topic, partition, entry)));
        }
        self.begin()?;
        let (mut these, mut room) = (Vec::with_capacity(batch::CALL), Room::within(PATIENCE));
        loop {
            these.extend(records.by_ref().take(batch::CALL - these.len()));
            if these.is_empty() {
                return Ok(());
            }
            let taken = match self.batches.send(&self.client, topic, partition, &these)? {
                Taken::All => these.len(),
                Taken::Until(first, error) if room.waits_for(&self.client, &error) => first,
                Taken::Until(_, error) => return Err(self.send_failed(error, Place::partition(topic, partition))),
            };
            if taken > 0 {
                these.drain(..taken);
                room = Room::within(PATIENCE);
            }
        }
    }

    /// A refused send carries no flags: the client tells by its code, and by its own state, what has happened.
    fn send_failed(&mut self, error: KafkaError, place: Place) -> Error {
        if let Some((code, cause)) = self.client.client().fatal_error() {
            self.state = State::InDoubt;
            let verdict = match Verdict::of_code(code) {
                verdict @ (Verdict::Fenced | Verdict::Fatal) => verdict,
                _ => Verdict::Recreate,
            };
            return Error::judged("sending a record", place, verdict, cause);
        }
        // The record itself mostly tells no more than that its transaction has failed.
        let failure = self.failure();
        let failures = [Some(&error), failure.as_ref()].into_iter().flatten();
        for failure in failures {
            if let verdict @ (Verdict::Fenced | Verdict::Fatal) = Verdict::of(failure) {
                return Error::judged("sending a record", place, verdict, failure);
            }
        }
        // Also `QueueFull`: nothing was delivered for as long as the transaction may live.
        Error::judged("sending a record", place, Verdict::AbortAndRewind, failure.unwrap_or(error))
    }

    /// Why the open transaction has failed, if it has.
    fn failure(&self) -> Option<KafkaError> {
        // With a transaction open this begins nothing: the client refuses, and says why nothing but an abort is left.
        let refused = self.client.begin_transaction().err()?;
        matches!(&refused, KafkaError::Transaction(error) if error.txn_requires_abort()).then_some(refused)
    }

    /// Waits until everything that was sent is delivered.
    ///
    /// The client's own flush polls in slices of 100 ms that do not end early; this is what makes a commit take
    /// milliseconds.
    ///
    /// # Errors
    /// `AbortAndRewind` if a record was refused, `Recreate` if the cluster stopped answering.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        let timeout = i32::try_from(PATIENCE.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive; with delivery events, which a thread serves, this only waits.
        let result = unsafe { native::rd_kafka_flush(self.client.client().native_ptr(), timeout) };
        if result != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            self.state = State::InDoubt;
            return Err(Error::judged("flushing", Place::none(), Verdict::Recreate, Code::from(result)));
        }
        match self.client.client().context().first_failure() {
            None => Ok(()),
            Some(code) => Err(self.send_failed(KafkaError::MessageProduction(code), Place::none())),
        }
    }

    /// Commits what was sent together with `offsets`. Give the offsets of *all* partitions the transaction
    /// writes for, moved or not, and a fresh `group`: they carry the generation by which a zombie is refused.
    ///
    /// # Errors
    /// Only those with which the process must stop (`Fatal`), and the use of an object in doubt.
    pub fn commit(&mut self, offsets: &[PartitionOffset], group: &GroupMetadata) -> Result<Outcome, Error> {
        let list = offset_list(offsets)?;
        self.begin()?;
        let prepared = self.flush().and_then(|()| {
            self.repeat("sending offsets to the transaction", |client| {
                client.send_offsets_to_transaction(&list, group.native(), PATIENCE)
            })
        });
        if let Err(error) = prepared {
            return self.failed(error);
        }
        torture::reached(Point::AfterSendOffsets);
        torture::reached_with_a_moment_left(Point::CommitSent);
        match self.end("committing", |client| client.commit_transaction(PATIENCE)) {
            Ok(()) => {
                torture::reached(Point::AfterCommit);
                Ok(Outcome::Committed)
            }
            // Everything was delivered before, so the commit itself is on its way. That the client calls the
            // transaction abortable now only means that it has given up waiting: the commit may have succeeded, or
            // may yet. An abort sent after it would leave it free to end the next transaction.
            Err(error)
                if error.verdict() == Verdict::AbortAndRewind && !torture::is_without(Sabotage::AbortAfterCommit) =>
            {
                self.failed(error.with_verdict(Verdict::Recreate))
            }
            Err(error) => self.failed(error),
        }
    }

    /// The guard taken away: commits what was sent, and no offsets with it.
    #[cfg(feature = "torture")]
    pub fn commit_without_offsets(&mut self) -> Result<Outcome, Error> {
        self.begin()?;
        self.flush()?;
        match self.end("committing", |client| client.commit_transaction(PATIENCE)) {
            Ok(()) => Ok(Outcome::Committed),
            Err(error) => self.failed(error),
        }
    }

    /// Turns the failure of a commit into its outcome; afterwards the object is idle or in doubt.
    fn failed(&mut self, error: Error) -> Result<Outcome, Error> {
        tracing::warn!(transactional_id = self.transactional_id, %error, verdict = ?error.verdict(), "commit failed");
        match error.verdict() {
            Verdict::AbortAndRewind => match self.abort() {
                Ok(()) => Ok(Outcome::Aborted(error)),
                Err(worse) if worse.verdict() == Verdict::Fenced => Ok(Outcome::Fenced(worse)),
                Err(worse) => Ok(Outcome::InDoubt(worse)),
            },
            Verdict::Fenced => {
                // Fenced from the group only, the transaction is still ours to end: nobody waits for its timeout.
                // Fenced from the id, this fails at once and changes nothing.
                if self.state == State::Open {
                    let _ = self.abort();
                }
                self.state = State::InDoubt;
                Ok(Outcome::Fenced(error))
            }
            Verdict::Retry | Verdict::Recreate => {
                self.state = State::InDoubt;
                Ok(Outcome::InDoubt(error))
            }
            Verdict::Fatal => {
                self.state = State::InDoubt;
                Err(error)
            }
        }
    }

    /// Gives up the open transaction, if there is one.
    ///
    /// # Errors
    /// The object is in doubt afterwards; `Fenced` or `Recreate`.
    pub fn abort(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.state == State::Idle {
            return Ok(());
        }
        self.end("aborting", |client| client.abort_transaction(PATIENCE)).map_err(|error| {
            self.state = State::InDoubt;
            match error.verdict() {
                Verdict::Fenced | Verdict::Fatal => error,
                _ => error.with_verdict(Verdict::Recreate),
            }
        })
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.state == State::Idle {
            // What failed in an earlier one is over.
            self.client.client().context().take();
            self.calm = self.client.client().context().disturbances();
            self.client.begin_transaction().map_err(|error| {
                self.state = State::InDoubt;
                Error::client("beginning a transaction", Place::none())(error)
            })?;
            self.state = State::Open;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        match self.state {
            State::InDoubt => Err(Error::InDoubt { transactional_id: self.transactional_id.clone() }),
            State::Idle | State::Open => Ok(()),
        }
    }

    /// A call that ends the transaction. Its success makes the object idle, unless any request of the transaction may
    /// have been sent twice.
    fn end(
        &mut self,
        operation: &'static str,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), Error> {
        self.repeat(operation, call)?;
        let in_doubt = self.is_disturbed() && !torture::is_without(Sabotage::NoRecreate);
        self.state = if in_doubt { State::InDoubt } else { State::Idle };
        Ok(())
    }

    /// Was a connection lost since the transaction began? The client notes it before it repeats a request, so that
    /// the note lies in its queue before the answer comes: the serving thread has it, or it is taken here.
    fn is_disturbed(&self) -> bool {
        self.client.serve_all();
        self.client.client().context().disturbances() != self.calm
    }

    /// Makes a call as often as the client says to; what is still `Retry` after [`PATIENCE`], or timed out, has
    /// to be replaced.
    fn repeat(
        &self,
        operation: &'static str,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match call(&self.client) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let timed_out = matches!(error.rdkafka_error_code(), Some(Code::OperationTimedOut | Code::RequestTimedOut));
            match Verdict::of(&error) {
                Verdict::Retry if !timed_out && Instant::now() < deadline => std::thread::sleep(PAUSE),
                Verdict::Retry => return Err(Error::judged(operation, Place::none(), Verdict::Recreate, error)),
                verdict => return Err(Error::judged(operation, Place::none(), verdict, error)),
            }
        }
    }
}

/// Fences the writer `transactional_id` and ends its open transaction at once instead of after its timeout:
/// takes the id over and lets it go.
///
/// # Errors
/// As [`TransactionalProducer::new`].
pub fn fence(settings: &Settings, transactional_id: &str) -> Result<(), Error> {
    TransactionalProducer::new(settings, transactional_id).map(drop)
}
