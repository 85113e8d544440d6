//! Throughput: the limit, the processor and the peers over the same readings, in turn, round by round.

use super::Bench;
use super::error::{Error, Result};
use super::events::{self, Events};
use super::figure::{self, BrokerPart, Figures};
use super::ground::{Ground, Input, Time};
use super::load::Load;
use super::peer::{self, Peer};
use super::watch::{self, Lines, Offsets};
use super::written::{self, Written};
use crate::bus::bare::Form;

/// What is measured beside the processor, by name.
const LIMITS: [(&str, Form, &str); 2] =
    [("bare consumer, poll", Form::Poll, "poll"), ("bare consumer, batches", Form::Batch, "batch")];
/// What it is all about.
pub const PROCESSOR: &str = "processor";

/// A broker is warm once its compilers take less than this, cores. After a round at twice as much they went on for five.
const QUIET: f64 = 0.05;

/// All that was seen.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Race {
    /// What was on the input.
    pub load: Load,
    /// The same, counted.
    pub input: Input,
    /// Readings a second that the filler put there.
    pub filled_per_second: f64,
    /// Of the rounds before those that count: what the broker took, where it can be seen.
    pub warm_ups: Vec<Option<BrokerPart>>,
    /// Everything that ran, in the order in which it ran in each round.
    pub lanes: Vec<Lane>,
}

/// One that ran.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Is it a peer?
    pub is_peer: bool,
    /// In order.
    pub runs: Vec<Run>,
    /// Of each figure by itself.
    pub median: Figures,
    /// What a peer wants to have said.
    pub notes: Vec<String>,
}

/// One run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Run {
    /// Speed and cost.
    pub figures: Figures,
    /// Records that it has consumed: all of them, or it was an error.
    pub consumed: u64,
    /// `opened` and `resolved` events that it published.
    pub events: Option<usize>,
    /// Where its events differ from those of the processor's first run; none if they are equal.
    pub differences: Vec<String>,
    /// Of the processor: what it wrote.
    pub written: Option<Written>,
}

impl Race {
    /// The lane of a name.
    pub fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }

    /// The limit that the processor is compared with: the client's own face.
    pub fn limit(&self) -> Option<&Lane> {
        self.lane(LIMITS[0].0)
    }

    /// Have all peers, and all runs of ours, published the same?
    pub fn is_equal(&self) -> bool {
        self.lanes.iter().flat_map(|lane| &lane.runs).all(|run| run.differences.is_empty())
    }
}

/// Warms the broker up in at most `warm_ups` rounds, then runs `runs` rounds.
///
/// # Errors
/// Something could not be run to its end, or records were lost.
pub fn run(bench: &Bench<'_>, load: &Load, peers: &[Peer], warm_ups: usize, runs: usize) -> Result<Race> {
    let mut ground = bench.ground("", Time::Simulated)?;
    let (input, filled_per_second) = bench.fill(&ground, load)?;
    let peer_lanes = peers.iter().map(|peer| (peer.name.as_str(), true));
    let names = LIMITS.iter().map(|(name, ..)| (*name, false)).chain([(PROCESSOR, false)]).chain(peer_lanes);
    let mut lanes: Vec<Lane> = names
        .map(|(name, is_peer)| {
            let (name, runs, median, notes) = (name.to_owned(), Vec::new(), Figures::default(), Vec::new());
            Lane { name, is_peer, runs, median, notes }
        })
        .collect();
    let warm_ups = warm_up(bench, &ground, load, &input, warm_ups)?;
    let mut expected: Option<Events> = None;
    for round in 1..=runs {
        let at = |name: &str| format!("round {round} of {runs}: {name}");
        let mut done = lanes.iter_mut();
        for ((name, _, form), lane) in LIMITS.iter().zip(&mut done) {
            lane.runs.push(limit(bench, &ground, &input, form, &at(name))?);
        }
        let (mut run, events) = processor(bench, &ground, load, &input, &at(PROCESSOR))?;
        // The same readings, the same decisions, whatever the commits fell on.
        run.differences = expected.as_ref().map_or(Vec::new(), |first| events::differences(first, &events));
        let expected = expected.get_or_insert(events);
        if let Some(lane) = done.next() {
            lane.runs.push(run);
        }
        for (peer, lane) in peers.iter().zip(done) {
            let told = at(&peer.name);
            let (run, notes) = peer::run(bench, &mut ground, load, &input, peer, expected, &told)?;
            lane.runs.push(run);
            lane.notes = notes;
        }
    }
    for lane in &mut lanes {
        lane.median = figure::median(lane.runs.iter().map(|run| &run.figures));
    }
    Ok(Race { load: load.clone(), input, filled_per_second, warm_ups, lanes })
}

