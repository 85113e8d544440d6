//! A single-node Apache Kafka on loopback that lives exactly as long as the process that started it.
//!
//! The demo and the tests call it; no service does. Where the program comes from is decided in [`install`], how
//! it is made to end with its parent in [`watchdog`], when it is ready in [`probe`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

mod install;
mod probe;
mod watchdog;

use install::Distribution;
use watchdog::Watchdog;

/// The one release that the tests and the demo run on.
pub const VERSION: &str = "4.3.0";

/// Any 16 bytes in base64 do: the cluster is gone when its process is.
const CLUSTER_ID: &str = "aG1zLW9wcy1sb2NhbC0wMQ";

/// A free port may be taken by somebody else before the broker binds it; new ports are tried this often.
const ATTEMPTS: u32 = 3;

/// Beside the broker's other files.
const LOG: &str = "data";

/// How the broker's JVM is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Small heap, serial collector, light compilation: starts fast and leaves the machine to others.
    #[default]
    Small,
    /// 1 GiB heap, G1, full compilation: for measurements.
    Bench,
}

/// How to start a [`LocalKafka`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The JVM's set-up.
    pub profile: Profile,
    /// How long the broker may take to answer.
    pub ready_timeout: Duration,
    /// Further lines of `server.properties`; they win over ours.
    pub properties: BTreeMap<String, String>,
    /// Told in one line about anything that takes long (the first download).
    pub progress: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::Small,
            ready_timeout: Duration::from_secs(90),
            properties: BTreeMap::new(),
            progress: |line| eprintln!("{line}"),
        }
    }
}

