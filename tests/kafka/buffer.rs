//! The SDK's buffer, its layer for `tracing` and its face for runtimes, on a real Kafka. Where it is used from Python (forks,
//! threads, a broker that stands still, the end of a program) `sdk/python/tests` looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hms_ops::bus::{Admin, Isolation, Next, Offsets, Reader, TopicSpec};
use hms_ops::codec;
use hms_ops::model::reading::{Reading, RejectReason};
use hms_ops::model::topic_files::{Overrides, declared};
use hms_ops::model::topics::Topics;
use hms_ops::sdk::buffer::{Counts, DEFAULT_CAPACITY, Taken};
use hms_ops::sdk::emit::Refused;
use hms_ops::sdk::layer::SpanReadings;
use hms_ops::sdk::register::Options;
use hms_ops::sdk::{Buffer, aio};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::harness::*;

const PARTITIONS: i32 = 4;
const SPEC: &str = "id: checkout\nowner: o\nsensors:\n  - name: checkout_seconds\n";

/// Topics of its own, in which `checkout` is registered.
fn installation(runtime: &tokio::runtime::Runtime) -> Topics {
    let prefix = unique("buffer") + ".";
    let admin = Admin::new(&settings()).unwrap();
    let overrides = Overrides { prefix: prefix.clone(), partitions: Some(PARTITIONS), ..Overrides::default() };
    for topic in declared(&overrides) {
        let (name, partitions, replication) = (topic.name, topic.partitions, topic.replication);
        assert!(admin.create_topic(&TopicSpec { name, partitions, replication, configs: topic.config }).unwrap());
    }
    let topics = Topics::new(&prefix);
    let options = Options { wait: None, ..Options::default() };
    let registered = runtime.block_on(aio::register(&settings(), &topics, SPEC, &options)).unwrap();
    assert_eq!(registered.id.as_str(), "checkout");
    topics
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn buffer(topics: &Topics) -> Arc<Buffer> {
    Arc::new(Buffer::new(&settings(), topics, DEFAULT_CAPACITY))
}

fn reading(sensor: &'static str, value: f64) -> Reading<'static> {
    Reading {
        service: "checkout".into(),
        sensor: sensor.into(),
        ts: 1_700_000_000_000,
        value,
        attributes: BTreeMap::new(),
    }
}

/// The readings of `ops.metrics`, each from the home of its service.
fn arrived(topics: &Topics) -> Vec<Reading<'static>> {
    let offsets = Offsets::new(&settings()).unwrap();
    let mut reader = Reader::all(&settings(), &offsets, &topics.metrics, Isolation::Committed).unwrap();
    let mut found = Vec::new();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => {
                let reading = codec::reading::decode(message.key(), message.value(), 1).unwrap().into_owned();
                assert_eq!(message.partition(), hms_ops::model::ids::home_partition(&reading.service, PARTITIONS));
                found.push(reading);
            }
            Next::End => return found,
            Next::Idle => panic!("{} has no end", topics.metrics),
        }
    }
}

#[test]
fn what_is_taken_arrives_once_in_order_and_a_wrong_name_is_counted_then_told() {
    let runtime = runtime();
    let topics = installation(&runtime);
    let buffer = buffer(&topics);
    for n in 0..1000 {
        assert_eq!(buffer.emit(&reading("checkout_seconds", f64::from(n))), Ok(Taken::Yes));
    }
    let mut noted = reading("checkout_seconds", 1000.0);
    noted.attributes.insert("shop".into(), "dca".into());
    assert_eq!(buffer.emit(&noted), Ok(Taken::Yes));
    assert_eq!(buffer.emit(&reading("checkout", 1.0)), Ok(Taken::Yes), "nobody has looked yet");
    let counts = runtime.block_on(aio::flush(&buffer, PATIENCE));
    let refused = [(RejectReason::UnknownSensor, 1)].into();
    assert_eq!(counts, Counts { delivered: 1001, refused, ..Counts::default() });
    assert!(matches!(buffer.emit(&reading("checkout", 1.0)), Err(Refused::UnknownSensor { .. })));
    let values: Vec<_> = arrived(&topics).iter().map(|reading| reading.value).collect();
    assert_eq!(values, (0..=1000).map(f64::from).collect::<Vec<_>>());
    assert_eq!(arrived(&topics).last(), Some(&noted));
    let status = runtime.block_on(aio::status(&settings(), &topics, "checkout")).unwrap();
    assert_eq!(status.service.as_str(), "checkout");
}

#[test]
fn a_buffer_that_is_dropped_has_flushed() {
    let topics = installation(&runtime());
    let buffer = buffer(&topics);
    assert_eq!(buffer.emit(&reading("checkout_seconds", 1.0)), Ok(Taken::Yes));
    drop(buffer);
    assert_eq!(arrived(&topics), [reading("checkout_seconds", 1.0)]);
}

#[test]
fn spans_that_are_mapped_become_readings_when_they_close_and_others_do_not() {
    let topics = installation(&runtime());
    let buffer = buffer(&topics);
    let layer = SpanReadings::new(buffer.clone(), "checkout", [("pay", "checkout_seconds")]);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let outer = tracing::info_span!("pay");
        outer.in_scope(|| tracing::info_span!("other").in_scope(|| std::thread::sleep(Duration::from_millis(20))));
        assert_eq!(buffer.counts().emitted(), 0, "it is not closed");
        drop(outer);
        tracing::info_span!("pay").in_scope(|| ());
    });
    assert_eq!(buffer.flush(PATIENCE), Counts { delivered: 2, ..Counts::default() });
    let [slow, quick]: [Reading<'_>; 2] = arrived(&topics).try_into().unwrap();
    assert!(slow.value >= 0.02 && quick.value < slow.value, "{slow:?} {quick:?}");
    assert_eq!((&*slow.service, &*slow.sensor), ("checkout", "checkout_seconds"));
}
