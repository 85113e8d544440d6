//! Stories in simulated time: append times are made up, so that hours pass in seconds; clocks go wrong, the bus stands
//! still, processes are killed in the midst of it. Called by the tests of `leaps` and by the campaign `clocks`.

use std::collections::BTreeMap;

use hms_ops::bus::Isolation;
use hms_ops::codec;
use hms_ops::model::ids::{TICK_SENSOR, TICK_SERVICE, home_partition};
use hms_ops::model::reading::Reading;

use super::fleet::{Fleet, Ops, PARTITIONS, ids};
use super::watch::Watch;
use crate::oracle::dice::Dice;

/// Where the story begins, ms.
const BEGIN: i64 = 1_700_000_000_000;
/// In ms.
pub const SECOND: i64 = 1_000;
/// In ms.
pub const MINUTE: i64 = 60 * SECOND;
/// In ms.
pub const HOUR: i64 = 60 * MINUTE;

/// A service with an SLO, a comparison, an event and a page when its sensor is silent.
pub fn spec(id: &str, channel: &str) -> String {
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
pub struct Story {
    /// Its fleet.
    pub fleet: Fleet,
    /// Ids of the services.
    pub services: Vec<String>,
    /// The broker's clock, ms.
    pub now: i64,
    name: &'static str,
    ops: Option<Ops>,
}

impl Story {
    /// Waits until the specs are active.
    pub fn new(name: &str) -> Self {
        let fleet = Fleet::simulated(name);
        let services = ids("s", 1);
        services.iter().for_each(|id| fleet.register(&spec(id, "x")));
        let (name, ops) = ("one", Some(fleet.start("one")));
        Watch::new(&fleet, Isolation::Committed).until("the specs", |seen| seen.len() == services.len());
        Self { fleet, services, now: BEGIN, name, ops }
    }

    /// A reading of every service, appended now.
    pub fn all(&self, sensor: &str, ts: i64, value: f64) {
        for service in &self.services {
            let (service, sensor) = (service.into(), sensor.into());
            let reading = Reading { service, sensor, ts, value, attributes: BTreeMap::new() };
            let key = Some(reading.service.as_bytes());
            let home = home_partition(&reading.service, PARTITIONS);
            self.fleet.append(home, self.now, key, Some(&codec::reading::encode(&reading)), &[]);
        }
    }

    /// A tick in every partition.
    pub fn tick(&self) {
        (0..PARTITIONS).for_each(|partition| {
            self.fleet.emit_to(partition, TICK_SERVICE, TICK_SENSOR, self.now, 0.0);
        });
    }

    /// So many seconds with a reading each.
    pub fn seconds(&mut self, count: i64, value: f64) {
        for _ in 0..count {
            self.now += SECOND;
            self.all("q", self.now, value);
        }
    }

    /// So much time with nothing but ticks.
    pub fn silence(&mut self, time: i64, tick_every: i64) {
        for _ in 0..time / tick_every {
            self.now += tick_every;
            self.tick();
        }
    }

    /// Kills the process as soon as the log holds everything, wherever it is, and starts another.
    pub fn kill(&mut self) {
        self.fleet.flush();
        self.ops.take().unwrap().kill();
        self.ops = Some(self.fleet.start(self.name));
    }

    /// Kills it when it has committed everything: the next one begins with exactly this state.
    pub fn kill_after_commit(&mut self) {
        self.fleet.flush();
        self.fleet.wait_until_caught_up();
        self.kill();
    }

    /// Kills it now and then, caught up or wherever it is.
    fn kill_by_dice(&mut self, dice: &mut Dice) {
        match dice.below(6) {
            0 => self.kill(),
            1 => self.kill_after_commit(),
            _ => {}
        }
    }

    /// Ends the process in order (one that is not up yet just dies) and lets one of another name go on.
    pub fn change_name(&mut self) {
        self.fleet.flush();
        let ops = self.ops.take().unwrap();
        ops.terminate();
        ops.wait();
        self.name = if self.name == "one" { "two" } else { "one" };
        self.ops = Some(self.fleet.start(self.name));
    }

    /// Everything is committed, nobody is left.
    pub fn end(mut self) -> Fleet {
        self.fleet.flush();
        self.fleet.wait_until_caught_up();
        self.ops.take().unwrap().stop();
        self.fleet
    }
}

/// What can happen in a story by dice.
const ACTS: u64 = 8;

/// A story of `acts` by dice. In a calm one every sensor measures good values all the time, whatever its clock says, and
/// ticks are missing with the readings alone: nothing may be opened.
pub fn by_dice(story: &mut Story, dice: &mut Dice, acts: usize, calm: bool) {
    story.seconds(15, 10.0);
    for _ in 0..acts {
        let value = if calm { 10.0 } else { dice.pick(&[10.0, 40.0]) };
        match dice.below(ACTS) {
            0 => a_sensors_clock_is_off(story, dice, value),
            1 => the_brokers_clock_is_off_for_a_moment(story, dice, value),
            2 => the_brokers_clock_is_off_for_long(story, dice, value),
            3 => the_bus_is_silent(story, dice, value),
            4 => story.change_name(),
            5 if !calm => {
                // The sensors are silent, and the pipeline is not.
                story.silence(dice.between(15, 90) * SECOND, SECOND);
            }
            6 if !calm => {
                story.all("login", story.now, 1.0);
                story.all("cost", story.now, dice.pick(&[100.0, 600.0]));
            }
            _ => story.seconds(dice.between(5, 40), value),
        }
        story.kill_by_dice(dice);
        story.seconds(dice.between(1, 20), value);
    }
    story.seconds(30, 10.0);
}

/// Hours off, or seconds, forwards or back.
fn off(dice: &mut Dice) -> i64 {
    let hours = dice.between(1, 5) * HOUR;
    dice.pick(&[hours, -hours, 8 * SECOND, 3 * SECOND, -3 * SECOND, -15 * SECOND])
}

fn a_sensors_clock_is_off(story: &mut Story, dice: &mut Dice, value: f64) {
    let off = off(dice);
    for _ in 0..dice.between(1, 40) {
        story.now += SECOND;
        story.all("q", story.now + off, value);
    }
}

/// One record, or some within less than the ten seconds that would confirm it.
fn the_brokers_clock_is_off_for_a_moment(story: &mut Story, dice: &mut Dice, value: f64) {
    let right = story.now;
    story.now += off(dice);
    for _ in 0..dice.between(1, 8) {
        story.now += SECOND;
        story.all("q", right, value);
    }
    story.kill_by_dice(dice);
    story.now = right;
}

/// Forwards until everybody believes it, then back: the partition's clock stands until it was right all along. The
/// host's clock, which ticks, is right or off itself.
fn the_brokers_clock_is_off_for_long(story: &mut Story, dice: &mut Dice, value: f64) {
    let right = story.now;
    story.now += dice.between(1, 5) * HOUR;
    for second in 0..dice.between(12, 30) {
        story.now += SECOND;
        story.all("q", right + second * SECOND, value);
    }
    story.kill_by_dice(dice);
    let leapt = std::mem::replace(&mut story.now, right);
    for _ in 0..dice.between(1, 20) {
        story.now += SECOND;
        story.all("q", story.now, value);
        story.tick();
    }
    story.kill_by_dice(dice);
    story.now = leapt;
}

/// For minutes; then what producers had buffered comes.
fn the_bus_is_silent(story: &mut Story, dice: &mut Dice, value: f64) {
    let silence = dice.between(61, 1_800);
    story.now += silence * SECOND;
    story.all("q", story.now, value);
    story.kill_by_dice(dice);
    for _ in 0..12 {
        story.now += SECOND;
        story.all("q", story.now - dice.between(0, silence) * SECOND, value);
        story.all("q", story.now, value);
    }
}
