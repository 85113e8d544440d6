//! What can go wrong on the bus: where, and what to do about it.

use std::fmt;
use std::time::Duration;

use rdkafka::error::KafkaError;

use super::verdict::Verdict;

/// An error of the bus. [`Error::verdict`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client, or the cluster behind it, refused.
    #[error("{operation} failed{place}: {cause}")]
    Client {
        /// What was tried.
        operation: &'static str,
        /// Where.
        place: Place,
        /// What the client says.
        cause: String,
        /// What to do.
        verdict: Verdict,
    },
    /// The log does not hold the offset that was asked for (any more, or yet).
    #[error("offset {offset} of {topic}/{partition} is outside of its log, which holds [{low}, {high})")]
    OffsetOutOfRange {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The next offset that was to be read.
        offset: i64,
        /// The first offset in the log.
        low: i64,
        /// The offset after the last.
        high: i64,
    },
    /// The cluster did not answer in time.
    #[error("{operation} had no answer{place} within {} s", .waited.as_secs_f32())]
    TimedOut {
        /// What was tried.
        operation: &'static str,
        /// Where.
        place: Place,
        /// How long.
        waited: Duration,
    },
    /// An earlier call left the transaction in doubt: only dropping the producer is allowed.
    #[error("the transactional producer {transactional_id} is in doubt and must be replaced")]
    InDoubt {
        /// Whose.
        transactional_id: String,
    },
    /// A client setting that must not be given, or not like this.
    #[error("kafka setting {key}: {why}")]
    Setting {
        /// Its name.
        key: String,
        /// What is wrong and what to do instead. Never the value: it may be a secret.
        why: String,
    },
    /// There is no such topic.
    #[error("there is no topic {topic}")]
    NoSuchTopic {
        /// Its name.
        topic: String,
    },
}

/// Topic, partition and offset, as far as they are known. Displays as ` at topic/partition@offset`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Topic.
    pub topic: Option<String>,
    /// Partition.
    pub partition: Option<i32>,
    /// Offset.
    pub offset: Option<i64>,
}

impl Place {
    /// No place: the cluster or the group as a whole.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// A topic.
    pub fn topic(topic: &str) -> Self {
        Self { topic: Some(topic.to_owned()), ..Self::default() }
    }

    /// A partition.
    pub(super) fn partition(topic: &str, partition: i32) -> Self {
        Self { partition: Some(partition), ..Self::topic(topic) }
    }

    /// An offset.
    pub(super) fn offset(topic: &str, partition: i32, offset: i64) -> Self {
        Self { offset: Some(offset), ..Self::partition(topic, partition) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(topic) = &self.topic else { return Ok(()) };
        write!(f, " at {topic}")?;
        self.partition.map_or(Ok(()), |partition| write!(f, "/{partition}"))?;
        self.offset.map_or(Ok(()), |offset| write!(f, "@{offset}"))
    }
}

impl Error {
    /// What to do about it.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Client { verdict, .. } => *verdict,
            Self::TimedOut { .. } => Verdict::Retry,
            Self::InDoubt { .. } => Verdict::Recreate,
            Self::OffsetOutOfRange { .. } | Self::Setting { .. } | Self::NoSuchTopic { .. } => Verdict::Fatal,
        }
    }

    /// Not the client's error: the caller has found out that it must go back to what is committed.
    pub fn rewind(operation: &'static str, place: Place, why: impl std::fmt::Display) -> Self {
        Self::judged(operation, place, Verdict::AbortAndRewind, why)
    }

    /// For `map_err`: judges an error of the client.
    pub(super) fn client(operation: &'static str, place: Place) -> impl FnOnce(KafkaError) -> Self {
        move |error| Self::judged(operation, place, Verdict::of(&error), error)
    }

    /// An error of the client on which the caller knows better than its code.
    pub(super) fn judged(operation: &'static str, place: Place, verdict: Verdict, cause: impl fmt::Display) -> Self {
        Self::Client { operation, place, cause: cause.to_string(), verdict }
    }

    /// The same error with another verdict.
    pub(super) fn with_verdict(self, verdict: Verdict) -> Self {
        match self {
            Self::Client { operation, place, cause, .. } => Self::Client { operation, place, cause, verdict },
            other => Self::judged("the call", Place::none(), verdict, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn an_error_says_where_and_what_to_do() {
        let error = Error::client("sending", Place::offset("ops.metrics", 3, 17))(KafkaError::MessageProduction(
            Code::NotEnoughReplicas,
        ));
        assert_eq!(error.verdict(), Verdict::Retry);
        assert!(error.to_string().starts_with("sending failed at ops.metrics/3@17: "), "{error}");
        let nowhere = Error::judged("joining", Place::none(), Verdict::Fenced, "x");
        assert_eq!(nowhere.to_string(), "joining failed: x");
    }
}
