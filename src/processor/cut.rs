//! Cuts and restores: the state of a partition as records, and back. Pure.
//!
//! A cut lies before the record that caused it. Nothing is pending at a cut: all that was counted is in a rollup,
//! every life that changed is in a state record. `Core::restore` of the last cut, stepped through the records since,
//! is the core that was never interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::spec::Spec;
use crate::model::state::{
    ActiveRecord, EpisodeRecord, LatestReading, LookRecord, MachineRecord, OpenRecord, PartitionRecord, Rollup,
    ServiceRecord, VerdictKind,
};
use crate::model::{ServiceId, SpecHash};
use crate::processor::core::{Core, Effects, FUTURE_MS, Service};
use crate::processor::grid::Grid;
use crate::processor::incident::{Episode, Look, Machine, Open, Phase};
use crate::processor::rollups::Rollups;
use crate::processor::series::Role;
use crate::processor::service::Active;
use crate::processor::specs::Specs;
use crate::window::clock::{PartitionClock, SUSPEND_MS};
use crate::window::latest::Attributes;

/// Every service is written at least this often, ms, so that a restore reads `ops.state` from there.
pub const FULL_CUT_MS: i64 = 3_600_000;

/// All that one cut writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Every series touched since the last cut.
    pub rollups: Rollups,
    /// Every service whose life changed; every service at a full cut.
    pub services: Vec<ServiceRecord>,
    /// The partition.
    pub partition: PartitionRecord,
    /// Did it write every service?
    pub full: bool,
}

/// What the last state record of a service said: as long as it is still true, no new one is written.
#[derive(Debug, PartialEq)]
pub(super) struct Published {
    generation: u64,
    active: Option<Life>,
}

/// What of a registered service a state record holds and an instant can change.
#[derive(Debug, PartialEq)]
struct Life {
    spec: SpecHash,
    alive_since: Option<i64>,
    verdict: Option<VerdictKind>,
    /// None while none has anything to tell, which is the rule.
    machines: Vec<Machine>,
}

/// Records of `ops.state` that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The text of a spec in the state does not parse (any more).
    #[error("the spec of {service} in the state does not parse: {reason}")]
    Spec {
        /// Whose.
        service: ServiceId,
        /// The first finding.
        reason: String,
    },
    /// A machine's record is not one that a cut writes.
    #[error("the state of {service} holds a machine that no cut writes: {what}")]
    Machine {
        /// Whose.
        service: ServiceId,
        /// What is wrong with it.
        what: String,
    },
}

impl Core {
    /// Publishes all that happened since the last cut; the cut lies before the record at `position`.
    pub fn cut(&mut self, position: i64, effects: &mut Effects) {
        let mut cut = self.begin_cut(position);
        self.end_cut(&mut cut);
        effects.cuts.push(cut);
    }

    /// First half: every series that was touched publishes its rollup and forgets what no instant can see.
    pub(super) fn begin_cut(&mut self, position: i64) -> Cut {
        let clock = self.clock.now;
        let mut rollups = Rollups::with_capacity(self.fronts.iter().filter(|front| front.is_touched()).count());
        let mut rollup = Rollup { cut_position: position, cut_clock: clock.unwrap_or(0), ..Rollup::default() };
        for number in 0..self.turns.len() {
            self.look_ahead_of_turns(|ahead| Some(number + ahead));
            let turn = self.turns[number];
            let next = self.grids[turn.grid as usize].next;
            let service = &mut self.services[turn.slot as usize];
            let Some(active) = &mut service.active else { continue };
            let fronts = &mut self.fronts[service.front..];
            for ((sensor, series), front) in active.spec.sensors.iter().zip(&mut active.series).zip(fronts) {
                if front.take_touched() {
                    front.count_into(series, next.unwrap_or(i64::MIN));
                    (rollup.service, rollup.sensor) = (active.spec.id.shared(), sensor.name.clone());
                    series.cut(next, &mut rollup);
                    push(&rollup, &mut rollups);
                }
            }
        }
        let hour = self.full_cut_clock.zip(clock).is_none_or(|(last, clock)| clock - last >= FULL_CUT_MS);
        Cut {
            rollups,
            services: Vec::new(),
            partition: PartitionRecord { cut_position: position, ..Default::default() },
            full: hour,
        }
    }

