//! Why an actor ended, or could not begin.

use crate::bus;

/// Why an actor ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus. Everything that can be mended by a new session was tried before.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// What the group committed is not what an actor writes: another program uses the group's name.
    #[error("group {group} has committed {metadata:?} for partition {partition}, which is no actor's bookmark")]
    Bookmark {
        /// The group.
        group: String,
        /// The partition of `ops.incidents`.
        partition: i32,
        /// What was found.
        metadata: String,
    },
    /// A name that cannot be one.
    #[error("{what} {name:?} must be 1 to 100 letters, digits, dots, dashes or underscores")]
    Name {
        /// `group` or `instance`.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// The topics do not fit together.
    #[error("{actions} has {found} partitions and {incidents} has {wanted}; they must have the same number")]
    Partitions {
        /// Name of the topic of actions.
        actions: String,
        /// Its partitions.
        found: i32,
        /// Name of the topic of incidents.
        incidents: String,
        /// Its partitions.
        wanted: i32,
    },
    /// The thread could not be started.
    #[error("the thread of {actor} cannot be started: {cause}")]
    Thread {
        /// Which actor.
        actor: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// A defect of ours: the thread broke off.
    #[error("the thread of {actor} broke off")]
    Panicked {
        /// Which actor.
        actor: &'static str,
    },
}
