//! F6: every call of the bus with every kind of error that a cluster can answer it with, injected by the client's mock
//! cluster: the verdict of each, and that nothing hangs.
//!
//! The mock keeps no transactions, so nothing here says anything about exactly-once; that is for the tests on a real
//! Kafka. Tests only.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use super::{
    Event, GroupConsumer, Member, Outcome, PartitionOffset, Rebalance, Record, Settings, TransactionalProducer, Verdict,
};

const TOPIC: &str = "topic";

/// So often that no patience outlasts it.
const FOR_EVER: usize = 50_000;

/// The longest that any call may take: `init_transactions` is the most patient of all.
const BOUND: Duration = Duration::from_secs(60);

/// A call of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// `TransactionalProducer::new`.
    Init,
    /// A record and its commit.
    Commit,
    /// A record, given up.
    Abort,
    /// `GroupConsumer::committed`.
    Committed,
    /// The first record through `GroupConsumer::poll`.
    Poll,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// As if nothing had been.
    Done,
    /// Done, and the producer is not used again.
    DoneInDoubt,
    /// Nothing is visible, and the same producer goes on.
    Aborted,
    /// Nothing is visible, and the producer is not used again.
    AbortedInDoubt,
    /// Leave.
    Fenced,
    /// A new producer finds out.
    InDoubt,
    /// The call failed.
    Failed(Verdict),
}

/// `times` answers with `code` to requests of the kind `api`, while `call` is made.
#[derive(Clone, Copy, Debug)]
struct Case {
    call: Call,
    api: Api,
    code: Code,
    times: usize,
    came: Came,
}

fn play(case: Case) -> Came {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let settings = Settings::new(&cluster.bootstrap_servers(), "injected");
    let inject = || cluster.request_errors(case.api, &vec![case.code; case.times]);
    match case.call {
        Call::Init => {
            inject();
            TransactionalProducer::new(&settings, "tx")
                .map_or_else(|error| Came::Failed(error.verdict()), |_| Came::Done)
        }
        Call::Commit | Call::Abort => produce(case.call, &settings, inject),
        Call::Committed | Call::Poll => consume(case.call, &settings, inject),
    }
}

fn send(producer: &mut TransactionalProducer) -> Result<(), super::Error> {
    producer.send(&Record { topic: TOPIC, partition: 0, value: Some(b"x"), ..Record::default() })
}

fn commit(producer: &mut TransactionalProducer, consumer: &GroupConsumer) -> Result<Outcome, super::Error> {
    let offset = PartitionOffset { topic: TOPIC.to_owned(), partition: 0, offset: 1, metadata: String::new() };
    send(producer)?;
    producer.commit(&[offset], &consumer.group_metadata()?)
}

/// A producer that has made its connections. No transaction is open: what is injected meets all of the next one.
fn settled(settings: &Settings, consumer: &GroupConsumer) -> TransactionalProducer {
    loop {
        let mut producer = TransactionalProducer::new(settings, "tx").unwrap();
        assert!(matches!(commit(&mut producer, consumer).unwrap(), Outcome::Committed), "the mock commits");
        // On a busy machine a connection may be lost, and the producer with it.
        if producer.abort().is_ok() {
            return producer;
        }
    }
}

fn produce(call: Call, settings: &Settings, inject: impl Fn()) -> Came {
    let consumer = GroupConsumer::subscribe(settings, TOPIC, &member()).unwrap();
    let mut producer = settled(settings, &consumer);
    // Without a record that has arrived there is nothing to be aborted at the cluster.
    if call == Call::Abort {
        send(&mut producer).unwrap();
        producer.flush().unwrap();
    }
    inject();
    let came = match call {
        Call::Abort => producer.abort().map(|()| Came::Aborted),
        _ => commit(&mut producer, &consumer).map(|outcome| match outcome {
            Outcome::Committed => Came::Done,
            Outcome::Aborted(_) => Came::Aborted,
            Outcome::Fenced(_) => Came::Fenced,
            Outcome::InDoubt(_) => Came::InDoubt,
        }),
    };
    let came = came.unwrap_or_else(|error| Came::Failed(error.verdict()));
    let next = send(&mut producer).map_err(|error| error.verdict());
    match came {
        Came::Done if next == Err(Verdict::Recreate) => return Came::DoneInDoubt,
        Came::Aborted if next == Err(Verdict::Recreate) => return Came::AbortedInDoubt,
        Came::Done | Came::Aborted => assert_eq!(next, Ok(()), "after {came:?} the producer goes on"),
        _ => assert_eq!(next, Err(Verdict::Recreate), "after {came:?} the producer is not used on"),
    }
    came
}

