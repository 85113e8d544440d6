//! Why nothing could be measured. (A peer that publishes other events is no error: exit code 1.)

use std::io;

use crate::{bus, local};

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No local Kafka.
    #[error(transparent)]
    Kafka(#[from] local::kafka::Error),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// A process or a file could not be had.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// What is measured ended by itself.
    #[error("{name} ended before its work did, with {status}; its last lines:\n{lines}")]
    Ended {
        /// Which.
        name: String,
        /// Exit status.
        status: String,
        /// The end of its stderr.
        lines: String,
    },
    /// What is measured stands still.
    #[error("{name} has been at {consumed} of {expected} readings for {seconds} s; its last lines:\n{lines}")]
    Stalled {
        /// Which.
        name: String,
        /// How far it is.
        consumed: u64,
        /// Where it should come.
        expected: u64,
        /// For how long.
        seconds: u64,
        /// The end of its stderr.
        lines: String,
    },
    /// Records are missing, or there are too many: the figures would mean nothing.
    #[error("{what}: {found} instead of {expected}")]
    NotConserved {
        /// What was counted.
        what: String,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A record of our own that is none.
    #[error("{topic} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        topic: String,
        /// What is wrong.
        reason: String,
    },
    /// The user does not want to know any more.
    #[error("interrupted")]
    Interrupted,
}

/// With our error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: says what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An error unless both are the same.
    pub fn unless_equal(what: impl Into<String>, expected: u64, found: u64) -> Result<()> {
        if expected == found { Ok(()) } else { Err(Self::NotConserved { what: what.into(), expected, found }) }
    }
}