    /// Second half: the lives that changed, and the partition itself.
    pub(super) fn end_cut(&mut self, cut: &mut Cut) {
        let position = cut.partition.cut_position;
        for (id, &slot) in &self.slots {
            let service = &mut self.services[slot];
            let changed = std::mem::take(&mut service.changed);
            if !(cut.full || changed) {
                continue;
            }
            let now = Published::of(service);
            if cut.full || service.published.as_ref() != Some(&now) {
                cut.services.push(ServiceRecord {
                    service: id.clone(),
                    generation: service.generation,
                    cut_position: position,
                    active: service.active.as_ref().map(active_record),
                });
                service.published = Some(now);
            }
        }
        if cut.full {
            self.full_cut_clock = self.clock.now;
        }
        self.forget_ahead();
        cut.partition = PartitionRecord {
            partition: self.partition,
            cut_position: position,
            clock: self.clock.now,
            suspended_since: self.clock.suspended_since,
            full_cut_clock: self.full_cut_clock,
            ahead: self.ahead,
        };
    }

    /// Readings far ahead are ordinary once no window reaches back to them.
    fn forget_ahead(&mut self) {
        let Some(ahead) = self.ahead else { return };
        let needed = self.turns.iter().any(|turn| {
            let next = self.grids[turn.grid as usize].next;
            let active = self.services[turn.slot as usize].active.as_ref();
            active.is_some_and(|active| active.series.iter().any(|series| ahead.until > series.horizon(next)))
        });
        if !needed {
            self.ahead = None;
        }
    }

    /// The clock of the oldest cut whose rollups a restore needs, ms; `i64::MAX` if it needs none.
    ///
    /// A reading lies at most [`SUSPEND_MS`] + [`FUTURE_MS`] ahead of the clock of its cut, but for those that
    /// `ahead` remembers.
    ///
    /// # Errors
    /// If a spec in the state does not parse.
    pub fn rollups_needed_from(
        partition: &PartitionRecord,
        services: &[ServiceRecord],
        specs: &mut Specs,
    ) -> Result<i64, RestoreError> {
        let (Some(clock), mut oldest) = (partition.clock, i64::MAX) else { return Ok(i64::MIN) };
        for service in services {
            let Some(record) = &service.active else { continue };
            let spec = specs.parse(&service.service, &record.spec)?;
            let next = Grid::new(spec.step_ms, spec.lateness_ms, None).first_not_due(clock);
            for sensor in (0..spec.sensors.len()).filter(|sensor| Role::of(&spec, *sensor).matters()) {
                oldest = oldest.min(next - spec.keep_ms(sensor) - SUSPEND_MS - FUTURE_MS);
            }
        }
        Ok(partition.ahead.map_or(oldest, |ahead| oldest.min(ahead.cut_clock)))
    }

    /// The core at a cut: its partition record, the latest record of each service, and the rollups of the cuts from
    /// [`Core::rollups_needed_from`] to this one, in order (older ones do no harm). `specs` need not know any.
    ///
    /// # Errors
    /// If the records are not what a cut writes.
    pub fn restore(
        partitions: i32,
        partition: &PartitionRecord,
        services: Vec<ServiceRecord>,
        rollups: impl IntoIterator<Item = Rollup>,
        specs: &mut Specs,
    ) -> Result<Self, RestoreError> {
        let mut core = Core::new(partition.partition, partitions);
        core.clock = PartitionClock { now: partition.clock, suspended_since: partition.suspended_since };
        core.full_cut_clock = partition.full_cut_clock;
        core.ahead = partition.ahead;
        for record in services {
            let restored = record.active.map(|active| restore_active(&record.service, active, partition.clock, specs));
            let active = restored.transpose()?;
            let service = core.service(&record.service);
            (service.generation, service.active) = (record.generation, active);
            service.published = Some(Published::of(service));
        }
        core.arrange();
        for rollup in rollups.into_iter().filter(|rollup| rollup.cut_position <= partition.cut_position) {
            core.take_back(&rollup);
        }
        Ok(core)
    }

