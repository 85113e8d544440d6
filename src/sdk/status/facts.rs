//! What was read from the topics, the last of each. Decides nothing and forgets what nobody will ask for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Refusal;
use crate::bus::Message;
use crate::codec::{self, state::StateRecord};
use crate::model::ServiceId;
use crate::model::action::ActionEvent;
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::rejected::Rejected;
use crate::model::spec::Spec;
use crate::model::state::{PartitionRecord, Rollup, ServiceRecord};
use crate::model::target::{ServiceTargets, TargetRecord};
use crate::sdk::Catalog;
use crate::sdk::actions::Frozen;
use crate::sdk::measure::Measured;
use crate::spec;

/// Events of a service that are kept: more than can happen between two cuts.
const EVENTS: usize = 200;
/// Events of actions of a service that are kept.
const ACTIONS: usize = 200;
/// Rejected readings that are kept.
const REFUSALS: usize = 10_000;
/// Characters of a rejected value that are shown.
const SAMPLE: usize = 200;

/// The last cut of a partition.
#[derive(Clone, Debug)]
pub(super) struct LastCut {
    pub record: PartitionRecord,
    /// When the broker appended it, ms.
    pub appended: i64,
}

/// A service at its last cut.
#[derive(Debug)]
pub(super) struct Service {
    pub record: ServiceRecord,
    /// See [`Facts::spec`].
    spec: OnceLock<Option<Arc<Spec>>>,
    /// Of the window that ends at a clock, with the rollups up to a position: worked out once a cut, not once a look.
    measured: Mutex<Option<((i64, i64), Measured)>>,
}

impl Service {
    fn text(&self) -> Option<&str> {
        self.record.active.as_ref().map(|active| active.spec.as_str())
    }

    /// What was measured at `cut` (clock, position of the last rollup).
    pub fn measured(&self, cut: (i64, i64), measure: impl FnOnce() -> Measured) -> Measured {
        let mut kept = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        match *kept {
            Some((of, measured)) if of == cut => measured,
            _ => kept.insert((cut, measure())).1,
        }
    }
}

/// Rollups of each service's window and a little more, in the order of their cuts.
#[derive(Debug, Default)]
pub(super) struct Rollups(HashMap<Arc<str>, VecDeque<Rollup>>);

impl Rollups {
    fn take(&mut self, rollup: Rollup, window_ms: i64) {
        let kept = self.0.entry(rollup.service.clone()).or_default();
        // Late readings of the window lie in cuts that are younger than it.
        let through = rollup.cut_clock.saturating_sub(window_ms).saturating_sub(60_000);
        while kept.front().is_some_and(|old| old.cut_clock < through) {
            kept.pop_front();
        }
        kept.push_back(rollup);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    /// Partitions of `ops.metrics`.
    partitions: i32,
    cuts: BTreeMap<i32, LastCut>,
    services: HashMap<ServiceId, Service>,
    /// Specs as registered: mostly the active ones, and read already.
    registered: HashMap<ServiceId, Arc<Spec>>,
    rollups: Rollups,
    events: HashMap<ServiceId, VecDeque<IncidentEvent>>,
    actions: HashMap<ServiceId, VecDeque<ActionEvent>>,
    frozen: Frozen,
    rejected: VecDeque<Refusal>,
    targets: BTreeMap<ServiceId, ServiceTargets>,
}

impl Facts {
    pub fn new(partitions: i32) -> Self {
        Self {
            partitions,
            cuts: BTreeMap::new(),
            services: HashMap::new(),
            registered: HashMap::new(),
            rollups: Rollups::default(),
            events: HashMap::new(),
            actions: HashMap::new(),
            frozen: Frozen::default(),
            rejected: VecDeque::new(),
            targets: BTreeMap::new(),
        }
    }

    /// What is registered now.
    pub fn register(&mut self, catalog: &Catalog) {
        let specs = catalog.entries().filter_map(|(id, entry)| Some((id.clone(), Arc::new(entry.spec.clone().ok()?))));
        self.registered = specs.collect();
    }

    pub fn take_state(&mut self, message: &Message<'_>) {
        let appended = message.timestamp().ms().unwrap_or(0);
        match message.value().map(codec::state::decode_state) {
            Some(Ok(record)) => self.state(record, appended),
            Some(Err(error)) => tracing::debug!(?message, %error, "a state record is passed over"),
            None => {}
        }
    }

    pub fn state(&mut self, record: StateRecord, appended: i64) {
        match record {
            StateRecord::Partition(record) => {
                self.cuts.insert(record.partition, LastCut { record, appended });
            }
            StateRecord::Service(record) => {
                let mut service = Service { record, spec: OnceLock::new(), measured: Mutex::default() };
                // Most records change machines, not the spec: it is not read again and again.
                if let Some(known) = self.services.get_mut(&service.record.service)
                    && known.text() == service.text()
                {
                    service.spec = std::mem::take(&mut known.spec);
                }
                self.services.insert(service.record.service.clone(), service);
            }
        }
    }

    pub fn take_rollup(&mut self, message: &Message<'_>) {
        if let Some(Ok(rollup)) = message.value().map(codec::state::decode_rollup) {
            self.rollup(rollup);
        }
    }

    pub fn rollup(&mut self, rollup: Rollup) {
        let window_ms = self.window_ms(&rollup.service);
        self.rollups.take(rollup, window_ms);
    }

    /// The same for a thread of its own, which joins what it took by [`Self::join`].
    pub fn set_aside(&self, message: &Message<'_>, rollups: &mut Rollups) {
        if let Some(Ok(rollup)) = message.value().map(codec::state::decode_rollup) {
            let window_ms = self.window_ms(&rollup.service);
            rollups.take(rollup, window_ms);
        }
    }

