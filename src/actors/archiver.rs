//! The archiver: carries every record of `ops.incidents` and `ops.actions` into the vault, byte for byte.
//!
//! One thread and one member of the group for each of the two topics. The frame of the other actors (guard, policy,
//! act, outcome) is not for it: it decides nothing, so nothing can deny it. `ops act archiver` and the demo start
//! it; [`keeper`] is what a member does with its partitions.
//!
//! Where to go on says the vault, never Kafka: the group's offsets only show how far the archive is. They are
//! committed behind what is durable, as a transaction without records, because that is the one way of committing
//! that the bus has.

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::bus::{self, Event, GroupConsumer, Member, Offsets, Settings, Verdict};
use crate::model::topics::Topics;
use crate::telemetry::archiver::{ArchiverMetrics, Trouble};
use crate::vault::archive::Limits;
use crate::vault::{LogId, Vault, VaultError};

mod commits;
mod keeper;

use keeper::Keeper;

/// The group's name if the user gives none.
pub const GROUP: &str = "ops-archiver";

/// Before a member whose client broke joins again.
const PAUSE: Duration = Duration::from_secs(1);

/// What an archiver needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub settings: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// `group.id`, usually [`GROUP`].
    pub group: String,
    /// Stable and unique among the archivers of the group; becomes part of `group.instance.id` and of the
    /// transactional ids.
    pub instance: String,
    /// The vault: a directory or a `file://` URL. Made if it is not there.
    pub vault_dir: String,
    /// When a segment is closed.
    pub limits: Limits,
    /// Where its members note what they do.
    pub metrics: Arc<ArchiverMetrics>,
}

/// Why an archiver ended. Nothing was acknowledged that is not durable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus.
    #[error(transparent)]
    Bus(bus::Error),
    /// The vault, in a way that waiting does not mend.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The topic does not hold the position at which the vault goes on. To archive what comes behind it would leave
    /// a gap that looks as if nothing had been there.
    #[error(
        "the vault goes on at position {position} of {log}, but the topic holds [{low}, {high}): records were deleted \
         before they were archived, or the topic was made anew"
    )]
    NotHeld {
        /// Of which log.
        log: LogId,
        /// The first position that is not in the vault.
        position: i64,
        /// The first offset that the topic has.
        low: i64,
        /// The offset behind the last.
        high: i64,
    },
    /// The system gives no thread or no runtime.
    #[error("cannot start the archiver's thread")]
    Start(#[source] std::io::Error),
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        match error {
            bus::Error::OffsetOutOfRange { topic, partition, offset, low, high } => {
                Self::NotHeld { log: LogId::new(topic, partition), position: offset, low, high }
            }
            other => Self::Bus(other),
        }
    }
}

impl Error {
    /// Does a new client, or time, mend it?
    fn passes(&self) -> bool {
        match self {
            Self::Bus(error) => {
                matches!(error.verdict(), Verdict::Retry | Verdict::AbortAndRewind | Verdict::Recreate)
            }
            Self::Vault(_) | Self::NotHeld { .. } | Self::Start(_) => false,
        }
    }
}

/// A running archiver. Dropping it ends it too, without waiting for it.
#[derive(Debug)]
pub struct Archiver {
    members: Vec<Running>,
}

/// A member's thread, which stops when its sender is gone.
#[derive(Debug)]
struct Running {
    stop: Sender<()>,
    thread: JoinHandle<Result<(), Error>>,
}

/// Opens the vault and joins the group; the archive goes on in threads of its own.
///
/// # Errors
/// The vault cannot be opened, a topic does not exist, the cluster does not answer.
pub fn start(options: Options) -> Result<Archiver, Error> {
    let vault = Arc::new(Vault::open_for_append(&options.vault_dir)?);
    let offsets = Offsets::new(&options.settings)?;
    let topics = [options.topics.incidents.clone(), options.topics.actions.clone()];
    for topic in &topics {
        offsets.partitions(topic)?;
    }
    topics.iter().for_each(|topic| options.metrics.hold(topic, 0, false));
    let mut members = Vec::new();
    for topic in topics {
        let (stop, stopped) = channel();
        let (options, vault) = (options.clone(), vault.clone());
        let thread = thread::Builder::new()
            .name(format!("archiver {topic}"))
            .spawn(move || run(&options, &topic, &vault, &stopped))
            .map_err(Error::Start)?;
        members.push(Running { stop, thread });
    }
    Ok(Archiver { members })
}

impl Archiver {
    /// Has one of its threads ended by itself? Then [`Archiver::stop`] says why.
    pub fn is_finished(&self) -> bool {
        self.members.iter().any(|member| member.thread.is_finished())
    }

    /// Writes what is pending, commits, leaves the group and waits for all of it. What the vault does not take now
    /// it gets from the topic the next time.
    ///
    /// # Errors
    /// Why a thread had ended before.
    pub fn stop(self) -> Result<(), Error> {
        let tell = |Running { stop, thread }| {
            drop(stop);
            thread
        };
        // All of them before the first is waited for.
        let threads: Vec<_> = self.members.into_iter().map(tell).collect();
        let join = |thread: JoinHandle<_>| thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        let answers: Vec<_> = threads.into_iter().map(join).collect();
        answers.into_iter().collect()
    }
}

/// A member's thread: one session after the other until it is told to stop, or until no other session would help.
fn run(options: &Options, topic: &str, vault: &Arc<Vault>, stopped: &Receiver<()>) -> Result<(), Error> {
    loop {
        match session(options, topic, vault, stopped) {
            Ok(()) => return Ok(()),
            Err(error) if error.passes() => tracing::warn!(topic, %error, "the archiver joins its group again"),
            Err(error) => {
                tracing::error!(topic, %error, "the archiver gives up");
                return Err(error);
            }
        }
        options.metrics.trouble(Trouble::Session);
        options.metrics.hold(topic, 0, false);
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

/// From joining the group to leaving it. After an error the state is gone with the client; the vault has it.
fn session(options: &Options, topic: &str, vault: &Arc<Vault>, stopped: &Receiver<()>) -> Result<(), Error> {
    let instance = format!("{}-{topic}", options.instance);
    let mut keeper = Keeper::new(options, topic, &instance, vault.clone())?;
    let member = Member { group: options.group.clone(), instance };
    let consumer = GroupConsumer::subscribe(&options.settings, topic, &member)?;
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        let wait = keeper.tend(&consumer)?;
        match consumer.poll(wait, &mut keeper)? {
            Some(Event::Record(message)) => keeper.record(&consumer, &message)?,
            Some(Event::EndOfPartition(partition)) => keeper.moved(&consumer, partition)?,
            None => {}
        }
    }
    Ok(consumer.close(&mut keeper)?)
}
