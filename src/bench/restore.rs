//! Restore: how long a processor takes that was killed, from its start to the first commit of something new.

use std::time::Instant;

use super::Bench;
use super::error::Result;
use super::figure::middle;
use super::ground::Time;
use super::load::Load;
use super::watch::{self, Offsets};

/// More than a window, so that all of it has to be restored, s of simulated time.
const BEYOND: i64 = 20;

/// What was seen.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Restore {
    /// What the processor had read when it was killed.
    pub load: Load,
    /// From the start of the process to the first commit after what its predecessor had committed, s.
    pub first_commit_s: Vec<f64>,
    /// To that of the last partition.
    pub last_commit_s: Vec<f64>,
    /// Processor time until then, s.
    pub cpu_s: Vec<f64>,
    /// Most resident memory until then, MiB.
    pub peak_mib: Vec<f64>,
}

impl Restore {
    /// Medians: first commit, last commit, CPU, memory.
    pub fn medians(&self) -> [f64; 4] {
        [&self.first_commit_s, &self.last_commit_s, &self.cpu_s, &self.peak_mib].map(|values| middle(values.clone()))
    }
}

/// Fills a whole window, lets a processor read it, kills it and starts another in its place, `runs` times.
///
/// # Errors
/// It does not come to the end.
pub fn run(bench: &Bench<'_>, load: &Load, runs: usize) -> Result<Restore> {
    let seconds = load.window_ms / 1_000 + BEYOND;
    let load = Load { readings: load.readings.max((load.rate * seconds as f64) as u64), ..load.clone() };
    let ground = bench.ground("restore.", Time::Simulated)?;
    let (input, _) = bench.fill(&ground, &load)?;
    let group = bench.unique("restore");
    let mut child = bench.processor(&ground, &group, Time::Simulated)?;
    let mut offsets = Offsets::new(&ground, &group, ground.spans()?)?;
    let told = bench.telling("restore: the first life", input.records);
    watch::until(bench, input.records, &mut child, &mut offsets, told)?;
    let mut restore = Restore {
        load,
        first_commit_s: Vec::new(),
        last_commit_s: Vec::new(),
        cpu_s: Vec::new(),
        peak_mib: Vec::new(),
    };
    for run in 1..=runs {
        child.kill();
        let old = ground.spans()?;
        ground.append_a_second(&restore.load, i64::try_from(run).unwrap_or(1))?;
        let spans = old.iter().zip(ground.spans()?).map(|((partition, _, old), (.., new))| (*partition, *old, new));
        let spans: Vec<_> = spans.collect();
        let expected = spans.iter().map(|(_, old, new)| u64::try_from(new - old).unwrap_or(0)).sum();
        let mut offsets = Offsets::new(&ground, &group, spans)?;
        let (started, mut first) = (Instant::now(), None);
        child = bench.processor(&ground, &group, Time::Simulated)?;
        let told = |_| {
            bench.tell.progress(&format!("restore: life {} of {}", run + 1, runs + 1));
            first.get_or_insert_with(|| started.elapsed().as_secs_f64());
        };
        let seen = watch::until(bench, expected, &mut child, &mut offsets, told)?;
        restore.last_commit_s.push(started.elapsed().as_secs_f64());
        restore.first_commit_s.extend(first);
        let usage = child.usage();
        restore.cpu_s.push(usage.cpu_s);
        restore.peak_mib.push(seen.figures.peak_mib);
    }
    child.stop();
    Ok(restore)
}
