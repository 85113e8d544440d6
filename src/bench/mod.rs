//! `ops bench`: how fast, at which cost, beside the bare client and beside others.
//!
//! Knows `bus`, `model`, `codec`, `local`, `telemetry`; nobody but `cli` knows it. Whatever is measured is a process of its own,
//! started from here and looked at from outside: the real `ops process`, a bare consumer, a peer.
//!
//! - [`load`]: the readings; [`ground`]: the topics, filled and emptied.
//! - [`child`]: a process and what it uses, by [`proc`]; [`broker`]: what the broker uses meanwhile; [`watch`]: how far it is;
//!   [`figure`]: what comes of that.
//! - [`race`]: throughput of [`limit`], processor and [`peer`]s; [`events`]: are theirs ours? [`written`]: bytes; [`disk`]: as
//!   they are stored.
//! - [`restore`], [`delay`], [`growth`] (with [`plot`]), [`receive`]: the other questions.
//! - [`report`]: the tables.

pub mod broker;
pub mod child;
pub mod delay;
pub mod disk;
pub mod error;
pub mod events;
pub mod figure;
pub mod ground;
pub mod growth;
pub mod limit;
pub mod load;
pub mod peer;
pub mod plot;
pub mod proc;
pub mod race;
pub mod receive;
pub mod report;
pub mod restore;
pub mod watch;
pub mod written;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use broker::Broker;
use child::Child;
use disk::Disk;
use error::Result;
use ground::{Ground, Input, Time};
use load::Load;

use crate::bus::Settings;

/// Who is told how it goes.
pub trait Tell {
    /// Where it is now; the next one replaces it.
    fn progress(&self, line: &str);
}

/// What all measurements share.
pub struct Bench<'a> {
    /// The cluster.
    pub settings: Settings,
    /// Goes before the names of all topics and groups; no other run has it.
    pub prefix: String,
    /// Where its log is, if it can be seen.
    pub disk: Option<Disk>,
    /// The broker, if it runs on this machine.
    pub broker: Option<Broker>,
    /// `ops`.
    pub program: PathBuf,
    /// Settings of the client for the processes that are started, as flags.
    pub client_flags: Vec<String>,
    /// Of every topic.
    pub partitions: i32,
    /// Of everything that is measured.
    pub threads: usize,
    /// Between two commits.
    pub commit_ms: u64,
    /// Leave the topics behind.
    pub keep: bool,
    /// Set when the user wants it to end.
    pub stop: &'a AtomicBool,
    /// The user.
    pub tell: &'a dyn Tell,
}

impl Bench<'_> {
    /// Topics for one measurement, named after it.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn ground(&self, name: &str, time: Time) -> Result<Ground> {
        Ground::make(&self.settings, &format!("{}{name}", self.prefix), self.partitions, time, self.keep)
    }

    /// Registers a spec for every service and puts the load on the input; also says how many readings a second that were.
    ///
    /// # Errors
    /// The bus; the user.
    pub fn fill(&self, ground: &Ground, load: &Load) -> Result<(Input, f64)> {
        ground.register((0..load.series).map(Load::service).map(|name| (load.spec(&name), name)))?;
        let (started, told) = (Instant::now(), self.telling("filling", load.readings));
        let input = ground.fill(load, self.stop, told)?;
        Ok((input, input.records as f64 / started.elapsed().as_secs_f64()))
    }

    /// A name that was not used before.
    pub fn unique(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        format!("{}{what}-{}", self.prefix, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// `ops COMMAND` on the same cluster, behind the prefix of `ground`.
    pub fn command(&self, command: &str, ground: &Ground) -> Command {
        let mut ops = Command::new(&self.program);
        ops.args([command, "--brokers", self.settings.brokers(), "--topic-prefix", &ground.prefix]);
        ops.args(&self.client_flags);
        ops
    }

    /// Starts the real processor.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn processor(&self, ground: &Ground, group: &str, time: Time) -> Result<Child> {
        let mut command = self.command("process", ground);
        let (workers, commit_ms) = (self.threads.to_string(), self.commit_ms.to_string());
        command.args(["--group", group, "--instance", "bench", "--workers", &workers]);
        command.args(["--commit-interval-ms", &commit_ms]);
        // Two processors of one environment must not want the same port.
        command.env_remove("OPS_METRICS");
        if time == Time::Simulated {
            command.arg("--simulated-time");
        }
        Child::spawn("the processor", command)
    }

    /// Tells how many of `all` records are done.
    pub fn telling<'b>(&'b self, what: &'b str, all: u64) -> impl FnMut(u64) + 'b {
        let grouped = |number: u64| figure::grouped(number as f64);
        move |done| self.tell.progress(&format!("{what}: {} of {} readings", grouped(done), grouped(all)))
    }
}
