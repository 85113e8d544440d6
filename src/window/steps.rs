//! Counters per step, of one series: what a window adds up and what a cut publishes. They add up in any order, so a late
//! reading needs no amendment and a restore needs no order.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::model::state::RollupPane;

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

impl From<&RollupPane> for Counters {
    fn from(&RollupPane { n, over, unrecovered, .. }: &RollupPane) -> Self {
        Self { n, over, unrecovered }
    }
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

    pub(super) fn remove(&mut self, other: Self) {
        self.n -= other.n;
        self.over -= other.over;
        self.unrecovered -= other.unrecovered;
    }

    /// Each of them, or this.
    fn at_most(self, most: u64) -> Self {
        Self { n: self.n.min(most), over: self.over.min(most), unrecovered: self.unrecovered.min(most) }
    }
}

/// Readings of one step, or steps without any. A window of 300 s is 300 of these in each of 100,000 series, so one is two
/// bytes, four numbers of up to 15: a step with more readings has several, the others no steps after the first.
///
/// ```text
///   readings                   | steps after the slot before || above the threshold | above the recover threshold
///   0: steps are passed over   | a quarter of the shift      || how many steps, shifted by so many bits
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Slot([u8; 2]);

/// Most readings of a slot, and most steps before it.
const SLOT: u8 = 0xf;

impl Slot {
    fn new(steps: u8, counters: Counters) -> Self {
        // What is put into a slot fits.
        let [n, over, unrecovered] = [counters.n, counters.over, counters.unrecovered].map(|count| count as u8 & SLOT);
        Self([n << 4 | steps, over << 4 | unrecovered])
    }

    /// Passes over as many of so many steps as one can, from 1 on.
    fn passing(steps: i64) -> Self {
        let quarter = (i64::BITS - steps.leading_zeros()).saturating_sub(8).div_ceil(4);
        Self([quarter as u8, (steps >> (4 * quarter)) as u8])
    }

    fn n(self) -> u8 {
        self.0[0] >> 4
    }

    /// After the one before it.
    #[inline]
    fn steps(self) -> i64 {
        let Self([first, second]) = self;
        match self.n() {
            0 => i64::from(second) << (4 * first),
            _ => (first & SLOT).into(),
        }
    }

    /// May readings be added to it?
    fn has_room(self, counters: Counters) -> bool {
        self.n() > 0 && u64::from(self.n()) + counters.n <= SLOT.into()
    }

    fn add(&mut self, counters: Counters) {
        let mut all = self.counters();
        all.add(counters);
        *self = Self::new(self.0[0] & SLOT, all);
    }

    /// What it counts: nothing, if steps are passed over.
    #[inline]
    pub fn counters(self) -> Counters {
        let second = self.0[1];
        match self.n() {
            0 => Counters::default(),
            n => Counters { n: n.into(), over: (second >> 4).into(), unrecovered: (second & SLOT).into() },
        }
    }
}

/// Readings per step, ascending.
#[derive(Clone, Debug)]
pub struct Steps {
    /// ms.
    step: i64,
    slots: VecDeque<Slot>,
    /// The end of the first slot's step, ms; if there is one.
    first: i64,
    /// And of the last one's.
    last: i64,
}

impl Steps {
    /// None yet, of `step` ms each.
    pub fn new(step: i64) -> Self {
        Self { step, slots: VecDeque::new(), first: 0, last: 0 }
    }

    /// Counts readings of the step that ends at `end`, a multiple of it. Says what was counted of them: all but what
    /// nobody has.
    #[inline]
    pub fn count(&mut self, end: i64, counters: Counters) -> Counters {
        // The values alone would be 32 GiB.
        let counters = counters.at_most(u32::MAX.into()).at_most(counters.n);
        if counters.n == 0 {
            return counters;
        }
        match self.slots.back_mut() {
            Some(_) if end < self.last => self.insert(end, counters),
            Some(slot) if end == self.last && slot.has_room(counters) => slot.add(counters),
            _ => self.append(end, counters),
        }
        counters
    }