    /// Rollups of services that had none here.
    pub fn join(&mut self, rollups: Rollups) {
        self.rollups.0.extend(rollups.0);
    }

    fn window_ms(&self, service: &str) -> i64 {
        self.services.get(service).and_then(|service| self.spec(service)).map_or(0, |spec| spec.window_ms)
    }

    /// The kind of the event that was taken.
    pub fn take_incident(&mut self, message: &Message<'_>) -> Option<EventKind> {
        let event = codec::incident::decode(message.value()?).ok()?;
        let kind = event.kind.clone();
        self.incident(event);
        Some(kind)
    }

    pub fn incident(&mut self, event: IncidentEvent) {
        push(self.events.entry(event.service.clone()).or_default(), event, EVENTS);
    }

    pub fn take_action(&mut self, message: &Message<'_>) {
        if let Some(Ok(event)) = message.value().map(codec::action::decode) {
            self.action(event);
        }
    }

    pub fn action(&mut self, event: ActionEvent) {
        if event.kind.is_switch() {
            return self.frozen.take(&event);
        }
        push(self.actions.entry(event.service.clone()).or_default(), event, ACTIONS);
    }

    pub fn take_rejected(&mut self, message: &Message<'_>) {
        if let Some(Ok(rejected)) = message.value().map(codec::rejected::decode) {
            self.reject(&rejected);
        }
    }

    pub fn reject(&mut self, rejected: &Rejected) {
        let (key, value) = (rejected.key.bytes.as_deref(), rejected.value.bytes.as_deref());
        let from_key = || key.and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned);
        let service = codec::reading::decode(key, value, rejected.append_time)
            .map_or_else(|_| from_key(), |reading| Some(reading.service.into_owned()));
        let sample = String::from_utf8_lossy(value.unwrap_or_default()).chars().take(SAMPLE).collect();
        let refusal = Refusal {
            reason: rejected.reason,
            at: rejected.append_time,
            partition: rejected.partition,
            offset: rejected.offset,
            sample,
            service,
        };
        push(&mut self.rejected, refusal, REFUSALS);
    }

    pub fn take_target(&mut self, message: &Message<'_>) {
        match message.value().map(codec::target::decode) {
            Some(Ok(TargetRecord::Service(targets))) => self.targeted(targets),
            // Beats are between collectors.
            Some(_) => {}
            None => {
                let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
                self.targets.retain(|service, _| Some(service.as_str()) != key);
            }
        }
    }

    pub fn targeted(&mut self, targets: ServiceTargets) {
        self.targets.insert(targets.service.clone(), targets);
    }

    /// What a collector said last of the targets of a service.
    pub fn targets(&self, service: &ServiceId) -> Option<&ServiceTargets> {
        self.targets.get(service)
    }

    /// The last cut of the partition in which a service lives.
    pub fn cut_of(&self, service: &ServiceId) -> Option<&LastCut> {
        self.cuts.get(&service.home(self.partitions))
    }

    pub fn service(&self, service: &ServiceId) -> Option<&Service> {
        self.services.get(service)
    }

    /// The active spec of a service, if this release understands it. Read when it is first asked for.
    pub fn spec<'a>(&self, service: &'a Service) -> Option<&'a Spec> {
        let read = || {
            let text = service.text()?;
            let registered = self.registered.get(&service.record.service).filter(|spec| &*spec.text == text);
            registered.cloned().or_else(|| spec::parse(text).ok().map(|checked| Arc::new(checked.spec)))
        };
        service.spec.get_or_init(read).as_deref()
    }

    /// Rollups of a service's window and a little more, in the order of their cuts.
    pub fn rollups(&self, service: &ServiceId) -> impl Iterator<Item = &Rollup> {
        self.rollups.0.get(service.as_str()).into_iter().flatten()
    }

    pub fn events(&self, service: &ServiceId) -> impl Iterator<Item = &IncidentEvent> {
        self.events.get(service).into_iter().flatten()
    }

    /// Events of actions in log order.
    pub fn actions(&self, service: &ServiceId) -> impl DoubleEndedIterator<Item = &ActionEvent> {
        self.actions.get(service).into_iter().flatten()
    }

    /// What says that the actions of a service are stopped.
    pub fn frozen(&self, service: &ServiceId) -> Option<&ActionEvent> {
        self.frozen.of(service)
    }

    /// Rejected readings that were appended at or after `ms`.
    pub fn rejected_since(&self, ms: i64) -> impl Iterator<Item = &Refusal> {
        self.rejected.iter().filter(move |refusal| refusal.at >= ms)
    }

    /// The partition's clock at its last full cut, ms.
    pub fn full_cut(&self, partition: i32) -> Option<i64> {
        self.cuts.get(&partition)?.record.full_cut_clock
    }

    /// When, by append time, the rollups of the windows begin, for each partition that has been cut.
    pub fn windows_since(&self, partitions: &[i32], ahead_ms: i64) -> Vec<(i32, i64)> {
        let window = |partition: i32| {
            let here = self.services.iter().filter(|(id, _)| id.home(self.partitions) == partition);
            here.filter_map(|(_, service)| Some(self.spec(service)?.window_ms)).max().unwrap_or(0)
        };
        self.cuts_since(partitions)
            .into_iter()
            .map(|(partition, clock)| (partition, clock.saturating_sub(window(partition) + ahead_ms)))
            .collect()
    }

    /// The clock of each partition at its last cut: what was decided later was appended later. From the beginning
    /// where there is none.
    pub fn cuts_since(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let clock = |partition: &i32| self.cuts.get(partition).and_then(|cut| cut.record.clock).unwrap_or(0);
        partitions.iter().map(|partition| (*partition, clock(partition))).collect()
    }
}

/// Appends, and forgets the oldest beyond `most`.
fn push<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}
