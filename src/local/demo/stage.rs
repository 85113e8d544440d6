//! Everything that the story needs, in one process: Kafka, topics, the airport, the processor and the actors.
//! Built up in that order, each with a line; taken down the other way round.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Options;
use super::airport::Airport;
use super::ears::Heard;
use super::error::Error;
use super::teller::Teller;
use crate::actors::channel::{Channel, Channels, Console};
use crate::actors::{Actor, archiver, autoscaler, frame, guard, pager};
use crate::bus::{Admin, Settings, admin};
use crate::local::kafka::{self, Cluster, LocalKafka, VERSION};
use crate::model::spec::Spec;
use crate::model::topic_files::{Overrides, declared};
use crate::model::topics::Topics;
use crate::processor::{Processor, ProcessorOptions};
use crate::telemetry::clock;
use crate::vault::archive::Limits;
use crate::warroom::{self, WarRoom};

/// Partitions of every topic: few start fast.
pub const PARTITIONS: i32 = 4;
/// A segment of the vault is closed after this time, so that the story can end with it, ms.
const SEGMENT_AGE_MS: i64 = 500;
/// How we are called in the brokers' logs.
const CLIENT: &str = "ops-demo";
/// How long a cluster that was given may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Of the war room, unless something else is there.
const WAR_ROOM_PORT: u16 = 8080;
/// The channel that the demo's spec pages.
const CHANNEL: &str = "tsa_ops";

/// See the module.
pub struct Stage {
    /// Clients' settings.
    pub settings: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// Where the lanes are.
    pub airport: Airport,
    /// What is scaled, as `kubectl` calls it.
    pub workload: String,
    /// Directory of the vault.
    pub vault: PathBuf,
    /// Runs the airport, the actors' calls into it, and reads of the vault.
    pub runtime: Runtime,
    prefix: String,
    company: Option<Company>,
    /// Shows all of it, for as long as it is here.
    _war_room: WarRoom,
    _mine: Mine,
    // The last: its end is the end of the broker.
    kafka: Cluster,
}

/// Who works on the readings.
struct Company {
    autoscaler: Actor,
    pager: Actor,
    archiver: archiver::Archiver,
    processor: Processor,
}

