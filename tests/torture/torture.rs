//! `cargo torture`: the long form of the tests that break things. Each campaign plays one kind of fault against real
//! processes on a real Kafka, and the judge compares all that was published with the oracle.
//!
//! The quick forms are in `cargo test`. This program is also `ops` (its first argument says so), so that there is
//! one build of both.

#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../rig/mod.rs"]
mod rig;
#[path = "../twins/mod.rs"]
mod twins;

mod archive;
mod campaign;
mod channels;
mod clocks;
mod controls;
mod crowd;
mod disk;
mod effects;
mod heavy;
mod held;
mod kills;
mod outage;
mod points;
mod poison;
mod report;
mod stage;
mod zombies;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use campaign::{Campaign, Trial, Weight};
use clap::Parser;

/// One allocator for Rust and for librdkafka, as in `ops`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All of them, in the order in which they are played.
const CAMPAIGNS: &[Campaign] = &[
    kills::CAMPAIGN,
    points::CAMPAIGN,
    crowd::CAMPAIGN,
    zombies::CAMPAIGN,
    outage::CAMPAIGN,
    held::CAMPAIGN,
    clocks::CAMPAIGN,
    poison::CAMPAIGN,
    archive::CAMPAIGN,
    disk::CAMPAIGN,
    effects::CAMPAIGN,
    channels::CAMPAIGN,
    controls::CAMPAIGN,
];

/// Break it, and see whether the log lies.
///
/// Plays campaigns of faults against real processes on a Kafka of its own (or OPS_BROKERS) and compares everything that
/// was published with what the definitions ask for. Exit code 0: no difference. 1: the first difference is printed.
#[derive(Parser)]
#[command(name = "torture")]
struct Args {
    /// Which campaigns; all of them if none is named.
    campaigns: Vec<String>,
    /// Rounds of each, instead of its own number.
    #[arg(long)]
    rounds: Option<u32>,
    /// Where, when and whom faults hit. Printed, so that a run can be repeated.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Readings a second of campaigns under a heavy load.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Series that these readings are of, two a service.
    #[arg(long, default_value_t = 2_000)]
    series: u64,
    /// Write the report here too, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<std::path::PathBuf>,
    /// Name the campaigns and end.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "ops") {
        return hms_ops::cli::run(arguments);
    }
    hms_ops::codec::format::bound_allocations();
    let args = Args::parse();
    if args.list {
        CAMPAIGNS.iter().for_each(|one| println!("{:<12} {:>4} rounds  {}", one.name, one.rounds, one.shows));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.campaigns.iter().find(|name| CAMPAIGNS.iter().all(|one| one.name != **name)) {
        let names: Vec<_> = CAMPAIGNS.iter().map(|one| one.name).collect();
        eprintln!("there is no campaign {unknown}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |one: &&Campaign| args.campaigns.is_empty() || args.campaigns.iter().any(|name| name == one.name);
    let mut report = report::Report::new(args.seed, args.report.clone());
    for one in CAMPAIGNS.iter().filter(wanted) {
        let weight = Weight { rate: args.rate, series: args.series };
        let mut trial = Trial::new(one.name, args.rounds.unwrap_or(one.rounds), args.seed, weight);
        // The rig gives up by a panic, which has told already what it waited for in vain; the other campaigns go on.
        let done = catch_unwind(AssertUnwindSafe(|| (one.run)(&mut trial)));
        report.add(one, &trial, done.unwrap_or_else(|cause| Err(gave_up(&*cause))));
    }
    report.finish()
}

/// Why the rig gave up, as far as it fits into a report; all of it was printed.
fn gave_up(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    let start: String = text.unwrap_or("no reason").chars().take(1_000).collect();
    format!("the rig gave up: {start}")
}
