//! What the archiver tells of itself: what is in the vault, how far it is behind, what went wrong. Labels are bounded: the
//! two topics, their partitions, kinds of trouble. Written by [`crate::actors::archiver`], read by whoever scrapes
//! `/metrics`; decides nothing.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::{Source, text_of};
use super::parts::{Whole, number};

/// Upper ends of the times of segments and commits, s: a sync of a disk takes milliseconds, and the client gives up after
/// half a minute.
const SECONDS: [f64; 11] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// What can go wrong, and is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The vault did not take a segment.
    Vault,
    /// The group's offsets were not committed.
    Offsets,
    /// The bus: the member joins its group again.
    Session,
}

impl Trouble {
    const ALL: [Self; 3] = [Self::Vault, Self::Offsets, Self::Session];

    fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Offsets => "offsets",
            Self::Session => "session",
        }
    }
}

/// The metrics of one archiver, shared by its members.
#[derive(Debug)]
pub struct ArchiverMetrics {
    registry: Registry,
    records: Family<Labels<1>, Counter>,
    segments: Family<Labels<1>, Counter>,
    lag: Family<Labels<2>, Gauge>,
    partitions: Family<Labels<1>, Gauge>,
    refused: Family<Labels<1>, Gauge>,
    store_seconds: Histogram,
    commit_seconds: Histogram,
    errors: Family<[(&'static str, &'static str); 1], Counter>,
    /// By topic: are all of its partitions that are ours being read?
    whole: Whole,
}

impl Default for ArchiverMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ops_archiver");
        let metrics = Self {
            registry: Registry::default(),
            records: Family::default(),
            segments: Family::default(),
            lag: Family::default(),
            partitions: Family::default(),
            refused: Family::default(),
            store_seconds: Histogram::new(SECONDS),
            commit_seconds: Histogram::new(SECONDS),
            errors: Family::default(),
            whole: Whole::default(),
        };
        registry.register("records", "Records that are in the vault, synced", metrics.records.clone());
        registry.register("segments", "Segments that hold them", metrics.segments.clone());
        let lag = "Records (markers of transactions among them) between what is in the vault of a partition and its end, \
                   as the client last heard of it; a partition whose segment is refused hears nothing new";
        registry.register("partition_lag", lag, metrics.lag.clone());
        registry.register("partitions_owned", "Partitions that it archives", metrics.partitions.clone());
        let refused = "Closed segments that the vault does not take now; their partitions stand still";
        registry.register("refused_segments", refused, metrics.refused.clone());
        registry.register("store_seconds", "Until a segment was written and synced, s", metrics.store_seconds.clone());
        let commit =
            "Until the group's offsets were committed, s; they show how far the archive is, nothing hangs on them";
        registry.register("commit_seconds", commit, metrics.commit_seconds.clone());
        registry.register(
            "errors",
            "What went wrong and is tried again: vault, offsets, session",
            metrics.errors.clone(),
        );
        Trouble::ALL.iter().for_each(|trouble| drop(metrics.errors.get_or_create(&[("what", trouble.name())])));
        Self { registry, ..metrics }
    }
}

impl ArchiverMetrics {
    /// A segment of so many records is in the vault.
    pub fn stored(&self, topic: &str, records: usize, took: Duration) {
        self.records.get_or_create(&of(topic)).inc_by(records as u64);
        self.segments.get_or_create(&of(topic)).inc();
        self.store_seconds.observe(took.as_secs_f64());
    }

    /// The group's offsets are committed.
    pub fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Something went wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.errors.get_or_create(&[("what", trouble.name())]).inc();
    }

    /// How far the vault is behind the end of a partition, records.
    pub fn behind(&self, topic: &str, partition: i32, lag: i64) {
        self.lag.get_or_create(&at(topic, partition)).set(lag.max(0));
    }

    /// A partition is archived by somebody else now.
    pub fn let_go(&self, topic: &str, partition: i32) {
        self.lag.remove(&at(topic, partition));
    }

    /// How many segments of a topic wait for the vault.
    pub fn refused(&self, topic: &str, segments: usize) {
        self.refused.get_or_create(&of(topic)).set(number(segments));
    }

    /// How many partitions of a topic are ours, and whether all of them are being read. Sets `/readyz`.
    pub fn hold(&self, topic: &str, partitions: usize, whole: bool) {
        self.partitions.get_or_create(&of(topic)).set(number(partitions));
        self.whole.set(topic, whole);
        // There from the beginning: rates want a first value.
        drop(self.records.get_or_create(&of(topic)));
        drop(self.segments.get_or_create(&of(topic)));
        drop(self.refused.get_or_create(&of(topic)));
    }
}

fn of(topic: &str) -> Labels<1> {
    [("topic", topic.to_owned())]
}

fn at(topic: &str, partition: i32) -> Labels<2> {
    [("topic", topic.to_owned()), ("partition", partition.to_string())]
}

impl Source for ArchiverMetrics {
    fn text(&self) -> String {
        text_of(&self.registry)
    }

    fn is_ready(&self) -> bool {
        self.whole.is_whole()
    }
}
