//! Waiting until the client has room for what it is given.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, ProducerContext};

/// Patience with a queue that is full, for one record or call.
pub(super) struct Room {
    patience: Duration,
    /// When it began.
    since: Option<Instant>,
}

impl Room {
    /// Patience begins when there is no room: the clock is not looked at before.
    pub fn within(patience: Duration) -> Self {
        Self { patience, since: None }
    }

    /// It has begun, as the caller had something else to wait for.
    pub fn since(began: Instant, patience: Duration) -> Self {
        Self { patience, since: Some(began) }
    }

    /// Is `error` that there is no room, and is there still patience? Then it has waited a little.
    pub fn waits_for<C: ProducerContext>(&mut self, client: &BaseProducer<C>, error: &KafkaError) -> bool {
        let is_full = error.rdkafka_error_code() == Some(Code::QueueFull);
        let waits = is_full && self.since.get_or_insert_with(Instant::now).elapsed() < self.patience;
        if waits {
            // Serves deliveries, which is what makes room.
            client.poll(Duration::from_millis(5));
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::context::Deliveries;
    use crate::bus::settings::Settings;

    #[test]
    fn patience_is_for_a_full_queue_alone_and_ends_from_when_it_began() {
        let config = Settings::new("127.0.0.1:1", "test").producer();
        let client: BaseProducer<Deliveries> = config.create_with_context(Deliveries::default()).unwrap();
        let (full, refused) = [Code::QueueFull, Code::MessageSizeTooLarge].map(KafkaError::MessageProduction).into();
        let hour = Duration::from_secs(3_600);
        assert!(Room::within(hour).waits_for(&client, &full));
        assert!(!Room::within(hour).waits_for(&client, &refused));
        assert!(!Room::within(Duration::ZERO).waits_for(&client, &full));
        let began = Instant::now();
        assert!(Room::since(began, hour).waits_for(&client, &full));
        // That has taken some milliseconds, which count.
        let spent = began.elapsed();
        assert!(!Room::since(began, spent).waits_for(&client, &full));
    }
}
