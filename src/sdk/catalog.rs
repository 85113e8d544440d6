//! The catalog: which services are registered now, by `ops.services`.
//!
//! What is registered is not yet what the processor judges by: that shows in `ops.incidents` and `ops.state`. Used
//! by `register` (owners), `emit` (names), `status` and `ops services`.

use std::collections::BTreeMap;

use super::{Error, did_you_mean, drain};
use crate::bus::{Isolation, Offsets, Reader, Settings};
use crate::codec;
use crate::model::registration::Registration;
use crate::model::spec::Spec;
use crate::model::topics::Topics;
use crate::model::{ServiceId, SpecHash};
use crate::spec::{self, Findings, suggest};

/// No such service is registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no service {name:?} is registered{}", did_you_mean(.near))]
pub struct UnknownService {
    /// As it was given.
    pub name: String,
    /// A registered one that was probably meant.
    pub near: Option<String>,
}

/// A registered service.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was published.
    pub registration: Registration,
    /// What this release makes of its text.
    pub spec: Result<Spec, Findings>,
}

impl Entry {
    /// Of the text as registered.
    pub fn hash(&self) -> SpecHash {
        SpecHash::of(&self.registration.text)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<ServiceId, Entry>,
    unreadable: Vec<String>,
}

impl Catalog {
    /// Reads all of `ops.services`.
    ///
    /// # Errors
    /// No such topic; no answer.
    pub fn read(settings: &Settings, offsets: &Offsets, topics: &Topics) -> Result<Self, Error> {
        let mut last: BTreeMap<ServiceId, (i64, Option<Vec<u8>>)> = BTreeMap::new();
        let mut reader = Reader::all(settings, offsets, &topics.services, Isolation::Committed)?;
        drain(&mut reader, &topics.services, |message| {
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(ServiceId::new);
            let (Some(key), Some(appended)) = (key, message.timestamp().ms()) else { return };
            // A key has one partition, unless a foreign client has put it into another: then the later counts.
            let newer = last.get(&key).is_none_or(|(before, _)| *before <= appended);
            if newer {
                last.insert(key, (appended, message.value().map(<[u8]>::to_vec)));
            }
        })?;
        let registered = last.into_iter().filter_map(|(service, (_, value))| Some((service, value?)));
        Ok(Self::of(registered))
    }

    /// The catalog of the given values by key.
    fn of(registered: impl Iterator<Item = (ServiceId, Vec<u8>)>) -> Self {
        let mut catalog = Self::default();
        for (service, value) in registered {
            match codec::service::decode(&value) {
                Ok(registration) if registration.service == service => {
                    let spec = spec::parse(&registration.text).map(|checked| checked.spec);
                    catalog.entries.insert(service, Entry { registration, spec });
                }
                Ok(other) => catalog.unreadable.push(format!("{service}: its record is of {}", other.service)),
                Err(error) => catalog.unreadable.push(format!("{service}: {error}")),
            }
        }
        catalog
    }

    /// All services by id.
    pub fn entries(&self) -> impl Iterator<Item = (&ServiceId, &Entry)> {
        self.entries.iter()
    }

    /// Records of `ops.services` that are none of ours, for people.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// A registered service.
    ///
    /// # Errors
    /// There is none; says which was probably meant.
    pub fn get(&self, name: &str) -> Result<(&ServiceId, &Entry), UnknownService> {
        self.entries.get_key_value(name).ok_or_else(|| UnknownService {
            name: name.to_owned(),
            near: suggest::closest(name, self.entries.keys().map(ServiceId::as_str)).map(str::to_owned),
        })
    }
}

#[cfg(test)]
impl Catalog {
    /// The catalog after these specs were registered.
    pub(super) fn of_texts(texts: &[&str]) -> Self {
        let entries = texts.iter().map(|text| {
            let spec = spec::parse(text).unwrap().spec;
            let (service, owner, text) = (spec.id.clone(), spec.owner.clone(), (*text).to_owned());
            let registration = Registration { service, owner, text, registered_at: 1, by: String::new() };
            (spec.id.clone(), Entry { registration, spec: Ok(spec) })
        });
        Self { entries: entries.collect(), unreadable: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(id: &str, text: &str) -> (ServiceId, Vec<u8>) {
        let service = ServiceId::new(id).unwrap();
        let registration = Registration {
            service: service.clone(),
            owner: "o".to_owned(),
            text: text.to_owned(),
            registered_at: 1,
            by: String::new(),
        };
        (service, codec::service::encode(&registration))
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let catalog = Catalog::of([value("Luggage_Scanner", "id: Luggage_Scanner\nowner: o\n")].into_iter());
        assert!(catalog.get("Luggage_Scanner").unwrap().1.spec.is_ok());
        let error = catalog.get("luggage_scaner").unwrap_err().to_string();
        assert_eq!(error, "no service \"luggage_scaner\" is registered, did you mean Luggage_Scanner?");
        assert_eq!(catalog.get("x").unwrap_err().to_string(), "no service \"x\" is registered");
    }

    #[test]
    fn a_record_under_anothers_key_registers_nobody() {
        let (_, bytes) = value("a", "id: a\nowner: o\n");
        let forged = ServiceId::new("b").unwrap();
        let catalog = Catalog::of([(forged, bytes), (ServiceId::new("c").unwrap(), vec![1])].into_iter());
        assert_eq!((catalog.entries().count(), catalog.unreadable().len()), (0, 2));
        assert!(catalog.unreadable()[0].starts_with("b: its record is of a"), "{:?}", catalog.unreadable());
    }
}
