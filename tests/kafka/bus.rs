//! What exactly-once needs of a cluster, and of our face of it: transactions, offsets in them, fencing, readers.
//!
//! In the drawings `C` is a commit marker, `A` an abort marker; both take an offset.

use std::time::{Duration, Instant};

use hms_ops::bus::{
    Admin, Error, Isolation, Next, Offsets, Outcome, Producer, Reader, Record, Settings, Timestamp, TopicSpec,
    TransactionalProducer, Verdict, fence, ping,
};

use crate::harness::*;

fn committed(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
}

/// A group of one member that owns everything, and its transactional producer.
fn alone(topic: &str) -> (hms_ops::bus::GroupConsumer, Plain, TransactionalProducer, String) {
    let group = unique("group");
    let (consumer, mut member) = (join(topic, &group, "w1"), Plain::default());
    poll_until(&consumer, &mut member, |_| !consumer.owned().is_empty());
    let producer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
    (consumer, member, producer, group)
}

/// `out: a b A c C`, then `d` without a marker: committed readers see c and wait at d.
#[test]
fn aborted_and_open_transactions_are_hidden() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, _member, mut producer, _) = alone(&input);
    for value in ["a", "b"] {
        producer.send(&record(&out, 0, value)).unwrap();
    }
    producer.flush().unwrap();
    producer.abort().unwrap();
    assert!(!producer.is_open());
    assert_eq!(values(&out, 0, Isolation::Committed), Vec::<String>::new());
    assert_eq!(values(&out, 0, Isolation::Uncommitted), ["a", "b"]);

    producer.send(&record(&out, 0, "c")).unwrap();
    committed(producer.commit(&[offset(&input, 0, 0, "")], &consumer.group_metadata().unwrap()).unwrap());
    assert_eq!(view(&out, 0, Isolation::Committed), [(3, "c".to_owned())]);

    producer.send(&record(&out, 0, "d")).unwrap();
    producer.flush().unwrap();
    assert_eq!(values(&out, 0, Isolation::Uncommitted), ["a", "b", "c", "d"]);
    let offsets = Offsets::new(&settings()).unwrap();
    assert_eq!(offsets.watermarks(&out, 0).unwrap().high, 6, "the high watermark counts the open record");
    let mut reader =
        Reader::open(&settings(), &out, Isolation::Committed, [(0, 4)]).unwrap().until_now(&offsets).unwrap();
    assert!(matches!(reader.next(Duration::from_millis(300)).unwrap(), Next::Idle), "it waits for the transaction");
    producer.abort().unwrap();
    assert!(matches!(reader.next(PATIENCE).unwrap(), Next::End));
}

/// More of them than the client's queue holds, and than it is given at once: all are there, once and in order, with what
/// was sent one by one before and after. One that is too large fails.
#[test]
fn many_records_are_sent_with_few_calls() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 2));
    let (consumer, _member, _, _) = alone(&input);
    let small = [("queue.buffering.max.messages".to_owned(), "300".to_owned())].into();
    let settings = settings().with_overrides(&small, |_| None).unwrap();
    let mut producer = TransactionalProducer::new(&settings, &unique("tx")).unwrap();
    let numbers: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    producer.send(&record(&out, 1, "first")).unwrap();
    producer.send_all(&out, 1, numbers.iter().map(|n| (b"key".as_slice(), n.as_bytes()))).unwrap();
    producer.send_all(&out, 1, std::iter::empty()).unwrap();
    producer.send(&record(&out, 1, "last")).unwrap();
    committed(producer.commit(&[offset(&input, 0, 0, "")], &consumer.group_metadata().unwrap()).unwrap());
    let seen = values(&out, 1, Isolation::Committed);
    assert_eq!(seen.len(), numbers.len() + 2);
    assert_eq!((&*seen[0], &seen[1..=numbers.len()], &*seen[numbers.len() + 1]), ("first", &*numbers, "last"));
    assert_eq!(values(&out, 0, Isolation::Uncommitted), Vec::<String>::new());

    // A producer may be in doubt after a commit that was disturbed: another one.
    let mut producer = TransactionalProducer::new(&settings, &unique("tx")).unwrap();
    let large = vec![b'x'; 2 << 20];
    let refused =
        producer.send_all(&out, 0, [b"small".as_slice(), &large].into_iter().map(|value| (b"".as_slice(), value)));
    assert_eq!(refused.unwrap_err().verdict(), Verdict::Fatal);
    producer.abort().unwrap();
    assert_eq!(values(&out, 0, Isolation::Committed), Vec::<String>::new());
}

