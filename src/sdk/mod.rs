//! What a user does with the bus: register a spec, emit readings, ask how a service is.
//!
//! Blocking calls without a runtime, over [`crate::bus`] and the codecs; nothing here decides anything that the
//! processor decides. Called by the commands of [`crate::cli`], by the demo, and by whoever embeds the library.
//!
//! - [`actions`]: what was asked of the actors and what became of it; [`freeze`]: a human stops them; [`approve`]: a human
//!   says whether something is done.
//! - [`catalog`]: `ops.services` as it is now; [`directory`]: as it is at any time, for what runs long.
//! - [`register`](mod@register): publish a spec, or retire a service, and wait until the processor has taken it up.
//! - [`emit`]: check readings against the catalog and publish them; [`retime`]: recorded time onto now.
//! - [`incidents`]: what happened, as stories; [`series`]: the past of one series.
//! - [`buffer`]: the same for programs that must not be kept waiting; `layer`: durations of spans into it (cargo feature
//!   `layer`). [`aio`]: the calls that wait, for programs inside of a runtime.
//! - [`measure`]: how readings were, from the rollups of their series.
//! - [`status`](mod@status): how services are, from what the processor and the actors have published.

pub mod actions;
pub mod aio;
pub mod approve;
pub mod buffer;
pub mod catalog;
pub mod directory;
pub mod emit;
pub mod freeze;
pub mod incidents;
#[cfg(feature = "layer")]
pub mod layer;
pub mod measure;
pub mod register;
pub mod retime;
pub mod series;
pub mod status;

use std::time::{Duration, Instant};

use crate::bus::error::Place;
use crate::bus::{self, Flushed, Message, Next, Reader};
use crate::model::ServiceId;
use crate::spec::Findings;
use crate::telemetry::clock::now_ms;

pub use buffer::Buffer;
pub use catalog::{Catalog, UnknownService};
pub use directory::Directory;
pub use emit::Emitter;
pub use register::{Activation, Registered, register, unregister};
pub use status::{Board, Status, status};

/// How long a read of what a topic holds may stand still: longer than an open transaction of a dead writer, which
/// a committed reader waits for.
const STALL: Duration = Duration::from_secs(15);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster, or the way to it.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The text is no spec; nothing was published.
    #[error("the spec has errors: {0}")]
    Spec(#[from] Findings),
    /// The id is taken by another owner's service; nothing was published.
    #[error("{service} belongs to {owner}, and this spec says {claimed}")]
    OtherOwner {
        /// The service.
        service: ServiceId,
        /// Who registered it.
        owner: String,
        /// Who wants to.
        claimed: String,
    },
    /// No such service is registered.
    #[error(transparent)]
    UnknownService(#[from] UnknownService),
    /// The cluster did not acknowledge a record.
    #[error("the cluster did not acknowledge the record: {reason}")]
    NotDelivered {
        /// What the client says.
        reason: String,
    },
}

/// `, did you mean ...?`, or nothing.
fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map_or_else(String::new, |near| format!(", did you mean {near}?"))
}

/// Reads everything up to the reader's ends.
fn drain(reader: &mut Reader, topic: &str, mut take: impl FnMut(&Message<'_>)) -> Result<(), bus::Error> {
    loop {
        match reader.next(STALL)? {
            Next::Record(message) => take(&message),
            Next::End => return Ok(()),
            Next::Idle => {
                let place = Place { topic: Some(topic.to_owned()), ..Place::default() };
                return Err(bus::Error::TimedOut { operation: "reading to the end", place, waited: STALL });
            }
        }
    }
}

/// Is the one record that was sent acknowledged?
fn acknowledged(flushed: &Flushed) -> Result<(), Error> {
    if flushed.is_complete() {
        return Ok(());
    }
    let reason = flushed.failed.keys().next().cloned();
    Err(Error::NotDelivered { reason: reason.unwrap_or_else(|| "no answer in time".to_owned()) })
}

/// What is left until `deadline`; zero if it is over.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
