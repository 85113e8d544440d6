//! Topics: create, describe, set their configuration; and what a group has committed.
//!
//! The client's administration is asynchronous; each call here waits for its one answer, so that the callers,
//! which are commands, need no runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::alter;
use super::context::Plain;
use super::error::{Error, Place};
use super::offsets::patient;
use super::record::{Committed, metadata_of, number, partition_list};
use super::settings::Settings;
use super::verdict::Verdict;
use crate::model::topic_files::Topic;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A topic as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions; fixed for life.
    pub partitions: i32,
    /// Replicas of each; -1 is the cluster's default.
    pub replication: i32,
    /// Configuration as text, by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

impl From<&Topic> for TopicSpec {
    fn from(topic: &Topic) -> Self {
        Self {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication: topic.replication,
            configs: topic.config.clone(),
        }
    }
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of the partition that has the fewest.
    pub replication: i32,
    /// What is set on the topic itself; what it inherits from the cluster is not here.
    pub configs: BTreeMap<String, String>,
}

/// See the module.
pub struct Admin {
    client: AdminClient<Plain>,
    settings: Settings,
}

impl Admin {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let client = settings
            .plain()
            .create_with_context(Plain)
            .map_err(Error::client("creating an administration client", Place::none()))?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// Creates a topic and waits until its partitions have leaders. `false`: it was there, and nothing was
    /// changed.
    ///
    /// # Errors
    /// Refused by the cluster, with its reason.
    pub fn create_topic(&self, spec: &TopicSpec) -> Result<bool, Error> {
        let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
        for (key, value) in &spec.configs {
            topic = topic.set(key, value);
        }
        let place = || Place::topic(&spec.name);
        let answer = block_on(self.client.create_topics([&topic], &options()))
            .map_err(Error::client("creating a topic", place()))?;
        let created = match one(answer) {
            Ok(_) => true,
            Err((_, Code::TopicAlreadyExists)) => false,
            Err((_, code)) => return Err(Error::client("creating a topic", place())(KafkaError::AdminOp(code))),
        };
        self.wait_for_leaders(&spec.name)?;
        Ok(created)
    }

    /// Makes the topics that are not there yet, and changes no other: for the demo, benches and tests.
    ///
    /// # Errors
    /// As [`Self::create_topic`].
    pub fn create_missing(&self, topics: &[Topic]) -> Result<(), Error> {
        topics.iter().try_for_each(|topic| self.create_topic(&topic.into()).map(drop))
    }

    /// The metadata of a new topic takes a moment to reach every broker, and there is no event for it.
    fn wait_for_leaders(&self, topic: &str) -> Result<(), Error> {
        let has_leaders = |leaders: Option<Vec<i32>>| leaders.is_some_and(|all| all.iter().all(|leader| *leader >= 0));
        self.wait_for(topic, "waiting for leaders", has_leaders)
    }

