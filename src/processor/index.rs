//! From the names in a record to the place of its series: one look-up a reading. Pure.
//!
//! Only names of registered specs are in it, so strangers can neither fill it nor choose its collisions; and what it
//! finds has a good name and is at home.
//!
//! A hash table of our own, as no other says beforehand which line of memory a look-up will read: with 10,000 series that
//! line has left the cache, and whoever knows it for sixteen readings asks for all of them at once. It is made anew
//! whenever specs change, so it never grows and nothing is removed. An entry lies where its hash says, or in the next slot
//! that was free; a third of them or more stay free.

use std::hash::{BuildHasher, Hasher};

use hashbrown::DefaultHashBuilder;

use crate::model::spec::Spec;

/// Which of the partition's series, counted over its active services by id and over their sensors as in the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Of a slot that is free: no partition holds so many series.
    const NONE: Self = Self(u32::MAX);

    pub(super) fn number(self) -> usize {
        self.0 as usize
    }
}

/// See the module.
pub(super) struct Index {
    /// A power of two of them.
    slots: Box<[Entry]>,
    hasher: DefaultHashBuilder,
    /// The names that are too long for their entries.
    long: Vec<u8>,
}

/// Where the look-up of two names begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

/// Names up to this length together, bytes, lie in the entry: it is one line of memory, and no other is looked at.
const SHORT: usize = 54;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Entry {
    place: Place,
    /// The upper half of the hash: names are compared only if it is the same.
    upper: u32,
    /// Names of specs are at most 128 and 255 bytes long.
    service_length: u8,
    sensor_length: u8,
    /// Service and sensor, one after the other; if they are too long, where in `long` they begin.
    names: [u8; SHORT],
}

impl Entry {
    const FREE: Self = Self { place: Place::NONE, upper: 0, service_length: 0, sensor_length: 0, names: [0; SHORT] };

    fn new(service: &[u8], sensor: &[u8], hash: Hash, place: Place, long: &mut Vec<u8>) -> Self {
        let mut names = [0; SHORT];
        if let Some(short) = names.get_mut(..service.len() + sensor.len()) {
            short[..service.len()].copy_from_slice(service);
            short[service.len()..].copy_from_slice(sensor);
        } else {
            names[..8].copy_from_slice(&long.len().to_le_bytes());
            long.extend_from_slice(service);
            long.extend_from_slice(sensor);
        }
        let (service_length, sensor_length) = (service.len() as u8, sensor.len() as u8);
        Self { place, upper: hash.upper(), service_length, sensor_length, names }
    }

    /// Service and sensor.
    #[inline]
    fn names<'a>(&'a self, long: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (service, sensor) = (usize::from(self.service_length), usize::from(self.sensor_length));
        let both = self.names.get(..service + sensor).unwrap_or_else(|| {
            let [a, b, c, d, e, f, g, h, ..] = self.names;
            let begin = usize::from_le_bytes([a, b, c, d, e, f, g, h]);
            &long[begin..begin + service + sensor]
        });
        both.split_at(service)
    }
}

impl Hash {
    fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { slots: [Entry::FREE].into(), hasher: DefaultHashBuilder::default(), long: Vec::new() }
    }
}

impl Index {
    /// All series of `specs`, which come in the order of their places.
    pub fn of<'a>(specs: impl Iterator<Item = &'a Spec> + Clone) -> Self {
        let series: usize = specs.clone().map(|spec| spec.sensors.len()).sum();
        let slots = (series + series / 2 + 1).next_power_of_two();
        let mut index = Self { slots: vec![Entry::FREE; slots].into(), ..Self::default() };
        let names = specs.flat_map(|spec| spec.sensors.iter().map(|sensor| (spec.id.as_str(), &*sensor.name)));
        for ((service, sensor), place) in names.zip(0..) {
            index.insert(service, sensor, Place(place));
        }
        index
    }

    fn insert(&mut self, service: &str, sensor: &str, place: Place) {
        let hash = self.hash(service, sensor);
        let mut slot = self.slot(hash);
        while self.slots[slot].place != Place::NONE {
            slot = self.after(slot);
        }
        self.slots[slot] = Entry::new(service.as_bytes(), sensor.as_bytes(), hash, place, &mut self.long);
    }

    /// Where a look-up begins: [`Self::line`] says which memory that is, [`Self::find_by`] does it.
    #[inline]
    pub fn hash(&self, service: &str, sensor: &str) -> Hash {
        let mut state = self.hasher.build_hasher();
        state.write(service.as_bytes());
        state.write(sensor.as_bytes());
        Hash(state.finish())
    }

    #[inline]
    fn slot(&self, hash: Hash) -> usize {
        hash.0 as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// The line of memory that a look-up reads first, and mostly alone.
    #[inline]
    pub fn line(&self, hash: Hash) -> *const u8 {
        std::ptr::from_ref(&self.slots[self.slot(hash)]).cast()
    }

    /// The place of a series, if it is registered; `hash` is that of its names.
    #[inline]
    pub fn find_by(&self, hash: Hash, service: &str, sensor: &str) -> Option<Place> {
        let mut slot = self.slot(hash);
        loop {
            let entry = &self.slots[slot];
            if entry.place == Place::NONE {
                return None;
            }
            if entry.upper == hash.upper() && entry.names(&self.long) == (service.as_bytes(), sensor.as_bytes()) {
                return Some(entry.place);
            }
            slot = self.after(slot);
        }
    }

    /// The same in one.
    pub fn find(&self, service: &str, sensor: &str) -> Option<Place> {
        self.find_by(self.hash(service, sensor), service, sensor)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} slots", self.slots.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str, sensors: &str) -> Spec {
        crate::spec::parse(&format!("id: {id}\nowner: o\nsensors: [{sensors}]\n")).unwrap().spec
    }

    fn of(services: &[&str], sensors: &str) -> Index {
        let specs: Vec<Spec> = services.iter().map(|id| spec(id, sensors)).collect();
        Index::of(specs.iter())
    }

    #[test]
    fn names_are_found_whole_and_apart() {
        let index = of(&["ab", "a"], "{name: c}, {name: bc}");
        let found = [("ab", "c"), ("ab", "bc"), ("a", "c"), ("a", "bc")].map(|(a, b)| index.find(a, b));
        assert_eq!(found, [0, 1, 2, 3].map(|number| Some(Place(number))));
        assert_eq!((index.find("abc", ""), index.find("", "abc"), index.find("b", "c")), (None, None, None));
    }

    #[test]
    fn all_of_many_are_found_and_no_others() {
        let names: Vec<String> = (0..5_000).map(|n| format!("scanner-{n}")).collect();
        let specs: Vec<Spec> = names[..2_500].iter().map(|name| spec(name, "{name: a}, {name: b}")).collect();
        let index = Index::of(specs.iter());
        for (number, name) in names.iter().enumerate() {
            let known = (number < 2_500).then_some(2 * number as u32);
            assert_eq!(index.find(name, "a"), known.map(Place));
            assert_eq!(index.find(name, "b"), known.map(|number| Place(number + 1)));
        }
        assert_eq!(Index::default().find("a", "b"), None);
    }

    #[test]
    fn names_may_be_longer_than_a_line() {
        let services: Vec<String> = (0..40).map(|n| "s".repeat(20 + n)).collect();
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        let sensor = "t".repeat(30);
        let index = of(&services, &format!("{{name: {sensor}}}"));
        for (number, service) in services.iter().enumerate() {
            assert_eq!(index.find(service, &sensor), Some(Place(number as u32)));
        }
        assert_eq!(index.find(&"s".repeat(60), &sensor), None);
    }
}
