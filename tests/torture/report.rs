//! The report of a run: a few lines for people as campaigns end, all of it as JSON for whoever compares runs.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::campaign::{Campaign, Trial, bound};

/// What was played so far.
pub struct Report {
    seed: u64,
    campaigns: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Empty.
    pub fn new(seed: u64) -> Self {
        Self { seed, campaigns: Vec::new(), failed: false }
    }

    /// Takes a campaign in, and tells of it.
    pub fn add(&mut self, campaign: &Campaign, trial: &Trial, done: Result<(), String>) {
        let mut entry = trial.figures.to_json();
        entry["campaign"] = json!(campaign.name);
        entry["shows"] = json!(campaign.shows);
        entry["wanted"] = json!(trial.rounds);
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
            println!(
                "  {what}: p50 {} ms, p99 {} ms, max {} ms (n {})",
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
    }

    /// Writes the file, if one is wanted, and says how it all ended.
    pub fn finish(self, file: Option<&Path>) -> ExitCode {
        let Self { seed, campaigns, failed } = self;
        println!("seed {seed}: {}", if failed { "a difference was found" } else { "no difference" });
        let report = json!({ "seed": seed, "version": env!("CARGO_PKG_VERSION"), "campaigns": campaigns });
        if let Some(file) = file
            && let Err(error) = std::fs::write(file, format!("{report:#}\n"))
        {
            eprintln!("cannot write {}: {error}", file.display());
            return ExitCode::from(2);
        }
        ExitCode::from(u8::from(failed))
    }
}
