//! Counters per step of the window, of one series. They add up in any order, so a late reading needs no
//! amendment and a restore needs no order; and the sum over the window moves on with it, so that an instant costs
//! what enters and what leaves, however long the window is.
//!
//! ```text
//!            through - W                            through
//!   ...  |  gone  |<--------- in the sum -------------->| ahead |  ...
//! ```

use std::collections::VecDeque;

use smallvec::SmallVec;

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

    /// Each of them, or this.
    fn at_most(self, most: u64) -> Self {
        Self { n: self.n.min(most), over: self.over.min(most), unrecovered: self.unrecovered.min(most) }
    }
}

/// Readings of one step, or steps without any. A window of 300 s is 300 of these in each of 100,000 series, so one is
/// four bytes: a step with more readings than it can count has several, the others no steps after the first.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Readings; 0: only steps are passed over.
    n: u8,
    /// Steps that it lies after the one before it. Of steps that are passed over: by how many bits their number is shifted.
    gap: u8,
    /// Readings above the threshold. Of steps: the lower byte of their number.
    over: u8,
    /// Readings above the recover threshold. Of steps: the upper byte.
    unrecovered: u8,
}

impl Slot {
    fn new(gap: u8, counters: Counters) -> Self {
        // What is put into a slot fits.
        let narrow = |count: u64| u8::try_from(count).unwrap_or(u8::MAX);
        let Counters { n, over, unrecovered } = counters;
        Self { n: narrow(n), gap, over: narrow(over), unrecovered: narrow(unrecovered) }
    }

    /// Passes over as many of so many steps as one can, from 1 on: the leading 16 bits of their number.
    fn passing(steps: i64) -> Self {
        let shift = (i64::BITS - steps.leading_zeros()).saturating_sub(16);
        let [over, unrecovered, ..] = (steps >> shift).to_le_bytes();
        Self { n: 0, gap: shift as u8, over, unrecovered }
    }

    /// After the one before it.
    fn steps(self) -> i64 {
        match self.n {
            0 => i64::from(u16::from_le_bytes([self.over, self.unrecovered])) << self.gap,
            _ => self.gap.into(),
        }
    }

    fn counters(self) -> Counters {
        match self.n {
            0 => Counters::default(),
            n => Counters { n: n.into(), over: self.over.into(), unrecovered: self.unrecovered.into() },
        }
    }
}

/// Most readings of a slot.
const SLOT: u64 = u8::MAX as u64;

/// The steps of one series that can still matter, and their sum over the window.
#[derive(Clone, Debug)]
pub struct Panes {
    /// ms.
    step: i64,
    /// W, ms.
    window: i64,
    slots: VecDeque<Slot>,
    /// The end of the first slot's step, ms; if there is one.
    first: i64,
    /// And of the last one's.
    last: i64,
    /// The sum is that of `(through - window, through]`.
    through: i64,
    /// How many slots at the end are not in the sum yet.
    ahead: usize,
    sum: Counters,
    /// Readings above the threshold in all slots, those ahead included.
    over: u64,
}

impl Panes {
    /// No readings yet, for windows of `window` ms that move by `step` ms.
    pub fn new(window: i64, step: i64) -> Self {
        let (through, sum) = (i64::MIN.saturating_add(window), Counters::default());
        Self { step, window, slots: VecDeque::new(), first: 0, last: 0, through, ahead: 0, sum, over: 0 }
    }

    /// Counts readings of the step that ends at `end`, a multiple of it. What no window to come can see is not kept.
    pub fn count(&mut self, end: i64, counters: Counters) {
        // Nobody has more in a step: the values alone would be 32 GiB.
        let counters = counters.at_most(u32::MAX.into()).at_most(counters.n);
        if end <= self.through - self.window || counters.n == 0 {
            return;
        }
        self.over += counters.over;
        if end <= self.through {
            self.sum.add(counters);
        }
        if let Some(slot) = self.slot_of(end).filter(|slot| u64::from(slot.n) + counters.n <= SLOT) {
            let mut all = slot.counters();
            all.add(counters);
            *slot = Slot::new(slot.gap, all);
            return;
        }
        // Readings come nearly in order: few steps are after a new one.
        let mut later = SmallVec::<[(i64, Counters); 8]>::new();
        while !self.slots.is_empty() && self.last > end {
            let (end, counters) = (self.last, self.pop_back());
            // Steps that were passed over are passed over anew.
            if counters.n > 0 {
                later.push((end, counters));
            }
        }
        self.append(end, counters);
        later.into_iter().rev().for_each(|(end, counters)| self.append(end, counters));
    }

