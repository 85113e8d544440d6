//! What was read from the topics, the last of each. Decides nothing and forgets what nobody will ask for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

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
use crate::sdk::actions::Frozen;
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
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub record: ServiceRecord,
    /// The active one, if this release understands it.
    pub spec: Option<Spec>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Partitions of `ops.metrics`.
    partitions: i32,
    cuts: BTreeMap<i32, LastCut>,
    services: BTreeMap<ServiceId, Service>,
    rollups: BTreeMap<Arc<str>, VecDeque<Rollup>>,
    events: BTreeMap<ServiceId, VecDeque<IncidentEvent>>,
    actions: BTreeMap<ServiceId, VecDeque<ActionEvent>>,
    frozen: Frozen,
    rejected: VecDeque<Refusal>,
    targets: BTreeMap<ServiceId, ServiceTargets>,
}

impl Facts {
    pub fn new(partitions: i32) -> Self {
        Self {
            partitions,
            cuts: BTreeMap::new(),
            services: BTreeMap::new(),
            rollups: BTreeMap::new(),
            events: BTreeMap::new(),
            actions: BTreeMap::new(),
            frozen: Frozen::default(),
            rejected: VecDeque::new(),
            targets: BTreeMap::new(),
        }
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
                let known = self.services.get(&record.service);
                let text = record.active.as_ref().map(|active| active.spec.as_str());
                // Most records change machines, not the spec: it is not read again and again.
                let same = known.and_then(|known| known.spec.as_ref()).filter(|spec| Some(&*spec.text) == text);
                let parse = |text| spec::parse(text).ok().map(|checked| checked.spec);
                let spec = same.cloned().or_else(|| text.and_then(parse));
                self.services.insert(record.service.clone(), Service { record, spec });
            }
        }
    }

    pub fn take_rollup(&mut self, message: &Message<'_>) {
        if let Some(Ok(rollup)) = message.value().map(codec::state::decode_rollup) {
            self.rollup(rollup);
        }
    }

    pub fn rollup(&mut self, rollup: Rollup) {
        let window = self.services.get(&*rollup.service).and_then(|service| service.spec.as_ref());
        let window_ms = window.map_or(0, |spec| spec.window_ms);
        let kept = self.rollups.entry(rollup.service.clone()).or_default();
        // Late readings of the window lie in cuts that are younger than it.
        let through = rollup.cut_clock.saturating_sub(window_ms).saturating_sub(60_000);
        while kept.front().is_some_and(|old| old.cut_clock < through) {
            kept.pop_front();
        }
        kept.push_back(rollup);
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

    /// Rollups of a service's window and a little more, in the order of their cuts.
    pub fn rollups(&self, service: &ServiceId) -> impl Iterator<Item = &Rollup> {
        self.rollups.get(service.as_str()).into_iter().flatten()
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
            here.filter_map(|(_, service)| Some(service.spec.as_ref()?.window_ms)).max().unwrap_or(0)
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