fn member() -> Member {
    Member { group: "group".to_owned(), instance: "one".to_owned() }
}

/// Starts what it is given at the beginning.
struct Beginner;

impl Rebalance for Beginner {
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        partitions.iter().for_each(|partition| consumer.start(*partition, 0).unwrap());
    }

    fn revoked(&mut self, _: &GroupConsumer, _: &[i32]) {}

    fn lost(&mut self, _: &GroupConsumer, _: &[i32]) {}
}

fn consume(call: Call, settings: &Settings, inject: impl Fn()) -> Came {
    let mut producer = TransactionalProducer::new(settings, "tx").unwrap();
    send(&mut producer).unwrap();
    producer.flush().unwrap();
    inject();
    let consumer = GroupConsumer::subscribe(settings, TOPIC, &member()).unwrap();
    if call == Call::Committed {
        return consumer.committed(&[0]).map_or_else(|error| Came::Failed(error.verdict()), |_| Came::Done);
    }
    let began = Instant::now();
    while began.elapsed() < BOUND {
        match consumer.poll(Duration::from_millis(100), &mut Beginner) {
            Ok(Some(Event::Record(_))) => return Came::Done,
            Ok(_) => {}
            Err(error) => return Came::Failed(error.verdict()),
        }
    }
    panic!("neither a record nor an error")
}

