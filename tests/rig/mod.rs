//! The rig: fleets of real processes on a real Kafka that can be stopped, killed and frozen, load for them, and a
//! judge who knows what they must have published. Shared by the tests on Kafka and by the long run (`cargo torture`).
//!
//! - `cluster`: the broker of the run. `fleet`: topics, specs, readings and child processes of one test.
//! - `load`: readings by the clock. `watch`: waits for events.
//! - `vault`: archivers, and the vault against its topics; in it `faults`: what befalls them, `controls`: what happens
//!   without a guard.
//! - `effects`: actors, what they are asked, and the judge of what they did to their world (`world`); `faults` and
//!   `controls` as for the vault; `channels`: pagers and the twins of PagerDuty and Slack.
//! - `judge`: the oracle's second opinion, from the topics alone. `audit`: the auditor's, byte by byte.
//! - `proxy`: stands between a process and the broker, and holds back or loses what passes.
//!   `held`: rounds of it.
//! - `crash`: lives that end at points of death. `story`: simulated time, clocks that go wrong. `poison`: hostile
//!   records. `sabotage`: plays in which a guard is missing.

// Each binary that includes this module uses a part of it.
#![allow(dead_code)]

pub mod audit;
pub mod cluster;
pub mod crash;
pub mod effects;
pub mod fleet;
pub mod held;
pub mod judge;
pub mod load;
pub mod poison;
pub mod proxy;
pub mod sabotage;
pub mod story;
pub mod vault;
pub mod watch;
