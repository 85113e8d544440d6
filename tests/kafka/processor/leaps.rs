//! Clocks that go wrong, a bus that stands still, readings that are hours old: and a restart in the midst of each.
//! Append times are made up, so that hours pass in seconds.
//!
//! ```text
//! append:  r r r r |            r | r r | r r      | kill -9 and a start under the same name
//! clock:   ------->  suspended      leap ---->
//! ```

use hms_ops::bus::Offsets;
use hms_ops::codec::{self, state::StateRecord};
use hms_ops::model::incident::{EventKind, IncidentEvent};

use crate::oracle::dice::Dice;
use crate::rig::fleet::{Fleet, PARTITIONS};
use crate::rig::judge::{confirm, stored};
use crate::rig::story::{HOUR, MINUTE, SECOND, Story, by_dice, spec};

/// How many of them are so.
fn count(events: &[IncidentEvent], wanted: impl Fn(&EventKind) -> bool) -> usize {
    events.iter().filter(|event| wanted(&event.kind)).count()
}

#[test]
fn leaps_and_suspensions_survive_restarts() {
    let mut story = Story::new("leaps");
    story.seconds(20, 10.0);
    story.seconds(15, 40.0);
    story.kill();
    // The bus is silent for five minutes. The first record after it suspends the clock.
    story.now += 5 * MINUTE;
    story.all("q", story.now, 40.0);
    story.kill_after_commit();
    // What producers had buffered comes, older than the record that suspended the clock, and newer.
    for age in [280, 120, 61, 30, 5, 0] {
        story.now += SECOND;
        story.all("q", story.now - age * SECOND, 40.0);
    }
    story.kill_after_commit();
    // Confirmed: a leap.
    story.now += 5 * SECOND;
    story.all("q", story.now, 40.0);
    story.kill_after_commit();
    story.seconds(15, 40.0);

    // For one record a broker's clock is two hours ahead, and nothing follows before the restart.
    let right = story.now;
    story.now += 2 * HOUR;
    story.all("q", right, 10.0);
    story.tick();
    story.kill_after_commit();
    story.now = right;
    story.seconds(15, 10.0);
    // An hour back: the partition's clock stands, readings of now lie in the future, readings of then are late.
    let right = story.now;
    for ahead in [HOUR, 0, 3 * SECOND] {
        story.now = right - HOUR;
        story.all("q", story.now + ahead, 40.0);
    }
    story.kill_after_commit();
    story.now = right;
    story.seconds(20, 10.0);
    // A leap by ticks alone, hours wide, with a restart on either side of each of its records.
    for step in [3 * HOUR, 9 * SECOND, SECOND] {
        story.now += step;
        story.tick();
        story.kill_after_commit();
    }
    story.seconds(40, 10.0);

    let events = confirm(&story.end()).events;
    let services = usize::try_from(PARTITIONS).unwrap();
    assert_eq!(count(&events, |kind| matches!(kind, EventKind::Blind { .. })), 2 * services);
    assert!(count(&events, |kind| matches!(kind, EventKind::Opened { .. })) >= services);
    assert!(count(&events, |kind| matches!(kind, EventKind::Resolved { .. })) >= services);
}

