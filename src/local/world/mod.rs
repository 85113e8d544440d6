//! The demo's world: a Kubernetes API over real HTTP whose deployments really get their pods, and an airport
//! scanner whose queue really depends on them. It is a stand-in for tests and the demo, no cluster: nothing runs.
//!
//! - [`SimulatedCluster`] (`cluster`): starts it, asks it, meddles with it.
//! - `http`, `discovery`, `tables`, `watch`: what `kubectl` and clients see.
//! - `store`: objects, versions and the log of changes; `updates`: the rules of a write; `controller`: what makes
//!   pods follow replicas; `objects`: how the objects look; `status`: how a refusal looks.
//! - [`scanner`]: the queue, pure.

mod cluster;
mod controller;
mod discovery;
mod http;
mod objects;
pub mod scanner;
mod status;
mod store;
mod tables;
mod updates;
mod watch;

pub use cluster::{SimulatedCluster, SimulatedDeployment, Write};
