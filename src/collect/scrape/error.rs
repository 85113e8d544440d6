//! Why a collector ended, or could not begin.

use crate::bus;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus. What can be mended by a new session was tried before.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// A name that cannot be one.
    #[error("{what} {name:?} must be 1 to 100 letters, digits, dots, dashes or underscores")]
    Name {
        /// `group` or `instance`.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// A thread could not be started.
    #[error("a thread of the collector cannot be started: {cause}")]
    Thread {
        /// Why.
        cause: std::io::Error,
    },
    /// A defect of ours: the thread broke off.
    #[error("the collector's thread broke off")]
    Panicked,
}
