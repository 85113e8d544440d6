//! Verdict delay: under a steady load in real time, how long after the reading that tips a verdict is `opened` in the hands
//! of a `read_committed` consumer? Receipt minus the reading's append time. The step and the lateness of the spec are part
//! of it by definition. The clocks of this machine and of the broker are compared, so the broker should run here.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::child::Child;
use super::error::{Error, Result};
use super::figure::rank;
use super::ground::{Ground, Time};
use super::load::{Load, SENSOR, THRESHOLD};
use crate::bus::bulk::{Appender, Bulk};
use crate::bus::{Isolation, Next, Reader, Record};
use crate::codec;
use crate::model::ids::home_partition;
use crate::model::incident::EventKind;
use crate::model::reading::{Attributes, Reading};
use crate::telemetry::clock::now_ms;

/// Services of each lateness whose verdicts tip.
const TIPPING: usize = 8;
/// A verdict tips, and is well again.
const CYCLE: Duration = Duration::from_secs(8);
/// Readings of a cycle: when, and is it bad? An instant falls between the first and the bad one: it resolves the last.
const READINGS: [(u64, bool); 4] = [(0, false), (400, false), (800, false), (1_300, true)];
/// The latenesses that are compared, ms; the first is the default.
const LATENESS_MS: [i64; 2] = [1_000, 200];
/// Pace of the load.
const BEAT: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Delay {
    /// Readings a second of other services that were wanted.
    pub wanted_per_second: f64,
    /// And that came.
    pub per_second: f64,
    /// By lateness.
    pub rows: Vec<Row>,
}

/// Of the specs with one lateness; times in ms.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// Of the specs.
    pub lateness_ms: i64,
    /// Verdicts that tipped.
    pub tipped: usize,
    /// Delays of the openings that came.
    pub delays_ms: Vec<i64>,
    /// Median, nearest rank.
    pub p50: i64,
    /// Nearest rank.
    pub p99: i64,
    /// The longest.
    pub max: i64,
}

/// A service whose verdict tips.
struct Tipping {
    name: String,
    lateness: usize,
}

/// What has tipped and is not answered yet, by service, and the delays by lateness.
#[derive(Default)]
struct Board {
    tipped: BTreeMap<String, i64>,
    count: [usize; LATENESS_MS.len()],
    delays: [Vec<i64>; LATENESS_MS.len()],
}

/// The board that who tips and who listens share.
#[derive(Default)]
struct Shared {
    board: Mutex<Board>,
    /// One more is answered.
    answered: Condvar,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all that has tipped is answered, but not forever: who looks at the figures sees what is missing.
    fn wait_for_the_last(&self, patience: Duration) {
        drop(self.answered.wait_timeout_while(self.board(), patience, |board| !board.tipped.is_empty()));
    }
}

/// Emits for `length`, at `per_second` readings a second over the services of `load`.
///
/// # Errors
/// The bus; the processor ends.
pub fn run(bench: &Bench<'_>, load: &Load, per_second: f64, length: Duration) -> Result<Delay> {
    let ground = bench.ground("delay.", Time::Real)?;
    let tipping: Vec<Tipping> = (0..TIPPING * LATENESS_MS.len())
        .map(|n| Tipping { name: format!("tip{n}"), lateness: n % LATENESS_MS.len() })
        .collect();
    let of_load = (0..load.series).map(Load::service).map(|name| (load.spec(&name), name));
    ground.register(of_load.chain(tipping.iter().map(|service| (spec(service), service.name.clone()))))?;
    let mut child = bench.processor(&ground, &bench.unique("delay"), Time::Real)?;
    let starts = (0..ground.partitions).map(|partition| (partition, 0));
    let mut reader = Reader::open(&ground.settings, &ground.topics.incidents, Isolation::Committed, starts)?;
    wait_for_specs(bench, &mut reader, &mut child, load.series as usize + tipping.len())?;

    let (shared, done) = (Shared::default(), AtomicBool::new(false));
    let per_second_came = thread::scope(|scope| {
        let listener = scope.spawn(|| listen(&mut reader, &tipping, &shared, &done));
        let loader = scope.spawn(|| emit(&ground, load, per_second, &done));
        let tipped = tip(bench, &ground, &tipping, &mut child, &shared, length);
        done.store(true, Ordering::Relaxed);
        listener.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let came = loader.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        tipped.map(|()| came)
    })?;
    child.stop();
    let board = shared.board.into_inner().unwrap_or_else(PoisonError::into_inner);
    let rows =
        LATENESS_MS.into_iter().zip(board.count).zip(board.delays).map(|((lateness_ms, tipped), mut delays_ms)| {
            delays_ms.sort_unstable();
            let [p50, p99, max] = [500, 990, 1_000].map(|permille| rank(&delays_ms, permille));
            Row { lateness_ms, tipped, delays_ms, p50, p99, max }
        });
    Ok(Delay { wanted_per_second: per_second, per_second: per_second_came, rows: rows.collect() })
}

/// One bad reading among a few is a breach; it is over when that has left the window.
fn spec(service: &Tipping) -> String {
    format!(
        "id: {}\nowner: bench\nsensors:\n  - {{name: {SENSOR}, interval: 1}}\nslo:\n  target: {SENSOR}\n  \
         threshold: {THRESHOLD}\n  window_seconds: 5\n  lateness: {}\n  min_samples: 1\n  recover_for: 0\n  \
         flap_limit: 1000\n",
        service.name,
        LATENESS_MS[service.lateness] as f64 / 1_000.0,
    )
}

