//! `ops process` on a real Kafka, end to end: what it publishes is what the oracle makes of the same log, whatever
//! happens to the processes on the way.
//!
//! One file a promise: `audit`, `series`, `kills`, `moves`, `foreign`, `quiet` (silence, and new specs), `crowd`
//! (processes come and go), `zombies` (one that was thought dead), `outage` (of the broker), `leaps` (of clocks, and
//! what a restart must not forget), `poison`, `metrics` (the numbers that are scraped), `gap` (a log that no longer
//! holds where we stopped). The long form of many of them is `cargo torture`.

#[path = "processor/audit.rs"]
mod audit;
#[path = "processor/crowd.rs"]
mod crowd;
#[path = "processor/foreign.rs"]
mod foreign;
#[path = "processor/gap.rs"]
mod gap;
#[path = "processor/kills.rs"]
mod kills;
#[path = "processor/leaps.rs"]
mod leaps;
#[path = "processor/metrics.rs"]
mod metrics;
#[path = "processor/moves.rs"]
mod moves;
#[path = "processor/outage.rs"]
mod outage;
#[path = "processor/poison.rs"]
mod poison;
#[path = "processor/quiet.rs"]
mod quiet;
#[path = "processor/series.rs"]
mod series;
#[path = "processor/zombies.rs"]
mod zombies;