/// What must not be left behind, however the demo ends: topics on a cluster of the user's, a directory.
#[derive(Default)]
struct Mine {
    topics: Vec<(Settings, String)>,
    directory: Option<PathBuf>,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// No Kafka, no cluster, a directory that cannot be made.
    pub fn build(options: &Options, spec: &Spec, heard: &Sender<Heard>, teller: &mut Teller) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(Error::io("starting the runtime"))?;
        let kafka = start_kafka(options, teller)?;
        let prefix = prefix(&kafka);
        let settings = Settings::new(kafka.brokers(), CLIENT);
        let topics = Topics::new(&prefix);
        let overrides = Overrides { prefix: prefix.clone(), partitions: Some(PARTITIONS), ..Overrides::default() };
        let declared = declared(&overrides);
        let mut mine = Mine::default();
        if let Cluster::Given(_) = kafka {
            mine.topics = declared.iter().map(|topic| (settings.clone(), topic.name.clone())).collect();
        }
        Admin::new(&settings)?.create_missing(&declared)?;
        let all = format!("{prefix}ops.*, {} topics of {PARTITIONS} partitions", declared.len());
        teller.plain("topics", all)?;
        let airport = match &options.kubeconfig {
            Some(kubeconfig) => Airport::real(&runtime, kubeconfig, &spec.workload, super::LANES.0)?,
            None => Airport::simulated(&runtime, &spec.workload, super::LANES.0)?,
        };
        let kind = if airport.is_simulated() { "simulated, over real HTTP" } else { "yours" };
        let workload = format!("{}/{}", spec.workload.kind, spec.workload.name);
        teller.plain("kubernetes", format!("{kind}; {workload} has {} replicas ready", super::LANES.0))?;
        let vault = vault_directory(options, &kafka, &mut mine)?;
        let war_room = open_war_room(&settings, &topics, &prefix, &vault)?;
        teller.plain("war room", format!("http://{} (open it in a browser)", war_room.address()))?;
        let company = None;
        let mut stage = Self {
            settings,
            topics,
            airport,
            workload,
            vault,
            runtime,
            prefix,
            company,
            _war_room: war_room,
            _mine: mine,
            kafka,
        };
        stage.company = Some(stage.start_company(heard)?);
        Ok(stage)
    }

    fn start_company(&self, heard: &Sender<Heard>) -> Result<Company, Error> {
        let prefix = &self.prefix;
        let frame = |actor: &str| frame::Options {
            bus: self.settings.clone(),
            topics: self.topics.clone(),
            group: format!("{prefix}ops-{actor}"),
            instance: "demo".to_owned(),
            dry_run: false,
            runtime: self.runtime.handle().clone(),
        };
        // The actors first: a new group starts at the end of its topic and must miss nothing.
        let autoscaler = autoscaler::start(autoscaler::Options {
            frame: frame("autoscaler"),
            clusters: self.airport.options().clone(),
            guard: guard::Settings::default(),
        })?;
        let channels = BTreeMap::from([(CHANNEL.to_owned(), Channel::Console)]);
        let console = Console::new(Print(heard.clone()));
        let pager = pager::start(pager::Options {
            frame: frame("pager"),
            channels: Channels::new(channels, console),
            link: None,
        })?;
        let archiver = archiver::start(archiver::Options {
            settings: self.settings.clone(),
            topics: self.topics.clone(),
            group: format!("{prefix}{}", archiver::GROUP),
            instance: "demo".to_owned(),
            vault_dir: self.vault.display().to_string(),
            limits: Limits { max_age_ms: SEGMENT_AGE_MS, ..Limits::default() },
            metrics: Arc::default(),
        })?;
        let options = ProcessorOptions::new(self.settings.clone(), self.topics.clone());
        let processor = Processor::start(ProcessorOptions { group: format!("{prefix}{}", options.group), ..options })?;
        Ok(Company { autoscaler, pager, archiver, processor })
    }

    /// What to tell a shell, so that our own commands and the SDK find this installation.
    pub fn exports(&self) -> String {
        let (brokers, vault) = (self.kafka.brokers(), self.vault.display());
        let prefix = if self.prefix.is_empty() { String::new() } else { format!(" OPS_TOPIC_PREFIX={}", self.prefix) };
        format!("export OPS_BROKERS={brokers} OPS_VAULT={vault}{prefix}")
    }

    /// Does everybody still work?
    ///
    /// # Errors
    /// Who does not, and why.
    pub fn check(&mut self) -> Result<(), Error> {
        if self.is_without_kafka() {
            return Err(Error::Ended { part: "the local kafka" });
        }
        let ended = self.company.as_ref().and_then(Company::ended);
        let Some(part) = ended else { return Ok(()) };
        // The one that ended says why; it is no use to anybody without the others.
        self.company.take().map_or(Ok(()), Company::end)?;
        Err(Error::Ended { part })
    }

    /// Ends everybody in order, then takes the stage down and removes what is ours.
    ///
    /// # Errors
    /// Somebody could not end in order.
    pub fn end(mut self) -> Result<(), Error> {
        match self.company.take() {
            // Without the bus nobody ends in order, and each tries for long: their threads go with this process.
            Some(company) if self.is_without_kafka() => {
                std::mem::forget(company);
                Ok(())
            }
            company => company.map_or(Ok(()), Company::end),
        }
    }

    fn is_without_kafka(&self) -> bool {
        matches!(&self.kafka, Cluster::Local(kafka) if kafka.has_ended())
    }
}

