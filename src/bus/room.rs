//! Waiting until the client has room for what it is given.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, ProducerContext};

/// Patience with a queue that is full, for one record or call. The clock is not looked at before there is no room.
pub(super) struct Room {
    patience: Duration,
    full_since: Option<Instant>,
}

impl Room {
    pub fn within(patience: Duration) -> Self {
        Self { patience, full_since: None }
    }

    /// Is `error` that there is no room, and is there still patience? Then it has waited a little.
    pub fn waits_for<C: ProducerContext>(&mut self, client: &BaseProducer<C>, error: &KafkaError) -> bool {
        let is_full = error.rdkafka_error_code() == Some(Code::QueueFull);
        let waits = is_full && self.full_since.get_or_insert_with(Instant::now).elapsed() < self.patience;
        if waits {
            // Serves deliveries, which is what makes room.
            client.poll(Duration::from_millis(5));
        }
        waits
    }
}
