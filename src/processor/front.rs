//! Where readings wait to be counted: a few lines of memory a series, side by side. Pure.
//!
//! With 10,000 series nearly all that counting a reading touches has left the cache: service, series, its rings, a dozen
//! lines. Most readings need none of that at once. One that is in time and not over the threshold changes nothing that
//! is decided before its service's next instant, so it is judged by what its front knows and waits there. All that wait
//! are counted together, in order: when there is no room for another, when one comes that may not wait, before an
//! instant of the service is evaluated, and before a cut.
//!
//! So what is decided is what it would be if each were counted at once; only the memory is touched less often.

use crate::processor::series::Series;

/// How many readings of a series wait at most: with them a front is three lines of memory.
const ROOM: usize = 9;

/// A reading that waits: good, in time, not over the threshold, and nobody asks for its attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub ts: i64,
    pub value: f64,
}

/// What judges a reading of one series, and those that wait.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Front {
    /// Of its service.
    pub slot: u32,
    /// Of its sensor in the spec.
    pub sensor: u32,
    /// Whose instants are its service's.
    pub grid: u32,
    /// How many wait.
    waiting: u16,
    /// May any wait?
    may_wait: bool,
    /// A record named the series since the last cut.
    touched: bool,
    step_ms: i64,
    threshold: f64,
    /// The clock at the last record that named the series, refused ones included.
    pub seen: Option<i64>,
    room: [Waiting; ROOM],
}

impl Front {
    /// Of a series whose service is in a slot and shares the instants of a grid. `refused`: nothing of it is counted.
    pub fn of(series: &Series, slot: u32, sensor: u32, grid: u32, refused: bool) -> Self {
        Self {
            slot,
            sensor,
            grid,
            waiting: 0,
            may_wait: series.role.can_wait() && !refused,
            touched: false,
            step_ms: series.role.step_ms,
            threshold: series.role.threshold,
            seen: series.seen,
            room: [Waiting::default(); ROOM],
        }
    }

    /// A record names the series.
    #[inline]
    pub fn touch(&mut self, clock: Option<i64>) {
        self.seen = clock;
        self.touched = true;
    }

    /// Keeps a reading, if that may wait; says whether it does. `next` is the first instant not yet evaluated.
    #[inline]
    pub fn keep(&mut self, ts: i64, value: f64, next: i64) -> bool {
        let in_time = ts > next.saturating_sub(self.step_ms);
        if !(self.may_wait && in_time && value <= self.threshold && !self.is_full()) {
            return false;
        }
        self.room[usize::from(self.waiting)] = Waiting { ts, value };
        self.waiting += 1;
        true
    }

    /// Will the next reading have all be counted?
    pub fn is_full(&self) -> bool {
        usize::from(self.waiting) == ROOM
    }

    /// Counts all that wait. `next` as above.
    pub fn count_into(&mut self, series: &mut Series, next: i64) {
        series.seen = self.seen;
        let waiting = std::mem::take(&mut self.waiting);
        series.count_waiting(&self.room[..usize::from(waiting)], next);
    }

    /// Was the series named since the last [`Self::take_touched`]?
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// The same, and it is not any more.
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Reading;
    use crate::model::state::Rollup;

    /// Of a target with a threshold of 30 and a step of a second.
    fn series() -> Series {
        let text = "id: s\nowner: o\nsensors: [{name: q}]\nslo: {target: q, threshold: 30, window_seconds: 60}\n";
        Series::new(&crate::spec::parse(text).unwrap().spec, 0)
    }

    #[test]
    fn what_is_late_or_over_the_threshold_does_not_wait() {
        let series = series();
        let mut front = Front::of(&series, 0, 0, 0, false);
        let next = 10_000;
        let kept = [(9_001, 30.0), (9_000, 1.0), (9_500, 30.1), (12_000, 1.0)].map(|(ts, v)| front.keep(ts, v, next));
        assert_eq!(kept, [true, false, false, true]);
        assert!(!Front::of(&series, 0, 0, 0, true).keep(9_500, 1.0, next), "nothing of it is counted");
        assert!(front.keep(-1, 1.0, i64::MIN), "before the first instant nothing is late");
    }

    #[test]
    fn what_waits_is_counted_as_if_each_had_been_at_once() {
        let (mut waited, mut at_once) = (series(), series());
        let mut front = Front::of(&waited, 0, 0, 0, false);
        let (mut ts, next) = (9_001, 10_000);
        while front.keep(ts, 29.0, next) {
            front.touch(Some(ts));
            let reading = Reading { service: "s".into(), sensor: "q".into(), ts, value: 29.0, attributes: [].into() };
            at_once.count(&reading, next).unwrap();
            at_once.seen = Some(ts);
            // Back and forth over three steps.
            ts = 9_001 + (ts * 7 + 1_234) % 3_000;
        }
        assert!(front.is_full() && front.is_touched());
        front.count_into(&mut waited, next);
        assert!(!front.is_full() && front.take_touched() && !front.is_touched());
        let [waited, at_once] = [waited, at_once].map(|mut series| {
            let mut rollup = Rollup::default();
            series.cut(Some(next), &mut rollup);
            rollup
        });
        assert_eq!(waited, at_once);
    }
}
