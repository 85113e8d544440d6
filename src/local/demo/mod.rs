//! `ops demo`: the whole pipeline in one process, and a story that shows it. Only the airport is simulated; what
//! judges, scales, pages and archives is what runs in production.
//!
//! ```text
//! scanner (airport) -> ops.metrics -> processor -> ops.incidents -> autoscaler -> Kubernetes API -+
//!    ^                                                          \-> pager, archiver -> vault      |
//!    +--------------------- more lanes: the queue shortens -------------------------------------- +
//! ```
//!
//! [`stage`] builds it up, [`ears`] listen, [`story`] (pure) says what it means and what is missing, [`teller`]
//! prints it. The command `ops demo` calls [`run`].

mod airport;
mod delay;
mod ears;
mod error;
mod stage;
mod story;
mod summary;
mod teller;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::bus::{Isolation, Message, Settings};
use crate::codec;
use crate::local::world::scanner::{self, Scanner};
use crate::model::spec::Spec;
use crate::sdk::{self, Activation};
use crate::spec;
use crate::telemetry::clock;
use delay::Delays;
use ears::{Ears, Heard, Sensor};
pub use error::Error;
use stage::Stage;
use story::{Fact, Plan, Story};
use summary::Summary;
use teller::Teller;

/// The demo's spec.
const SPEC: &str = include_str!("../../../examples/demo.ops.yaml");
/// What it is about.
const PROLOGUE: &str = "An airport scanner is about to get into trouble, and to be helped.";
const PROLOGUE_NO_HELP: &str = "An airport scanner is about to get into trouble, and more lanes will not help.";
/// Lanes that are open at first, and after the scale-up.
const LANES: (u32, u32) = (2, 4);
/// How long the processor has to take the spec up.
const ACTIVATION: Duration = Duration::from_secs(30);
/// How long the loop waits for news before it looks at everything else.
const LOOK: Duration = Duration::from_millis(100);
/// How long the vault has to have all of it.
const ARCHIVED: Duration = Duration::from_secs(15);

/// How the demo is played.
#[derive(Clone, Debug)]
pub struct Options {
    /// A cluster that is there already; else one is started.
    pub brokers: Option<String>,
    /// After this time, counted from a running Kafka, it ends, or as soon as the story is told; else it stays up.
    pub duration: Option<Duration>,
    /// Does scaling help?
    pub help: bool,
    /// A real Kubernetes instead of the simulated one.
    pub kubeconfig: Option<PathBuf>,
    /// Where the vault is and stays; else it goes with the demo.
    pub keep_vault: Option<PathBuf>,
    /// May the output be coloured?
    pub colour: bool,
    /// How to call this program again, for people.
    pub program: String,
}

/// Plays the story on `out`, until it is told, the time is over, or `stop` is set. Did it happen?
///
/// # Errors
/// What it needs is not there, or a part of it ended.
pub fn run(options: &Options, stop: &AtomicBool, out: Box<dyn Write + Send>) -> Result<bool, Error> {
    let spec = spec::parse(SPEC).map_err(|findings| Error::Register(findings.into()))?.spec;
    let mut teller = Teller::new(out, options.colour);
    teller.text(if options.help { PROLOGUE } else { PROLOGUE_NO_HELP })?;
    let (heard, hear) = channel();
    let mut stage = Stage::build(options, &spec, &heard, &mut teller)?;
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    let is_over = || stop.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let told = Play::begin(options, &spec, &mut stage, heard, &mut teller)
        .and_then(|play| play.go_on(options, &mut stage, &hear, &mut teller, is_over));
    let ended = stage.end();
    told.and_then(|told| ended.map(|()| told))
}

/// A story that is being played.
struct Play {
    story: Story,
    delays: Delays,
    lateness_ms: i64,
    /// They hear as long as the story is played.
    _ears: Ears,
    acknowledged: Arc<AtomicU64>,
    /// Since when the story is complete.
    complete: Option<Instant>,
    is_told: bool,
}

impl Play {
    /// Opens the ears, registers the spec, starts the scanner.
    fn begin(
        options: &Options,
        spec: &Spec,
        stage: &mut Stage,
        heard: Sender<Heard>,
        teller: &mut Teller,
    ) -> Result<Self, Error> {
        let slo = spec.slo.as_ref().map(|slo| (slo.threshold, slo.target));
        let (threshold_s, target) = slo.unwrap_or_default();
        let mut ears = Ears::default();
        let home = spec.id.home(stage::PARTITIONS);
        listen(&mut ears, &stage.settings, stage, spec, home, &heard)?;
        register(stage, teller)?;
        teller.text(&invitation(options, stage, spec))?;
        let acknowledged = Arc::new(AtomicU64::default());
        let sensor = Sensor {
            scanner: Scanner::new(scanner::Options { help: options.help, ..scanner::Options::default() }),
            lanes: stage.airport.lanes(),
            service: spec.id.clone(),
            sensor: spec.sensors[target].name.to_string(),
            place: (stage.topics.metrics.clone(), home),
            acknowledged: acknowledged.clone(),
        };
        ears.measure(&stage.settings, sensor, &heard)?;
        let story = Story::new(Plan { help: options.help, threshold_s, lanes: LANES });
        let (delays, lateness_ms) = (Delays::default(), spec.lateness_ms);
        Ok(Self { story, delays, lateness_ms, _ears: ears, acknowledged, complete: None, is_told: false })
    }