/// Offsets and their metadata are committed with the records or not at all.
#[test]
fn offsets_and_metadata_are_part_of_the_transaction() {
    let (input, out) = (create_topic("in", 2), create_topic("out", 1));
    let (consumer, _member, mut producer, group) = alone(&input);
    let admin = Admin::new(&settings()).unwrap();
    assert_eq!(consumer.committed(&[0, 1]).unwrap()[0].offset, None);

    produce(&input, 0, &["x", "y", "z"]);
    producer.send(&record(&out, 0, "first")).unwrap();
    producer.send(&record(&out, 0, "second")).unwrap();
    let both = [offset(&input, 0, 2, "cut=0 full=1"), offset(&input, 1, 0, "")];
    committed(producer.commit(&both, &consumer.group_metadata().unwrap()).unwrap());
    let found = consumer.committed(&[0, 1]).unwrap();
    assert_eq!((found[0].offset, found[0].metadata.as_str()), (Some(2), "cut=0 full=1"));
    assert_eq!((found[1].offset, found[1].metadata.as_str()), (Some(0), ""));
    assert_eq!(admin.group_offsets(&group, &input, &[0, 1]).unwrap(), found, "seen from outside");

    // A commit that is refused leaves the offsets where they were.
    producer.send(&record(&out, 0, "third")).unwrap();
    let refused = [offset(&input, 1, 1, "fits"), offset(&input, 0, 3, &"x".repeat(5_000))];
    let error = producer.commit(&refused, &consumer.group_metadata().unwrap()).unwrap_err();
    assert_eq!(error.verdict(), Verdict::Fatal, "{error}");
    let id = producer.transactional_id().to_owned();
    drop(producer);
    drop(consumer);
    // Ends what is open at once; by itself the cluster would do so after its timeout and a look that it takes each 10 s, and
    // till then say nothing of the partition whose offset is in it.
    fence(&settings(), &id).unwrap();
    let found = admin.group_offsets(&group, &input, &[0]).unwrap();
    assert_eq!((found[0].offset, found[0].metadata.as_str()), (Some(2), "cut=0 full=1"));
    assert_eq!(admin.group_offsets(&group, &input, &[1]).unwrap()[0].offset, Some(0));
}

/// `out: old A new C`: whoever takes the id over ends what was open, and the old one can do nothing any more.
#[test]
fn taking_an_id_over_fences_its_writer_and_ends_its_transaction() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, _member, mut zombie, _) = alone(&input);
    zombie.send(&record(&out, 0, "old")).unwrap();
    zombie.flush().unwrap();

    let began = Instant::now();
    fence(&settings(), zombie.transactional_id()).unwrap();
    // Not after its timeout of 10 s: a committed reader gets past it at once.
    assert_eq!(values(&out, 0, Isolation::Committed), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());

    let outcome = zombie.commit(&[offset(&input, 0, 0, "")], &consumer.group_metadata().unwrap()).unwrap();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    let error = zombie.send(&record(&out, 0, "again")).unwrap_err();
    assert!(matches!(error, Error::InDoubt { .. }), "{error}");
    assert_eq!(error.verdict(), Verdict::Recreate);

    let mut heir = TransactionalProducer::new(&settings(), zombie.transactional_id()).unwrap();
    heir.send(&record(&out, 0, "new")).unwrap();
    committed(heir.commit(&[offset(&input, 0, 0, "")], &consumer.group_metadata().unwrap()).unwrap());
    assert_eq!(values(&out, 0, Isolation::Committed), ["new"]);
}

/// The offsets of an empty transaction can be committed: the first commit after a takeover has no records.
#[test]
fn offsets_alone_make_a_transaction() {
    let input = create_topic("in", 1);
    let (consumer, _member, mut producer, _) = alone(&input);
    assert!(!producer.is_open());
    committed(producer.commit(&[offset(&input, 0, 0, "mine")], &consumer.group_metadata().unwrap()).unwrap());
    assert_eq!(consumer.committed(&[0]).unwrap()[0].metadata, "mine");
}

