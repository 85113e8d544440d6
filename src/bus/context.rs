//! What every client hands back: its log lines, and for producers what became of each record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
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

/// What became of the records that a producer was given. Written by the thread that serves it, read by its owner.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    log: Mutex<Log>,
    disturbances: AtomicU32,
}

/// See [`Deliveries`].
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Records delivered since the last [`Deliveries::take`]; of a producer that reports them.
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

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, Log> {
        // A panic while it was held cannot leave it half written.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the first record that failed since the last [`Self::take`] did.
    pub fn first_failure(&self) -> Option<RDKafkaErrorCode> {
        self.lock().first_failure
    }

    /// How often a connection was lost or a request timed out: what was in flight then may have been sent twice.
    /// Exact only for a client whose log is [`super::settings::Settings::transactional`]'s.
    pub fn disturbances(&self) -> u32 {
        self.disturbances.load(Ordering::Acquire)
    }

    /// Takes what there is, and begins anew.
    pub fn take(&self) -> Log {
        std::mem::take(&mut *self.lock())
    }
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
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut log = self.lock();
        match result {
            Ok(_) => log.delivered += 1,
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
}
