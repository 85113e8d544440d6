//! The counters of one series over a moving window. The sum moves on with the window, so that an instant costs what
//! enters and what leaves, however long the window is.
//!
//! ```text
//!            through - W                            through
//!   ...  |  gone  |<--------- in the sum -------------->| ahead |  ...
//! ```

use super::steps::{Counters, Steps};

/// The steps of one series that can still matter, and their sum over the window.
#[derive(Clone, Debug)]
pub struct Panes {
    /// W, ms.
    window: i64,
    steps: Steps,
    /// The sum is that of `(through - window, through]`.
    through: i64,
    sum: Counters,
    /// Readings above the threshold in all steps, those ahead included.
    over: u64,
}

impl Panes {
    /// No readings yet, for windows of `window` ms that move by `step` ms.
    pub fn new(window: i64, step: i64) -> Self {
        let through = i64::MIN.saturating_add(window);
        Self { window, steps: Steps::new(step), through, sum: Counters::default(), over: 0 }
    }

    /// Counts readings of the step that ends at `end`, a multiple of it. What no window to come can see is not kept.
    pub fn count(&mut self, end: i64, counters: Counters) {
        if end <= self.through - self.window {
            return;
        }
        let counted = self.steps.count(end, counters);
        self.over += counted.over;
        if end <= self.through {
            self.sum.add(counted);
        }
    }

    /// Moves the window on to `(to - W, to]`, if it is not there yet, and forgets what it leaves behind. `to` is a
    /// multiple of the step.
    pub fn advance(&mut self, to: i64) -> Counters {
        let before = self.through;
        self.through = before.max(to);
        while let Some((end, gone)) = self.steps.pop_front(self.through - self.window) {
            self.over -= gone.over;
            if end <= before {
                self.sum.remove(gone);
            }
        }
        let entered = self.sum(before, self.through);
        self.sum.add(entered);
        self.sum
    }

    /// Where the oldest step lies in memory.
    pub fn head(&self) -> *const u8 {
        self.steps.head()
    }

    /// Where the newest step lies in memory.
    pub fn tail(&self) -> *const u8 {
        self.steps.tail()
    }

    /// Readings above the threshold, those of steps after the window included.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// The first multiple of the step at which fewer than `least` of the readings that are in the window now may be
    /// left in it, ms; `i64::MAX` for none, the window's end if there are fewer now.
    pub fn holds_until(&self, least: u64) -> i64 {
        let mut left = self.sum.n;
        if left < least {
            return self.through;
        }
        for (end, slot) in self.steps.front_to_back().take_while(|(end, _)| *end <= self.through) {
            left -= slot.counters().n;
            if left < least {
                return end + self.window;
            }
        }
        i64::MAX
    }

    /// Counters over `(after, to]`; both multiples of the step, none of it before the window.
    pub fn sum(&self, after: i64, to: i64) -> Counters {
        let mut sum = Counters::default();
        let steps = self.steps.back_to_front();
        for (_, slot) in steps.skip_while(|(end, _)| *end > to).take_while(|(end, _)| *end > after) {
            sum.add(slot.counters());
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(readings: &[(i64, bool, bool)]) -> Panes {
        let mut panes = Panes::new(5_000, 1_000);
        readings.iter().for_each(|&(end, over, unrecovered)| panes.count(end, Counters::one(over, unrecovered)));
        panes
    }

    #[test]
    fn a_window_is_open_at_its_start_and_closed_at_its_end() {
        let readings =
            [(1000, true, true), (2000, true, true), (3000, false, true), (4000, false, false), (3000, false, false)];
        let mut panes = counted(&readings);
        assert_eq!(panes.sum(1000, 3000), Counters { n: 3, over: 1, unrecovered: 2 });
        assert_eq!(panes.sum(0, 5000), Counters { n: 5, over: 2, unrecovered: 3 });
        assert_eq!(panes.advance(6_000), Counters { n: 4, over: 1, unrecovered: 2 });
    }

    #[test]
    fn a_window_holds_until_too_many_have_left() {
        let mut panes = counted(&[(1000, false, false), (2000, false, false), (4000, false, false)]);
        panes.advance(4_000);
        let until: Vec<i64> = (0..5).map(|least| panes.holds_until(least)).collect();
        assert_eq!(until, [i64::MAX, 9_000, 7_000, 6_000, 4_000]);
    }

    #[test]
    fn a_step_has_as_many_readings_as_come_and_lies_as_far_as_it_does() {
        let mut panes = Panes::new(100_000_000, 1_000);
        let many = |n| Counters { n, over: n / 2, unrecovered: n };
        let far = 70_000_000;
        panes.count(1_000, many(600));
        panes.count(far, many(1_000));
        panes.count(1_000, many(300));
        panes.count(2_000, many(100_000));
        panes.count(2_000 + 256_000, many(1));
        let (first, second, third) = (many(900), many(100_000), many(1));
        assert_eq!([panes.sum(0, 1_000), panes.sum(1_000, 2_000), panes.sum(2_000, 258_000)], [first, second, third]);
        assert_eq!((panes.sum(258_000, far - 1_000).n, panes.sum(far - 1_000, far)), (0, many(1_000)));
        assert_eq!((panes.advance(far).n, panes.over()), (101_901, 450 + 50_000 + 500));
        assert_eq!(panes.holds_until(101_001), 100_002_000);
        assert_eq!(panes.advance(100_001_000).n, 101_001);
        assert_eq!((panes.advance(100_258_000).n, panes.over()), (1_000, 500));
        assert_eq!((panes.advance(100_000_000 + far).n, panes.over()), (0, 0));
        assert_eq!(panes.steps.front_to_back().count(), 0);
    }

    proptest! {
        /// Whatever comes in whatever order, and however far it is moved at once: the sum is that of all readings.
        #[test]
        fn the_moving_sum_is_the_sum(
            window in prop::sample::select(&[5_i64, 700][..]),
            moves in prop::collection::vec(
                (prop_oneof![9 => 0_i64..4, 1 => 0_i64..1_500], prop::collection::vec((-7_i64..9, any::<bool>(), readings()), 0..5)),
                1..40,
            ),
        ) {
            let window = window * 1_000;
            let (mut panes, mut all, mut at) = (Panes::new(window, 1_000), Vec::new(), 0);
            for (steps, readings) in moves {
                for (step, over, n) in readings {
                    let end = at + step * (window / 7_000).max(1) * 1_000;
                    let counters = Counters { n, over: if over { n } else { 0 }, unrecovered: 0 };
                    panes.count(end, counters);
                    all.push((end, counters));
                }
                at += steps * 1_000;
                let sum_of = |after: i64, to: i64| {
                    let mut sum = Counters::default();
                    let inside = all.iter().filter(|(end, _)| after < *end && *end <= to);
                    inside.for_each(|(_, counters)| sum.add(*counters));
                    sum
                };
                let sum = sum_of(at - window, at);
                prop_assert_eq!(panes.advance(at), sum);
                prop_assert_eq!(panes.sum(at - window, at), sum);
                prop_assert_eq!(panes.over(), sum_of(at - window, i64::MAX).over);
                for least in [1, 2, 300] {
                    let until = panes.holds_until(least);
                    if until == i64::MAX {
                        prop_assert!(least == 0);
                    } else if until > at {
                        let left = |at: i64| sum_of(at - window, panes.through).n;
                        prop_assert!(left(until) < least && left(until - 1_000) >= least);
                    } else {
                        prop_assert!(sum.n < least);
                    }
                }
            }
        }
    }

    /// Of one step: few as a rule.
    fn readings() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 1_u64..4, 1 => 200_u64..2_000]
    }
}