/// Twenty records and the offsets, fifty times: nothing waits in slices of the client's own.
#[test]
fn many_commits_follow_each_other() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, _member, mut producer, _) = alone(&input);
    let mut took = Vec::new();
    for round in 0..50 {
        for _ in 0..20 {
            producer.send(&record(&out, 0, "x")).unwrap();
        }
        let began = Instant::now();
        committed(producer.commit(&[offset(&input, 0, round, "")], &consumer.group_metadata().unwrap()).unwrap());
        took.push(began.elapsed());
        assert_eq!(producer.in_flight(), 0);
    }
    took.sort_unstable();
    println!("commit of 20 records: p50 {:?}, p90 {:?}, max {:?}", took[25], took[45], took[49]);
    assert_eq!(values(&out, 0, Isolation::Committed).len(), 1000);
}

/// A reader starts where it is told, stops at what was there when it was told, and knows what is not there.
#[test]
fn a_reader_knows_the_bounds_of_the_log() {
    let topic = create_topic("log", 2);
    produce(&topic, 0, &["a", "b", "c"]);
    let offsets = Offsets::new(&settings()).unwrap();
    assert_eq!(offsets.partitions(&topic).unwrap(), 2);
    assert!(matches!(offsets.partitions(&unique("none")), Err(Error::NoSuchTopic { .. })));

    let mut reader = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 1), (1, 0)]).unwrap();
    reader = reader.until_now(&offsets).unwrap();
    produce(&topic, 0, &["later"]);
    let mut seen = Vec::new();
    while let Next::Record(message) = reader.next(PATIENCE).unwrap() {
        assert!(matches!(message.timestamp(), Timestamp::Append(ms) if ms > 1_600_000_000_000));
        seen.push(message.offset());
    }
    assert_eq!(seen, [1, 2]);

    // Without an end it follows the log.
    let mut reader = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 4)]).unwrap();
    assert!(matches!(reader.next(Duration::from_millis(100)).unwrap(), Next::Idle));
    produce(&topic, 0, &["live"]);
    let Next::Record(message) = reader.next(PATIENCE).unwrap() else { panic!("nothing followed") };
    assert_eq!(message.value(), Some(&b"live"[..]));

    let beyond = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 77)]).unwrap();
    let error = beyond.until_now(&offsets).err().expect("offset 77 is not there");
    assert!(matches!(error, Error::OffsetOutOfRange { partition: 0, offset: 77, low: 0, high: 5, .. }), "{error}");
    let mut beyond = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 77)]).unwrap();
    let error = beyond.next(PATIENCE).expect_err("offset 77 is not there");
    assert!(matches!(error, Error::OffsetOutOfRange { partition: 0, offset: 77, .. }), "{error}");
}

/// With producer times an offset is found by time; later than the last there is none.
#[test]
fn an_offset_is_found_by_time() {
    let topic = create_topic_with("times", 1, &[("message.timestamp.type", "CreateTime")]);
    let producer = Producer::new(&settings(), 10).unwrap();
    for ms in [1_000, 2_000, 3_000] {
        producer.send(&Record { timestamp_ms: Some(ms), ..record(&topic, 0, "x") }, PATIENCE).unwrap();
    }
    assert_eq!(producer.flush(PATIENCE).delivered, 3);
    let offsets = Offsets::new(&settings()).unwrap();
    assert_eq!(offsets.at_time(&topic, &[0], 1_500).unwrap(), [(0, Some(1))]);
    assert_eq!(offsets.at_time(&topic, &[0], 3_001).unwrap(), [(0, None)]);
    let mut reader = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 2)]).unwrap();
    let Next::Record(message) = reader.next(PATIENCE).unwrap() else { panic!("nothing there") };
    assert_eq!(message.timestamp(), Timestamp::Create(3_000));
}

