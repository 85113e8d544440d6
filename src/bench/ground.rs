//! The topics of one measurement: made, filled, emptied for the next run, removed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::{Error, Result};
use super::load::{self, Load};
use crate::bus::bare::Span;
use crate::bus::bulk::Bulk;
use crate::bus::{Admin, Offsets, Record, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::ids::home_partition;
use crate::model::reading::{Attributes, Reading};
use crate::model::registration::Registration;
use crate::model::topic_files::{Overrides, Topic, declared};
use crate::model::topics::Topics;

/// For a record to find room in the client's queue, and for the last ones to be acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether the user wants to go on, records.
const LOOK_EVERY: u64 = 100_000;

/// Topics behind a prefix of their own. Removed when dropped, unless they are to be kept.
pub struct Ground {
    /// The cluster.
    pub settings: Settings,
    /// Goes before every name.
    pub prefix: String,
    /// The names.
    pub topics: Topics,
    /// Of each of them.
    pub partitions: i32,
    declared: Vec<Topic>,
    admin: Admin,
    /// Outputs of peers.
    others: Vec<String>,
    keep: bool,
}

/// What is on the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Input {
    /// All records.
    pub records: u64,
    /// Those among them that nobody can decode.
    pub poison: u64,
    /// Keys and values.
    pub bytes: u64,
    /// Of records from [`Load::steady_from`] on.
    pub steady_bytes: u64,
}

/// Whose append times the input has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Made up by whoever fills it.
    Simulated,
    /// The broker's.
    Real,
}

impl Ground {
    /// Makes the topics.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn make(settings: &Settings, prefix: &str, partitions: i32, time: Time, keep: bool) -> Result<Self> {
        let overrides = Overrides { prefix: prefix.to_owned(), partitions: Some(partitions), ..Overrides::default() };
        let mut declared = declared(&overrides);
        let topics = Topics::new(prefix);
        if time == Time::Simulated {
            for topic in declared.iter_mut().filter(|topic| topic.name == topics.metrics) {
                topic.config.insert("message.timestamp.type".to_owned(), "CreateTime".to_owned());
                // What is stamped with the past is old for the broker.
                topic.config.insert("retention.ms".to_owned(), "-1".to_owned());
            }
        }
        let admin = Admin::new(settings)?;
        let (settings, prefix) = (settings.clone(), prefix.to_owned());
        let ground = Self { settings, prefix, topics, partitions, declared, admin, others: Vec::new(), keep };
        ground.admin.create_missing(&ground.declared)?;
        Ok(ground)
    }

    /// Puts the load on the input.
    ///
    /// # Errors
    /// The bus; the user.
    pub fn fill(&self, load: &Load, stop: &AtomicBool, mut tell: impl FnMut(u64)) -> Result<Input> {
        let mut bulk = Bulk::new(&self.settings, &self.topics.metrics)?;
        let (mut records, mut value, mut input) = (load.records(), Vec::new(), Input::default());
        let steady_from = load.steady_from();
        while let Some(made) = records.next(&mut value) {
            let record = Record {
                partition: made.partition,
                key: Some(made.key.as_bytes()),
                value: Some(&value),
                timestamp_ms: Some(made.stamp),
                ..Record::default()
            };
            bulk.send(&record, PATIENCE)?;
            let bytes = (made.key.len() + value.len()) as u64;
            input.records += 1;
            input.poison += u64::from(made.is_poison);
            input.bytes += bytes;
            input.steady_bytes += if made.stamp >= steady_from { bytes } else { 0 };
            if input.records.is_multiple_of(LOOK_EVERY) {
                tell(input.records);
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
            }
        }
        Error::unless_equal("readings that were sent", input.records, bulk.finish(PATIENCE)?)?;
        let held = self.spans()?.iter().map(|(_, low, high)| u64::try_from(high - low).unwrap_or(0)).sum();
        Error::unless_equal("records on the input", input.records, held)?;
        Ok(input)
    }

    /// Publishes specs, each with its service.
    ///
    /// # Errors
    /// The bus.
    pub fn register(&self, specs: impl Iterator<Item = (String, String)>) -> Result<()> {
        let partitions = Offsets::new(&self.settings)?.partitions(&self.topics.services)?;
        let mut bulk = Bulk::new(&self.settings, &self.topics.services)?;
        for (text, name) in specs {
            let Some(service) = ServiceId::new(&name) else { continue };
            let (owner, by) = ("bench".to_owned(), "ops bench".to_owned());
            let registration = Registration { service, owner, text, registered_at: load::BEGIN_MS, by };
            let (key, value) = (Some(name.as_bytes()), codec::service::encode(&registration));
            let partition = home_partition(&name, partitions);
            bulk.send(&Record { partition, key, value: Some(&value), ..Record::default() }, PATIENCE)?;
        }
        bulk.finish(PATIENCE)?;
        Ok(())
    }

    /// Puts one more reading into every partition, `seconds` after the end of the load.
    ///
    /// # Errors
    /// The bus.
    pub fn append_a_second(&self, load: &Load, seconds: i64) -> Result<()> {
        let mut bulk = Bulk::new(&self.settings, &self.topics.metrics)?;
        let stamp = load::BEGIN_MS + load.length_ms() + 1_000 * seconds;
        let mut homeless: BTreeSet<i32> = (0..self.partitions).collect();
        for name in (0..load.series).map(Load::service) {
            let partition = home_partition(&name, self.partitions);
            if homeless.remove(&partition) {
                let (service, sensor) = (name.as_str().into(), load::SENSOR.into());
                let reading = Reading { service, sensor, ts: stamp, value: 1.0, attributes: Attributes::new() };
                let (key, value) = (Some(name.as_bytes()), codec::reading::encode(&reading));
                let (value, timestamp_ms) = (Some(value.as_slice()), Some(stamp));
                bulk.send(&Record { partition, key, value, timestamp_ms, ..Record::default() }, PATIENCE)?;
            }
        }
        bulk.finish(PATIENCE)?;
        Ok(())
    }

    /// What the input's partitions hold.
    ///
    /// # Errors
    /// The bus.
    pub fn spans(&self) -> Result<Vec<Span>> {
        let offsets = Offsets::new(&self.settings)?;
        let span = |partition| {
            let held = offsets.watermarks(&self.topics.metrics, partition)?;
            Ok((partition, held.low, held.high))
        };
        (0..self.partitions).map(span).collect()
    }

    /// Forgets what a processor has written: the next run begins as the first did.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn clear_outputs(&self) -> Result<()> {
        let Topics { incidents, rollups, state, rejected, .. } = &self.topics;
        let is_output = |topic: &&Topic| [incidents, rollups, state, rejected].contains(&&topic.name);
        let outputs: Vec<Topic> = self.declared.iter().filter(is_output).cloned().collect();
        outputs.iter().try_for_each(|topic| self.admin.delete_topic(&topic.name))?;
        Ok(self.admin.create_missing(&outputs)?)
    }

    /// A new topic for the events of a peer.
    ///
    /// # Errors
    /// The cluster refuses.
    pub fn peer_output(&mut self, name: &str) -> Result<String> {
        let name = format!("{}{name}", self.prefix);
        if let Some(topic) = self.declared.iter().find(|topic| topic.name == self.topics.incidents) {
            self.admin.create_topic(&(&Topic { name: name.clone(), ..topic.clone() }).into())?;
        }
        self.others.push(name.clone());
        Ok(name)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for name in self.declared.iter().map(|topic| &topic.name).chain(&self.others) {
            if let Err(error) = self.admin.delete_topic(name) {
                tracing::warn!(topic = name, %error, "a topic is left behind");
            }
        }
    }
}