    /// The last slot of the step that ends at `end`, if it has any.
    fn slot_of(&mut self, end: i64) -> Option<&mut Slot> {
        let (behind, (found, slot)) = self.back_to_front().enumerate().find(|(_, (other, _))| *other <= end)?;
        let at = self.slots.len() - 1 - behind;
        if found == end && slot.n > 0 { self.slots.get_mut(at) } else { None }
    }

    /// Puts readings of a step behind all others.
    fn append(&mut self, end: i64, mut counters: Counters) {
        if self.slots.is_empty() {
            (self.first, self.last) = (end, end);
        }
        let mut steps = end.saturating_sub(self.last) / self.step;
        while steps > u8::MAX.into() {
            let passing = Slot::passing(steps);
            steps -= passing.steps();
            self.push(passing);
        }
        while counters.n > 0 {
            let part = counters.at_most(SLOT);
            counters.remove(part);
            self.push(Slot::new(std::mem::take(&mut steps) as u8, part));
        }
    }

    fn push(&mut self, slot: Slot) {
        make_room(&mut self.slots, 1);
        self.slots.push_back(slot);
        self.last = self.last.saturating_add(self.distance(slot));
        self.ahead += usize::from(self.last > self.through);
    }

    /// Takes the last slot away; where it lay is still in the sums.
    fn pop_back(&mut self) -> Counters {
        let Some(slot) = self.slots.pop_back() else { return Counters::default() };
        self.ahead -= usize::from(self.last > self.through);
        self.last = self.last.saturating_sub(self.distance(slot));
        slot.counters()
    }

    /// From the slot before to this one, ms.
    fn distance(&self, slot: Slot) -> i64 {
        slot.steps().saturating_mul(self.step)
    }

    /// Moves the window on to `(to - W, to]`, if it is not there yet, and forgets what it leaves behind. `to` is a
    /// multiple of the step.
    pub fn advance(&mut self, to: i64) -> Counters {
        self.through = self.through.max(to);
        while self.first <= self.through - self.window
            && let Some(gone) = self.slots.pop_front()
        {
            self.over -= gone.counters().over;
            if self.ahead > self.slots.len() {
                self.ahead = self.slots.len();
            } else {
                self.sum.remove(gone.counters());
            }
            let to_next = self.slots.front().map_or(0, |&next| self.distance(next));
            self.first = self.first.saturating_add(to_next);
        }
        let (mut sum, mut ahead) = (self.sum, 0);
        for (end, slot) in self.back_to_front().take(self.ahead) {
            if end > self.through {
                ahead += 1;
            } else {
                sum.add(slot.counters());
            }
        }
        (self.sum, self.ahead) = (sum, ahead);
        sum
    }

    /// The slots from the last to the first, each with the end of its step.
    fn back_to_front(&self) -> impl Iterator<Item = (i64, Slot)> {
        self.slots.iter().rev().scan(self.last, |last, &slot| {
            let end = *last;
            *last = end.saturating_sub(self.distance(slot));
            Some((end, slot))
        })
    }

    /// Where the newest step lies in memory.
    pub fn tail(&self) -> *const u8 {
        self.slots.back().map_or(std::ptr::null(), |slot| std::ptr::from_ref(slot).cast())
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
        let mut end = self.first;
        for (place, &slot) in self.slots.iter().take(self.slots.len() - self.ahead).enumerate() {
            end += if place > 0 { self.distance(slot) } else { 0 };
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
        for (_, slot) in self.back_to_front().skip_while(|(end, _)| *end > to).take_while(|(end, _)| *end > after) {
            sum.add(slot.counters());
        }
        sum
    }
}

/// Makes room for `more`, and an eighth beyond: doubling would waste as much as a window holds, in each of 100,000 series.
pub(super) fn make_room<T>(ring: &mut VecDeque<T>, more: usize) {
    if ring.capacity() - ring.len() < more {
        ring.reserve_exact(more + ring.len() / 8 + 4);
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
        assert!(panes.slots.is_empty() && panes.ahead == 0);
    }

    #[test]
    fn any_distance_is_a_few_slots() {
        for distance in [255, 256, 65_535, 65_536, 123_456_789, i64::MAX / 1_000] {
            let mut panes = Panes::new(5_000, 1_000);
            panes.count(0, Counters::one(true, true));
            panes.count(distance * 1_000, Counters::one(true, true));
            assert!(panes.slots.len() <= 6, "{distance}: {:?}", panes.slots);
            panes.count(1_000, Counters::one(true, true));
            assert_eq!(panes.sum(0, 1_000).n, 1);
            assert_eq!((panes.advance(0).n, panes.advance(distance * 1_000).n, panes.over()), (1, 1, 1), "{distance}");
        }
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
