//! Registering and retiring services: a record on `ops.services`, then the processor's answer on `ops.incidents`.
//!
//! The record is the deed; the wait only tells whether a processor has taken it up. Called by `ops register`,
//! `ops unregister` and the demo.

use std::time::{Duration, Instant};

use super::{Catalog, Error, acknowledged, left, now_ms, status};
use crate::bus::{self, Isolation, Next, Offsets, Producer, Reader, Record, Settings};
use crate::codec;
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::network::Networks;
use crate::model::registration::Registration;
use crate::model::spec::Spec;
use crate::model::topics::Topics;
use crate::model::{ServiceId, SpecHash};
use crate::spec::{self, Finding};

/// How long the cluster has to acknowledge a record.
const ACKNOWLEDGE: Duration = Duration::from_secs(30);
/// How long the processor has to take a spec up, unless the caller says otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(15);

/// How to register.
#[derive(Clone, Debug)]
pub struct Options {
    /// Also over another owner's service.
    pub force: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// How long to wait for the processor; `None` is not at all.
    pub wait: Option<Duration>,
    /// Who does it, for people.
    pub by: String,
    /// Networks inside to which a `scrape_url` may lead.
    pub networks: Networks,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            force: false,
            dry_run: false,
            wait: Some(DEFAULT_WAIT),
            by: String::new(),
            networks: Networks::default(),
        }
    }
}

/// What registering did.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The service.
    pub id: ServiceId,
    /// Of the text.
    pub hash: SpecHash,
    /// What was there before.
    pub change: Change,
    /// What the processor says.
    pub activation: Activation,
    /// What is allowed in the spec and still worth a look.
    pub warnings: Vec<Finding>,
}

/// What registering changes on `ops.services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new service.
    New,
    /// Another text for a service that was there.
    Replaced,
    /// The same text again: nothing is published.
    Unchanged,
}

/// What the processor says about a record of `ops.services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// It has taken it up.
    Done,
    /// It had this spec already.
    Already,
    /// It was not waited for.
    NotAwaited,
    /// No answer in time: probably none runs. It will find the record when it starts.
    NotSeen,
}

/// Publishes a spec and waits until the processor judges by it.
///
/// The same text again publishes nothing. Two callers that register one id at the same moment are not told apart
/// by the owner's check: the later record stands.
///
/// # Errors
/// [`Error::Spec`] and [`Error::OtherOwner`], with nothing published; [`Error::NotDelivered`]; the bus.
pub fn register(settings: &Settings, topics: &Topics, text: &str, options: &Options) -> Result<Registered, Error> {
    let checked = spec::lint(text, &options.networks)?;
    let (spec, warnings) = (checked.spec, checked.warnings);
    let offsets = Offsets::new(settings)?;
    let change = change(&Catalog::read(settings, &offsets, topics)?, &spec, options.force)?;
    let registered = |activation| Registered { id: spec.id.clone(), hash: spec.hash, change, activation, warnings };
    if options.dry_run {
        return Ok(registered(Activation::NotAwaited));
    }
    let taken_up =
        |event: &IncidentEvent| event.spec_hash == spec.hash && matches!(event.kind, EventKind::SpecActivated { .. });
    let in_force = || status::active_hash(settings, &offsets, topics, &spec.id).map(|hash| hash == Some(spec.hash));
    // Before anything that may set the processor going, so that no answer is missed.
    let mut answers = Answers::from_now(settings, &offsets, topics, &spec.id)?;
    if change == Change::Unchanged && options.wait.is_some() && in_force()? {
        return Ok(registered(Activation::Already));
    }
    if change != Change::Unchanged {
        let registration = Registration {
            service: spec.id.clone(),
            owner: spec.owner.clone(),
            text: text.to_owned(),
            registered_at: now_ms(),
            by: options.by.clone(),
        };
        publish(settings, &offsets, topics, &spec.id, Some(&codec::service::encode(&registration)))?;
    }
    let Some(wait) = options.wait else { return Ok(registered(Activation::NotAwaited)) };
    let activation = if answers.wait(wait, taken_up)? {
        Activation::Done
    } else if in_force()? {
        // It may have seen this text alone, of several that followed each other quickly.
        Activation::Already
    } else {
        Activation::NotSeen
    };
    Ok(registered(activation))
}

/// Retires a service: a record without a value, then `spec_retired`. Its open incidents are closed.
///
/// # Errors
/// [`Error::UnknownService`]; [`Error::NotDelivered`]; the bus.
pub fn unregister(
    settings: &Settings,
    topics: &Topics,
    id: &str,
    wait: Option<Duration>,
) -> Result<(ServiceId, Activation), Error> {
    let offsets = Offsets::new(settings)?;
    let id = Catalog::read(settings, &offsets, topics)?.get(id)?.0.clone();
    let mut answers = Answers::from_now(settings, &offsets, topics, &id)?;
    publish(settings, &offsets, topics, &id, None)?;
    let Some(wait) = wait else { return Ok((id, Activation::NotAwaited)) };
    let retired = answers.wait(wait, |event| matches!(event.kind, EventKind::SpecRetired))?;
    Ok((id, if retired { Activation::Done } else { Activation::NotSeen }))
}

/// What this spec would change, if its owner may.
fn change(catalog: &Catalog, spec: &Spec, force: bool) -> Result<Change, Error> {
    let Ok((service, current)) = catalog.get(spec.id.as_str()) else { return Ok(Change::New) };
    let owner = &current.registration.owner;
    if *owner != spec.owner && !force {
        let (service, owner, claimed) = (service.clone(), owner.clone(), spec.owner.clone());
        return Err(Error::OtherOwner { service, owner, claimed });
    }
    Ok(if current.hash() == spec.hash { Change::Unchanged } else { Change::Replaced })
}

/// Appends to `ops.services` and waits for the acknowledgement.
fn publish(
    settings: &Settings,
    offsets: &Offsets,
    topics: &Topics,
    id: &ServiceId,
    value: Option<&[u8]>,
) -> Result<(), Error> {
    let producer = Producer::new(settings, 1)?;
    let partition = id.home(offsets.partitions(&topics.services)?);
    let key = Some(id.as_str().as_bytes());
    producer.send(&Record { topic: &topics.services, partition, key, value, ..Record::default() }, ACKNOWLEDGE)?;
    acknowledged(&producer.flush(ACKNOWLEDGE))
}

/// The processor's events about one service, from the moment this was made.
struct Answers {
    reader: Reader,
    service: ServiceId,
}

impl Answers {
    fn from_now(settings: &Settings, offsets: &Offsets, topics: &Topics, id: &ServiceId) -> Result<Self, bus::Error> {
        // The partitions of `ops.metrics` decide: what comes of one of them goes to its like of `ops.incidents`.
        let partition = id.home(offsets.partitions(&topics.metrics)?);
        let end = offsets.watermarks(&topics.incidents, partition)?.high;
        let reader = Reader::open(settings, &topics.incidents, Isolation::Committed, [(partition, end)])?;
        Ok(Self { reader, service: id.clone() })
    }

    /// Waits for an event that is `wanted`.
    fn wait(&mut self, timeout: Duration, wanted: impl Fn(&IncidentEvent) -> bool) -> Result<bool, bus::Error> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.reader.next(left(deadline))? {
                Next::Record(message) => {
                    let event = message.value().and_then(|value| codec::incident::decode(value).ok());
                    if event.is_some_and(|event| event.service == self.service && wanted(&event)) {
                        return Ok(true);
                    }
                }
                Next::Idle | Next::End => return Ok(false),
            }
        }
    }
}
