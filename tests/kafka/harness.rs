//! What the tests on a real Kafka share: one broker a run, names that never meet, both views of a topic.

use std::time::Duration;

use hms_ops::bus::{
    Admin, Event, GroupConsumer, Isolation, Member, Next, Offsets, PartitionOffset, Producer, Reader, Rebalance,
    Record, TopicSpec,
};

pub use crate::rig::cluster::{PATIENCE, brokers, settings, unique};

/// A new topic with append times.
pub fn create_topic(name: &str, partitions: i32) -> String {
    create_topic_with(name, partitions, &[("message.timestamp.type", "LogAppendTime")])
}

/// A new topic with a configuration of the test's own.
pub fn create_topic_with(name: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
    let name = unique(name);
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = TopicSpec { name: name.clone(), partitions, replication: 1, configs };
    assert!(Admin::new(&settings()).unwrap().create_topic(&spec).unwrap());
    name
}

/// A record without key and headers.
pub fn record<'a>(topic: &'a str, partition: i32, value: &'a str) -> Record<'a> {
    Record { topic, partition, value: Some(value.as_bytes()), ..Record::default() }
}

/// Appends values to a partition, outside of any transaction.
pub fn produce(topic: &str, partition: i32, values: &[&str]) {
    let producer = Producer::new(&settings(), 1000).unwrap();
    for value in values {
        producer.send(&record(topic, partition, value), PATIENCE).unwrap();
    }
    assert!(producer.flush(PATIENCE).is_complete());
}

/// What a partition holds for a reader of `isolation`, up to its high watermark now.
pub fn view(topic: &str, partition: i32, isolation: Isolation) -> Vec<(i64, String)> {
    let offsets = Offsets::new(&settings()).unwrap();
    let mut reader =
        Reader::open(&settings(), topic, isolation, [(partition, 0)]).unwrap().until_now(&offsets).unwrap();
    let mut seen = Vec::new();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => {
                seen.push((message.offset(), String::from_utf8_lossy(message.value().unwrap()).into_owned()));
            }
            Next::End => return seen,
            Next::Idle => panic!("{topic}/{partition} has no end for {isolation:?}; seen {seen:?}"),
        }
    }
}

/// The values of [`view`].
pub fn values(topic: &str, partition: i32, isolation: Isolation) -> Vec<String> {
    view(topic, partition, isolation).into_iter().map(|(_, value)| value).collect()
}

/// An offset to be committed.
pub fn offset(topic: &str, partition: i32, offset: i64, metadata: &str) -> PartitionOffset {
    PartitionOffset { topic: topic.to_owned(), partition, offset, metadata: metadata.to_owned() }
}

/// A member that starts every partition at what is committed, else at 0, and writes down what happens to it.
#[derive(Debug, Default)]
pub struct Plain {
    /// `assigned`, `revoked`, `lost`, with the partitions.
    pub story: Vec<(&'static str, Vec<i32>)>,
}

impl Rebalance for Plain {
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        for committed in consumer.committed(partitions).unwrap() {
            consumer.start(committed.partition, committed.offset.unwrap_or(0)).unwrap();
        }
        self.story.push(("assigned", partitions.to_vec()));
    }

    fn revoked(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.story.push(("revoked", partitions.to_vec()));
    }

    fn lost(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.story.push(("lost", partitions.to_vec()));
    }
}

/// Joins `group` under `instance`.
pub fn join(topic: &str, group: &str, instance: &str) -> GroupConsumer {
    let member = Member { group: group.to_owned(), instance: instance.to_owned() };
    GroupConsumer::subscribe(&settings(), topic, &member).unwrap()
}

/// Polls until `done`, collecting the values of the records.
pub fn poll_until(
    consumer: &GroupConsumer,
    member: &mut impl Rebalance,
    mut done: impl FnMut(&[String]) -> bool,
) -> Vec<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while !done(&seen) {
        assert!(std::time::Instant::now() < deadline, "still not there after {seen:?}");
        if let Some(Event::Record(message)) = consumer.poll(Duration::from_millis(20), member).unwrap() {
            seen.push(String::from_utf8_lossy(message.value().unwrap()).into_owned());
        }
    }
    seen
}
