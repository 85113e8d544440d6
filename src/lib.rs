//! HMS-OPS: sensors -> `ops.metrics` -> processor (window, verdict, playbook) -> `ops.incidents` -> actors -> the world.
//!
//! One folder per stage of the flow:
//!
//! - [`model`]: the pure words: reading, spec, incident, rollup, ids.
//! - [`spec`]: `*.ops.yaml` -> [`model::spec::Spec`], with errors that give line, column and the mend.
//! - [`codec`]: bytes <-> model (Avro, JSON).
//! - [`window`]: pure arithmetic: counters per step, nearest rank, digest, the clock of a partition.
//! - [`processor`]: `core` (pure: `step(record) -> effects`), `incident` (the machine of a cause), `restore`, `worker`.
//! - [`bus`]: the only code that knows rdkafka.
//! - [`actors`]: guard -> act -> outcome, once for all actors; autoscaler, pager, archiver.
//! - [`world`]: drivers: Kubernetes, webhook.
//! - [`vault`]: HMS-DTA, the archive.
//! - [`sdk`]: what a user does with the bus: register, emit, ask for the status.
//! - [`local`]: a single-node Apache Kafka and the demo's world, for demo and tests.
//! - [`bench`]: `ops bench`: how fast, at which cost, beside the bare client and beside others.
//! - [`telemetry`]: log events and metrics of our own.
//! - [`warroom`]: how the fleet is, over HTTP.
//! - [`web`]: what every HTTP service shares: limits, tokens, problems.
//! - [`torture`]: crashes and missing guards for tests; nothing without its cargo feature.
//! - [`cli`]: one file per command.
//!
//! Without the cargo feature `service` there is only what a program needs that emits and asks: [`model`], [`spec`],
//! [`codec`], [`window`], [`bus`], [`vault`] and [`sdk`].

#[cfg(feature = "service")]
pub mod actors;
#[cfg(feature = "service")]
pub mod bench;
pub mod bus;
#[cfg(feature = "service")]
pub mod cli;
pub mod codec;
#[cfg(feature = "service")]
pub mod local;
pub mod model;
#[cfg(feature = "service")]
pub mod processor;
pub mod sdk;
pub mod spec;
pub mod telemetry;
pub mod torture;
pub mod vault;
#[cfg(feature = "service")]
pub mod warroom;
#[cfg(feature = "service")]
pub mod web;
pub mod window;
#[cfg(feature = "service")]
pub mod world;
