//! What to do about a client error: one of five verdicts, from its code and flags alone.
//!
//! Never from its text, which changes between releases. Every room that calls the bus decides by these.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What the caller must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The same call again; the client mends itself.
    Retry,
    /// Abort the transaction, go back to the committed offsets, restore the state.
    AbortAndRewind,
    /// Drop this client, make a new one, restore the state.
    Recreate,
    /// Nothing that this process does will help: stop and say so (rights, configuration, a record too large).
    Fatal,
    /// Somebody else has taken this place over: leave, commit nothing.
    Fenced,
}

/// The three flags of a transactional error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub retriable: bool,
    pub abortable: bool,
    pub fatal: bool,
}

impl Verdict {
    /// The verdict about any error of the client.
    pub(super) fn of(error: &KafkaError) -> Self {
        match error {
            KafkaError::Transaction(error) => {
                let flags = Flags {
                    retriable: error.is_retriable(),
                    abortable: error.txn_requires_abort(),
                    fatal: error.is_fatal(),
                };
                Self::of_transaction(error.code(), flags)
            }
            KafkaError::MessageConsumptionFatal(code) => {
                Self::of_transaction(*code, Flags { fatal: true, ..Flags::default() })
            }
            // These carry no code: they are refused before anything is sent.
            KafkaError::ClientConfig(..)
            | KafkaError::ClientCreation(_)
            | KafkaError::AdminOpCreation(_)
            | KafkaError::Nul(_) => Self::Fatal,
            KafkaError::AdminOp(code) => Self::of_code(*code),
            other => other.rdkafka_error_code().map_or(Self::Recreate, Self::of_code),
        }
    }

    /// The verdict about a transactional call, which tells by flags what the client has made of the error.
    pub(super) fn of_transaction(code: Code, flags: Flags) -> Self {
        if is_fencing(code) {
            Self::Fenced
        } else if is_hopeless(code) {
            Self::Fatal
        } else if flags.fatal {
            Self::Recreate
        } else if flags.abortable {
            Self::AbortAndRewind
        } else if flags.retriable {
            Self::Retry
        } else {
            // Neither: the client does not know where it stands, so neither do we.
            Self::Recreate
        }
    }

    /// The verdict about an error that comes without flags.
    pub(super) fn of_code(code: Code) -> Self {
        let retriable = is_transient(code);
        Self::of_transaction(code, Flags { retriable, ..Flags::default() })
    }
}

/// Another client has our `transactional.id` or our `group.instance.id`.
fn is_fencing(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId)
}

/// The same again would fail for ever.
fn is_hopeless(code: Code) -> bool {
    matches!(
        code,
        // Rights.
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            // Configuration.
            | Code::UnsupportedFeature
            | Code::UnsupportedVersion
            | Code::UnsupportedForMessageFormat
            | Code::InvalidConfig
            | Code::InvalidGroupId
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidRequiredAcks
            | Code::InvalidSessionTimeout
            | Code::InvalidTopic
            | Code::InvalidTransactionTimeout
            | Code::InconsistentGroupProtocol
            | Code::PolicyViolation
            // What was asked for does not exist.
            | Code::AutoOffsetReset
            | Code::NoOffset
            | Code::OffsetOutOfRange
            | Code::UnknownPartition
            | Code::UnknownTopic
            // What was sent does not fit.
            | Code::InvalidRecord
            | Code::MessageSizeTooLarge
            | Code::OffsetMetadataTooLarge
    )
}

/// Passes by itself: brokers come back, leaders are elected, groups settle.
fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::OffsetNotAvailable
            | Code::UnknownTopicOrPartition
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError
            | Code::ThrottlingQuotaExceeded
            | Code::UnstableOffsetCommit
            // The group moved; the next poll joins it again.
            | Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::PollExceeded
            // The client is busy with itself.
            | Code::QueueFull
            | Code::State
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::WaitCache
            | Code::Interrupted
            | Code::Conflict
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_flags_has_its_verdict() {
        let verdict =
            |retriable, abortable, fatal| Verdict::of_transaction(Code::Unknown, Flags { retriable, abortable, fatal });
        for (retriable, abortable, fatal, expected) in [
            (false, false, false, Verdict::Recreate),
            (true, false, false, Verdict::Retry),
            (false, true, false, Verdict::AbortAndRewind),
            (true, true, false, Verdict::AbortAndRewind),
            (false, false, true, Verdict::Recreate),
            (true, false, true, Verdict::Recreate),
            (false, true, true, Verdict::Recreate),
            (true, true, true, Verdict::Recreate),
        ] {
            assert_eq!(verdict(retriable, abortable, fatal), expected, "{retriable} {abortable} {fatal}");
        }
    }

    #[test]
    fn who_is_fenced_leaves_whatever_the_flags_say() {
        for code in [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch, Code::FencedInstanceId] {
            for bits in 0..8 {
                let flags = Flags { retriable: bits & 1 > 0, abortable: bits & 2 > 0, fatal: bits & 4 > 0 };
                assert_eq!(Verdict::of_transaction(code, flags), Verdict::Fenced, "{code:?} {flags:?}");
            }
        }
    }

    #[test]
    fn missing_rights_are_not_tried_again_though_the_client_calls_them_abortable() {
        let flags = Flags { abortable: true, ..Flags::default() };
        assert_eq!(Verdict::of_transaction(Code::TopicAuthorizationFailed, flags), Verdict::Fatal);
        assert_eq!(Verdict::of_transaction(Code::IllegalGeneration, flags), Verdict::AbortAndRewind);
    }

    #[test]
    fn errors_without_flags_are_judged_by_their_code() {
        for (error, expected) in [
            (KafkaError::MessageConsumption(Code::AllBrokersDown), Verdict::Retry),
            (KafkaError::MessageConsumption(Code::AutoOffsetReset), Verdict::Fatal),
            (KafkaError::MessageConsumptionFatal(Code::FencedInstanceId), Verdict::Fenced),
            (KafkaError::MessageConsumptionFatal(Code::OperationTimedOut), Verdict::Recreate),
            (KafkaError::MessageProduction(Code::MessageSizeTooLarge), Verdict::Fatal),
            (KafkaError::AdminOp(Code::NotController), Verdict::Retry),
            (KafkaError::ClientCreation("no such file".to_owned()), Verdict::Fatal),
            (KafkaError::Canceled, Verdict::Recreate),
        ] {
            assert_eq!(Verdict::of(&error), expected, "{error}");
        }
    }
}