/// Plays a table, all cases at once: what they do most is wait.
fn table(cases: &[Case]) {
    let (done, told) = channel();
    for (place, &case) in cases.iter().enumerate() {
        let done = done.clone();
        std::thread::spawn(move || {
            let came = std::panic::catch_unwind(|| play(case));
            // Nobody listens any more if another case has hung.
            let _ = done.send((place, came.ok()));
        });
    }
    let deadline = Instant::now() + BOUND;
    let mut came = vec![None; cases.len()];
    for _ in cases {
        let Ok((place, one)) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) else { break };
        came[place] = one;
    }
    // Hung or panicked: nothing came.
    let wrong: Vec<_> = cases.iter().zip(came).filter(|(case, came)| *came != Some(case.came)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn init() {
    use Code::*;
    let case = |code, times, came| Case { call: Call::Init, api: Api::InitProducerId, code, times, came };
    table(&[
        case(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        case(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 2, Came::Done),
        case(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, Came::Done),
        case(RD_KAFKA_RESP_ERR__TRANSPORT, 2, Came::Done),
        case(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::Failed(Verdict::Retry)),
        // The client tries that again by itself.
        case(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Done),
        case(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Failed(Verdict::Fenced)),
        case(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Failed(Verdict::Fenced)),
        case(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        case(RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, 1, Came::Failed(Verdict::Fatal)),
        Case { api: Api::FindCoordinator, ..case(RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, 2, Came::Done) },
    ]);
}

#[test]
fn records_of_a_transaction() {
    use Code::*;
    let add = |code, times, came| Case { call: Call::Commit, api: Api::AddPartitionsToTxn, code, times, came };
    let produce = |code, times, came| Case { call: Call::Commit, api: Api::Produce, code, times, came };
    table(&[
        add(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        // The connection to the old coordinator is closed, which counts as lost.
        add(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, Came::DoneInDoubt),
        add(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, Came::Done),
        add(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::DoneInDoubt),
        add(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Aborted),
        add(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Fenced),
        add(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Fenced),
        add(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, Came::InDoubt),
        add(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, 1, Came::Aborted),
        add(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        add(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        add(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::InDoubt),
        produce(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, Came::Done),
        produce(RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 2, Came::Done),
        produce(RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 2, Came::Done),
        produce(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::DoneInDoubt),
        produce(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, Came::Failed(Verdict::Fatal)),
        produce(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        produce(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1, Came::InDoubt),
        produce(RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, 1, Came::Aborted),
        produce(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Fenced),
        produce(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Fenced),
        produce(RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, FOR_EVER, Came::InDoubt),
    ]);
}

#[test]
fn offsets_of_a_transaction() {
    use Code::*;
    let add = |code, times, came| Case { call: Call::Commit, api: Api::AddOffsetsToTxn, code, times, came };
    let offsets = |code, times, came| Case { call: Call::Commit, api: Api::TxnOffsetCommit, code, times, came };
    table(&[
        add(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        add(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, Came::Done),
        add(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, Came::Done),
        add(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::DoneInDoubt),
        add(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Aborted),
        add(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Fenced),
        add(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Fenced),
        add(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, Came::InDoubt),
        add(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        add(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::InDoubt),
        offsets(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        offsets(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, Came::Done),
        offsets(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::DoneInDoubt),
        offsets(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 1, Came::Aborted),
        offsets(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1, Came::Aborted),
        offsets(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1, Came::Fenced),
        offsets(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Fenced),
        offsets(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Aborted),
        offsets(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        // Never taken: the client knows, and gives the transaction up.
        offsets(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::Aborted),
    ]);
}

#[test]
fn ends_of_a_transaction() {
    use Code::*;
    let commit = |code, times, came| Case { call: Call::Commit, api: Api::EndTxn, code, times, came };
    let abort = |code, times, came| Case { call: Call::Abort, api: Api::EndTxn, code, times, came };
    table(&[
        commit(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        commit(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, Came::DoneInDoubt),
        commit(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, Came::Done),
        commit(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::DoneInDoubt),
        commit(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::InDoubt),
        commit(RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, 1, Came::InDoubt),
        commit(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, Came::InDoubt),
        commit(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Fenced),
        commit(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Fenced),
        commit(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        commit(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::InDoubt),
        abort(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Aborted),
        abort(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, Came::Aborted),
        abort(RD_KAFKA_RESP_ERR__TRANSPORT, 1, Came::AbortedInDoubt),
        abort(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Failed(Verdict::Recreate)),
        abort(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, Came::Failed(Verdict::Recreate)),
        abort(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, Came::Failed(Verdict::Fenced)),
        abort(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, Came::Failed(Verdict::Fenced)),
        abort(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        abort(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::Failed(Verdict::Recreate)),
    ]);
}

#[test]
fn consumers() {
    use Code::*;
    let committed = |code, times, came| Case { call: Call::Committed, api: Api::OffsetFetch, code, times, came };
    let poll = |api, code, times, came| Case { call: Call::Poll, api, code, times, came };
    table(&[
        committed(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        committed(RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 2, Came::Done),
        committed(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, 2, Came::Done),
        committed(RD_KAFKA_RESP_ERR__TRANSPORT, 2, Came::Done),
        committed(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        committed(RD_KAFKA_RESP_ERR_UNKNOWN, 1, Came::Failed(Verdict::Recreate)),
        committed(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, FOR_EVER, Came::Failed(Verdict::Retry)),
        poll(Api::Fetch, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, Came::Done),
        poll(Api::Fetch, RD_KAFKA_RESP_ERR__TRANSPORT, 2, Came::Done),
        poll(Api::Fetch, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, 2, Came::Done),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2, Came::Done),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 2, Came::Done),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR__TRANSPORT, 2, Came::Done),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1, Came::Done),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1, Came::Failed(Verdict::Fenced)),
        poll(Api::JoinGroup, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, Came::Failed(Verdict::Fatal)),
        poll(Api::SyncGroup, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 2, Came::Done),
        poll(Api::SyncGroup, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 1, Came::Done),
        poll(Api::SyncGroup, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1, Came::Failed(Verdict::Fenced)),
        poll(Api::Heartbeat, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 1, Came::Done),
        poll(Api::FindCoordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, 2, Came::Done),
    ]);
}
