//! Scraping: the targets of registered sensors are asked for their pages, and what the sensors want of them becomes
//! readings. Started by `ops collect`.
//!
//! ```text
//! ops.services --> member --which specs are ours--> fleet --a task a page--> job --> fetch --> text --> take
//!  group, beats <--/                                  |                       readings, health <----------/
//!                                                     v
//!                          publish: a bounded queue and one producer --> ops.metrics, ops.targets
//! ```
//!
//! - [`member`]: the group, who else is alive ([`roster`]), what is registered.
//! - [`fleet`]: the jobs that run now; [`job`]: one page, on its grid; [`health`]: how the targets are.
//! - [`fetch`]: one page over HTTP, from an address that was checked.
//! - [`text`], [`take`], [`histogram`]: page -> samples -> reading. Pure. [`down`]: why not.
//! - [`publish`]: onto the bus, never in the way.
//!
//! Two threads block (the member's, the publisher's); everything else is tasks of a runtime.

pub mod down;
mod error;
pub mod fetch;
mod fleet;
mod health;
pub mod histogram;
pub mod job;
mod member;
mod publish;
mod roster;
pub mod take;
pub mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use crate::bus::{self, Settings};
use crate::model::network::Networks;
use crate::model::topics::Topics;
use crate::telemetry::collector::CollectorMetrics;
pub use error::Error;
use fleet::Fleet;
use member::Member;
use publish::Publisher;

/// The consumer group of collectors, unless another is named.
pub const GROUP: &str = "ops-collector";

/// What a collector is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub bus: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// Who shares the targets, and who we are among them: unique, and the same after a restart.
    pub member: bus::Member,
    /// Networks inside that may be asked.
    pub networks: Networks,
    /// What it tells of itself.
    pub metrics: Arc<CollectorMetrics>,
    /// Where pages are asked for.
    pub runtime: Handle,
}

/// A running collector. Dropped, it ends as soon as it can; [`Collector::stop`] waits for it.
pub struct Collector {
    asked: Arc<AtomicBool>,
    wake: Sender<()>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Errors
    /// Names that cannot be ones; topics that are not there; no thread.
    pub fn start(options: Options) -> Result<Self, Error> {
        for (what, name) in [("group", &options.member.group), ("instance", &options.member.instance)] {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
                return Err(Error::Name { what, name: name.clone() });
            }
        }
        let (publisher, outlet) = Publisher::start(&options.bus, &options.topics, options.metrics.clone())?;
        let Options { networks, metrics, member, runtime, .. } = options.clone();
        let fleet = Fleet::new(networks, outlet.clone(), metrics, &member.instance, runtime);
        let (wake, woken) = channel();
        let asked = Arc::new(AtomicBool::new(false));
        let stop = asked.clone();
        let body = move || {
            let result = Member::new(options, fleet, outlet).run(&stop, &woken);
            if let Err(error) = &result {
                tracing::error!(%error, "the collector ends");
            }
            publisher.join();
            result
        };
        let thread = std::thread::Builder::new().name("ops-collect".to_owned()).spawn(body);
        let thread = thread.map_err(|cause| Error::Thread { cause })?;
        Ok(Self { asked, wake, thread: Some(thread) })
    }

    /// Has it ended, by itself or because it was told to?
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it in order: its partitions are given up at once, and what was read is acknowledged.
    ///
    /// # Errors
    /// Why it had ended before, or could not end in order.
    pub fn stop(mut self) -> Result<(), Error> {
        self.ask();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Panicked),
            None => Ok(()),
        }
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        // It has ended already.
        let _ = self.wake.send(());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.ask();
    }
}
