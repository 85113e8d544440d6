//! What ends a worker. What it can mend by itself (a rewind, a new producer) never becomes one of these.

use crate::bus;
use crate::processor::counts::Counts;
use crate::processor::cut::RestoreError;

/// Why a processor stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus, beyond mending.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The state on the bus cannot be turned into a core.
    #[error("partition {partition} cannot be restored: {source}")]
    Restore {
        /// Of `ops.metrics`.
        partition: i32,
        /// Why.
        source: RestoreError,
    },
    /// Offset, state and log do not fit together: going on would count twice or not at all.
    #[error(
        "partition {partition} of {topic} cannot go on where it stopped: {what}; --accept-gap starts its services anew at \
         the oldest record that is left: open incidents are closed, generations go on"
    )]
    Gap {
        /// `ops.metrics`.
        topic: String,
        /// Which partition.
        partition: i32,
        /// What is missing.
        what: String,
    },
    /// The topics do not hold (any more) what an audit needs.
    #[error("{topic}/{partition} cannot be computed again: {what}")]
    Audit {
        /// The topic that lacks it.
        topic: String,
        /// Which partition.
        partition: i32,
        /// What is missing.
        what: String,
    },
    /// A record of our own that cannot be read.
    #[error("{topic}/{partition}@{offset} cannot be read: {reason}")]
    State {
        /// `ops.state` or `ops.rollups`.
        topic: String,
        /// Which partition.
        partition: i32,
        /// Which record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// Append times are the producers', so the clock of a partition would be theirs.
    #[error(
        "{topic} has message.timestamp.type=CreateTime: set it to LogAppendTime (ops topics apply), or start with \
         --simulated-time if its append times are made up on purpose"
    )]
    CreateTime {
        /// `ops.metrics`.
        topic: String,
    },
    /// The topics do not belong together.
    #[error(
        "{topic} has {found} partitions and {metrics} has {expected}: they must have the same; see ops topics diff"
    )]
    Partitions {
        /// The one that is wrong.
        topic: String,
        /// How many it has.
        found: i32,
        /// `ops.metrics`.
        metrics: String,
        /// How many that has.
        expected: i32,
    },
    /// The registered specs cannot be followed any more.
    #[error("the registered specs can not be read any more: {reason}")]
    Registry {
        /// What the bus said.
        reason: String,
    },
    /// INV-12 is broken: a record was lost or counted twice inside the worker. Nothing of it is committed.
    #[error("partition {partition}: records are not conserved, nothing is committed: {counts:?}")]
    NotConserved {
        /// Of `ops.metrics`.
        partition: i32,
        /// What was counted since the partition was taken over.
        counts: Counts,
    },
    /// Another process has this instance name, or the group refuses us again and again.
    #[error("another process runs as instance {instance} of this group; give each its own --instance")]
    Fenced {
        /// Our name.
        instance: String,
    },
    /// The machine has no thread for us.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread of ours panicked; its message is on stderr.
    #[error("worker {0} panicked")]
    Panicked(usize),
}

/// The result of everything in this room that touches the bus.
pub type Result<T> = std::result::Result<T, Error>;