/// Nothing is measured before the processor judges by all specs.
fn wait_for_specs(bench: &Bench<'_>, reader: &mut Reader, child: &mut Child, expected: usize) -> Result<()> {
    let (mut active, mut came) = (0, Instant::now());
    while active < expected {
        if let Next::Record(message) = reader.next(Duration::from_millis(100))? {
            let event = codec::incident::decode(message.value().unwrap_or_default());
            active += usize::from(event.is_ok_and(|event| matches!(event.kind, EventKind::SpecActivated { .. })));
            came = Instant::now();
            continue;
        }
        bench.tell.progress(&format!("delay: {active} of {expected} specs are in force"));
        child.check()?;
        if came.elapsed() > PATIENCE {
            return Err(Error::NotConserved {
                what: "specs in force".to_owned(),
                expected: expected as u64,
                found: active as u64,
            });
        }
        if bench.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}

/// Each service: a few good readings, a bad one, silence. Phases differ, so that breaches fall anywhere in a step.
fn tip(
    bench: &Bench<'_>,
    ground: &Ground,
    services: &[Tipping],
    child: &mut Child,
    shared: &Shared,
    length: Duration,
) -> Result<()> {
    let appender = Appender::new(&ground.settings)?;
    let cycles = (length.as_secs() / CYCLE.as_secs()).max(1);
    let mut plan: Vec<(Duration, usize, bool)> = Vec::new();
    for cycle in 0..cycles {
        for place in 0..services.len() {
            // Spread over the cycle, and a little elsewhere each time, but never so early that the last is not over.
            let spread = 6_000 * place as u64 / services.len() as u64;
            let phase = spread + (place as u64 * 377 + cycle * 191) % 1_000;
            let begin = CYCLE * u32::try_from(cycle).unwrap_or(u32::MAX) + Duration::from_millis(phase);
            plan.extend(READINGS.map(|(after, is_bad)| (begin + Duration::from_millis(after), place, is_bad)));
        }
    }
    plan.sort_unstable();
    let start = Instant::now();
    for (at, place, is_bad) in plan {
        thread::sleep((start + at).saturating_duration_since(Instant::now()));
        child.check()?;
        if bench.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let service = &services[place];
        let value = reading(&service.name, if is_bad { THRESHOLD + 1.0 } else { THRESHOLD / 3.0 });
        let append = appender.append(&record(ground, &service.name, &value), PATIENCE)?;
        if is_bad {
            let mut board = shared.board();
            board.tipped.insert(service.name.clone(), append);
            board.count[service.lateness] += 1;
            let (passed, all) = (start.elapsed().as_secs(), cycles * CYCLE.as_secs());
            bench.tell.progress(&format!("delay: {passed} of {all} s"));
        }
    }
    shared.wait_for_the_last(CYCLE);
    Ok(())
}

fn reading(service: &str, value: f64) -> Vec<u8> {
    let attributes = Attributes::new();
    codec::reading::encode(&Reading { service: service.into(), sensor: SENSOR.into(), ts: now_ms(), value, attributes })
}

fn record<'a>(ground: &'a Ground, service: &'a str, value: &'a [u8]) -> Record<'a> {
    Record {
        topic: &ground.topics.metrics,
        partition: home_partition(service, ground.partitions),
        key: Some(service.as_bytes()),
        value: Some(value),
        ..Record::default()
    }
}

/// Good readings of other services, one service after the other, until `done`; says how many a second.
fn emit(ground: &Ground, load: &Load, per_second: f64, done: &AtomicBool) -> Result<f64> {
    let mut bulk = Bulk::new(&ground.settings, &ground.topics.metrics)?;
    let names: Vec<String> = (0..load.series).map(Load::service).collect();
    let (start, mut sent) = (Instant::now(), 0_u64);
    let mut names = names.iter().cycle();
    while !done.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * per_second) as u64;
        for name in names.by_ref().take(usize::try_from(due.saturating_sub(sent)).unwrap_or(0)) {
            bulk.send(&record(ground, name, &reading(name, THRESHOLD / 3.0)), PATIENCE)?;
        }
        sent = sent.max(due);
        // The pace is the point.
        thread::sleep(BEAT);
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(bulk.finish(PATIENCE)? as f64 / seconds)
}

/// Notes how late each `opened` comes.
fn listen(reader: &mut Reader, services: &[Tipping], shared: &Shared, done: &AtomicBool) -> Result<()> {
    let lateness: BTreeMap<&str, usize> =
        services.iter().map(|service| (service.name.as_str(), service.lateness)).collect();
    while !done.load(Ordering::Relaxed) {
        let Next::Record(message) = reader.next(Duration::from_millis(100))? else { continue };
        let received = now_ms();
        let Ok(event) = codec::incident::decode(message.value().unwrap_or_default()) else { continue };
        if !matches!(event.kind, EventKind::Opened { .. }) {
            continue;
        }
        let mut board = shared.board();
        let append = board.tipped.remove(event.service.as_str());
        if let (Some(append), Some(&lateness)) = (append, lateness.get(event.service.as_str())) {
            board.delays[lateness].push(received - append);
        }
        shared.answered.notify_one();
    }
    Ok(())
}
