//! The recorded series through Kafka.
