//! The catalog: which services are registered now, by `ops.services`.
//!
//! What is registered is not yet what the processor judges by: that shows in `ops.incidents` and `ops.state`. Used
//! by `register` (owners), `emit` (names), `status` and `ops services`; [`super::directory`] keeps one up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Error, did_you_mean, drain};
use crate::bus::{Isolation, Message, Offsets, Reader, Settings};
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

/// See the module. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<ServiceId, Arc<Entry>>,
    /// By service: what is wrong with its record.
    unreadable: BTreeMap<ServiceId, String>,
}

/// The last record of each service: a key has one partition, unless a foreign client has put it into another; then the
/// later counts.
#[derive(Debug, Default)]
pub(super) struct Latest(BTreeMap<ServiceId, i64>);

impl Latest {
    /// The service that a record of `ops.services` is about, if it is the last of it so far.
    pub fn is_about(&mut self, message: &Message<'_>) -> Option<ServiceId> {
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(ServiceId::new)?;
        let appended = message.timestamp().ms()?;
        if self.0.get(&key).is_some_and(|before| *before > appended) {
            return None;
        }
        self.0.insert(key.clone(), appended);
        Some(key)
    }
}

impl Catalog {
    /// Reads all of `ops.services`.
    ///
    /// # Errors
    /// No such topic; no answer.
    pub fn read(settings: &Settings, offsets: &Offsets, topics: &Topics) -> Result<Self, Error> {
        let (mut latest, mut last) = (Latest::default(), BTreeMap::new());
        let mut reader = Reader::all(settings, offsets, &topics.services, Isolation::Committed)?;
        drain(&mut reader, &topics.services, |message| {
            if let Some(service) = latest.is_about(message) {
                last.insert(service, message.value().map(<[u8]>::to_vec));
            }
        })?;
        Ok(Self::of(last))
    }

    /// The catalog of the given values by key.
    pub(super) fn of(values: impl IntoIterator<Item = (ServiceId, Option<Vec<u8>>)>) -> Self {
        let mut catalog = Self::default();
        values.into_iter().for_each(|(service, value)| catalog.put(service, value.as_deref()));
        catalog
    }

    /// Takes a service's last record; none is a service that is no longer there.
    pub(super) fn put(&mut self, service: ServiceId, value: Option<&[u8]>) {
        self.entries.remove(&service);
        self.unreadable.remove(&service);
        match value.map(codec::service::decode) {
            None => {}
            Some(Ok(registration)) if registration.service == service => {
                let spec = spec::parse(&registration.text).map(|checked| checked.spec);
                self.entries.insert(service, Arc::new(Entry { registration, spec }));
            }
            Some(Ok(other)) => {
                let what = format!("{service}: its record is of {}", other.service);
                self.unreadable.insert(service, what);
            }
            Some(Err(error)) => {
                let what = format!("{service}: {error}");
                self.unreadable.insert(service, what);
            }
        }
    }

    /// All services by id.
    pub fn entries(&self) -> impl Iterator<Item = (&ServiceId, &Entry)> {
        self.entries.iter().map(|(service, entry)| (service, &**entry))
    }

    /// Records of `ops.services` that are none of ours, for people.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.values().map(String::as_str)
    }

    /// A registered service.
    ///
    /// # Errors
    /// There is none; says which was probably meant.
    pub fn get(&self, name: &str) -> Result<(&ServiceId, &Entry), UnknownService> {
        let found = self.entries.get_key_value(name).map(|(service, entry)| (service, &**entry));
        found.ok_or_else(|| UnknownService {
            name: name.to_owned(),
            near: suggest::closest(name, self.entries.keys().map(ServiceId::as_str)).map(str::to_owned),
        })
    }
}

#[cfg(test)]
impl Catalog {
    /// The catalog after these specs were registered.
    pub(crate) fn of_texts(texts: &[&str]) -> Self {
        let entries = texts.iter().map(|text| {
            let spec = spec::parse(text).unwrap().spec;
            let (service, owner, text) = (spec.id.clone(), spec.owner.clone(), (*text).to_owned());
            let registration = Registration { service, owner, text, registered_at: 1, by: String::new() };
            (spec.id.clone(), Arc::new(Entry { registration, spec: Ok(spec) }))
        });
        Self { entries: entries.collect(), unreadable: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(id: &str, text: &str) -> (ServiceId, Option<Vec<u8>>) {
        let service = ServiceId::new(id).unwrap();
        let registration = Registration {
            service: service.clone(),
            owner: "o".to_owned(),
            text: text.to_owned(),
            registered_at: 1,
            by: String::new(),
        };
        (service, Some(codec::service::encode(&registration)))
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let catalog = Catalog::of([value("Luggage_Scanner", "id: Luggage_Scanner\nowner: o\n")]);
        assert!(catalog.get("Luggage_Scanner").unwrap().1.spec.is_ok());
        let error = catalog.get("luggage_scaner").unwrap_err().to_string();
        assert_eq!(error, "no service \"luggage_scaner\" is registered, did you mean Luggage_Scanner?");
        assert_eq!(catalog.get("x").unwrap_err().to_string(), "no service \"x\" is registered");
    }

    #[test]
    fn a_record_under_anothers_key_registers_nobody() {
        let (_, bytes) = value("a", "id: a\nowner: o\n");
        let forged = ServiceId::new("b").unwrap();
        let catalog = Catalog::of([(forged, bytes), (ServiceId::new("c").unwrap(), Some(vec![1]))]);
        let unreadable: Vec<_> = catalog.unreadable().collect();
        assert_eq!((catalog.entries().count(), unreadable.len()), (0, 2));
        assert!(unreadable[0].starts_with("b: its record is of a"), "{unreadable:?}");
    }

    #[test]
    fn a_later_record_of_a_service_replaces_all_that_was_said_of_it() {
        let (service, good) = value("a", "id: a\nowner: o\n");
        let mut catalog = Catalog::default();
        let mut seen = |value: Option<&[u8]>| {
            catalog.put(service.clone(), value);
            (catalog.entries().count(), catalog.unreadable().count())
        };
        assert_eq!(seen(Some(&[1])), (0, 1));
        assert_eq!(seen(good.as_deref()), (1, 0));
        assert_eq!(seen(None), (0, 0));
    }
}
