//! The broker is killed and comes back, on a cluster of this test's own.

use std::sync::Arc;

use hms_ops::local::kafka::{LocalKafka, Options};

use crate::harness::PATIENCE;
use crate::rig::fleet::Fleet;
use crate::rig::judge::confirm;
use crate::rig::load::start;
use crate::rig::watch::Views;

/// ```text
/// ops.metrics:  r r r r |    | r r r r ...    nothing lost, nothing twice
/// broker:       --------x    |------------
/// ```
#[test]
fn the_broker_is_killed_under_load() {
    let mut kafka = LocalKafka::start(&Options::default()).unwrap();
    let fleet = Arc::new(Fleet::on(kafka.brokers(), "outage"));
    let load = start(&fleet);
    let mut views = Views::new(&fleet);
    let mut ops = fleet.start("one");
    views.committed.until("events", |seen| seen.len() > 20);
    views.wait_for_open();
    kafka.kill_and_restart(PATIENCE).unwrap();
    views.committed.drain();
    let before = views.committed.seen.len();
    views.committed.until("events after the outage", |seen| seen.len() > before + 20);
    load.stop();
    fleet.wait_until_caught_up();
    assert!(ops.is_alive(), "{}", ops.said());
    ops.stop();
    let judged = confirm(&fleet);
    let reasons: Vec<_> = judged.counts.rejected.keys().collect();
    assert_eq!(reasons, [&"unknown_sensor"], "only what the load sends on purpose");
}
