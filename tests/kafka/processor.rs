//! `ops process` on a real Kafka, end to end: what it publishes is what the oracle makes of the same log, whatever
//! happens to the processes on the way.
//!
//! One file a promise: `audit`, `series`, `kills`, `moves`, `foreign`, `quiet` (silence, and new specs), `crowd`
//! (processes come and go), `zombies` (one that was thought dead), `held` (commits and aborts that come late), `outage`
//! (of the broker), `leaps` (of clocks, and what a restart must not forget), `poison`, `metrics` (the numbers that are
//! scraped), `gap` (a log that no longer holds where we stopped), `crash` (a death at each point of a life), `controls`
//! (a guard is missing, or the judge is lied to, and it is noticed). The long form of many of them is `cargo torture`.

#[path = "processor/audit.rs"]
mod audit;
#[path = "processor/controls.rs"]
mod controls;
#[path = "processor/controls_of_the_judge.rs"]
mod controls_of_the_judge;
#[path = "processor/crash.rs"]
mod crash;
#[path = "processor/crowd.rs"]
mod crowd;
#[path = "processor/foreign.rs"]
mod foreign;
#[path = "processor/gap.rs"]
mod gap;
#[path = "processor/held.rs"]
mod held;
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
