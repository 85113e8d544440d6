//! Counters per step of the window, of one series. They add up in any order, so a late reading needs no
//! amendment and a restore needs no order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::state::RollupPane;
use crate::window::round_up;

/// Attributes of a reading, shared.
pub type Attributes = Arc<BTreeMap<String, String>>;

/// What is counted of the readings of one step, or of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Readings.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// Those above the recover threshold.
    pub unrecovered: u64,
}

impl Counters {
    fn add(&mut self, other: Counters) {
        self.n += other.n;
        self.over += other.over;
        self.unrecovered += other.unrecovered;
    }
}

/// The readings of `(end - step, end]`. Never empty.
#[derive(Clone, Debug)]
pub struct Pane {
    /// End of the step, ms; closed.
    pub end: i64,
    /// All readings of the step so far.
    pub counters: Counters,
    /// Event time of the latest of them; of equals the later in the log.
    pub last_ts: i64,
    /// Its value.
    pub last_value: f64,
    /// Its attributes, if the series keeps them.
    pub last_attributes: Option<Attributes>,
    /// What the cuts so far have published of `counters`.
    published: Counters,
}

/// One reading, as a pane takes it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Event time, ms.
    pub ts: i64,
    /// Value.
    pub value: f64,
    /// Is it above the threshold?
    pub over: bool,
    /// Is it above the recover threshold?
    pub unrecovered: bool,
    /// Attributes to keep, if any.
    pub attributes: Option<Attributes>,
}

/// The steps of one series that can still matter, ascending.
#[derive(Clone, Debug)]
pub struct Panes {
    step: i64,
    panes: VecDeque<Pane>,
}

impl Panes {
    /// No readings yet; steps of `step` ms.
    pub fn new(step: i64) -> Self {
        Self { step, panes: VecDeque::new() }
    }

    /// Counts one reading.
    pub fn count(&mut self, sample: Sample) {
        let end = round_up(sample.ts, self.step);
        let counters = Counters { n: 1, over: u64::from(sample.over), unrecovered: u64::from(sample.unrecovered) };
        self.merge(Pane {
            end,
            counters,
            last_ts: sample.ts,
            last_value: sample.value,
            last_attributes: sample.attributes,
            published: Counters::default(),
        });
    }

    /// Takes back what an earlier cut published. Rollups must come in the order of their cuts.
    pub fn restore(&mut self, pane: &RollupPane) {
        let counters = Counters { n: pane.n, over: pane.over, unrecovered: pane.unrecovered };
        let attributes = (!pane.last_attributes.is_empty()).then(|| Arc::new(pane.last_attributes.clone()));
        self.merge(Pane {
            end: pane.end,
            counters,
            last_ts: pane.last_ts,
            last_value: pane.last_value,
            last_attributes: attributes,
            published: counters,
        });
    }

    fn merge(&mut self, new: Pane) {
        // Readings come nearly in order: the place is at or near the end.
        let place = self.panes.iter().rposition(|pane| pane.end <= new.end);
        match place {
            Some(at) if self.panes[at].end == new.end => {
                let pane = &mut self.panes[at];
                pane.counters.add(new.counters);
                pane.published.add(new.published);
                if new.last_ts >= pane.last_ts {
                    pane.last_ts = new.last_ts;
                    pane.last_value = new.last_value;
                    pane.last_attributes = new.last_attributes;
                }
            }
            Some(at) => self.panes.insert(at + 1, new),
            None => self.panes.push_front(new),
        }
    }

    /// Counters over `(after, to]`; both multiples of the step.
    pub fn sum(&self, after: i64, to: i64) -> Counters {
        let mut sum = Counters::default();
        for pane in self.panes.iter().rev().skip_while(|pane| pane.end > to).take_while(|pane| pane.end > after) {
            sum.add(pane.counters);
        }
        sum
    }

    /// The pane with the reading of the largest event time at or before `to` (a multiple of the step).
    pub fn latest(&self, to: i64) -> Option<&Pane> {
        self.panes.iter().rev().find(|pane| pane.end <= to)
    }

    /// What was counted since the last call, ascending; then forgets the steps that end at or before `through`.
    pub fn publish(&mut self, through: i64) -> Vec<RollupPane> {
        let mut touched = Vec::new();
        for pane in &mut self.panes {
            if pane.counters.n != pane.published.n {
                touched.push(RollupPane {
                    end: pane.end,
                    n: pane.counters.n - pane.published.n,
                    over: pane.counters.over - pane.published.over,
                    unrecovered: pane.counters.unrecovered - pane.published.unrecovered,
                    last_ts: pane.last_ts,
                    last_value: pane.last_value,
                    last_attributes: pane.last_attributes.as_deref().cloned().unwrap_or_default(),
                });
                pane.published = pane.counters;
            }
        }
        self.forget(through);
        touched
    }

    /// Forgets the steps that end at or before `through`: no instant to come can see them.
    pub fn forget(&mut self, through: i64) {
        while self.panes.front().is_some_and(|pane| pane.end <= through) {
            self.panes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ts: i64, value: f64) -> Sample {
        Sample { ts, value, over: value > 30.0, unrecovered: value > 27.0, attributes: None }
    }

    #[test]
    fn a_window_is_open_at_its_start_and_closed_at_its_end() {
        let mut panes = Panes::new(1000);
        for (ts, value) in [(1000, 40.0), (1001, 40.0), (3000, 28.0), (3001, 1.0), (2500, 1.0)] {
            panes.count(sample(ts, value));
        }
        assert_eq!(panes.sum(1000, 3000), Counters { n: 3, over: 1, unrecovered: 2 });
        assert_eq!(panes.sum(0, 5000), Counters { n: 5, over: 2, unrecovered: 3 });
    }

    #[test]
    fn the_latest_reading_is_by_event_time_and_of_equals_the_later_in_the_log() {
        let mut panes = Panes::new(1000);
        for (ts, value) in [(1500, 1.0), (1200, 2.0), (1500, 3.0), (2001, 4.0)] {
            panes.count(sample(ts, value));
        }
        assert_eq!(panes.latest(2000).map(|pane| pane.last_value), Some(3.0));
        assert!(panes.latest(1000).is_none());
    }

    #[test]
    fn a_cut_publishes_only_what_it_adds_and_restores_to_the_same_sums() {
        let mut panes = Panes::new(1000);
        panes.count(sample(1500, 40.0));
        let first = panes.publish(0);
        panes.count(sample(1400, 1.0));
        panes.count(sample(2500, 1.0));
        let second = panes.publish(0);
        assert_eq!(
            second.iter().map(|pane| (pane.end, pane.n, pane.last_ts)).collect::<Vec<_>>(),
            [(2000, 1, 1500), (3000, 1, 2500)]
        );
        let mut restored = Panes::new(1000);
        first.iter().chain(&second).for_each(|pane| restored.restore(pane));
        assert_eq!(restored.sum(0, 3000), panes.sum(0, 3000));
        assert!(restored.publish(0).is_empty());
    }
}