    fn take_back(&mut self, rollup: &Rollup) {
        let Some(place) = self.index.find(&rollup.service, &rollup.sensor) else { return };
        let front = &mut self.fronts[place.number()];
        let Some(active) = &mut self.services[front.slot as usize].active else { return };
        if rollup.cut_position > active.windows_from {
            let series = &mut active.series[front.sensor as usize];
            series.restore(rollup, self.grids[front.grid as usize].next);
            front.seen = series.seen;
        }
    }
}

/// What producers had buffered for hours may come within one cut, each reading in a step of its own: no rollup may
/// become larger than the bus takes. The parts behind the first carry panes and latest readings alone.
fn push(rollup: &Rollup, rollups: &mut Rollups) {
    const PART_BYTES: usize = 256 * 1024;
    const PANE_BYTES: usize = 32;
    let size = |latest: &LatestReading| {
        32 + latest.attributes.iter().map(|(name, text)| 8 + name.len() + text.len()).sum::<usize>()
    };
    let bytes = PANE_BYTES * rollup.panes.len() + rollup.latest.iter().map(size).sum::<usize>();
    if bytes <= PART_BYTES {
        return rollups.push(rollup);
    }
    rollups.push(&Rollup { panes: Vec::new(), latest: Vec::new(), ..rollup.clone() });
    let mut part = Rollup {
        service: rollup.service.clone(),
        sensor: rollup.sensor.clone(),
        cut_position: rollup.cut_position,
        cut_clock: rollup.cut_clock,
        seen: rollup.seen,
        ..Rollup::default()
    };
    for panes in rollup.panes.chunks(PART_BYTES / PANE_BYTES) {
        panes.clone_into(&mut part.panes);
        rollups.push(&part);
    }
    part.panes.clear();
    let mut latest = &*rollup.latest;
    while !latest.is_empty() {
        let mut part_bytes = 0;
        let fits = |latest: &&LatestReading| {
            part_bytes += size(latest);
            part_bytes <= PART_BYTES
        };
        let (these, rest) = latest.split_at(latest.iter().take_while(fits).count().max(1));
        these.clone_into(&mut part.latest);
        rollups.push(&part);
        latest = rest;
    }
}

impl Published {
    fn of(service: &Service) -> Self {
        let quiet = Machine::default();
        let active = service.active.as_ref().map(|active| Life {
            spec: active.spec.hash,
            alive_since: active.alive_since,
            verdict: active.verdict,
            machines: match active.machines.iter().all(|machine| *machine == quiet) {
                true => Vec::new(),
                false => active.machines.clone(),
            },
        });
        Self { generation: service.generation, active }
    }
}

fn active_record(active: &Active) -> ActiveRecord {
    ActiveRecord {
        spec: active.spec.text.to_string(),
        windows_from: active.windows_from,
        over_limit: active.over_limit,
        alive_since: active.alive_since,
        verdict: active.verdict,
        machines: active.machines.iter().map(|machine| machine_record(machine, &active.spec)).collect(),
    }
}

fn machine_record(machine: &Machine, active: &Spec) -> MachineRecord {
    let (phase, held_ms, open) = match &machine.phase {
        Phase::Healthy => ("healthy", 0, None),
        Phase::Pending { held } => ("pending", *held, None),
        Phase::Open(open) => ("open", 0, Some(open)),
        Phase::Recovering { open, held } => ("recovering", *held, Some(open)),
    };
    MachineRecord {
        phase: phase.to_owned(),
        held_ms,
        incident: open.map(|open| OpenRecord {
            id: open.id.clone(),
            opened_at: open.opened_at,
            spec: (open.spec.hash != active.hash).then(|| open.spec.text.to_string()),
            attributes: plain(open.attributes.as_ref()),
            looks: open.looks.iter().map(|look| LookRecord { step: look.step, due: look.due }).collect(),
        }),
        episode: machine.episode.as_ref().map(|episode| EpisodeRecord {
            id: episode.id.clone(),
            openings: episode.openings,
            last_opened: episode.last_opened,
            last_resolved: episode.last_resolved,
            flapping: episode.flapping,
        }),
        occurrence: machine.occurrence.as_ref().map(|attributes| (**attributes).clone()),
    }
}