    /// Waits until the leaders of a topic, `None` without one, are as they should be.
    fn wait_for(
        &self,
        topic: &str,
        operation: &'static str,
        is_done: impl Fn(Option<Vec<i32>>) -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + TIMEOUT;
        while !is_done(self.leaders(topic)?) {
            if Instant::now() >= deadline {
                return Err(Error::TimedOut { operation, place: Place::topic(topic), waited: TIMEOUT });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The leader of each partition, -1 where there is none; `None` if there is no such topic.
    fn leaders(&self, topic: &str) -> Result<Option<Vec<i32>>, Error> {
        let metadata = patient("asking for a topic", Place::topic(topic), |timeout| {
            self.client.inner().fetch_metadata(Some(topic), timeout)
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        Ok(found.map(|found| found.partitions().iter().map(|partition| partition.leader()).collect()))
    }

    /// How the topics are, by name; `None` for one that does not exist.
    ///
    /// # Errors
    /// No answer, no right to ask.
    pub fn describe_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Option<TopicState>>, Error> {
        let metadata =
            patient("asking for topics", Place::none(), |timeout| self.client.inner().fetch_metadata(None, timeout))?;
        let mut states = BTreeMap::new();
        for name in names {
            let found = metadata.topics().iter().find(|found| found.name() == *name && found.error().is_none());
            let state = found
                .map(|found| {
                    let replicas = found.partitions().iter().map(|partition| partition.replicas().len()).min();
                    Ok::<_, Error>(TopicState {
                        partitions: i32::try_from(found.partitions().len()).unwrap_or(i32::MAX),
                        replication: replicas.and_then(|count| i32::try_from(count).ok()).unwrap_or(0),
                        configs: self.configs(name)?,
                    })
                })
                .transpose()?;
            states.insert((*name).to_owned(), state);
        }
        Ok(states)
    }

    fn configs(&self, topic: &str) -> Result<BTreeMap<String, String>, Error> {
        let failed = || Error::client("describing a topic", Place::topic(topic));
        let answer =
            block_on(self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options())).map_err(failed())?;
        let resource =
            answer.into_iter().next().unwrap_or(Err(Code::Fail)).map_err(|code| failed()(KafkaError::AdminOp(code)))?;
        let ours = resource.entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        Ok(ours.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())
    }

    /// Makes `configs` the whole configuration of a topic: what is not named goes back to the cluster's default.
    ///
    /// # Errors
    /// Refused by the cluster; nothing is changed then.
    pub fn set_topic_configs(&self, topic: &str, configs: &BTreeMap<String, String>) -> Result<(), Error> {
        let client = self.client.inner().native_ptr();
        // SAFETY: the client lives as long as `self`.
        unsafe { alter::set_topic_configs(client, topic, configs, TIMEOUT) }.map_err(
            |alter::Refused { code, reason }| {
                Error::judged("configuring a topic", Place::topic(topic), Verdict::of_code(code), reason)
            },
        )
    }

    /// Deletes a topic and waits until it is gone, so that another may have its name: tests and benchmarks clean up after
    /// themselves on a cluster that was given.
    ///
    /// # Errors
    /// Refused by the cluster; it does not go.
    pub fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let failed = || Error::client("deleting a topic", Place::topic(topic));
        let answer = block_on(self.client.delete_topics(&[topic], &options())).map_err(failed())?;
        one(answer).map_err(|(_, code)| failed()(KafkaError::AdminOp(code)))?;
        self.wait_for(topic, "waiting for a topic to go", |leaders| leaders.is_none())
    }

    /// Deletes the records of a partition before `offset`, as retention does in its own time.
    ///
    /// # Errors
    /// Refused by the cluster: a compacted topic, an offset beyond the end.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Error> {
        let failed = || Error::client("deleting records", Place::offset(topic, partition, offset));
        let mut list = partition_list(topic, &[partition]);
        list.set_all_offsets(Offset::Offset(offset)).map_err(failed())?;
        let answer = block_on(self.client.delete_records(&list, &options())).map_err(failed())?;
        answer.elements().iter().try_for_each(|entry| entry.error()).map_err(failed())
    }

    /// What any group has committed, whoever its members are: a look from outside.
    ///
    /// # Errors
    /// No answer; an open transaction holds the offsets back.
    pub fn group_offsets(&self, group: &str, topic: &str, partitions: &[i32]) -> Result<Vec<Committed>, Error> {
        self.offsets_of_group(group, topic, partitions, "read_committed")
    }

    /// As [`Self::group_offsets`], but does not wait for open transactions: what was committed before them. Tells
    /// a partition's next owner whom to fence, and nothing else.
    ///
    /// # Errors
    /// No answer.
    pub fn unstable_group_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<Committed>, Error> {
        self.offsets_of_group(group, topic, partitions, "read_uncommitted")
    }

    fn offsets_of_group(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
        isolation: &str,
    ) -> Result<Vec<Committed>, Error> {
        let mut config = self.settings.member(group, None);
        // The client asks for stable offsets only at read_committed.
        let client: BaseConsumer<Plain> = config
            .set("isolation.level", isolation)
            .create_with_context(Plain)
            .map_err(Error::client("creating a client", Place::none()))?;
        let list = patient("asking for a group's offsets", Place::topic(topic), |timeout| {
            let list = client.committed_offsets(partition_list(topic, partitions), timeout)?;
            list.elements().iter().try_for_each(|entry| entry.error())?;
            Ok(list)
        })?;
        let entries = list.elements();
        let entries = entries.iter().zip(metadata_of(&list)).map(|(entry, metadata)| Committed {
            partition: entry.partition(),
            offset: number(entry.offset()),
            metadata,
        });
        Ok(entries.collect())
    }
}

/// Is the cluster there? Asks once, within `timeout`: for commands that want to say so before they begin.
///
/// # Errors
/// It is not.
pub fn ping(settings: &Settings, timeout: Duration) -> Result<usize, Error> {
    let admin = Admin::new(settings)?;
    let metadata = admin.client.inner().fetch_metadata(None, timeout).map_err(|error| match Verdict::of(&error) {
        Verdict::Retry => Error::TimedOut { operation: "asking the cluster", place: Place::none(), waited: timeout },
        verdict => Error::judged("asking the cluster", Place::none(), verdict, error),
    })?;
    Ok(metadata.brokers().len())
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

/// The one result of a request about one topic.
fn one(answer: Vec<TopicResult>) -> TopicResult {
    answer.into_iter().next().unwrap_or_else(|| Err((String::new(), Code::Fail)))
}

/// Wakes the thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future that another thread completes. Needs no runtime, and so works inside of one too.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