/// Why there is no local Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither of the three ways is open on this machine.
    #[error(
        "no way to run Apache Kafka {VERSION} here ({tried}); install a JDK 17 or newer and Maven, or Docker, \
         or set KAFKA_HOME to an unpacked Kafka, or set OPS_BROKERS to a running cluster"
    )]
    Nowhere {
        /// What was looked for and what was found, each in a few words.
        tried: String,
    },
    /// Maven could not fetch the release.
    #[error("maven could not fetch Apache Kafka {VERSION} (needed once, about 54 MB): {output}")]
    Fetch {
        /// The end of Maven's output.
        output: String,
    },
    /// The scratch directory could not be formatted as a Kafka log directory.
    #[error("kafka's storage tool failed: {output}")]
    Format {
        /// The end of its output.
        output: String,
    },
    /// The broker ended before it answered.
    #[error("the local kafka ended at its start with status {status}: {log}")]
    Died {
        /// Exit status of the broker.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The broker did not answer in time.
    #[error("the local kafka did not answer within {seconds} s: {log}")]
    Silent {
        /// How long it was given.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// A file, a port or a process could not be had.
    #[error("{what} failed")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was tried.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// A running broker. Dropping it stops the broker and removes its scratch directory; so does the end of this
/// process, whatever ends it.
#[derive(Debug)]
pub struct LocalKafka {
    brokers: String,
    port: u16,
    /// Its data lies in a container, and goes with it.
    in_container: bool,
    scratch: PathBuf,
    watchdog: Watchdog,
}

impl LocalKafka {
    /// Starts a broker and waits until topics can be made. Blocks for about two seconds; the very first time
    /// on a machine also for the download.
    ///
    /// # Errors
    /// See [`Error`]: they say what to install.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let distribution = install::find(options.progress)?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&distribution, options) {
                Err(Error::Died { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn start_once(distribution: &Distribution, options: &Options) -> Result<Self, Error> {
        let [port, controller] = probe::free_ports().map_err(Error::io("finding two free ports on 127.0.0.1"))?;
        let scratch = scratch_directory()?;
        let properties = server_properties(distribution, port, controller, &scratch, &options.properties);
        let launch = distribution.launch(&scratch, &properties, port, options.profile)?;
        let watchdog = Watchdog::spawn(&scratch, &launch).map_err(Error::io("starting sh, the broker's watchdog"))?;
        let in_container = distribution.is_container();
        let kafka = Self { brokers: format!("127.0.0.1:{port}"), port, in_container, scratch, watchdog };
        kafka.wait_until_ready(options.ready_timeout)?;
        Ok(kafka)
    }

    /// Kills the broker without warning and starts it again with the same data and address, as a machine does that
    /// loses its power for a moment. Waits until topics can be made again.
    ///
    /// # Errors
    /// [`Error::Died`], [`Error::Silent`], [`Error::Io`]; in a container the data would be lost: [`Error::Io`] too.
    pub fn kill_and_restart(&mut self, ready_timeout: Duration) -> Result<(), Error> {
        let failed = Error::io("killing the broker and starting it again");
        if self.in_container {
            return Err(failed(io::Error::new(io::ErrorKind::Unsupported, "its data would go with its container")));
        }
        self.watchdog.kill_and_restart(&self.scratch).map_err(failed)?;
        self.wait_until_ready(ready_timeout)
    }

    fn wait_until_ready(&self, timeout: Duration) -> Result<(), Error> {
        let log = || tail(&fs::read_to_string(watchdog::log_file(&self.scratch)).unwrap_or_default());
        match probe::wait_for_broker(self.port, timeout, || watchdog::exit_status(&self.scratch)) {
            probe::Waited::Ready => Ok(()),
            probe::Waited::Ended(status) => Err(Error::Died { status, log: log() }),
            probe::Waited::TimedOut => Err(Error::Silent { seconds: timeout.as_secs(), log: log() }),
        }
    }

    /// `host:port`, for `bootstrap.servers`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Has the broker ended before its time?
    pub fn has_ended(&self) -> bool {
        watchdog::exit_status(&self.scratch).is_some() || !self.scratch.exists()
    }

    /// The broker's process, for those who stop it to see what others make of that.
    ///
    /// # Errors
    /// [`Error::Io`]: it is not there any more.
    pub fn pid(&self) -> Result<u32, Error> {
        watchdog::pid(&self.scratch).map_err(Error::io("finding the broker's process"))
    }

    /// Does it run in a container? Then [`Self::pid`] is that of the program that runs the container.
    pub fn is_in_container(&self) -> bool {
        self.in_container
    }

    /// The directory that holds its log.
    pub fn log(&self) -> PathBuf {
        self.scratch.join(LOG)
    }

    /// The directory that holds the broker's files while it lives.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
}

impl Drop for LocalKafka {
    fn drop(&mut self) {
        self.watchdog.stop();
    }
}

/// The cluster that the demo and the tests work on.
#[derive(Debug)]
pub enum Cluster {
    /// The user's, named by `OPS_BROKERS`.
    Given(String),
    /// Our own.
    Local(LocalKafka),
}

impl Cluster {
    /// `host:port[,host:port...]`, for `bootstrap.servers`.
    pub fn brokers(&self) -> &str {
        match self {
            Self::Given(brokers) => brokers,
            Self::Local(kafka) => kafka.brokers(),
        }
    }
}

/// The cluster named by the environment variable `OPS_BROKERS`, else a new [`LocalKafka`].
///
/// # Errors
/// Those of [`LocalKafka::start`].
pub fn from_env_or_start(options: &Options) -> Result<Cluster, Error> {
    match std::env::var("OPS_BROKERS") {
        Ok(brokers) if !brokers.trim().is_empty() => Ok(Cluster::Given(brokers.trim().to_owned())),
        _ => LocalKafka::start(options).map(Cluster::Local),
    }
}

/// A new directory that only this user can read.
fn scratch_directory() -> Result<PathBuf, Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hms-ops-kafka-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            // A leftover of an earlier process that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Io { what: format!("making {}", path.display()), source }),
        }
    }
}

/// The settings of the one node that is broker and controller.
fn server_properties(
    distribution: &Distribution,
    port: u16,
    controller: u16,
    scratch: &Path,
    overrides: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    // In a container the published port arrives on the container's own address, not on its loopback.
    let bind = if distribution.is_container() { "0.0.0.0" } else { "127.0.0.1" };
    let mut properties: BTreeMap<String, String> = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        // One node: every internal topic has one replica, and few partitions start faster.
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "4"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.num.partitions", "4"),
        // Groups start at once; topics are declared, never made by a typing error.
        ("group.initial.rebalance.delay.ms", "0"),
        ("auto.create.topics.enable", "false"),
        ("num.network.threads", "2"),
        ("num.io.threads", "2"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    let mut set = |key: &str, value: String| properties.insert(key.to_owned(), value);
    set("controller.quorum.voters", format!("1@127.0.0.1:{controller}"));
    set("listeners", format!("PLAINTEXT://{bind}:{port},CONTROLLER://127.0.0.1:{controller}"));
    set("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}"));
    set("log.dirs", scratch.join(LOG).display().to_string());
    properties.extend(overrides.clone());
    properties
}

/// The end of a program's output: what a person needs, not all of it.
fn tail(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "(no output)".to_owned();
    }
    let start = text.len().saturating_sub(1500);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_an_output_never_splits_a_character() {
        let text = "é".repeat(2000);
        assert!(tail(&text).len() <= 1500 && text.ends_with(&tail(&text)));
        assert_eq!(tail(" \n"), "(no output)");
    }

    #[test]
    fn a_missing_kafka_says_what_to_install() {
        let message = Error::Nowhere { tried: "no java".to_owned() }.to_string();
        for hint in ["JDK 17", "Maven", "Docker", "KAFKA_HOME", "OPS_BROKERS", "no java"] {
            assert!(message.contains(hint), "{message}");
        }
    }
}
