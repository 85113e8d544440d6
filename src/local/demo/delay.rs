//! How long a verdict takes: from the append of the record that made its instant due to the moment at which a
//! read_committed consumer has the event. Pure: times come in. The demo's loop calls it.
//!
//! ```text
//! ops.metrics    . . . r . . r         r: the first record appended at or after `at + lateness`
//!                            |-- delay --|
//! ops.incidents                          opened {at}, received
//! ```

use std::collections::VecDeque;

/// So many append times are kept: minutes of one partition, while an event follows within seconds.
const KEPT: usize = 4_096;

/// The append times of one partition and the events that they explain.
#[derive(Debug, Default)]
pub struct Delays {
    appended: VecDeque<i64>,
    /// Events whose record has not been seen yet: name, due time, time of receipt.
    waiting: Vec<(&'static str, i64, i64)>,
    measured: Vec<(&'static str, i64)>,
}

impl Delays {
    /// A record of the partition, in the order of the log. All times are ms.
    pub fn appended(&mut self, append_ms: i64) {
        if self.appended.len() == KEPT {
            self.appended.pop_front();
        }
        self.appended.push_back(append_ms);
        let measured = &mut self.measured;
        self.waiting.retain(|&(name, due_ms, received_ms)| {
            let is_due = append_ms >= due_ms;
            if is_due {
                measured.push((name, received_ms - append_ms));
            }
            !is_due
        });
    }

    /// An event of an instant that was due at `due_ms`.
    pub fn received(&mut self, name: &'static str, due_ms: i64, received_ms: i64) {
        match self.appended.iter().find(|append_ms| **append_ms >= due_ms) {
            Some(append_ms) => self.measured.push((name, received_ms - append_ms)),
            None => self.waiting.push((name, due_ms, received_ms)),
        }
    }

    /// What was measured, ms by event, in order.
    pub fn measured(&self) -> &[(&'static str, i64)] {
        &self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_at_or_after_the_due_time_counts_whichever_is_seen_first() {
        let mut delays = Delays::default();
        delays.received("opened", 2_000, 2_150);
        for append_ms in [1_000, 1_999, 2_030, 2_230] {
            delays.appended(append_ms);
        }
        delays.received("resolved", 2_031, 2_300);
        assert_eq!(delays.measured(), [("opened", 120), ("resolved", 70)]);
    }

    #[test]
    fn an_event_whose_record_was_not_seen_is_not_measured() {
        let mut delays = Delays::default();
        delays.appended(1_000);
        delays.received("opened", 2_000, 2_150);
        assert_eq!(delays.measured(), []);
    }
}