    /// Hears and tells until it is over. Did the story happen?
    fn go_on(
        mut self,
        options: &Options,
        stage: &mut Stage,
        hear: &Receiver<Heard>,
        teller: &mut Teller,
        is_over: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        while !is_over() {
            match hear.recv_timeout(LOOK) {
                Ok(heard) => self.take(heard, teller)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Ended { part: "the scanner" }),
            }
            stage.check()?;
            if self.story.missing().is_none() && !self.is_told {
                self.tell_the_end(stage, teller)?;
                if self.is_told && options.duration.is_none() {
                    teller.text(&stays_up(options, stage))?;
                }
            }
            if self.is_told && options.duration.is_some() {
                break;
            }
        }
        self.verdict(teller)
    }

    fn take(&mut self, heard: Heard, teller: &mut Teller) -> Result<(), Error> {
        match heard {
            Heard::Fact(fact, received_ms) => {
                if let Fact::Incident(event) = &fact
                    && let Some(name) = words::verdict(&event.kind)
                {
                    self.delays.received(name, event.at + self.lateness_ms, received_ms);
                }
                self.story.hear(&fact).iter().try_for_each(|line| teller.line(line))
            }
            Heard::Appended(append_ms) => {
                self.delays.appended(append_ms);
                Ok(())
            }
            Heard::Printed(text) => teller.text(text.trim()),
            Heard::Failed(error) => Err(error),
        }
    }

    /// The summary, once the vault has all of it.
    fn tell_the_end(&mut self, stage: &Stage, teller: &mut Teller) -> Result<(), Error> {
        let Some((incident, records)) = self.story.first_incident() else { return Ok(()) };
        let entries = summary::entries(stage, incident)?;
        let since = *self.complete.get_or_insert_with(Instant::now);
        if entries.len() < records && since.elapsed() < ARCHIVED {
            return Ok(());
        }
        let summary =
            Summary { story: &self.story, delays: &self.delays, acknowledged: &self.acknowledged, entries, records };
        teller.text(&summary.to_string())?;
        self.is_told = true;
        Ok(())
    }

    /// Did the story happen?
    fn verdict(&self, teller: &mut Teller) -> Result<bool, Error> {
        let why = match (self.story.missing(), self.story.spoilt()) {
            (Some(beat), _) => format!("missing: {}", beat.expectation()),
            (None, Some(how)) => how.to_owned(),
            (None, None) if !self.is_told => "missing: the vault has all of it".to_owned(),
            (None, None) => return Ok(true),
        };
        teller.plain("not told", why)?;
        Ok(false)
    }
}

/// Follows the three topics that tell what happens.
fn listen(
    ears: &mut Ears,
    settings: &Settings,
    stage: &Stage,
    spec: &Spec,
    home: i32,
    heard: &Sender<Heard>,
) -> Result<(), Error> {
    let all = || (Isolation::Committed, 0..stage::PARTITIONS);
    let service = spec.id.clone();
    ears.follow(settings, &stage.topics.incidents, all(), heard, move |message| {
        let event = codec::incident::decode(message.value()?).ok()?;
        (event.service == service).then(|| Heard::Fact(Fact::Incident(event), clock::now_ms()))
    })?;
    let service = spec.id.clone();
    ears.follow(settings, &stage.topics.actions, all(), heard, move |message| {
        let event = codec::action::decode(message.value()?).ok()?;
        (event.service == service).then(|| Heard::Fact(Fact::Action(event), clock::now_ms()))
    })?;
    let appended = |message: &Message<'_>| message.timestamp().ms().map(Heard::Appended);
    ears.follow(settings, &stage.topics.metrics, (Isolation::Uncommitted, [home]), heard, appended)
}

fn register(stage: &Stage, teller: &mut Teller) -> Result<(), Error> {
    let options = sdk::register::Options {
        wait: Some(ACTIVATION),
        by: "ops demo".to_owned(),
        ..sdk::register::Options::default()
    };
    let registered = sdk::register(&stage.settings, &stage.topics, SPEC, &options)?;
    if registered.activation == Activation::NotSeen {
        return Err(Error::NotActivated { seconds: ACTIVATION.as_secs() });
    }
    let text = format!("{} (examples/demo.ops.yaml), judged by the processor", registered.id);
    teller.plain("registered", text)
}

/// What happens when the story is told and nothing ends it.
fn stays_up(options: &Options, stage: &Stage) -> String {
    let hurt = match options.help {
        true => {
            format!("hurt it and see it healed:\n  {} scale {} --replicas=2", stage.airport.kubectl(), stage.workload)
        }
        false => "nothing helps here, so the incident stays open.".to_owned(),
    };
    format!("\nIt stays up until Ctrl-C; {hurt}\n\n")
}

/// How to play along.
fn invitation(options: &Options, stage: &Stage, spec: &Spec) -> String {
    let (kubectl, exports, program) = (stage.airport.kubectl(), stage.exports(), &options.program);
    let (service, workload) = (&spec.id, &stage.workload);
    format!(
        "\nPlay along in another terminal:\n  \
         {exports}\n  \
         {kubectl} get {workload} --watch\n  \
         {kubectl} scale {workload} --replicas=6\n  \
         {program} status {service} --watch\n  \
         {program} emit queue_time_seconds 99 --service {service}\n  \
         {program} dta find\n  \
         cd examples/python && python register.py && python emit.py     # or from Python: docs/sdk.md\n\n",
    )
}