/// Keys, tombstones and headers, null values and names outside of ASCII too, arrive as they were sent.
#[test]
fn a_record_arrives_as_it_was_sent() {
    let topic = create_topic("bytes", 1);
    let headers: [(&str, Option<&[u8]>); 3] = [("ce_type", Some(b"x")), ("n\u{fc}ll", None), ("empty", Some(b""))];
    let producer = Producer::new(&settings(), 10).unwrap();
    let sent = Record { topic: &topic, key: Some(&[0xff, 0]), headers: &headers, ..Record::default() };
    producer.send(&sent, PATIENCE).unwrap();
    assert!(producer.flush(PATIENCE).is_complete());
    let mut reader = Reader::open(&settings(), &topic, Isolation::Committed, [(0, 0)]).unwrap();
    let Next::Record(message) = reader.next(PATIENCE).unwrap() else { panic!("nothing there") };
    assert_eq!((message.key(), message.value()), (Some(&[0xff, 0][..]), None));
    let found = message.headers();
    let found: Vec<_> = found.iter().map(|header| (header.name.as_ref(), header.value)).collect();
    assert_eq!(found, headers);
}

/// A record that the cluster refuses is counted with its reason, and the others are delivered.
#[test]
fn a_refused_record_is_counted_with_its_reason() {
    let topic = create_topic_with("small", 1, &[("max.message.bytes", "1000")]);
    let producer = Producer::new(&settings(), 10).unwrap();
    producer.send(&record(&topic, 0, "small"), PATIENCE).unwrap();
    assert!(producer.flush(PATIENCE).is_complete());
    producer.send(&record(&topic, 0, &"x".repeat(5_000)), PATIENCE).unwrap();
    let flushed = producer.flush(PATIENCE);
    assert_eq!((flushed.delivered, flushed.pending), (0, 0));
    assert!(flushed.failed.keys().any(|reason| reason.contains("MessageSizeTooLarge")), "{flushed:?}");
    assert_eq!(values(&topic, 0, Isolation::Committed), ["small"]);

    let nowhere = unique("none");
    let error = producer.send(&record(&nowhere, 0, "x"), PATIENCE).unwrap_err();
    assert!(matches!(error, Error::NoSuchTopic { .. }), "{error}");

    let mut transaction = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
    // Transactions are packed: what repeats itself would become small enough.
    let unlike: String = (0..1_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    transaction.send(&record(&topic, 0, &unlike)).unwrap();
    let error = transaction.flush().unwrap_err();
    assert_eq!(error.verdict(), Verdict::Fatal, "{error}");
}

/// A cluster that is not there is noticed in the time that was given.
#[test]
fn a_missing_cluster_is_noticed_in_time() {
    // Nothing listens on port 1 of this machine.
    let error = ping(&Settings::new("127.0.0.1:1", "hms-ops-test"), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.verdict(), Verdict::Retry, "{error}");
    assert_eq!(ping(&settings(), PATIENCE).unwrap(), 1);
}

/// Topics as code: created once, described as they are, their configuration replaced as a whole.
#[test]
fn a_topic_is_what_was_declared() {
    let admin = Admin::new(&settings()).unwrap();
    let configs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let name = unique("declared");
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 3,
        replication: 1,
        configs: configs(&[("cleanup.policy", "compact"), ("segment.ms", "60000")]),
    };
    assert!(admin.create_topic(&spec).unwrap());
    assert!(!admin.create_topic(&spec).unwrap(), "it is there already");
    let state = |name: &str| admin.describe_topics(&[name]).unwrap().remove(name).unwrap();
    let found = state(&name).unwrap();
    assert_eq!((found.partitions, found.replication, &found.configs), (3, 1, &spec.configs));
    assert_eq!(state(&unique("none")), None);

    let changed = configs(&[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    admin.set_topic_configs(&name, &changed).unwrap();
    let began = Instant::now();
    while state(&name).unwrap().configs != changed {
        assert!(began.elapsed() < PATIENCE, "{:?}", state(&name));
    }
    let error = admin.set_topic_configs(&name, &configs(&[("no.such.setting", "1")])).unwrap_err();
    assert_eq!(error.verdict(), Verdict::Fatal, "{error}");
    assert!(error.to_string().contains("no.such.setting"), "{error}");
    admin.delete_topic(&name).unwrap();
}
