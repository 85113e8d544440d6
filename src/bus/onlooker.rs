//! Looks at what a group has committed, again and again, from outside: how far somebody else's work is.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::context::Plain;
use super::error::{Error, Place};
use super::offsets::patient;
use super::record::{number, partition_list};
use super::settings::Settings;

/// Keeps its connection: a look costs one request. Not a member of the group.
pub struct Onlooker {
    client: BaseConsumer<Plain>,
    topic: String,
    partitions: Vec<i32>,
}

impl Onlooker {
    /// Of `group`, and of all partitions of `topic`.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings, group: &str, topic: &str, partitions: i32) -> Result<Self, Error> {
        let mut config = settings.member(group, None);
        // What an open transaction is about to commit is no news yet, and nothing to wait for.
        let client = config
            .set("isolation.level", "read_uncommitted")
            .create_with_context(Plain)
            .map_err(Error::client("creating a client", Place::none()))?;
        Ok(Self { client, topic: topic.to_owned(), partitions: (0..partitions).collect() })
    }

    /// The committed offset of each partition with its metadata, `None` before the first commit.
    ///
    /// # Errors
    /// No answer.
    pub fn committed(&self) -> Result<Vec<Option<(i64, String)>>, Error> {
        let list = patient("asking for a group's offsets", Place::topic(&self.topic), |timeout| {
            let list = self.client.committed_offsets(partition_list(&self.topic, &self.partitions), timeout)?;
            list.elements().iter().try_for_each(|entry| entry.error())?;
            Ok(list)
        })?;
        let found = |entry: &TopicPartitionListElem<'_>| Some((number(entry.offset())?, entry.metadata().to_owned()));
        Ok(list.elements().iter().map(found).collect())
    }
}