fn restore_active(
    service: &ServiceId,
    record: ActiveRecord,
    clock: Option<i64>,
    specs: &mut Specs,
) -> Result<Active, RestoreError> {
    let spec = specs.parse(service, &record.spec)?;
    let mut active = Active::new(spec, clock, record.windows_from, record.over_limit);
    active.alive_since = record.alive_since;
    active.verdict = record.verdict;
    if record.machines.len() != active.machines.len() {
        let what = format!("{} machines for {} causes", record.machines.len(), active.machines.len());
        return Err(RestoreError::Machine { service: service.clone(), what });
    }
    active.machines = record
        .machines
        .into_iter()
        .map(|machine| restore_machine(service, machine, &active.spec, specs))
        .collect::<Result<_, _>>()?;
    Ok(active)
}

fn restore_machine(
    service: &ServiceId,
    record: MachineRecord,
    active: &Arc<Spec>,
    specs: &mut Specs,
) -> Result<Machine, RestoreError> {
    let open = record.incident.map(|open| {
        Ok(Box::new(Open {
            id: open.id,
            opened_at: open.opened_at,
            spec: open.spec.map_or_else(|| Ok(active.clone()), |text| specs.parse(service, &text))?,
            attributes: shared(open.attributes),
            looks: open.looks.iter().map(|look| Look { step: look.step, due: look.due }).collect(),
        }))
    });
    let held = record.held_ms;
    let phase = match (record.phase.as_str(), open.transpose()?) {
        ("healthy", None) => Phase::Healthy,
        ("pending", None) => Phase::Pending { held },
        ("open", Some(open)) => Phase::Open(open),
        ("recovering", Some(open)) => Phase::Recovering { open, held },
        (phase, open) => {
            let what = format!("phase {phase:?} with incident {:?}", open.map(|open| open.id));
            return Err(RestoreError::Machine { service: service.clone(), what });
        }
    };
    let episode = record.episode.map(|episode| Episode {
        id: episode.id,
        openings: episode.openings,
        last_opened: episode.last_opened,
        last_resolved: episode.last_resolved,
        flapping: episode.flapping,
    });
    Ok(Machine { phase, episode: episode.map(Box::new), occurrence: record.occurrence.map(Arc::new) })
}

fn plain(attributes: Option<&Attributes>) -> BTreeMap<String, String> {
    attributes.map(|attributes| (**attributes).clone()).unwrap_or_default()
}

fn shared(attributes: BTreeMap<String, String>) -> Option<Attributes> {
    (!attributes.is_empty()).then(|| Arc::new(attributes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::model::state::RollupPane;

    fn pushed(rollup: &Rollup) -> Rollups {
        let mut rollups = Rollups::default();
        push(rollup, &mut rollups);
        rollups
    }

    #[test]
    fn a_flood_of_old_readings_is_split_into_rollups_that_the_bus_takes() {
        let pane = |end| RollupPane { end, n: 1, ..RollupPane::default() };
        let latest = |ts| LatestReading { ts, attributes: [("pod".to_owned(), "x".repeat(50))].into(), value: 0.0 };
        let whole = Rollup {
            n: 7,
            panes: (0..20_000).map(pane).collect(),
            latest: (0..20_000).map(latest).collect(),
            ..Rollup::default()
        };
        let parts = pushed(&whole);
        let decoded: Vec<_> = parts.iter().map(|(_, value)| codec::state::decode_rollup(value).unwrap()).collect();
        assert!(decoded.len() > 2 && parts.iter().all(|(_, value)| value.len() <= 300_000));
        assert_eq!(decoded.iter().map(|part| part.n).sum::<u64>(), 7);
        assert_eq!(decoded.iter().flat_map(|part| part.panes.clone()).collect::<Vec<_>>(), whole.panes);
        assert_eq!(decoded.iter().flat_map(|part| part.latest.clone()).collect::<Vec<_>>(), whole.latest);
        assert_eq!(pushed(&Rollup { n: 7, ..Rollup::default() }).iter().count(), 1);
    }
}
