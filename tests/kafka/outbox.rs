//! Transactions that end while their owner goes on: what it sends meanwhile is in the next one, or in none.
//!
//! In the drawings `C` is a commit marker, `A` an abort marker; both take an offset.

use std::sync::mpsc::{Sender, channel};

use hms_ops::bus::{End, GroupConsumer, GroupMetadata, Isolation, Outbox, Outcome, TransactionalProducer};

use crate::harness::*;

/// A member that owns the one partition of `input`, and its outbox.
fn alone(input: &str) -> (GroupConsumer, Outbox) {
    let (consumer, mut member) = (join(input, &unique("group"), "w1"), Plain::default());
    poll_until(&consumer, &mut member, |_| !consumer.owned().is_empty());
    let producer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
    (consumer, Outbox::new(producer).unwrap())
}

/// An end that begins when it is told to: `true` commits, `false` gives the transaction up.
fn told(input: &str, group: GroupMetadata) -> (Sender<bool>, End) {
    let (tell, told) = channel();
    let offsets = [offset(input, 0, 0, "")];
    let end = move |producer: &mut TransactionalProducer| {
        producer.flush()?;
        if told.recv().unwrap() {
            return producer.commit(&offsets, &group);
        }
        producer.abort()?;
        Ok(Outcome::Aborted(hms_ops::bus::Error::InDoubt { transactional_id: "told".to_owned() }))
    };
    (tell, Box::new(end))
}

/// The open transaction ends well.
fn commit(outbox: &mut Outbox, input: &str, consumer: &GroupConsumer) {
    let (tell, end) = told(input, consumer.group_metadata().unwrap());
    outbox.end(end).unwrap();
    tell.send(true).unwrap();
    assert!(matches!(outbox.ended(PATIENCE).unwrap(), Some(Outcome::Committed)));
}

/// `out: a C b c C`: b and c were sent while the first transaction ended.
#[test]
fn what_is_sent_while_a_transaction_ends_goes_into_the_next() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, mut outbox) = alone(&input);
    outbox.send(&record(&out, 0, "a")).unwrap();
    let (tell, end) = told(&input, consumer.group_metadata().unwrap());
    outbox.end(end).unwrap();
    assert!(outbox.is_ending());
    outbox.send(&record(&out, 0, "b")).unwrap();
    outbox.send(&record(&out, 0, "c")).unwrap();
    let (_, second) = told(&input, consumer.group_metadata().unwrap());
    assert!(outbox.end(second).is_err(), "one at a time");
    tell.send(true).unwrap();
    let outcome = outbox.ended(PATIENCE).unwrap();
    assert!(matches!(outcome, Some(Outcome::Committed)), "{outcome:?}");
    assert_eq!(values(&out, 0, Isolation::Uncommitted), ["a"], "the next has not begun");
    outbox.go_on().unwrap();

    commit(&mut outbox, &input, &consumer);
    assert_eq!(view(&out, 0, Isolation::Committed), [(0, "a"), (2, "b"), (3, "c")].map(|(at, v)| (at, v.to_owned())));
}

/// `out: a A d C`: b and c were built on what was given up.
#[test]
fn what_was_sent_while_a_transaction_was_given_up_is_never_sent() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, mut outbox) = alone(&input);
    outbox.send(&record(&out, 0, "a")).unwrap();
    let (tell, end) = told(&input, consumer.group_metadata().unwrap());
    outbox.end(end).unwrap();
    outbox.send(&record(&out, 0, "b")).unwrap();
    outbox.send(&record(&out, 0, "c")).unwrap();
    tell.send(false).unwrap();
    assert!(matches!(outbox.ended(PATIENCE).unwrap(), Some(Outcome::Aborted(_))));
    outbox.abort().unwrap();

    outbox.send(&record(&out, 0, "d")).unwrap();
    commit(&mut outbox, &input, &consumer);
    assert_eq!(values(&out, 0, Isolation::Committed), ["d"]);
    assert_eq!(values(&out, 0, Isolation::Uncommitted), ["a", "d"]);
}

/// The control: an owner that goes on after a transaction was given up publishes what was built on it.
#[test]
fn an_owner_that_goes_on_regardless_publishes_what_was_built_on_nothing() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, mut outbox) = alone(&input);
    outbox.send(&record(&out, 0, "a")).unwrap();
    let (tell, end) = told(&input, consumer.group_metadata().unwrap());
    outbox.end(end).unwrap();
    outbox.send(&record(&out, 0, "b")).unwrap();
    tell.send(false).unwrap();
    assert!(matches!(outbox.ended(PATIENCE).unwrap(), Some(Outcome::Aborted(_))));
    outbox.go_on().unwrap();

    commit(&mut outbox, &input, &consumer);
    assert_eq!(values(&out, 0, Isolation::Committed), ["b"]);
}

/// Who lets go of an outbox waits for the end that is under way.
#[test]
fn an_outbox_is_dropped_after_its_transaction_has_ended() {
    let (input, out) = (create_topic("in", 1), create_topic("out", 1));
    let (consumer, mut outbox) = alone(&input);
    outbox.send(&record(&out, 0, "a")).unwrap();
    let (tell, end) = told(&input, consumer.group_metadata().unwrap());
    outbox.end(end).unwrap();
    tell.send(true).unwrap();
    drop(outbox);
    assert_eq!(values(&out, 0, Isolation::Committed), ["a"]);
}
