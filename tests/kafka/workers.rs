//! Several workers, each a thread with its own consumer and its own transactional producer, as the processor runs
//! them: every record goes on exactly once, whoever comes and goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hms_ops::bus::{Event, GroupConsumer, Isolation, Outcome, Rebalance, TransactionalProducer};

use crate::harness::*;

/// Records in one transaction.
const BATCH: usize = 10;

struct Forwarder<'a> {
    out: &'a str,
    producer: TransactionalProducer,
    sent: usize,
}

impl Forwarder<'_> {
    fn commit(&mut self, consumer: &GroupConsumer) {
        self.sent = 0;
        let position =
            |partition| Some(offset(consumer.topic(), partition, consumer.position(partition).unwrap()?, ""));
        let offsets: Vec<_> = consumer.owned().into_iter().filter_map(position).collect();
        match self.producer.commit(&offsets, &consumer.group_metadata().unwrap()).unwrap() {
            Outcome::Committed => {}
            Outcome::Aborted(_) => rewind(consumer, &consumer.owned()),
            outcome => panic!("{outcome:?}"),
        }
    }
}

/// Back to what is committed.
fn rewind(consumer: &GroupConsumer, partitions: &[i32]) {
    for committed in consumer.committed(partitions).unwrap() {
        consumer.start(committed.partition, committed.offset.unwrap_or(0)).unwrap();
    }
}

impl Rebalance for Forwarder<'_> {
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        rewind(consumer, partitions);
    }

    fn revoked(&mut self, consumer: &GroupConsumer, _: &[i32]) {
        self.commit(consumer);
    }

    fn lost(&mut self, _: &GroupConsumer, _: &[i32]) {
        self.producer.abort().unwrap();
    }
}

/// One worker under its name, until `stop`; or until it dies in the middle of a transaction, `dies_after` records.
fn work(input: &str, out: &str, group: &str, name: &str, stop: &AtomicBool, dies_after: Option<usize>) {
    let producer = TransactionalProducer::new(&settings(), &format!("{group}-{name}")).unwrap();
    let consumer = join(input, group, name);
    let mut forwarder = Forwarder { out, producer, sent: 0 };
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(10), &mut forwarder).unwrap() {
            Some(Event::Record(message)) => {
                let value = std::str::from_utf8(message.value().unwrap()).unwrap();
                forwarder.producer.send(&record(forwarder.out, message.partition(), value)).unwrap();
                forwarder.sent += 1;
                seen += 1;
            }
            _ if forwarder.sent > 0 => forwarder.commit(&consumer),
            _ => {}
        }
        if dies_after.is_some_and(|limit| seen >= limit) {
            forwarder.producer.flush().unwrap();
            return;
        }
        if forwarder.sent >= BATCH {
            forwarder.commit(&consumer);
        }
    }
    consumer.close(&mut forwarder).unwrap();
}

/// w1 dies with an open transaction and comes back under its name; w2 and w3 join on the way.
#[test]
fn every_record_goes_on_once_whoever_comes_and_goes() {
    let (input, out, group) = (create_topic("in", 4), create_topic("out", 4), unique("group"));
    let append = |range: std::ops::Range<usize>| {
        for partition in 0..4 {
            let values: Vec<_> = range.clone().map(|n| format!("{partition}-{n:04}")).collect();
            produce(&input, partition, &values.iter().map(String::as_str).collect::<Vec<_>>());
        }
    };
    append(0..100);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (input, out, group, stop) = (&input, &out, &group, &stop);
        let first = scope.spawn(move || work(input, out, group, "w1", stop, Some(5 * BATCH - 1)));
        first.join().unwrap();
        let open: usize = (0..4).map(|p| values(out, p, Isolation::Uncommitted).len()).sum();
        scope.spawn(move || work(input, out, group, "w1", stop, None));
        scope.spawn(move || work(input, out, group, "w2", stop, None));
        append(100..150);
        scope.spawn(move || work(input, out, group, "w3", stop, None));
        append(150..200);

        let deadline = Instant::now() + PATIENCE;
        let complete = || (0..4).all(|partition| values(out, partition, Isolation::Committed).len() >= 200);
        while !complete() && Instant::now() < deadline {}
        stop.store(true, Ordering::Relaxed);
        assert!(open > 0, "the first died before it had sent anything");
    });
    for partition in 0..4 {
        let expected: Vec<_> = (0..200).map(|n| format!("{partition}-{n:04}")).collect();
        assert_eq!(values(&out, partition, Isolation::Committed), expected, "partition {partition}");
        let all = values(&out, partition, Isolation::Uncommitted).len();
        println!("partition {partition}: 200 committed of {all} sent");
    }
}