impl Company {
    fn ended(&self) -> Option<&'static str> {
        [
            ("the processor", self.processor.is_finished()),
            ("the autoscaler", self.autoscaler.is_finished()),
            ("the pager", self.pager.is_finished()),
            ("the archiver", self.archiver.is_finished()),
        ]
        .into_iter()
        .find_map(|(part, is_finished)| is_finished.then_some(part))
    }

    /// All of them, whatever the first says.
    fn end(self) -> Result<(), Error> {
        self.processor.request_stop();
        let autoscaler = self.autoscaler.stop().map_err(Error::from);
        let pager = self.pager.stop().map_err(Error::from);
        let processor = self.processor.stop().map_err(Error::from);
        let archiver = self.archiver.stop().map_err(Error::from);
        processor.and(autoscaler).and(pager).and(archiver)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        for (settings, topic) in &self.topics {
            if let Err(error) = Admin::new(settings).and_then(|admin| admin.delete_topic(topic)) {
                tracing::warn!(topic, %error, "a topic is left behind");
            }
        }
        if let Some(directory) = &self.directory
            && let Err(error) = std::fs::remove_dir_all(directory)
        {
            tracing::warn!(directory = %directory.display(), %error, "a scratch directory is left behind");
        }
    }
}

/// What the pager's console prints becomes part of the story.
struct Print(Sender<Heard>);

impl io::Write for Print {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(Heard::Printed(text)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start_kafka(options: &Options, teller: &mut Teller) -> Result<Cluster, Error> {
    let cluster = match &options.brokers {
        Some(brokers) => {
            let no_answer = |source| Error::NoAnswer { brokers: brokers.clone(), source };
            admin::ping(&Settings::new(brokers, CLIENT), ANSWER).map_err(no_answer)?;
            Cluster::Given(brokers.clone())
        }
        None => {
            teller.plain("kafka", format!("starting Apache Kafka {VERSION}, one node on loopback"))?;
            let progress = |line: &str| eprintln!("          {line}");
            Cluster::Local(LocalKafka::start(&kafka::Options { progress, ..kafka::Options::default() })?)
        }
    };
    let whose = if matches!(cluster, Cluster::Given(_)) { "yours" } else { "it ends with this program" };
    teller.plain("kafka", format!("{} ({whose})", cluster.brokers()))?;
    Ok(cluster)
}

/// Runs on a cluster that others use too stay apart by their topics and groups.
fn prefix(kafka: &Cluster) -> String {
    match kafka {
        Cluster::Local(_) => String::new(),
        Cluster::Given(_) => format!("demo-{:x}-{}.", clock::now_ms(), std::process::id()),
    }
}

/// Where everybody looks for it, or where there is room.
fn open_war_room(settings: &Settings, topics: &Topics, prefix: &str, vault: &Path) -> Result<WarRoom, Error> {
    let open = |port| {
        let options = warroom::Options::new(settings.clone(), topics.clone(), (Ipv4Addr::LOCALHOST, port).into());
        let (group, vault) = (format!("{prefix}{}", options.group), Some(vault.display().to_string()));
        WarRoom::start(warroom::Options { group, vault, ..options })
    };
    Ok(open(WAR_ROOM_PORT).or_else(|_| open(0))?)
}

/// The user's, or one that is gone in the end: inside the broker's scratch directory, which goes even after a kill.
fn vault_directory(options: &Options, kafka: &Cluster, mine: &mut Mine) -> Result<PathBuf, Error> {
    match (&options.keep_vault, kafka) {
        (Some(directory), Cluster::Local(_)) if holds_something(directory) => {
            Err(Error::VaultInUse { directory: directory.display().to_string() })
        }
        (Some(directory), _) => std::path::absolute(directory).map_err(Error::io("finding the vault's directory")),
        (None, Cluster::Local(kafka)) => Ok(kafka.scratch().join("vault")),
        (None, Cluster::Given(_)) => {
            let name = format!("hms-ops-demo-{:x}-{}", clock::now_ms(), std::process::id());
            let directory = std::env::temp_dir().join(name);
            create_private(&directory).map_err(Error::io("making the vault's directory"))?;
            mine.directory = Some(directory.clone());
            Ok(directory.join("vault"))
        }
    }
}

fn holds_something(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// A new directory that only this user can read.
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(directory)
}
