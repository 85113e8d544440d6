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
    /// Which transaction the tickets below belong to; reports of an earlier one are not mixed in.
    round: u32,
    /// By ticket: the offset, once delivered.
    offsets: Vec<Option<i64>>,
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
pub(super) const UNTRACKED: usize = usize::MAX;

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

    /// A place for the offset of the next record of this round.
    pub fn ticket(&self) -> usize {
        let mut log = self.lock();
        log.offsets.push(None);
        pack(log.round, log.offsets.len() - 1)
    }

    /// The offset at which a record was delivered.
    pub fn offset(&self, ticket: usize) -> Option<i64> {
        let log = self.lock();
        let (round, index) = unpack(ticket);
        if round != log.round { None } else { *log.offsets.get(index)? }
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

/// Round and index in one word, which is what travels through the client with a record.
fn pack(round: u32, index: usize) -> usize {
    ((round as usize) << 32) | index
}

fn unpack(ticket: usize) -> (u32, usize) {
    ((ticket >> 32) as u32, ticket & 0xffff_ffff)
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

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let mut log = self.lock();
        match result {
            Ok(message) => {
                log.delivered += 1;
                let (round, index) = unpack(ticket);
                if ticket != UNTRACKED
                    && round == log.round
                    && let Some(place) = log.offsets.get_mut(index)
                {
                    *place = Some(message.offset());
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
    fn a_ticket_of_an_earlier_round_never_shows_an_offset_of_this_one() {
        let deliveries = Deliveries::default();
        deliveries.begin();
        let old = deliveries.ticket();
        deliveries.begin();
        let new = deliveries.ticket();
        deliveries.lock().offsets[0] = Some(42);
        assert_eq!((deliveries.offset(old), deliveries.offset(new)), (None, Some(42)));
        assert_eq!(deliveries.offset(UNTRACKED), None);
    }
}
