//! A peer: somebody else's program that does the same job on the same topic. What it is told is in its environment, how
//! far it is shows in the offsets of its group, what it decided is on its output.
//!
//! | variable `OPS_BENCH_` | |
//! |---|---|
//! | `BROKERS`, `INPUT`, `OUTPUT` | where; the output is empty and has the partitions of the input |
//! | `APPLICATION` | its consumer group, new in each run |
//! | `DIRECTORY` | empty, for scratch |
//! | `THREADS`, `COMMIT_MS` | as the processor's |
//! | `SERIES` | services `service-000000`..., each with the sensor `queue_time_seconds` |
//! | `WINDOW_MS`, `STEP_MS`, `LATENESS_MS`, `THRESHOLD`, `RECOVER_THRESHOLD`, `RECOVER_MS`, `MIN_SAMPLES` | the SLO |
//!
//! It writes `opened MS` or `resolved MS` with the service as key, exactly once, and may print `{"note": "..."}`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Bench;
use super::child::Child;
use super::error::{Error, Result};
use super::events::{self, Events};
use super::ground::{Ground, Input};
use super::load::{self, Load};
use super::race::Run;
use super::watch::{self, Offsets};

/// What to start, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In the report.
    pub name: String,
    /// For `sh -c`.
    pub command: String,
}

/// One run, compared with `ours`; and the peer's notes.
///
/// # Errors
/// It ends, or does not come to the end.
pub fn run(
    bench: &Bench<'_>,
    ground: &mut Ground,
    load: &Load,
    input: &Input,
    peer: &Peer,
    ours: &Events,
    told: &str,
) -> Result<(Run, Vec<String>)> {
    let application = bench.unique("peer");
    let output = ground.peer_output(&application)?;
    let scratch = Scratch::make(&application)?;
    let mut command = Command::new("sh");
    command.args(["-c", &peer.command]).envs(environment(bench, ground, load)).envs([
        ("OPS_BENCH_OUTPUT", output.as_str()),
        ("OPS_BENCH_APPLICATION", &application),
        ("OPS_BENCH_DIRECTORY", &scratch.0.display().to_string()),
    ]);
    let mut child = Child::spawn(&peer.name, command)?;
    let notes = Arc::<Mutex<Vec<String>>>::default();
    if let Some(stdout) = child.stdout() {
        let notes = notes.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                let json: Option<serde_json::Value> = serde_json::from_str(&line).ok();
                if let Some(note) = json.as_ref().and_then(|json| json.get("note")?.as_str()) {
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.to_owned());
                }
            }
        });
    }
    let mut offsets = Offsets::new(ground, &application, ground.spans()?)?;
    let seen = watch::until(bench, input.records, &mut child, &mut offsets, bench.telling(told, input.records))?;
    child.stop();
    let theirs = events::peers(ground, &output)?;
    let differences = events::differences(ours, &theirs);
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (figures, consumed, count) = (seen.figures, seen.done, Some(events::count(&theirs)));
    Ok((Run { figures, consumed, events: count, differences, written: None }, notes))
}

/// What is the same in every run.
fn environment(bench: &Bench<'_>, ground: &Ground, load: &Load) -> Vec<(&'static str, String)> {
    vec![
        ("OPS_BENCH_BROKERS", ground.settings.brokers().to_owned()),
        ("OPS_BENCH_INPUT", ground.topics.metrics.clone()),
        ("OPS_BENCH_THREADS", bench.threads.to_string()),
        ("OPS_BENCH_COMMIT_MS", bench.commit_ms.to_string()),
        ("OPS_BENCH_SERIES", load.series.to_string()),
        ("OPS_BENCH_WINDOW_MS", load.window_ms.to_string()),
        ("OPS_BENCH_STEP_MS", load::STEP_MS.to_string()),
        ("OPS_BENCH_LATENESS_MS", load::LATENESS_MS.to_string()),
        ("OPS_BENCH_THRESHOLD", load::THRESHOLD.to_string()),
        ("OPS_BENCH_RECOVER_THRESHOLD", load::RECOVER_THRESHOLD.to_string()),
        ("OPS_BENCH_RECOVER_MS", load::RECOVER_MS.to_string()),
        ("OPS_BENCH_MIN_SAMPLES", load::MIN_SAMPLES.to_string()),
    ]
}

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(Error::io(format!("making {}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies where such things are cleared away.
        let _ = fs::remove_dir_all(&self.0);
    }
}
