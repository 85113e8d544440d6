//! Requests of a transaction that are held back, lost or late, by a proxy between the producer and a real Kafka: the
//! cluster cannot tell a late one from one of the next transaction, so the producer must not go on.
//!
//! In the drawings `C` is a commit marker; `~` is what reaches the broker late.

use hms_ops::bus::{Error, GroupConsumer, Isolation, Outcome, Settings, TransactionalProducer, Verdict};

use crate::harness::*;
use crate::rig::proxy::{Caught, Proxy, Request, key};

/// A producer behind a proxy, with a group of one member that is not.
struct Held {
    proxy: Proxy,
    producer: TransactionalProducer,
    consumer: GroupConsumer,
    input: String,
    out: String,
}

impl Held {
    fn new() -> Self {
        let (input, out) = (create_topic("in", 1), create_topic("out", 1));
        let (consumer, mut member) = (join(&input, &unique("group"), "w1"), Plain::default());
        poll_until(&consumer, &mut member, |_| !consumer.owned().is_empty());
        let proxy = Proxy::new(brokers());
        let settings = Settings::new(&proxy.brokers(), "hms-ops-test");
        let producer = TransactionalProducer::new(&settings, &unique("tx")).unwrap();
        assert!(proxy.passed() > 0, "the producer goes around the proxy");
        Self { proxy, producer, consumer, input, out }
    }

    fn send(&mut self, value: &str) -> Result<(), Error> {
        self.producer.send(&record(&self.out, 0, value))
    }

    fn commit(&mut self, next: i64) -> Outcome {
        self.producer.commit(&[offset(&self.input, 0, next, "")], &self.consumer.group_metadata().unwrap()).unwrap()
    }

    /// Commits while somebody else takes care of the first request that is `wanted`.
    fn commit_while<T: Send>(
        &mut self,
        next: i64,
        wanted: impl Fn(&Request) -> bool + Send + 'static,
        care: impl FnOnce(Caught) -> T + Send,
    ) -> (Outcome, T) {
        let trap = self.proxy.catch(wanted);
        std::thread::scope(|scope| {
            let care = scope.spawn(move || care(trap.wait("the request")));
            (self.commit(next), care.join().unwrap())
        })
    }

    fn committed(&self) -> Vec<String> {
        values(&self.out, 0, Isolation::Committed)
    }
}

fn assert_is_not_used_on(held: &mut Held) {
    let error = held.send("next").expect_err("what is still on its way could end this transaction");
    assert_eq!(error.verdict(), Verdict::Recreate, "{error}");
}

/// `out: a C`, and another end of the same transaction on its way.
#[test]
fn a_commit_that_was_sent_twice_is_the_last_of_its_producer() {
    let mut held = Held::new();
    held.send("a").unwrap();
    let (outcome, orphan) = held.commit_while(1, Request::commits, Caught::cut);
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    assert_eq!(held.committed(), ["a"]);
    assert_is_not_used_on(&mut held);
    drop(orphan);
}

/// As above, but the offsets are what was sent twice: late, they would undo those of the next transaction.
#[test]
fn offsets_that_were_sent_twice_are_the_last_of_their_producer() {
    let mut held = Held::new();
    held.send("a").unwrap();
    let (outcome, orphan) = held.commit_while(1, |request| request.key() == key::OFFSETS, Caught::cut);
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    assert_is_not_used_on(&mut held);
    drop(orphan);
}
