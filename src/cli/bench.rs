//! `ops bench`: how fast the processor is on this machine, beside the bare client and beside others.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::bench::broker::Broker;
use crate::bench::disk::Disk;
use crate::bench::load::Load;
use crate::bench::peer::Peer;
use crate::bench::report::Report;
use crate::bench::{Bench, Tell, delay, growth, limit, plot, race, receive, restore};
use crate::bus::bare::Form;
use crate::cli::connect::{Connect, pair};
use crate::cli::progress::Progress;
use crate::cli::stop::StopSignal;
use crate::local::kafka::{LocalKafka, Options, Profile};
use crate::telemetry::clock::now_ms;

/// A new group waits so long for its members, as it does in a broker with default settings: all threads of what is
/// measured begin together.
const MEMBERS_TOGETHER: (&str, &str) = ("group.initial.rebalance.delay.ms", "3000");

/// Measure how fast the processor is here: beside a bare consumer of the same topic, and beside other programs.
///
/// Fills a topic with readings in simulated time, then lets a bare consumer (which only counts: the limit of the client
/// library), the real processor with everything on, and every --peer read it, in turn, --runs times. Everything that is
/// measured is a process of its own, looked at from outside. Without --brokers a local Kafka is started for it.
///
/// Exit code: 0, or 1 if a peer has published other events than we have, or 2 on errors.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  ops bench                                              5 million readings of 10,000 services
  ops bench --readings 500000 --runs 1                   a quick look
  ops bench --what restore,delay                         how long a restart takes, how late a verdict is
  ops bench --peer 'mine=./my-program' --json all.json   beside a program of yours

A peer is started by `sh -c` and told by the environment what to do: OPS_BENCH_BROKERS, _INPUT, _OUTPUT, _APPLICATION,
_DIRECTORY, _THREADS, _COMMIT_MS, _SERIES, _WINDOW_MS, _STEP_MS, _LATENESS_MS, _THRESHOLD, _RECOVER_THRESHOLD,
_RECOVER_MS, _MIN_SAMPLES. It commits its offsets as the group _APPLICATION and writes `opened MS` and `resolved MS` to
_OUTPUT, with the service as key.")]
pub struct Args {
    /// Measure on this cluster instead of a local one, HOST:PORT[,HOST:PORT...].
    #[arg(long, env = "OPS_BROKERS", value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Goes before the names of all topics, before a random part.
    #[arg(long, env = "OPS_TOPIC_PREFIX", default_value = "bench-", value_name = "TEXT")]
    topic_prefix: String,
    /// A setting of the Kafka client (may be repeated), for us, the bare consumer and the processor.
    #[arg(long = "kafka", value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "throughput")]
    what: Vec<What>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    receive: ReceiveArgs,
    /// Partitions of every topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Threads of everything that is measured.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The longest time between two commits, ms.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    commit_interval_ms: u64,
    /// Rounds, of which the medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// At most so many rounds before those, of the processor alone, that are not counted: a broker that was just started
    /// compiles beside whoever comes first. They end when its compilers are quiet (of a cluster that is given: after one).
    #[arg(long, default_value_t = 6, value_name = "N")]
    warm_up: u16,
    /// Another program that does the same job (may be repeated).
    #[arg(long = "peer", value_name = "NAME=COMMAND", value_parser = pair)]
    peers: Vec<(String, String)>,
    /// Of `delay`: readings a second of other services.
    #[arg(long = "load", default_value_t = 10_000.0, value_name = "N")]
    load_per_second: f64,
    /// Of `delay`: for so long, s.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Of `growth`: a plot, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// All runs and medians as JSON: into FILE, or without one to stdout instead of the tables.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// Leave the topics behind.
    #[arg(long)]
    keep: bool,
}