#[test]
fn what_is_old_late_or_of_the_last_moment_survives_a_restart() {
    let mut story = Story::new("memory");
    story.seconds(5, 10.0);
    // Counts for as long as nothing newer comes: a day.
    story.all("cost", story.now, 600.0);
    story.seconds(10, 10.0);
    // Late readings, the last thing that the log holds; they breach the window that they are of.
    for late in [3, 5, 7, 9] {
        (0..4).for_each(|_| story.all("q", story.now - late * SECOND, 40.0));
    }
    story.kill_after_commit();
    story.seconds(4, 10.0);
    // An occurrence between two instants.
    story.all("login", story.now, 1.0);
    story.kill_after_commit();
    story.seconds(100, 10.0);
    // Hours of nothing: the cuts that hold the cost are thousands of records away.
    story.silence(3 * HOUR, 30 * SECOND);
    story.kill_after_commit();
    story.silence(MINUTE, SECOND);
    // New words in the last moment before the end; what is open keeps the old ones.
    story.services.iter().for_each(|id| story.fleet.register(&spec(id, "other")));
    story.kill();
    story.seconds(20, 40.0);
    story.kill_after_commit();
    story.services.iter().for_each(|id| story.fleet.register(&spec(id, "third")));
    story.kill();
    story.all("cost", story.now, 100.0);
    story.seconds(30, 40.0);
    story.kill();
    story.seconds(40, 10.0);

    let events = confirm(&story.end()).events;
    let services = usize::try_from(PARTITIONS).unwrap();
    let opened = |wanted: &str| {
        let is_wanted = |kind: &EventKind| matches!(kind, EventKind::Opened { cause, .. } if cause.contains(wanted));
        count(&events, is_wanted)
    };
    // The first of the two by the late readings alone.
    assert_eq!(opened("slo"), 2 * services);
    for cause in ["cost", "login", "no_data"] {
        assert_eq!(opened(cause), services, "{cause}");
    }
    assert_eq!(count(&events, |kind| matches!(kind, EventKind::Resolved { .. })), 5 * services);
    assert_eq!(count(&events, |kind| matches!(kind, EventKind::SpecActivated { .. })), 3 * services);
}

/// ```text
/// ops.state/p:  F p ... p | p ... p F p ... p     F: a full cut, once an hour   |: all before is committed
///                          ^---------^ here the next owner begins to read
/// ```
#[test]
fn a_takeover_reads_the_state_from_the_last_full_cut_and_not_from_hours_before() {
    let mut story = Story::new("hour");
    story.silence(50 * MINUTE, 30 * SECOND);
    story.fleet.flush();
    story.fleet.wait_until_caught_up();
    let committed = ends_of_state(&story.fleet);
    story.silence(20 * MINUTE, 30 * SECOND);
    let fleet = story.end();
    for (partition, (_, metadata)) in fleet.committed().into_iter().enumerate() {
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let begin = metadata["state"].as_i64().unwrap();
        let full = full_cuts(&fleet, i32::try_from(partition).unwrap());
        assert!(full.len() >= 2, "{full:?}");
        assert!((committed[partition]..=full[full.len() - 1]).contains(&begin), "{begin}: {committed:?}, {full:?}");
    }
    confirm(&fleet);
}

/// Where each partition of `ops.state` ends.
fn ends_of_state(fleet: &Fleet) -> Vec<i64> {
    let offsets = Offsets::new(&fleet.settings).unwrap();
    (0..PARTITIONS).map(|partition| offsets.watermarks(&fleet.topics.state, partition).unwrap().high).collect()
}

/// Where the full cuts of a partition begin: those after which the partition remembers another one.
fn full_cuts(fleet: &Fleet, partition: i32) -> Vec<i64> {
    let (mut full, mut begin, mut last) = (Vec::new(), None, None);
    for record in stored(fleet, &fleet.topics.state, partition) {
        let begins = *begin.get_or_insert(record.offset);
        if let StateRecord::Partition(record) = codec::state::decode_state(&record.value.unwrap()).unwrap() {
            if last != Some(record.full_cut_clock) {
                full.push(begins);
            }
            (begin, last) = (None, Some(record.full_cut_clock));
        }
    }
    full
}

/// Clocks of sensors, host and broker by dice: what is published is what the oracle says (`confirm`), and where every
/// sensor measures good values, nothing is opened.
#[test]
fn wrong_clocks_open_nothing_by_themselves() {
    let opened = |kind: &EventKind| matches!(kind, EventKind::Opened { .. });
    let [calm, restless] = [true, false].map(|calm| {
        let mut story = Story::new("clocks");
        by_dice(&mut story, &mut Dice::new(8), 8, calm);
        confirm(&story.end()).events
    });
    assert_eq!(count(&calm, opened), 0, "{calm:#?}");
    assert!(count(&calm, |kind| matches!(kind, EventKind::Blind { .. })) > 0, "no clock leapt");
    assert!(count(&restless, opened) > 0);
}
