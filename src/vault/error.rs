//! What can go wrong with the vault, and whether trying again can help.

use std::io;

use super::segment::LogId;

/// An error of the vault. Whatever it was: nothing was acknowledged that is not durable.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A location that is neither a directory nor a `file://` URL.
    #[error("vault location {location:?} is not supported: give a directory or a file:// URL")]
    Unsupported {
        /// As given.
        location: String,
    },
    /// There is no vault there, or it cannot be made.
    #[error("cannot open the vault {location:?}")]
    Open {
        /// The directory.
        location: String,
        /// What the system says.
        source: io::Error,
    },
    /// A write to a vault that was opened for reading.
    #[error("the vault {location:?} was opened for reading only")]
    ReadOnly {
        /// The directory.
        location: String,
    },
    /// The object was not stored, or nobody can say that it is durable: disk full, read-only, I/O error.
    #[error("cannot store {path} in the vault (nothing is acknowledged, it can be tried again)")]
    Write {
        /// The object.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The object is there, but it could not be made durable.
    #[error("cannot make {path} durable in the vault (nothing is acknowledged, it can be tried again)")]
    Sync {
        /// The object.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The store does not give an object, or a list.
    #[error("cannot read {path} from the vault")]
    Read {
        /// The object, or the folder that was listed.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A file of the vault is not what the vault wrote.
    #[error("{path} in the vault is damaged: {why}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Positions that no segment covers.
    #[error("the vault has a gap in {log}: nothing covers the positions [{from}, {to})")]
    Gap {
        /// Of which log.
        log: LogId,
        /// The first position that is missing.
        from: i64,
        /// Where the next segment begins.
        to: i64,
    },
    /// Positions that two segments cover.
    #[error("the vault has an overlap in {log}: two segments cover the positions [{from}, {to})")]
    Overlap {
        /// Of which log.
        log: LogId,
        /// The first position that is covered twice.
        from: i64,
        /// The first behind them.
        to: i64,
    },
    /// A draft that does not begin where the vault ends: the archiver that made it has lost its place.
    #[error("a segment of {log} from {from} on does not fit: the vault goes on at {end}")]
    Misplaced {
        /// Of which log.
        log: LogId,
        /// Where the draft begins.
        from: i64,
        /// Where the vault ends.
        end: i64,
    },
    /// A draft that contradicts itself.
    #[error("a segment of {log} from {from} on is not well formed: {why}")]
    BadDraft {
        /// Of which log.
        log: LogId,
        /// Where the draft begins.
        from: i64,
        /// What is wrong.
        why: String,
    },
    /// A text that is no Avro schema with a name.
    #[error("not an Avro schema: {why}")]
    BadSchema {
        /// What is wrong.
        why: String,
    },
}

impl VaultError {
    /// Can the same call succeed later, without anybody mending data or code?
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Write { .. } | Self::Sync { .. } | Self::Read { .. })
    }
}