/// What is on the input.
#[derive(clap::Args, Debug)]
struct LoadArgs {
    /// Readings.
    #[arg(long, default_value_t = 5_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..))]
    readings: u64,
    /// Services; each has one series.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    series: u32,
    /// Readings a second of simulated time, over all services.
    #[arg(long, default_value_t = 20_000.0, value_name = "N")]
    rate: f64,
    /// The n-th service has n^-SKEW of the readings of the first; 0: all have as many.
    #[arg(long, default_value_t = 0.0, value_name = "SKEW")]
    skew: f64,
    /// Window of every SLO, s.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=86_400))]
    window: i64,
    /// Share of records that nobody can decode.
    #[arg(long, default_value_t = 0.001, value_name = "SHARE")]
    poison: f64,
    /// Share of readings that come late.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    late: f64,
    /// Another seed, other readings.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Of `receive`.
#[derive(clap::Args, Debug)]
struct ReceiveArgs {
    /// Of `receive`: keep the receiver on this core (by `taskset`). Start all of it on the others.
    #[arg(long, value_name = "CORE")]
    core: Option<u32>,
    /// Of `receive`: series that are written.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    write_series: u32,
    /// Of `receive`: samples a second of the run in which answers are timed.
    #[arg(long, default_value_t = 75_000.0, value_name = "N")]
    steady: f64,
    /// Of `receive`: each of its two runs, s.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    write_seconds: u64,
}

impl ReceiveArgs {
    fn plan(&self) -> receive::Plan {
        let length = Duration::from_secs(self.write_seconds);
        receive::Plan { core: self.core, series: self.write_series, steady: self.steady, length }
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Readings a second and their cost, beside the bare consumer and the peers.
    Throughput,
    /// From the start of a processor in the place of a killed one to its first commit.
    Restore,
    /// From a reading that tips a verdict to `opened`, in real time under --load.
    Delay,
    /// Throughput and memory over numbers of series and lengths of windows.
    Growth,
    /// Remote write to the receivers: samples a second, flat out, and the time of an answer at --steady.
    Receive,
}

/// Measures; the answer is whether all peers have published what we have.
///
/// # Errors
/// Something could not be measured.
pub fn run(args: Args) -> anyhow::Result<bool> {
    args.load.check()?;
    let signal = StopSignal::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    let work = std::thread::Builder::new().name("bench".to_owned()).spawn(move || measure(&args, &asked))?;
    signal.wait_until(|| work.is_finished());
    stop.store(true, Ordering::Relaxed);
    // What was started ends in order; who asks again does not want to wait for it.
    signal.wait_until(|| work.is_finished());
    if !work.is_finished() {
        bail!("interrupted before everything had ended in order");
    }
    work.join().map_err(|_| anyhow!("the benchmark panicked"))?
}

fn measure(args: &Args, stop: &AtomicBool) -> anyhow::Result<bool> {
    let given = args.brokers.as_deref().map(str::trim).filter(|brokers| !brokers.is_empty());
    let local = match given {
        Some(_) => None,
        None => Some(LocalKafka::start(&Options {
            profile: Profile::Bench,
            properties: [MEMBERS_TOGETHER].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Options::default()
        })?),
    };
    let brokers = local.as_ref().map_or(given, |kafka| Some(kafka.brokers())).unwrap_or_default().to_owned();
    let connect = Connect {
        brokers,
        topic_prefix: args.topic_prefix.clone(),
        settings: args.settings.clone(),
        ..Connect::default()
    };
    let progress = Drawn(RefCell::new(Progress::new()));
    let bench = Bench {
        settings: connect.reach("ops-bench")?.0,
        prefix: format!("{}{:x}-{:x}.", args.topic_prefix, now_ms(), std::process::id()),
        disk: local.as_ref().map(|kafka| Disk(kafka.log())),
        broker: local.as_ref().and_then(Broker::of),
        program: std::env::current_exe().context("finding this program")?,
        client_flags: args.settings.iter().map(|(key, value)| format!("--kafka={key}={value}")).collect(),
        partitions: args.partitions,
        threads: args.threads.max(1),
        commit_ms: args.commit_interval_ms,
        keep: args.keep,
        stop,
        tell: &progress,
    };
    let report = report(args, &bench);
    progress.0.borrow_mut().clear();
    let report = report?;
    show(args, &report)?;
    Ok(report.throughput.as_ref().is_none_or(race::Race::is_equal))
}

fn report(args: &Args, bench: &Bench<'_>) -> anyhow::Result<Report> {
    let load = args.load.load(args.partitions);
    let mut report = Report::default();
    for what in &args.what {
        match what {
            What::Throughput => {
                let peers = args.peers.iter().cloned().map(|(name, command)| Peer { name, command });
                report.throughput = Some({
                    let peers: Vec<_> = peers.collect();
                    race::run(bench, &load, &peers, args.warm_up.into(), args.runs.into())?
                });
            }
            What::Restore => report.restore = Some(restore::run(bench, &load, args.runs.into())?),
            What::Delay => {
                report.delay = Some(delay::run(bench, &load, args.load_per_second, Duration::from_secs(args.seconds))?);
            }
            What::Growth => report.growth = growth::run(bench, &load)?,
            What::Receive => report.receive = Some(receive::run(bench, &args.receive.plan())?),
        }
    }
    Ok(report)
}

fn show(args: &Args, report: &Report) -> anyhow::Result<()> {
    if !matches!(args.json, Some(None)) {
        print!("{}", report.text());
    }
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(report)?;
        match file {
            None => println!("{json}"),
            Some(file) => fs::write(file, json + "\n").with_context(|| format!("writing {}", file.display()))?,
        }
    }
    if let Some(file) = args.plot.as_ref().filter(|_| !report.growth.is_empty()) {
        fs::write(file, plot::svg(&report.growth)).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

impl LoadArgs {
    fn check(&self) -> anyhow::Result<()> {
        if !(self.rate.is_finite() && self.rate > 0.0) {
            bail!("--rate must be above 0");
        }
        for (flag, share) in [("--poison", self.poison), ("--late", self.late)] {
            if !(0.0..=1.0).contains(&share) {
                bail!("{flag} is a share: 0 to 1");
            }
        }
        if !(0.0..=10.0).contains(&self.skew) {
            bail!("--skew must be 0 to 10");
        }
        Ok(())
    }

    fn load(&self, partitions: i32) -> Load {
        Load {
            readings: self.readings,
            series: self.series,
            rate: self.rate,
            skew: self.skew,
            window_ms: self.window * 1_000,
            poison: self.poison,
            late: self.late,
            seed: self.seed,
            partitions,
        }
    }
}

/// One line on the terminal.
struct Drawn(RefCell<Progress>);

impl Tell for Drawn {
    fn progress(&self, line: &str) {
        self.0.borrow_mut().show(|| line.to_owned());
    }
}

/// The bare consumer that `ops bench` starts: counts a topic.
#[derive(clap::Args, Debug)]
pub struct LimitArgs {
    #[command(flatten)]
    connect: Connect,
    /// What to count.
    #[arg(long)]
    topic: String,
    /// How.
    #[arg(long, default_value = "poll")]
    form: LimitForm,
    /// Threads, each with its share of the partitions.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// How records are taken from the client.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LimitForm {
    /// One by one.
    Poll,
    /// In batches.
    Batch,
}

/// Counts.
///
/// # Errors
/// The bus.
pub fn run_limit(args: &LimitArgs) -> anyhow::Result<bool> {
    let form = match args.form {
        LimitForm::Poll => Form::Poll,
        LimitForm::Batch => Form::Batch,
    };
    // As the processor's.
    limit::count(&args.connect.settings("ops-processor")?.0, &args.topic, form, args.threads)?;
    Ok(true)
}
