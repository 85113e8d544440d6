//! The log no longer holds where the processor stopped: it refuses to guess, and says how to go on.

use std::time::{Duration, Instant};

use hms_ops::bus::{Admin, Isolation, Offsets};
use hms_ops::model::ids::home_partition;
use hms_ops::model::incident::EventKind;
use hms_ops::processor::audit::Auditor;

use crate::harness::{PATIENCE, settings};
use crate::rig::fleet::{Fleet, PARTITIONS};
use crate::rig::watch::{Watch, opens};

const SPEC: &str = "id: svc
owner: test
sensors:
  - {name: q, interval: 0.2}
slo:
  target: q
  threshold: 30
  window_seconds: 2
  min_samples: 5
  recover_for: 0
  no_data_after_seconds: 60
";

fn burst(fleet: &Fleet, value: f64) {
    (0..10).for_each(|_| fleet.emit("svc", "q", value));
    fleet.flush();
}

/// ```text
/// r r r r (opened) | r r r r ... all deleted | r r r r
///                  ^ committed               ^ the log begins here
/// ```
#[test]
fn a_gap_is_refused_until_it_is_accepted_and_then_generations_go_on() {
    let fleet = Fleet::new("gap");
    fleet.register(SPEC);
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| matches!(event.kind, EventKind::SpecActivated { .. }));
    burst(&fleet, 40.0);
    watch.until_one("an incident", |event| opens(event, "svc"));
    ops.stop();

    burst(&fleet, 40.0);
    let home = home_partition("svc", PARTITIONS);
    let end = Offsets::new(&settings()).unwrap().watermarks(&fleet.topics.metrics, home).unwrap().high;
    Admin::new(&settings()).unwrap().delete_records(&fleet.topics.metrics, home, end).unwrap();

    let mut refused = fleet.start("one");
    let deadline = Instant::now() + PATIENCE;
    while refused.is_alive() {
        assert!(Instant::now() < deadline, "it goes on over the gap\n{}", refused.said());
        // A child's end can be waited for, but not with a bound.
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = refused.said();
    assert!(said.contains("--accept-gap") && said.contains(&format!("the log holds {end}..{end}")), "{said}");

    let ops = fleet.start_with("one", &["--accept-gap"]);
    watch.until_one("the end of what was open", |event| matches!(event.kind, EventKind::Closed { .. }));
    burst(&fleet, 40.0);
    watch.until("a second incident", |seen| seen.iter().filter(|seen| opens(&seen.event, "svc")).count() == 2);
    ops.stop();
    let generations: Vec<u64> = watch
        .seen
        .iter()
        .filter_map(|seen| match &seen.event.kind {
            EventKind::Opened { incident, .. } => Some(incident.generation),
            _ => None,
        })
        .collect();
    assert_eq!(generations, [1, 2]);

    // Whoever audits it begins where the log does, and finds the second incident.
    let auditor = Auditor::new(settings(), fleet.topics.clone(), &fleet.group).unwrap();
    let finding = auditor.open(home).unwrap().verify(None, None, &mut |_, _| {}).unwrap();
    assert!(finding.difference.is_none() && finding.from_cut, "{finding:#?}");
    assert!(finding.from >= end && finding.equal >= 1, "{finding:#?}");
}
