//! The report of a run: a few lines for people as campaigns end, all of it as JSON for whoever compares runs.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::campaign::{Campaign, Trial, bound};

/// What was played so far.
pub struct Report {
    seed: u64,
    /// Where it is written too.
    file: Option<PathBuf>,
    campaigns: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Empty.
    pub fn new(seed: u64, file: Option<PathBuf>) -> Self {
        Self { seed, file, campaigns: Vec::new(), failed: false }
    }

    /// Takes a campaign in, and tells of it.
    pub fn add(&mut self, campaign: &Campaign, trial: &Trial, done: Result<(), String>) {
        let mut entry = trial.figures.to_json();
        entry["campaign"] = json!(campaign.name);
        entry["shows"] = json!(campaign.shows);
        entry["wanted"] = json!(trial.rounds);
        entry["seconds"] = json!(trial.elapsed().as_secs());
        entry["weight"] = json!({ "rate": trial.weight.rate, "series": trial.weight.series });
        println!("{}: {}", campaign.name, campaign.shows);
        match &done {
            Ok(()) => println!(
                "  {} rounds, no difference (a round differs with less than {:.2} %, at 95 %)",
                trial.figures.rounds,
                100.0 * bound(trial.figures.rounds)
            ),
            Err(difference) => println!("  DIFFERS after {} rounds: {difference}", trial.figures.rounds),
        }
        for (what, count) in &trial.figures.counts {
            println!("  {count} {what}");
        }
        for (what, times) in entry["times_ms"].as_object().into_iter().flatten() {
            let limit = match times["kept"].as_bool() {
                Some(true) => format!(", within its limit of {} ms", times["limit"]),
                Some(false) => format!(", BEYOND its limit of {} ms", times["limit"]),
                None => String::new(),
            };
            println!(
                "  {what}: p50 {} ms, p99 {} ms{limit}, max {} ms (n {})",
                times["p50"], times["p99"], times["max"], times["n"]
            );
        }
        for (what, size) in &trial.figures.peaks {
            println!("  {what}: at most {size}");
        }
        trial.figures.notes.iter().for_each(|note| println!("  {note}"));
        self.failed |= done.is_err();
        entry["difference"] = json!(done.err());
        self.campaigns.push(entry);
        self.write();
    }

    /// Says how it all ended.
    pub fn finish(self) -> ExitCode {
        println!("seed {}: {}", self.seed, if self.failed { "a difference was found" } else { "no difference" });
        ExitCode::from(u8::from(self.failed))
    }

    /// After each campaign: a run of hours may be ended by something else.
    fn write(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (seed, campaigns) = (self.seed, &self.campaigns);
        let version = env!("CARGO_PKG_VERSION");
        let report = json!({ "seed": seed, "version": version, "cores": cores, "campaigns": campaigns });
        if let Some(file) = &self.file
            && let Err(error) = std::fs::write(file, format!("{report:#}\n"))
        {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }
}
