//! What every client hands back: its log lines, and for producers what became of each record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

/// The client's own log, as ours. What matters comes back as an error of a call as well, so nothing here is
/// louder than a warning.
pub(super) fn log(level: Level, facility: &str, message: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
            tracing::warn!(target: "hms_ops::bus", facility, "{message}");
        }
        Level::Notice | Level::Info => tracing::info!(target: "hms_ops::bus", facility, "{message}"),
        Level::Debug => tracing::debug!(target: "hms_ops::bus", facility, "{message}"),
    }
}

/// The clients without callbacks of their own.
#[derive(Debug, Default)]
pub(super) struct Plain;

impl ClientContext for Plain {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "hms_ops::bus", %error, reason, "client error");
    }
}

impl rdkafka::consumer::ConsumerContext for Plain {}

/// What became of the records that a producer was given. Written by its polling thread, read by its owner.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    log: Mutex<Log>,
    disturbances: AtomicU32,
}

/// See [`Deliveries`].
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Which transaction the notes below belong to; reports of an earlier one are not mixed in.
    round: u32,
    /// By note: the offset at which the last record of that note was delivered.
    offsets: BTreeMap<u32, i64>,
    /// Records delivered since the last [`Deliveries::take`].
    pub delivered: u64,
    /// Records refused since then, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Why the first of them was refused.
    pub first_failure: Option<RDKafkaErrorCode>,
}

/// Under these names the client notes the loss of a connection, every one, before it repeats what was in flight there.
/// It tells in no other way of one that is not its last: an error is raised only when no broker is left, and the
/// coordinators' connections do not count as brokers.
const LOST: [&str; 2] = ["FAIL", "REQTMOUT"];

/// Marks a record whose offset nobody asks for.
pub(super) const UNNOTED: usize = usize::MAX;

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, Log> {
        // A panic while it was held cannot leave it half written.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything and begins a new round.
    pub fn begin(&self) {
        let mut log = self.lock();
        *log = Log { round: log.round.wrapping_add(1), ..Log::default() };
    }

    /// What a record carries whose offset is to be kept under `note` in this round.
    pub fn mark(&self, note: u32) -> usize {
        pack(self.lock().round, note)
    }

    /// The offset at which the last record of this note was delivered.
    pub fn offset(&self, note: u32) -> Option<i64> {
        self.lock().offsets.get(&note).copied()
    }

    /// Why the first record that failed in this round did.
    pub fn first_failure(&self) -> Option<RDKafkaErrorCode> {
        self.lock().first_failure
    }

    /// How often a connection was lost or a request timed out: what was in flight then may have been sent twice.
    /// Exact only for a client whose log is [`super::settings::Settings::transactional`]'s.
    pub fn disturbances(&self) -> u32 {
        self.disturbances.load(Ordering::Acquire)
    }

    /// Takes the counts since the last call.
    pub fn take(&self) -> Log {
        let mut log = self.lock();
        let round = log.round;
        std::mem::replace(&mut *log, Log { round, ..Log::default() })
    }
}

/// Round and note in one word, which is what travels through the client with a record.
fn pack(round: u32, note: u32) -> usize {
    ((round as usize) << 32) | note as usize
}

fn unpack(mark: usize) -> (u32, u32) {
    ((mark >> 32) as u32, mark as u32)
}

impl ClientContext for Deliveries {
    fn log(&self, level: Level, facility: &str, message: &str) {
        if LOST.contains(&facility) {
            self.disturbances.fetch_add(1, Ordering::AcqRel);
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.disturbances.fetch_add(1, Ordering::AcqRel);
        tracing::debug!(target: "hms_ops::bus", %error, reason, "client error");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, mark: usize) {
        let mut log = self.lock();
        match result {
            Ok(message) => {
                log.delivered += 1;
                let (round, note) = unpack(mark);
                if mark != UNNOTED && round == log.round {
                    log.offsets.insert(note, message.offset());
                }
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                log.first_failure.get_or_insert(code);
                *log.failed.entry(code.to_string()).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_counted_though_no_error_is_raised() {
        let deliveries = Deliveries::default();
        deliveries.log(Level::Debug, "CONNECTED", "");
        assert_eq!(deliveries.disturbances(), 0);
        deliveries.log(Level::Debug, "FAIL", "");
        assert_eq!(deliveries.disturbances(), 1);
    }

    #[test]
    fn a_note_of_an_earlier_round_never_shows_in_this_one() {
        let deliveries = Deliveries::default();
        deliveries.begin();
        let old = deliveries.mark(7);
        deliveries.lock().offsets.insert(7, 42);
        assert_eq!(deliveries.offset(7), Some(42));
        deliveries.begin();
        assert_eq!(deliveries.offset(7), None);
        assert_ne!(unpack(old).0, unpack(deliveries.mark(7)).0);
        assert_eq!(unpack(old).1, 7);
    }
}
