//! Looking ahead: the series of the readings to come are fetched into the cache before the first of them is stepped.
//!
//! With 10,000 series nearly every line of memory that a reading touches is a miss, and one leads to the next: names,
//! front; and now and then, when those that wait are counted, service, series, its rings. One after the other that costs
//! several times what the arithmetic does; asked for in groups the misses overlap. It changes nothing that is decided.

use crate::model::reading::Reading;
use crate::processor::core::Core;
use crate::processor::front::Front;
use crate::processor::index::Place;

/// How many records are looked at together: the misses of so many overlap, and their lines stay until they are used.
pub const GROUP: usize = 16;

impl Core {
    /// Finds the places of records that will be stepped next, [`GROUP`] at most: of each its reading, if it is one.
    pub fn look_ahead<'a>(&self, records: impl Iterator<Item = Option<&'a Reading<'a>>>, places: &mut [Option<Place>]) {
        let mut wanted = [None; GROUP];
        for (wanted, reading) in wanted.iter_mut().zip(records) {
            *wanted = reading.map(|reading| {
                let hash = self.index.hash(&reading.service, &reading.sensor);
                fetch_at(self.index.line(hash));
                (hash, reading)
            });
        }
        for (place, wanted) in places.iter_mut().zip(&wanted) {
            *place = wanted.and_then(|(hash, reading)| self.index.find_by(hash, &reading.service, &reading.sensor));
        }
        let fronts = || places.iter().flatten().map(|place| &self.fronts[place.number()]);
        fronts().for_each(fetch);
        let full = || fronts().filter(|front| front.is_full());
        full().for_each(|front| fetch(&self.services[front.slot as usize]));
        let series = |front: &Front| {
            let active = self.services[front.slot as usize].active.as_ref()?;
            active.series.get(front.sensor as usize)
        };
        full().filter_map(series).for_each(fetch);
        full().filter_map(series).for_each(|series| series.tails().into_iter().for_each(fetch_at));
    }

    /// A cut or an instant has come to a turn: what those after it will touch, the farther the less, as one thing says
    /// where the next lies. `turn` is the number of the turn so many turns later.
    pub(super) fn look_ahead_of_turns(&self, turn: impl Fn(usize) -> Option<usize>) {
        let service = |ahead| Some(&self.services[self.turns.get(turn(ahead)?)?.slot as usize]);
        let active = |ahead| service(ahead).and_then(|service| service.active.as_ref());
        if let Some(service) = service(8) {
            fetch(service);
        }
        if let Some(active) = active(6) {
            fetch(&*active.spec);
            active.series.first().into_iter().for_each(fetch);
        }
        if let Some(service) = service(4) {
            self.fronts.get(service.front).into_iter().for_each(fetch);
            service.active.iter().flat_map(|active| active.spec.sensors.first()).for_each(fetch);
        }
        if let Some(active) = active(2) {
            let series = active.series.iter().take(1);
            series.for_each(|series| series.tails().into_iter().chain(series.ends()).for_each(fetch_at));
            fetch_at(active.spec.id.as_str().as_ptr());
            active.spec.sensors.first().into_iter().for_each(|sensor| fetch_at(sensor.name.as_ptr()));
        }
    }
}

const LINE: usize = 64;

fn fetch<T>(value: &T) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    // Not all begin with a line.
    let before = begin.addr() % LINE;
    (0..(before + size_of::<T>()).div_ceil(LINE)).for_each(|line| fetch_at(begin.wrapping_add(line * LINE)));
}

/// Any address will do: nothing is read.
#[inline]
fn fetch_at(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint to the cache, whatever the address is; every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
