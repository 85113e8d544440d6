//! The courier on a real cluster: each sender learns what became of its own records, and a client that is broken is
//! replaced.

use std::sync::Arc;
use std::time::Duration;

use hms_ops::bus::courier::Limits;
use hms_ops::bus::{Courier, Isolation, Parcel, Receipt};

use crate::harness::*;

fn courier() -> Courier {
    Courier::new(&settings(), Limits { records: 1_000, bytes: 1 << 20, patience: Duration::from_secs(60) }).unwrap()
}

fn wait(parcel: &Arc<Parcel>) -> Receipt {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, parcel.wait()).await }).unwrap()
}

fn send(courier: &Courier, topic: &str, values: &[&str]) -> Arc<Parcel> {
    let bytes = values.iter().map(|value| value.len() as u64).sum();
    let parcel = courier.open(values.len() as u64, bytes).unwrap();
    for (index, value) in (0..).zip(values) {
        courier.send(&record(topic, 0, value), index, &parcel);
    }
    parcel
}

/// Two senders, one of whom sends what the topic does not take: `p0: a b`.
#[test]
fn each_sender_learns_what_became_of_its_own_records() {
    let topic = create_topic_with("courier", 1, &[("max.message.bytes", "2000")]);
    let courier = courier();
    let large = "x".repeat(100_000);
    let bad = send(&courier, &topic, &[&large]);
    let receipt = wait(&bad);
    assert_eq!((receipt.delivered, receipt.failed.len(), receipt.failed[0].index), (0, 1, 0), "{receipt:?}");
    let good = send(&courier, &topic, &["a", "b"]);
    assert_eq!(wait(&good), Receipt { delivered: 2, ..Receipt::default() });
    assert_eq!(values(&topic, 0, Isolation::Committed), ["a", "b"]);
    drop((good, bad));
    assert_eq!(courier.load(), (0, 0));
}

/// Without the renewal the second parcel would fail as the first, for ever.
#[test]
fn a_client_that_met_a_fatal_error_is_replaced() {
    let topic = create_topic("courier-fatal", 1);
    let courier = courier();
    assert!(wait(&send(&courier, &topic, &["a"])).is_complete());
    courier.break_client();
    let receipt = wait(&send(&courier, &topic, &["lost"]));
    assert_eq!((receipt.delivered, receipt.failed.len()), (0, 1), "{receipt:?}");
    assert!(wait(&send(&courier, &topic, &["b"])).is_complete());
    assert_eq!(values(&topic, 0, Isolation::Committed), ["a", "b"]);
}
