//! Clocks that go wrong, a bus that stands still, readings that are hours old: and a restart in the midst of each.
//! Append times are made up, so that hours pass in seconds.
//!
//! ```text
//! append:  r r r r |            r | r r | r r      | kill -9 and a start under the same name
//! clock:   ------->  suspended      leap ---->
//! ```

use std::collections::BTreeMap;

use hms_ops::bus::Isolation;
use hms_ops::codec;
use hms_ops::model::ids::{TICK_SENSOR, TICK_SERVICE, home_partition};
use hms_ops::model::incident::{EventKind, IncidentEvent};
use hms_ops::model::reading::Reading;

use crate::rig::fleet::{Fleet, Ops, PARTITIONS, ids};
use crate::rig::judge::confirm;
use crate::rig::watch::Watch;

/// Where the story begins, ms.
const BEGIN: i64 = 1_700_000_000_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn spec(id: &str, channel: &str) -> String {
    format!(
        "id: {id}\nowner: test\n\
         sensors:\n  - {{name: q, interval: 1}}\n  - {{name: cost, unit: usd_per_hour, no_data_after: 1 d}}\n\
         events: [login]\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 10\n  min_samples: 5\n  for: 3\n  recover_for: 5\n  \
         no_data_after_seconds: 20\n  flap_limit: 2\n  flap_window: 600\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n  \
         - if: still_breach_after 20\n    then: page channel={channel}\n  \
         - if: cost > $500 for 2 min\n    then: throttle traffic 20 %\n  \
         - if: login\n    then: page channel=y\n  - if: no_data for 10\n    then: page channel=z\n"
    )
}

/// One service in each partition, one process, and a time of its own.
struct Story {
    fleet: Fleet,
    services: Vec<String>,
    /// The broker's clock, ms.
    now: i64,
    ops: Option<Ops>,
}

impl Story {
    fn new(name: &str) -> Self {
        let fleet = Fleet::simulated(name);
        let services = ids("s", 1);
        services.iter().for_each(|id| fleet.register(&spec(id, "x")));
        let ops = Some(fleet.start("one"));
        Watch::new(&fleet, Isolation::Committed).until("the specs", |seen| seen.len() == services.len());
        Self { fleet, services, now: BEGIN, ops }
    }

    /// A reading of every service, appended now.
    fn all(&self, sensor: &str, ts: i64, value: f64) {
        for service in &self.services {
            let (service, sensor) = (service.clone(), sensor.to_owned());
            let reading = Reading { service, sensor, ts, value, attributes: BTreeMap::new() };
            let key = Some(reading.service.as_bytes());
            let home = home_partition(&reading.service, PARTITIONS);
            self.fleet.append(home, self.now, key, Some(&codec::reading::encode(&reading)), &[]);
        }
    }

    fn tick(&self) {
        (0..PARTITIONS).for_each(|partition| {
            self.fleet.emit_to(partition, TICK_SERVICE, TICK_SENSOR, self.now, 0.0);
        });
    }

    /// So many seconds with a reading each.
    fn seconds(&mut self, count: i64, value: f64) {
        for _ in 0..count {
            self.now += SECOND;
            self.all("q", self.now, value);
        }
    }

    /// So much time with nothing but ticks.
    fn silence(&mut self, time: i64, tick_every: i64) {
        for _ in 0..time / tick_every {
            self.now += tick_every;
            self.tick();
        }
    }

    /// Kills the process as soon as the log holds everything, wherever it is, and starts another.
    fn kill(&mut self) {
        self.fleet.flush();
        self.ops.take().unwrap().kill();
        self.ops = Some(self.fleet.start("one"));
    }

    /// Kills it when it has committed everything: the next one begins with exactly this state.
    fn kill_after_commit(&mut self) {
        self.fleet.flush();
        self.fleet.wait_until_caught_up();
        self.kill();
    }

    fn end(mut self) -> Vec<IncidentEvent> {
        self.fleet.flush();
        self.fleet.wait_until_caught_up();
        self.ops.take().unwrap().stop();
        confirm(&self.fleet).events
    }
}

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

    let events = story.end();
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

    let events = story.end();
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
