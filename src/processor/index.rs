//! From the names in a record to the place of its series: one look-up a reading. Pure.
//!
//! Only names of registered specs are in it, so strangers can neither fill it nor choose its collisions; and what it
//! finds has a good name and is at home.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::spec::Spec;

/// Which of the partition's series, counted over its active services by id and over their sensors as in the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    table: HashTable<Entry>,
    hasher: DefaultHashBuilder,
    /// The names that are too long for their entries.
    long: Vec<u8>,
}

/// Names up to this length together, bytes, lie in the entry: it is one line of memory, and no other is looked at.
const SHORT: usize = 58;

#[repr(align(64))]
struct Entry {
    place: Place,
    /// Names of specs are at most 128 and 255 bytes long.
    service_length: u8,
    sensor_length: u8,
    /// Service and sensor, one after the other; if they are too long, where in `long` they begin.
    names: [u8; SHORT],
}

impl Entry {
    fn new(service: &[u8], sensor: &[u8], place: Place, long: &mut Vec<u8>) -> Self {
        let length = service.len() + sensor.len();
        let mut names = [0; SHORT];
        if let Some(short) = names.get_mut(..length) {
            short[..service.len()].copy_from_slice(service);
            short[service.len()..].copy_from_slice(sensor);
        } else {
            names[..8].copy_from_slice(&long.len().to_le_bytes());
            long.extend_from_slice(service);
            long.extend_from_slice(sensor);
        }
        Self { place, service_length: service.len() as u8, sensor_length: sensor.len() as u8, names }
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

impl Index {
    /// All series of `specs`, which come in the order of their places.
    pub fn of<'a>(specs: impl Iterator<Item = &'a Spec>) -> Self {
        let mut index = Self::default();
        for spec in specs {
            for sensor in &spec.sensors {
                index.insert(spec.id.as_str().as_bytes(), sensor.name.as_bytes());
            }
        }
        index
    }

    fn insert(&mut self, service: &[u8], sensor: &[u8]) {
        let entry = Entry::new(service, sensor, Place(self.table.len() as u32), &mut self.long);
        let (hasher, long) = (&self.hasher, &self.long);
        self.table.insert_unique(hash(hasher, service, sensor), entry, |entry| {
            let (service, sensor) = entry.names(long);
            hash(hasher, service, sensor)
        });
    }

    /// The place of a series, if it is registered.
    #[inline]
    pub fn find(&self, service: &str, sensor: &str) -> Option<Place> {
        let (service, sensor) = (service.as_bytes(), sensor.as_bytes());
        let hash = hash(&self.hasher, service, sensor);
        self.table.find(hash, |entry| entry.names(&self.long) == (service, sensor)).map(|entry| entry.place)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} series", self.table.len())
    }
}

#[inline]
fn hash(hasher: &DefaultHashBuilder, service: &[u8], sensor: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(service);
    state.write(sensor);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(services: &[&str], sensors: &str) -> Index {
        let parse = |id: &&str| {
            let text = format!("id: {id}\nowner: o\nsensors: [{sensors}]\n");
            crate::spec::parse(&text).unwrap().spec
        };
        let specs: Vec<Spec> = services.iter().map(parse).collect();
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
