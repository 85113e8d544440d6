//! What runs on this machine so that nothing has to be installed: a real Apache Kafka for the demo and the tests,
//! and the demo's world.
//!
//! Not for production: one node, no replication, a scratch directory that is removed at the end.

pub mod demo;
pub mod kafka;
pub mod world;
