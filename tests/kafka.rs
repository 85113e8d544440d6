//! Everything that needs a real Kafka, in one test binary, so that one broker serves a whole run.
//!
//! The broker is started by the first test that asks for it ([`rig::cluster`]) and ends with this process,
//! also when tests fail. With `OPS_BROKERS=host:port` the tests use that cluster instead.

#[path = "kafka/harness.rs"]
mod harness;

#[path = "kafka/actions.rs"]
mod actions;
#[path = "kafka/actors.rs"]
mod actors;
#[path = "kafka/actors_controls.rs"]
mod actors_controls;
#[path = "kafka/actors_crashes.rs"]
mod actors_crashes;
#[path = "kafka/actors_frame.rs"]
mod actors_frame;
#[path = "kafka/actors_history.rs"]
mod actors_history;
#[path = "kafka/actors_kubernetes.rs"]
mod actors_kubernetes;
#[path = "kafka/actors_zombies.rs"]
mod actors_zombies;
#[path = "kafka/alive.rs"]
mod alive;
#[path = "kafka/approvals.rs"]
mod approvals;
#[path = "kafka/archiver.rs"]
mod archiver;
#[path = "kafka/archiver_controls.rs"]
mod archiver_controls;
#[path = "kafka/archiver_crashes.rs"]
mod archiver_crashes;
#[path = "kafka/archiver_disk.rs"]
mod archiver_disk;
#[path = "kafka/bench.rs"]
mod bench;
#[path = "kafka/buffer.rs"]
mod buffer;
#[path = "kafka/bus.rs"]
mod bus;
#[path = "kafka/collect.rs"]
mod collect;
#[path = "kafka/courier.rs"]
mod courier;
#[path = "kafka/exporters.rs"]
mod exporters;
#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/held.rs"]
mod held;
#[path = "kubernetes/cluster.rs"]
mod kubernetes;
#[path = "kafka/local.rs"]
mod local;
#[path = "kafka/metrics.rs"]
mod metrics;
#[path = "oracle/mod.rs"]
mod oracle;
#[path = "kafka/outbox.rs"]
mod outbox;
#[path = "kafka/pager.rs"]
mod pager;
#[path = "kafka/pager_channels.rs"]
mod pager_channels;
#[path = "kafka/pager_faults.rs"]
mod pager_faults;
#[path = "kafka/pages.rs"]
mod pages;
#[path = "kafka/processor.rs"]
mod processor;
#[path = "kafka/receive.rs"]
mod receive;
#[path = "kafka/registry.rs"]
mod registry;
#[path = "rig/mod.rs"]
mod rig;
#[path = "kafka/scrape.rs"]
mod scrape;
#[path = "kafka/sdk.rs"]
mod sdk;
#[path = "kafka/senders.rs"]
mod senders;
#[path = "kafka/topics.rs"]
mod topics;
#[path = "twins/mod.rs"]
mod twins;
#[path = "kafka/warroom.rs"]
mod warroom;
#[path = "kafka/workers.rs"]
mod workers;