    /// Counts readings of a step before the last.
    fn insert(&mut self, end: i64, counters: Counters) {
        if let Some(slot) = self.slot_of(end).filter(|slot| slot.has_room(counters)) {
            return slot.add(counters);
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
        let (behind, (found, _)) = self.back_to_front().enumerate().find(|(_, (other, _))| *other <= end)?;
        let at = self.slots.len() - 1 - behind;
        if found == end { self.slots.get_mut(at) } else { None }
    }

    /// Puts readings of a step behind all others.
    fn append(&mut self, end: i64, mut counters: Counters) {
        if self.slots.is_empty() {
            (self.first, self.last) = (end, end);
        }
        let mut steps = end.saturating_sub(self.last) / self.step;
        while steps > SLOT.into() {
            let passing = Slot::passing(steps);
            steps -= passing.steps();
            self.push(passing);
        }
        while counters.n > SLOT.into() {
            let part = counters.at_most(SLOT.into());
            counters.remove(part);
            self.push(Slot::new(std::mem::take(&mut steps) as u8, part));
        }
        self.push(Slot::new(steps as u8, counters));
    }

    fn push(&mut self, slot: Slot) {
        make_room(&mut self.slots, 1);
        self.slots.push_back(slot);
        self.last = self.last.saturating_add(self.distance(slot));
    }

    fn pop_back(&mut self) -> Counters {
        let Some(slot) = self.slots.pop_back() else { return Counters::default() };
        self.last = self.last.saturating_sub(self.distance(slot));
        slot.counters()
    }

    /// Takes the first away, if its step ends at or before `through`: the end of the step, and readings of it, or none
    /// where steps were passed over.
    #[inline]
    pub fn pop_front(&mut self, through: i64) -> Option<(i64, Counters)> {
        let end = self.first;
        let gone = if end <= through { self.slots.pop_front()? } else { return None };
        let to_next = self.slots.front().map_or(0, |&next| self.distance(next));
        self.first = end.saturating_add(to_next);
        Some((end, gone.counters()))
    }

    /// Forgets all, but keeps the room that they had.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// From the slot before to this one, ms.
    #[inline]
    fn distance(&self, slot: Slot) -> i64 {
        slot.steps().saturating_mul(self.step)
    }

    /// The slots, each with the end of its step, from the last on. A step may have more than one.
    #[inline]
    pub fn back_to_front(&self) -> impl Iterator<Item = (i64, Slot)> {
        self.slots.iter().rev().scan(self.last, |last, &slot| {
            let end = *last;
            *last = end.saturating_sub(self.distance(slot));
            Some((end, slot))
        })
    }

    /// The same, from the first on.
    #[inline]
    pub fn front_to_back(&self) -> impl Iterator<Item = (i64, Slot)> {
        let before = self.slots.front().map_or(0, |&first| self.first.saturating_sub(self.distance(first)));
        self.slots.iter().scan(before, |end, &slot| {
            *end = end.saturating_add(self.distance(slot));
            Some((*end, slot))
        })
    }

    /// Where the oldest step lies in memory.
    #[inline]
    pub fn head(&self) -> *const u8 {
        address_of(self.slots.front())
    }

    /// Where the newest step lies in memory.
    #[inline]
    pub fn tail(&self) -> *const u8 {
        address_of(self.slots.back())
    }
}

/// In memory; null of nothing.
pub(super) fn address_of<T>(item: Option<&T>) -> *const u8 {
    item.map_or(std::ptr::null(), |item| std::ptr::from_ref(item).cast())
}

/// By how many what holds `length` and is full grows for `more`: an eighth beyond. Doubling would waste as much as a window
/// holds, in each of 100,000 series.
pub fn growth(length: usize, more: usize) -> usize {
    more + length / 8 + 4
}

/// Makes room for `more`.
pub(super) fn make_room<T>(ring: &mut VecDeque<T>, more: usize) {
    if ring.capacity() - ring.len() < more {
        ring.reserve_exact(growth(ring.len(), more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_distance_is_a_few_slots() {
        let one = Counters::one(true, true);
        for distance in [15, 16, 255, 256, 65_535, 65_536, 123_456_789, i64::MAX / 1_000] {
            let mut steps = Steps::new(1_000);
            for step in [0, distance, 1] {
                steps.count(step * 1_000, one);
            }
            assert!(steps.slots.len() <= 16, "{distance}: {:?}", steps.slots);
            let counted = |(end, slot): (i64, Slot)| (slot.n() > 0).then(|| (end, slot.counters()));
            let mut read: Vec<_> = steps.front_to_back().filter_map(counted).collect();
            assert_eq!(read, [0, 1, distance].map(|step| (step * 1_000, one)));
            read.reverse();
            assert_eq!(steps.back_to_front().filter_map(counted).collect::<Vec<_>>(), read);
            let popped: Vec<_> = std::iter::from_fn(|| steps.pop_front(1_000)).map(|(end, _)| end).collect();
            assert_eq!(popped, [0, 1_000]);
            while let Some((end, _)) = steps.pop_front(i64::MAX) {
                assert!(end <= distance * 1_000);
            }
            assert!(steps.slots.is_empty());
        }
    }
}
