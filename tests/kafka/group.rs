//! Members of a group: how partitions move, what may be committed when, and who may not commit any more.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hms_ops::bus::{
    Admin, Error, Event, GroupConsumer, Isolation, Outcome, Producer, Rebalance, TransactionalProducer, Verdict,
};

use crate::harness::*;

/// A member as the processor is one: counts what it read, and commits when partitions are taken from it.
struct Worker {
    out: String,
    plain: Plain,
    producer: RefCell<TransactionalProducer>,
    outcomes: Vec<Outcome>,
}

impl Worker {
    fn new(out: &str) -> Self {
        let producer = RefCell::new(TransactionalProducer::new(&settings(), &unique("tx")).unwrap());
        Self { out: out.to_owned(), plain: Plain::default(), producer, outcomes: Vec::new() }
    }

    /// One transaction with a record and the positions of everything that is owned.
    fn commit(&mut self, consumer: &GroupConsumer, note: &str) {
        let positions: Vec<_> = consumer
            .owned()
            .into_iter()
            .filter_map(|partition| {
                let position = consumer.position(partition).unwrap()?;
                Some(offset(consumer.topic(), partition, position, note))
            })
            .collect();
        let mut producer = self.producer.borrow_mut();
        producer.send(&record(&self.out, 0, note)).unwrap();
        let outcome = producer.commit(&positions, &consumer.group_metadata().unwrap()).unwrap();
        self.outcomes.push(outcome);
    }
}

impl Rebalance for Worker {
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        self.plain.assigned(consumer, partitions);
    }

    fn revoked(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        self.plain.revoked(consumer, partitions);
        self.commit(consumer, "revoked");
    }

    fn lost(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        self.plain.lost(consumer, partitions);
    }
}

/// A member that restores for ever: it never starts what it is given.
#[derive(Default)]
struct Restoring(Vec<i32>);

impl Rebalance for Restoring {
    fn assigned(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.0.extend(partitions);
    }

    fn revoked(&mut self, _: &GroupConsumer, _: &[i32]) {}

    fn lost(&mut self, _: &GroupConsumer, _: &[i32]) {}
}

/// A partition is started at 0 while the client may still be looking for its end by itself (it does so at once and half
/// a second after an assignment): no answer that comes later may move it.
///
/// ```text
/// start(0) | r            the one record comes, in each of 64 partitions started around that moment
/// ```
#[test]
fn a_start_is_not_overtaken_by_what_the_client_looked_up_before() {
    let partitions = 64;
    let input = create_topic("in", partitions);
    let producer = Producer::new(&settings(), 1_000).unwrap();
    producer.send(&record(&create_topic("other", 1), 0, "connected"), PATIENCE).unwrap();
    let (consumer, mut member) = (join(&input, &unique("group"), "w1"), Restoring::default());
    poll_until(&consumer, &mut member, |_| consumer.owned().len() == 64);
    let (assigned, mut seen) = (Instant::now(), 0);
    for partition in 0..partitions {
        let due = Duration::from_millis(470) + Duration::from_millis(1) * partition.unsigned_abs();
        while assigned.elapsed() < due {
            let event = consumer.poll(Duration::ZERO, &mut member).unwrap();
            seen += usize::from(matches!(event, Some(Event::Record(_))));
        }
        consumer.start(partition, 0).unwrap();
        producer.send(&record(&input, partition, "r"), PATIENCE).unwrap();
    }
    assert!(producer.flush(PATIENCE).is_complete());
    poll_until(&consumer, &mut member, |more| seen + more.len() == 64);
}

/// `in/0: a b c d`: nothing comes before `start`, then everything from the offset on, and from where another `start` says.
#[test]
fn an_assigned_partition_is_silent_until_it_is_started() {
    let input = create_topic("in", 2);
    produce(&input, 0, &["a", "b", "c", "d"]);
    produce(&input, 1, &["other"]);
    let (consumer, mut member) = (join(&input, &unique("group"), "w1"), Restoring::default());
    poll_until(&consumer, &mut member, |_| consumer.owned() == [0, 1]);
    assert_eq!(consumer.position(0).unwrap(), None);
    for _ in 0..10 {
        let found = consumer.poll(Duration::from_millis(50), &mut member).unwrap();
        assert!(!matches!(found, Some(Event::Record(_))), "{found:?} before the start");
    }

    consumer.start(0, 2).unwrap();
    assert_eq!(consumer.position(0).unwrap(), Some(2));
    assert_eq!(poll_until(&consumer, &mut member, |seen| seen.len() == 2), ["c", "d"]);
    assert_eq!(consumer.position(0).unwrap(), Some(4));

    // Back, as after an abort.
    consumer.start(0, 1).unwrap();
    assert_eq!(consumer.position(0).unwrap(), Some(1));
    assert_eq!(poll_until(&consumer, &mut member, |seen| seen.len() == 3), ["b", "c", "d"]);

    consumer.pause(0).unwrap();
    produce(&input, 0, &["e"]);
    consumer.start(1, 0).unwrap();
    assert_eq!(poll_until(&consumer, &mut member, |seen| !seen.is_empty()), ["other"]);
    consumer.resume(0).unwrap();
    assert_eq!(poll_until(&consumer, &mut member, |seen| !seen.is_empty()), ["e"]);

    let error = consumer.start(1, 9).unwrap_err();
    assert!(matches!(error, Error::OffsetOutOfRange { partition: 1, offset: 9, low: 0, high: 1, .. }), "{error}");
    assert!(consumer.start(7, 0).is_err(), "there is no partition 7");
}

