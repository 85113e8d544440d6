//! From the names in a record to the place of its series: one look-up a reading. Pure.
//!
//! Only names of registered specs are in it, so strangers can neither fill it nor choose its collisions; and what it
//! finds has a good name and is at home.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::spec::Spec;

/// Where a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of its service.
    pub slot: u32,
    /// Of its sensor in the spec.
    pub sensor: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    table: HashTable<Entry>,
    hasher: DefaultHashBuilder,
    /// The names one after the other: service, sensor, service, sensor, ...
    names: Vec<u8>,
}

struct Entry {
    /// Where in `names` they begin.
    begin: usize,
    service_length: u16,
    sensor_length: u16,
    place: Place,
}

impl Entry {
    /// Service and sensor.
    fn of<'a>(&self, names: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let middle = self.begin + usize::from(self.service_length);
        (&names[self.begin..middle], &names[middle..middle + usize::from(self.sensor_length)])
    }
}

impl Index {
    /// All series of `specs`, each with the slot of its service.
    pub fn of<'a>(specs: impl Iterator<Item = (usize, &'a Spec)>) -> Self {
        let mut index = Self::default();
        for (slot, spec) in specs {
            for (sensor, declared) in spec.sensors.iter().enumerate() {
                let place = Place { slot: slot as u32, sensor: sensor as u32 };
                index.insert(spec.id.as_str().as_bytes(), declared.name.as_bytes(), place);
            }
        }
        index
    }

    fn insert(&mut self, service: &[u8], sensor: &[u8], place: Place) {
        let begin = self.names.len();
        self.names.extend_from_slice(service);
        self.names.extend_from_slice(sensor);
        // Names of specs are at most 128 and 255 bytes long.
        let entry = Entry { begin, service_length: service.len() as u16, sensor_length: sensor.len() as u16, place };
        let (hasher, names) = (&self.hasher, &self.names);
        self.table.insert_unique(hash(hasher, service, sensor), entry, |entry| {
            let (service, sensor) = entry.of(names);
            hash(hasher, service, sensor)
        });
    }

    /// The place of a series, if it is registered.
    pub fn find(&self, service: &str, sensor: &str) -> Option<Place> {
        let (service, sensor) = (service.as_bytes(), sensor.as_bytes());
        let hash = hash(&self.hasher, service, sensor);
        self.table.find(hash, |entry| entry.of(&self.names) == (service, sensor)).map(|entry| entry.place)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} series", self.table.len())
    }
}

fn hash(hasher: &DefaultHashBuilder, service: &[u8], sensor: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(service);
    state.write(sensor);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_and_apart() {
        let specs: Vec<Spec> = ["ab", "a"]
            .map(|id| {
                let text = format!("id: {id}\nowner: o\nsensors: [{{name: c}}, {{name: bc}}]\n");
                crate::spec::parse(&text).unwrap().spec
            })
            .into();
        let index = Index::of(specs.iter().enumerate());
        let place = |slot, sensor| Some(Place { slot, sensor });
        assert_eq!(index.find("ab", "c"), place(0, 0));
        assert_eq!(index.find("a", "bc"), place(1, 1));
        assert_eq!(index.find("a", "c"), place(1, 0));
        assert_eq!((index.find("abc", ""), index.find("", "abc"), index.find("b", "c")), (None, None, None));
    }
}
