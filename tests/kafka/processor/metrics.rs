//! INV-12 as numbers that anybody can scrape, and as a guard: a worker that loses a record stops before it commits.

use std::collections::BTreeMap;

use hms_ops::model::ids::home_partition;
use hms_ops::torture::Sabotage;

use crate::rig::fleet::{Fleet, PARTITIONS, ids};
use crate::rig::judge::confirm;
use crate::scrape::{address, get, ok, samples, until};

/// Append time of the first record, ms.
const BEGIN: i64 = 1_700_000_000_000;

fn spec(id: &str) -> String {
    format!("id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.2}}\nslo: {{target: q, threshold: 30}}\n")
}

/// Readings good, late, unreadable, unknown and away from home: the numbers are those of the judge.
#[test]
fn what_is_served_is_what_the_judge_counts() {
    let fleet = Fleet::simulated("metrics");
    let services = ids("m", 1);
    services.iter().for_each(|id| fleet.register(&spec(id)));
    let ops = fleet.start_with("one", &["--metrics", "127.0.0.1:0"]);
    let address = address(&ops, "/metrics");
    for number in 0..600_i64 {
        let now = BEGIN + number * 50;
        let id = &services[number as usize % services.len()];
        let home = home_partition(id, PARTITIONS);
        match number % 10 {
            0 => fleet.append(home, now, None, Some(b"\0\0\0\0\x01strange"), &[]),
            1 => fleet.append(home, now, Some(b"x"), None, &[]),
            2 => fleet.emit_to(home, "m_nobody", "q", now, 1.0),
            3 => fleet.emit_to((home + 1) % PARTITIONS, id, "q", now, 10.0),
            _ => fleet.emit_at(id, "q", now, 10.0),
        }
    }
    fleet.flush();
    fleet.wait_until_caught_up();
    // What was forwarded last is a record too.
    fleet.wait_until_caught_up();
    let found = until(
        || {
            let found = samples(&get(&address, "/metrics").1);
            // The process hears of its commit a little later than the group, and tells its lag once a second.
            let is_told = lags(&found).count() == PARTITIONS as usize && lags(&found).all(|lag| lag == 0.0);
            (found["ops_consumed_total"] >= 660.0 && is_told).then_some(found)
        },
        || get(&address, "/metrics").1,
    );
    assert_eq!((get(&address, "/healthz").0, get(&address, "/readyz").0), (ok(), ok()));
    ops.stop();

    let judged = confirm(&fleet);
    let rejected = |name: &str| found.get(&format!("ops_rejected_total{{reason=\"{name}\"}}")).copied().unwrap_or(0.0);
    let total: f64 = judged.counts.rejected.keys().map(|reason| rejected(reason)).sum();
    for (name, expected) in [
        ("consumed", judged.counts.consumed),
        ("counted", judged.counts.counted),
        ("late", judged.counts.late),
        ("ticks", judged.counts.ticks),
        ("forwarded", judged.forwarded),
        ("conservation_violations", 0),
    ] {
        assert_eq!(found[&format!("ops_{name}_total")], expected as f64, "{name}: {found:#?}");
    }
    for (reason, number) in &judged.counts.rejected {
        assert_eq!(rejected(reason), *number as f64, "{reason}: {found:#?}");
    }
    let accounted = found["ops_counted_total"] + total + found["ops_forwarded_total"] + found["ops_ticks_total"];
    assert_eq!(found["ops_consumed_total"], accounted, "INV-12: {found:#?}");
    assert!(found["ops_transactions_total{outcome=\"committed\"}"] >= 1.0, "{found:#?}");
    assert_eq!(found["ops_restores_total"], f64::from(PARTITIONS), "{found:#?}");
    assert_eq!(found["ops_partitions"], f64::from(PARTITIONS), "{found:#?}");
    assert!(found["ops_commit_seconds_count"] >= 1.0, "{found:#?}");
    assert_eq!(found["ops_verdict_delay_seconds_count"], 0.0, "where time is made up there is no delay: {found:#?}");
    assert_eq!(found["ops_partitions_owned{worker=\"one-0\"}"], f64::from(PARTITIONS), "{found:#?}");
}

fn lags(found: &BTreeMap<String, f64>) -> impl Iterator<Item = f64> {
    found.iter().filter(|(name, _)| name.starts_with("ops_partition_lag{")).map(|(_, lag)| *lag)
}

/// The control of INV-12:
///
/// ```text
/// p0: r(lost)    the worker without its count stops, nothing is committed
///     r          its successor takes it from the beginning
/// ```
#[test]
fn a_worker_that_loses_a_record_stops_before_it_commits() {
    let fleet = Fleet::simulated("lost");
    let id = ids("lost", 1).remove(0);
    let home = home_partition(&id, PARTITIONS);
    fleet.register(&spec(&id));
    fleet.emit_at(&id, "q", BEGIN, 10.0);
    fleet.flush();
    let ops = fleet.start_without("one", Sabotage::CountLost);
    let log = crate::rig::fleet::kept_file(&format!("{}one.log", fleet.prefix));
    let status = ops.wait();
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("error: partition {home}: records are not conserved, nothing is committed")),
        "{said}"
    );
    let (committed, _) = &fleet.committed()[home as usize];
    assert_eq!(*committed, Some(0), "{said}");

    let ops = fleet.start("one");
    fleet.wait_until_caught_up();
    ops.stop();
    let judged = confirm(&fleet);
    assert_eq!((judged.counts.consumed, judged.counts.counted), (1, 1));
}