/// Rounds in which only the processor runs and nothing is noted but the broker's part. A broker is a JVM: one that has just
/// been started compiles what transactions need for a minute, beside whoever comes first. Of one that cannot be seen it is
/// not known when it is warm: it gets one round.
fn warm_up(
    bench: &Bench<'_>,
    ground: &Ground,
    load: &Load,
    input: &Input,
    most: usize,
) -> Result<Vec<Option<BrokerPart>>> {
    let mut done = Vec::new();
    for round in 1..=most {
        let told = format!("warming up the broker, {round} of at most {most}");
        let (run, _) = processor(bench, ground, load, input, &told)?;
        done.push(run.figures.whole.broker);
        if run.figures.whole.broker.is_none_or(|broker| broker.compiling_cores < QUIET) {
            break;
        }
    }
    Ok(done)
}

/// A bare consumer in a process of its own.
fn limit(bench: &Bench<'_>, ground: &Ground, input: &Input, form: &str, told: &str) -> Result<Run> {
    let threads = bench.threads.to_string();
    let mut command = bench.command("bench-limit", ground);
    command.args(["--topic", &ground.topics.metrics, "--form", form, "--threads", &threads]);
    let mut child = super::child::Child::spawn(told, command)?;
    let mut lines = Lines::new(child.stdout().ok_or_else(|| Error::Ended {
        name: told.to_owned(),
        status: "no stdout".to_owned(),
        lines: String::new(),
    })?);
    let seen = watch::until(bench, input.records, &mut child, &mut lines, bench.telling(told, input.records))?;
    child.stop();
    Error::unless_equal(format!("records that the {told} has seen"), input.records, seen.done)?;
    Ok(Run { figures: seen.figures, consumed: seen.done, ..Run::default() })
}

/// The real processor with everything on, from an empty state; its events too.
///
/// # Errors
/// It does not come to the end; the poison is not all among the dead letters.
pub fn processor(bench: &Bench<'_>, ground: &Ground, load: &Load, input: &Input, told: &str) -> Result<(Run, Events)> {
    ground.clear_outputs()?;
    let group = bench.unique("processor");
    let mut child = bench.processor(ground, &group, Time::Simulated)?;
    let mut offsets = Offsets::new(ground, &group, ground.spans()?)?;
    let (mut tell, mut before) = (bench.telling(told, input.records), None);
    let stored = || bench.disk.as_ref().map(|disk| disk.stored(ground));
    let seen = watch::until(bench, input.records, &mut child, &mut offsets, |done| {
        tell(done);
        if before.is_none() && watch::is_warm(done, input.records) {
            before = Some((done, stored()));
        }
    })?;
    child.stop();
    bench.tell.progress(&format!("{told}: reading back what it wrote"));
    let mut written = written::read(ground, input, load.steady_from())?;
    if let (Some((done, Some(before))), Some(after)) = (before, stored()) {
        let share = before.share_until(&after, 1.0 - done as f64 / input.records as f64);
        written.stored_share = Some(share).filter(|share| share.is_finite());
    }
    Error::unless_equal("records that nobody can decode among the dead letters", input.poison, written.poison)?;
    let events = events::ours(ground)?;
    let (count, written) = (Some(events::count(&events)), Some(written));
    let (figures, consumed) = (seen.figures, seen.done);
    Ok((Run { figures, consumed, events: count, written, ..Run::default() }, events))
}