/// `in/0: (a b c gone) d`: a log that begins later is no error for a partition that is not started, or started
/// where the log begins; what it no longer holds is refused by name, also when it goes while we are at it.
#[test]
fn what_the_log_no_longer_holds_is_refused_by_name() {
    let input = create_topic("in", 1);
    produce(&input, 0, &["a", "b", "c", "d"]);
    let admin = Admin::new(&settings()).unwrap();
    admin.delete_records(&input, 0, 3).unwrap();
    let (consumer, mut member) = (join(&input, &unique("group"), "w1"), Restoring::default());
    poll_until(&consumer, &mut member, |_| consumer.owned() == [0]);
    let error = consumer.start(0, 2).unwrap_err();
    assert!(matches!(error, Error::OffsetOutOfRange { partition: 0, offset: 2, low: 3, high: 4, .. }), "{error}");
    consumer.start(0, 3).unwrap();
    assert_eq!(poll_until(&consumer, &mut member, |seen| !seen.is_empty()), ["d"]);

    consumer.pause(0).unwrap();
    produce(&input, 0, &["e", "f"]);
    admin.delete_records(&input, 0, 6).unwrap();
    consumer.resume(0).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let error = loop {
        assert!(std::time::Instant::now() < deadline, "the gap was not noticed");
        match consumer.poll(Duration::from_millis(20), &mut member) {
            Ok(found) => assert!(!matches!(found, Some(Event::Record(_))), "{found:?} was deleted"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OffsetOutOfRange { partition: 0, offset: 4, low: 6, .. }), "{error}");
}

/// `in/0: x C`: the position passes the marker, so that a commit of it leaves no lag, and the end is told.
#[test]
fn the_position_passes_markers() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, mut member) = (join(&input, &unique("group"), "w1"), Worker::new(&out));
    poll_until(&consumer, &mut member, |_| !consumer.owned().is_empty());
    let mut writer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
    writer.send(&record(&input, 0, "x")).unwrap();
    let elsewhere = [offset(&input, 0, 0, "")];
    assert!(matches!(writer.commit(&elsewhere, &consumer.group_metadata().unwrap()).unwrap(), Outcome::Committed));
    assert_eq!(poll_until(&consumer, &mut member, |seen| !seen.is_empty()), ["x"]);
    poll_until(&consumer, &mut member, |_| consumer.position(0).unwrap() == Some(2));
    assert_eq!(consumer.watermarks(0).unwrap().high, 2);
}

/// Two members: the second takes half of the partitions over, at the offsets that the first commits while they
/// are taken from it; nothing is read twice.
#[test]
fn a_revoked_partition_is_committed_before_it_moves() {
    let (input, out) = (create_topic("in", 4), create_topic("out", 1));
    for partition in 0..4 {
        produce(&input, partition, &["early"]);
    }
    let group = unique("group");
    let (one, mut first) = (join(&input, &group, "w1"), Worker::new(&out));
    poll_until(&one, &mut first, |seen| seen.len() == 4);

    let (two, mut second) = (join(&input, &group, "w2"), Worker::new(&out));
    let deadline = std::time::Instant::now() + PATIENCE;
    while one.owned().len() != 2 || two.owned().len() != 2 {
        assert!(std::time::Instant::now() < deadline, "{:?} {:?}", first.plain, second.plain);
        let found = one.poll(Duration::from_millis(20), &mut first).unwrap();
        assert!(!matches!(found, Some(Event::Record(_))), "{found:?}");
        let found = two.poll(Duration::from_millis(20), &mut second).unwrap();
        assert!(!matches!(found, Some(Event::Record(_))), "{found:?} was committed by the first");
    }
    assert_eq!(first.plain.story.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["assigned", "revoked"]);
    assert!(matches!(first.outcomes[..], [Outcome::Committed]), "{:?}", first.outcomes);
    assert_eq!(values(&out, 0, Isolation::Committed), ["revoked"]);
    let moved = &first.plain.story[1].1.clone();
    assert_eq!(&two.owned(), moved);
    for committed in two.committed(moved).unwrap() {
        assert_eq!((committed.offset, committed.metadata.as_str()), (Some(1), "revoked"));
    }

    for partition in 0..4 {
        produce(&input, partition, &["late"]);
    }
    assert_eq!(poll_until(&one, &mut first, |seen| seen.len() == 2), ["late", "late"]);
    assert_eq!(poll_until(&two, &mut second, |seen| seen.len() == 2), ["late", "late"]);

    // Leaving commits what is owned.
    two.close(&mut second).unwrap();
    assert!(matches!(second.outcomes[..], [Outcome::Committed]), "{:?}", second.outcomes);
    for committed in one.committed(moved).unwrap() {
        assert_eq!(committed.offset, Some(2));
    }
}

