//! Counters per step of the window, of one series. They add up in any order, so a late reading needs no
//! amendment and a restore needs no order; and the sum over the window moves on with it, so that an instant costs
//! what enters and what leaves, however long the window is.
//!
//! ```text
//!            through - W                            through
//!   ...  |  gone  |<--------- in the sum -------------->| not yet |  ...
//! ```

use std::collections::VecDeque;

use super::place_of;

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
    /// Of one reading.
    pub fn one(over: bool, unrecovered: bool) -> Self {
        Self { n: 1, over: u64::from(over), unrecovered: u64::from(unrecovered) }
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: Self) {
        self.n += other.n;
        self.over += other.over;
        self.unrecovered += other.unrecovered;
    }

    fn remove(&mut self, other: Self) {
        self.n -= other.n;
        self.over -= other.over;
        self.unrecovered -= other.unrecovered;
    }
}

/// The readings of `(end - step, end]`. Never empty. A window of 300 steps is 300 of them for each series, so it is
/// small: no step of one series has 2^32 readings, whose values alone would be 32 GiB.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Pane {
    end: i64,
    n: u32,
    over: u32,
    unrecovered: u32,
}

impl Pane {
    fn new(end: i64, counters: Counters) -> Self {
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self { end, n: narrow(counters.n), over: narrow(counters.over), unrecovered: narrow(counters.unrecovered) }
    }

    fn counters(self) -> Counters {
        Counters { n: self.n.into(), over: self.over.into(), unrecovered: self.unrecovered.into() }
    }

    fn add(&mut self, new: Self) {
        self.n = self.n.saturating_add(new.n);
        self.over = self.over.saturating_add(new.over);
        self.unrecovered = self.unrecovered.saturating_add(new.unrecovered);
    }
}

/// The steps of one series that can still matter, and their sum over the window.
#[derive(Clone, Debug)]
pub struct Panes {
    /// W, ms.
    window: i64,
    /// Ascending.
    panes: VecDeque<Pane>,
    /// The sum is that of `(through - window, through]`.
    through: i64,
    /// How many panes of the front are in the sum.
    inside: usize,
    sum: Counters,
    /// Readings above the threshold in all panes, those after `through` included.
    over: u64,
}

impl Panes {
    /// No readings yet, for windows of `window` ms.
    pub fn new(window: i64) -> Self {
        let through = i64::MIN.saturating_add(window);
        Self { window, panes: VecDeque::new(), through, inside: 0, sum: Counters::default(), over: 0 }
    }

    /// Counts readings of the step that ends at `end`. What no window to come can see is not kept.
    pub fn count(&mut self, end: i64, counters: Counters) {
        if end <= self.through - self.window {
            return;
        }
        self.over += counters.over;
        if end <= self.through {
            self.sum.add(counters);
        }
        let new = Pane::new(end, counters);
        match place_of(self.panes.iter().map(|pane| pane.end), end) {
            Ok(at) => self.panes[at].add(new),
            Err(place) => {
                grow(&mut self.panes);
                self.panes.insert(place, new);
                self.inside += usize::from(end <= self.through);
            }
        }
    }

    /// Moves the window on to `(to - W, to]`, if it is not there yet, and forgets what it leaves behind. `to` is a
    /// multiple of the step.
    pub fn advance(&mut self, to: i64) -> Counters {
        self.through = self.through.max(to);
        let after = self.through - self.window;
        while let Some(&pane) = self.panes.front().filter(|pane| pane.end <= after) {
            self.panes.pop_front();
            self.over -= u64::from(pane.over);
            if self.inside > 0 {
                self.inside -= 1;
                self.sum.remove(pane.counters());
            }
        }
        while let Some(&pane) = self.panes.get(self.inside).filter(|pane| pane.end <= self.through) {
            self.inside += 1;
            self.sum.add(pane.counters());
        }
        self.sum
    }

    /// Where the newest step lies in memory.
    pub fn tail(&self) -> *const u8 {
        self.panes.back().map_or(std::ptr::null(), |pane| std::ptr::from_ref(pane).cast())
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
        for pane in self.panes.iter().take(self.inside) {
            left -= u64::from(pane.n);
            if left < least {
                return pane.end + self.window;
            }
        }
        i64::MAX
    }

    /// Counters over `(after, to]`; both multiples of the step, none of it before the window.
    pub fn sum(&self, after: i64, to: i64) -> Counters {
        let mut sum = Counters::default();
        for pane in self.panes.iter().rev().skip_while(|pane| pane.end > to).take_while(|pane| pane.end > after) {
            sum.add(pane.counters());
        }
        sum
    }
}

/// Makes room for one more, by a quarter: doubling would waste as much as a window holds, in each of 100,000 series.
pub(super) fn grow<T>(ring: &mut VecDeque<T>) {
    if ring.len() == ring.capacity() {
        ring.reserve_exact(ring.len() / 4 + 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(readings: &[(i64, bool, bool)]) -> Panes {
        let mut panes = Panes::new(5_000);
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

    proptest! {
        /// Whatever comes in whatever order, and however far it is moved at once: the sum is that of all readings.
        #[test]
        fn the_moving_sum_is_the_sum(
            moves in prop::collection::vec((0_i64..4, prop::collection::vec((-7_i64..9, any::<bool>()), 0..5)), 1..40),
        ) {
            let (mut panes, mut all, mut at) = (Panes::new(5_000), Vec::new(), 0);
            for (steps, readings) in moves {
                for (step, over) in readings {
                    let end = at + step * 1_000;
                    panes.count(end, Counters::one(over, false));
                    all.push((end, over));
                }
                at += steps * 1_000;
                let inside = || all.iter().filter(|(end, _)| at - 5_000 < *end && *end <= at);
                let n = inside().count() as u64;
                let over = inside().filter(|(_, over)| *over).count() as u64;
                let sum = Counters { n, over, unrecovered: 0 };
                prop_assert_eq!(panes.advance(at), sum);
                prop_assert_eq!(panes.sum(at - 5_000, at), sum);
                let to_come = all.iter().filter(|(end, over)| *end > at && *over).count() as u64;
                prop_assert_eq!(panes.over(), over + to_come);
            }
        }
    }
}
