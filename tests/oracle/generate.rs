//! Random logs of one partition that go where the definitions have edges: boundary times, late and future
//! readings, silence, suspended clocks, leaps, new specs. `json::to_json` writes one down.

use super::dice::Dice;
use super::plan::Plan;
use super::{Entry, Reading};

/// The clock at which logs begin.
const EPOCH: i64 = 1_790_000_000_000;

/// A random log of 1,000 to 2,000 entries; the same for the same seed.
pub fn log(seed: u64) -> Vec<Entry> {
    let size = Dice::new(!seed).between(1_000, 2_000) as usize;
    log_of_size(seed, size)
}

/// A random log of about `size` entries.
pub fn log_of_size(seed: u64, size: usize) -> Vec<Entry> {
    let mut maker = Maker::new(seed);
    while maker.log.len() < size {
        maker.scene();
    }
    maker.log
}

/// How a sensor behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Good,
    Bad,
    /// On and around the thresholds.
    Edge,
    /// One in eight is bad.
    Spotty,
    /// Good, but too seldom for a verdict.
    Sparse,
    Silent,
}

struct Actor {
    plan: Plan,
    registered: bool,
    mood: Mood,
    error_rate: f64,
    cost: f64,
    last_ts: i64,
}

struct Maker {
    dice: Dice,
    log: Vec<Entry>,
    now: i64,
    /// Usual distance of two records, ms.
    pace: i64,
    actors: Vec<Actor>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = dice.between(1, 4);
        let actors: Vec<Actor> = (0..count)
            .map(|number| Actor {
                plan: Plan::random(&mut dice, &format!("s{number}")),
                registered: true,
                mood: Mood::Good,
                error_rate: 0.01,
                cost: 100.0,
                last_ts: EPOCH,
            })
            .collect();
        let pace = dice.pick(&[40, 100, 100, 200, 400]);
        let mut log: Vec<Entry> = actors.iter().map(|actor| Entry::Spec(actor.plan.text())).collect();
        if dice.chance(10) {
            log.push(Entry::Retire("s0".to_owned()));
            log.push(Entry::Spec(actors[0].plan.text()));
        }
        Self { dice, log, now: EPOCH, pace, actors }
    }

    /// A stretch of the log in one style.
    fn scene(&mut self) {
        for actor in &mut self.actors {
            if actor.mood == Mood::Bad && self.dice.chance(25) {
                // The service was taken out of use: an open incident has little to recover by.
                actor.mood = Mood::Sparse;
            } else if self.dice.chance(40) {
                actor.mood = self.dice.pick(&[
                    Mood::Good,
                    Mood::Good,
                    Mood::Bad,
                    Mood::Bad,
                    Mood::Bad,
                    Mood::Edge,
                    Mood::Spotty,
                    Mood::Spotty,
                    Mood::Sparse,
                    Mood::Silent,
                ]);
            }
            if self.dice.chance(25) {
                actor.error_rate = self.dice.pick(&[0.0, 0.005, 0.01, 0.02, 0.020_000_000_000_000_004, 0.05]);
                actor.cost = self.dice.pick(&[5.0, 10.0, 100.0, 500.0, 500.5]);
            }
        }
        match self.dice.below(100) {
            0..=69 => self.traffic(),
            70..=77 => self.quiet(),
            78..=82 => self.burst(),
            83..=86 => self.back_in_time(),
            87..=88 => self.false_leap(),
            89..=91 => self.leap(),
            _ => self.registry(),
        }
    }

    fn traffic(&mut self) {
        for _ in 0..self.dice.between(20, 120) {
            self.advance();
            self.record(self.now);
        }
    }

    /// Silence: ticks alone, about one a second.
    fn quiet(&mut self) {
        for _ in 0..self.dice.between(2, 30) {
            self.now += self.dice.pick(&[1_000, 1_000, 1_000, 700, 5_000]);
            self.tick(self.now);
        }
    }

    /// Many records of one append time.
    fn burst(&mut self) {
        for _ in 0..self.dice.between(5, 40) {
            self.record(self.now);
        }
    }

    /// Append times that lie behind the clock.
    fn back_in_time(&mut self) {
        let back = self.dice.pick(&[1, 500, 3_000, 59_000, 90_000]);
        for _ in 0..self.dice.between(1, 10) {
            self.record(self.now - back);
        }
    }

    /// Append times far ahead, for too short a time to be believed.
    fn false_leap(&mut self) {
        let start = self.now + self.dice.pick(&[60_001, 75_000, 3_600_000]);
        for _ in 0..self.dice.between(1, 8) {
            let ahead = self.dice.pick(&[0, 100, 5_000, 9_999]);
            self.record(start + ahead);
        }
        self.record(self.now);
    }

    /// The bus stood still: a suspension that is confirmed, or a gap of exactly what is no leap.
    fn leap(&mut self) {
        if self.dice.chance(30) {
            self.now += 60_000;
            return self.record(self.now);
        }
        let start = self.now + self.dice.pick(&[60_001, 62_000, 90_000, 200_000]);
        self.now = start;
        self.record(start);
        for _ in 0..self.dice.between(0, 12) {
            self.now = (self.now + self.dice.pick(&[50, 300, 1_000])).min(start + 9_999);
            self.record(self.now);
        }
        self.now = start + self.dice.pick(&[10_000, 10_000, 10_400]);
        self.record(self.now);
    }

    /// New specs, retired services.
    fn registry(&mut self) {
        let place = self.dice.below(self.actors.len() as u64) as usize;
        let actor = &mut self.actors[place];
        if !actor.registered {
            actor.registered = true;
        } else {
            match self.dice.below(10) {
                0..=1 => {
                    actor.registered = false;
                    let id = actor.plan.id.clone();
                    return self.log.push(Entry::Retire(id));
                }
                // The same text again is nothing.
                2 => {}
                3..=6 => actor.plan = actor.plan.compatible(&mut self.dice),
                _ => actor.plan = actor.plan.incompatible(&mut self.dice),
            }
        }
        self.log.push(Entry::Spec(self.actors[place].plan.text()));
    }

    fn advance(&mut self) {
        let pace = self.pace;
        self.now += self.dice.pick(&[0, 1, pace / 2, pace, pace, pace, 2 * pace, 4 * pace]);
        if self.dice.chance(8) {
            // Exactly on the half seconds, where instants become due.
            self.now += 500 - self.now.rem_euclid(500);
        }
    }

    fn tick(&mut self, append: i64) {
        self.log.push(Entry::Record { append, reading: None });
    }

    fn record(&mut self, append: i64) {
        let place = self.dice.below(self.actors.len() as u64) as usize;
        let kind = self.dice.below(100);
        let reading = match kind {
            0..=2 => return self.tick(append),
            3 => self.strange(append),
            4..=9 => self.other(append, place, "error_rate"),
            10..=12 => self.other(append, place, "cost_hourly"),
            13..=14 => self.event(append, place),
            _ if self.actors[place].mood == Mood::Silent => return self.tick(append),
            _ if self.actors[place].mood == Mood::Sparse && self.dice.chance(85) => return self.tick(append),
            _ => {
                let value = self.value(place);
                let ts = self.event_time(append, place);
                self.reading(place, "q", Some(ts), value)
            }
        };
        self.log.push(Entry::Record { append, reading: Some(reading) });
    }

    fn reading(&self, place: usize, sensor: &str, ts: Option<i64>, value: f64) -> Reading {
        Reading { service: self.actors[place].plan.id.clone(), sensor: sensor.to_owned(), ts, value }
    }

    fn other(&mut self, append: i64, place: usize, sensor: &str) -> Reading {
        let actor = &self.actors[place];
        let value = if sensor == "error_rate" { actor.error_rate } else { actor.cost };
        let ts = match self.dice.below(10) {
            0..=1 => append - self.dice.pick(&[300, 2_500, 8_000]),
            2..=5 => append - append.rem_euclid(500),
            _ => append,
        };
        self.reading(place, sensor, Some(ts), value)
    }

    /// An event may be a day late.
    fn event(&mut self, append: i64, place: usize) -> Reading {
        let late = self.dice.pick(&[0, 0, 300, 20_000, 86_000_000, 86_400_000, 90_000_000]);
        let value = self.dice.pick(&[1.0, 1.0, 1.0, 0.0, -1.0]);
        self.reading(place, "intrusion", Some(append - late), value)
    }

    /// What is refused.
    fn strange(&mut self, append: i64) -> Reading {
        let mut reading = self.reading(0, "q", Some(append), 20.0);
        match self.dice.below(9) {
            0 => reading.value = f64::NAN,
            1 => reading.value = f64::INFINITY,
            2 => reading.ts = Some(0),
            3 => reading.ts = Some(-append),
            4 => reading.service = "s9".to_owned(),
            5 => reading.sensor = "depth".to_owned(),
            6 => (reading.service, reading.ts) = ("s9".to_owned(), Some(append + 5_001)),
            7 => reading.sensor = "no name".to_owned(),
            // Nothing strange but a missing event time.
            _ => reading.ts = None,
        }
        reading
    }

    fn event_time(&mut self, append: i64, place: usize) -> i64 {
        let slo = self.actors[place].plan.slo.as_ref();
        let keep = slo.map_or(300_000, |slo| slo.window.max(slo.no_data_after));
        let second = append - append.rem_euclid(1_000);
        let actor = &mut self.actors[place];
        let ts = match self.dice.below(100) {
            0..=49 => append,
            50..=69 => append - self.dice.pick(&[5, 300, 300, 700]),
            70..=77 => append - self.dice.pick(&[1_500, 2_000, 4_000]),
            78..=79 => append - self.dice.pick(&[14_000, 20_000, 400_000]),
            80..=83 => second - keep + self.dice.pick(&[-1_000, -1, 0, 1, 500, 1_000, 2_000]),
            84..=87 => append + self.dice.pick(&[500, 2_000, 5_000, 5_001, 6_000]),
            88..=93 => second - self.dice.pick(&[0, 0, 1_000, 2_000]),
            _ => actor.last_ts,
        };
        actor.last_ts = ts;
        ts
    }

    fn value(&mut self, place: usize) -> f64 {
        let actor = &self.actors[place];
        let threshold = actor.plan.slo.as_ref().map_or(30.0, |slo| slo.threshold);
        let thousandth = self.dice.between(0, 14_999) as f64 / 1_000.0;
        let (good, bad) = (threshold - 1.0 - 1.7 * thousandth, threshold + 0.001 + thousandth);
        match actor.mood {
            Mood::Good | Mood::Sparse | Mood::Silent => good,
            Mood::Bad => bad,
            Mood::Spotty => {
                if self.dice.chance(12) {
                    bad
                } else {
                    good
                }
            }
            Mood::Edge => {
                let recover = threshold - 0.1 * threshold.abs();
                let edges = [threshold, threshold.next_up(), recover, recover.next_up(), threshold - 10.0, 0.0, -0.0];
                self.dice.pick(&edges)
            }
        }
    }
}