/// Members come and go while records keep coming: what a member did not process before it left, the next one does.
#[test]
fn leaving_commits_no_more_than_was_processed() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (group, stopped) = (unique("group"), AtomicBool::new(false));
    let counts: Vec<(i64, Option<i64>)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer = Producer::new(&settings(), 100).unwrap();
            let began = std::time::Instant::now();
            // The bound is for a test that fails: the scope waits for this thread.
            while !stopped.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                producer.send(&record(&input, 0, "x"), PATIENCE).unwrap();
                // A pace: the consumer must neither starve nor drown.
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let admin = Admin::new(&settings()).unwrap();
        let mut processed = 0;
        let mut one_life = || {
            let (consumer, mut member) = (join(&input, &group, "w1"), Worker::new(&out));
            processed += poll_until(&consumer, &mut member, |seen| seen.len() == 50).len() as i64;
            consumer.close(&mut member).unwrap();
            (processed, admin.group_offsets(&group, &input, &[0]).unwrap()[0].offset)
        };
        let counts = (0..3).map(|_| one_life()).collect();
        stopped.store(true, Ordering::Relaxed);
        counts
    });
    assert_eq!(counts, [(50, Some(50)), (100, Some(100)), (150, Some(150))], "processed and committed");
}

/// A member that fell silent: its partitions are gone when it comes back, its commit is refused, and it is told
/// that they are lost, not revoked.
#[test]
fn a_zombies_commit_is_refused() {
    let (input, out) = (create_topic("in", 2), create_topic("out", 1));
    produce(&input, 0, &["x"]);
    produce(&input, 1, &["y"]);
    let group = unique("group");
    let (zombie, mut dead) = (join(&input, &group, "w1"), Worker::new(&out));
    poll_until(&zombie, &mut dead, |seen| seen.len() == 2);
    let who_it_was = zombie.group_metadata().unwrap();

    // Another process under the same static name: the first is fenced from the group.
    let (heir, mut alive) = (join(&input, &group, "w1"), Worker::new(&out));
    poll_until(&heir, &mut alive, |seen| seen.len() == 2);
    heir_commits(&heir, &mut alive);

    let positions = [offset(&input, 0, 1, "zombie"), offset(&input, 1, 1, "zombie")];
    let mut producer = dead.producer.borrow_mut();
    producer.send(&record(&out, 0, "zombie")).unwrap();
    let outcome = producer.commit(&positions, &who_it_was).unwrap();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    drop(producer);

    assert_eq!(values(&out, 0, Isolation::Committed), ["heir"]);
    assert_eq!(heir.committed(&[0]).unwrap()[0].metadata, "heir");
    let deadline = std::time::Instant::now() + PATIENCE;
    let error = loop {
        assert!(std::time::Instant::now() < deadline, "the zombie was never told");
        if let Err(error) = zombie.poll(Duration::from_millis(20), &mut dead) {
            break error;
        }
    };
    assert_eq!(error.verdict(), Verdict::Fenced, "{error}");
    assert!(dead.plain.story.iter().all(|(what, _)| *what != "revoked"), "{:?}", dead.plain.story);
}

fn heir_commits(consumer: &GroupConsumer, member: &mut Worker) {
    member.commit(consumer, "heir");
    assert!(matches!(member.outcomes[..], [Outcome::Committed]), "{:?}", member.outcomes);
}

/// The generation alone refuses a commit too: the producer's id is its own, only the group has moved on.
#[test]
fn a_commit_of_an_older_generation_is_refused() {
    let (input, out) = (create_topic("in", 2), create_topic("out", 1));
    let group = unique("group");
    let (one, mut first) = (join(&input, &group, "w1"), Worker::new(&out));
    poll_until(&one, &mut first, |_| one.owned().len() == 2);
    let before = one.group_metadata().unwrap();
    let (two, mut second) = (join(&input, &group, "w2"), Worker::new(&out));
    let deadline = std::time::Instant::now() + PATIENCE;
    while two.owned().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        one.poll(Duration::from_millis(20), &mut first).unwrap();
        two.poll(Duration::from_millis(20), &mut second).unwrap();
    }
    let mut producer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
    producer.send(&record(&out, 0, "older")).unwrap();
    let outcome = producer.commit(&[offset(&input, 0, 0, "older")], &before).unwrap();
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    // It is ready for the next one.
    producer.send(&record(&out, 0, "newer")).unwrap();
    let outcome = producer.commit(&[offset(&input, 0, 0, "newer")], &one.group_metadata().unwrap()).unwrap();
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    assert!(!values(&out, 0, Isolation::Committed).contains(&"older".to_owned()));
}
