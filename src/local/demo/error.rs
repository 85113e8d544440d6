//! Why a demo could not be played at all. (A story that went another way is no error: exit code 1.)

use crate::world::WorldError;
use crate::{actors, bus, local, processor, sdk, vault, warroom};

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No local Kafka.
    #[error(transparent)]
    Kafka(#[from] local::kafka::Error),
    /// The user's cluster does not answer.
    #[error("no Kafka answers at {brokers} (--brokers, OPS_BROKERS)")]
    NoAnswer {
        /// As given.
        brokers: String,
        /// What the client says.
        source: bus::Error,
    },
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The processor stopped.
    #[error("the processor stopped")]
    Processor(#[from] processor::Error),
    /// An actor stopped.
    #[error("an actor stopped")]
    Actor(#[from] actors::error::Error),
    /// The archiver stopped.
    #[error("the archiver stopped")]
    Archiver(#[from] actors::archiver::Error),
    /// The war room found no place.
    #[error("the war room cannot be opened")]
    WarRoom(#[from] warroom::Error),
    /// The vault cannot be read.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// The vault is that of another cluster, whose logs a new one does not continue.
    #[error("{directory} is not empty, and the logs of a new kafka do not continue it; keep the vault elsewhere")]
    VaultInUse {
        /// As given.
        directory: String,
    },
    /// The spec was not taken.
    #[error(transparent)]
    Register(#[from] sdk::Error),
    /// The real cluster is not as the story needs it.
    #[error(
        "the story begins with deployment/{name} at {replicas} ready replicas; make it so:\n  \
         {kubectl} create deployment {name} --image=registry.k8s.io/pause:3.10 --replicas={replicas}\n  \
         {kubectl} scale deployment/{name} --replicas={replicas}"
    )]
    Workload {
        /// `kubectl` with its flag.
        kubectl: String,
        /// The deployment.
        name: String,
        /// How many it must have.
        replicas: u32,
        /// Why it could not be seen; `None` if it is there with another number.
        source: Option<WorldError>,
    },
    /// A part ended without saying why.
    #[error("{part} ended before the story did")]
    Ended {
        /// Which.
        part: &'static str,
    },
    /// The processor did not take the spec up in time.
    #[error("the processor did not take the spec up within {seconds} s")]
    NotActivated {
        /// How long it was given.
        seconds: u64,
    },
    /// A directory, a port, a thread, stdout.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was tried.
    pub(super) fn io(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Io { what, source }
    }
}
