//! The rig: fleets of real processes on a real Kafka that can be stopped, killed and frozen, load for them, and a
//! judge who knows what they must have published. Shared by the tests on Kafka and by the long run (`cargo torture`).
//!
//! - `cluster`: the broker of the run. `fleet`: topics, specs, readings and child processes of one test.
//! - `load`: readings by the clock. `watch`: waits for events.
//! - `judge`: the oracle's second opinion, from the topics alone.
//! - `proxy`: stands between a process and the broker, and holds back or loses what passes.
//!   `held`: rounds of it.

// Each binary that includes this module uses a part of it.
#![allow(dead_code)]

pub mod cluster;
pub mod fleet;
pub mod held;
pub mod judge;
pub mod load;
pub mod proxy;
pub mod watch;
