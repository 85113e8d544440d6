//! Cuts and restores: the state of a partition as records, and back. Pure.
//!
//! A cut lies before the record that caused it. Nothing is pending at a cut: all that was counted is in a rollup,
//! every life that changed is in a state record. `Core::restore` of the last cut, stepped through the records since,
//! is the core that was never interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::spec::{Condition, Spec};
use crate::model::state::{
    ActiveRecord, Cut, EpisodeRecord, LookRecord, MachineRecord, OpenRecord, PartitionRecord, Rollup, RollupPane,
    ServiceRecord, VerdictKind,
};
use crate::model::{ServiceId, SpecHash};
use crate::processor::core::{Core, Effects, FUTURE_MS, Service};
use crate::processor::incident::{Episode, Look, Machine, Open, Phase};
use crate::processor::service::{Active, Series, first_not_due};
use crate::window::clock::{PartitionClock, SUSPEND_MS};
use crate::window::digest::Sketch;
use crate::window::panes::Attributes;

/// Every service is written at least this often, ms, so that a restore reads `ops.state` from there.
pub const FULL_CUT_MS: i64 = 3_600_000;

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
        let mut rollups = Vec::new();
        for service in self.services.values_mut() {
            let Some(active) = &mut service.active else { continue };
            for sensor in 0..active.series.len() {
                let through = horizon(active, sensor);
                let is_target = active.spec.slo.as_ref().is_some_and(|slo| slo.target == sensor);
                let window_from = active.next.map_or(i64::MIN, |next| next - active.spec.window_ms);
                let series = &mut active.series[sensor];
                series.sketches.retain(|sketch| sketch.last_ts > window_from);
                let Some((pending, sketch)) = series.take_pending() else {
                    series.panes.forget(through);
                    continue;
                };
                let empty = Rollup {
                    service: active.spec.id.to_string(),
                    sensor: active.spec.sensors[sensor].name.to_string(),
                    cut_position: position,
                    cut_clock: clock.unwrap_or(0),
                    seen: series.seen.unwrap_or(0),
                    ..Rollup::default()
                };
                let mut rollup = Rollup { late: pending.late, last: pending.last, ..empty.clone() };
                sketch.write(&mut rollup);
                if is_target && sketch.overlaps(window_from, i64::MAX) {
                    series.sketches.push(sketch);
                }
                let mut parts = split(series.panes.publish(through)).into_iter();
                rollup.panes = parts.next().unwrap_or_default();
                rollups.push(rollup);
                rollups.extend(parts.map(|panes| Rollup { panes, ..empty.clone() }));
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
        for (id, service) in &mut self.services {
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
        let needed = self
            .services
            .values()
            .filter_map(|service| service.active.as_ref())
            .any(|active| (0..active.series.len()).any(|sensor| ahead.until > horizon(active, sensor)));
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
    pub fn rollups_needed_from(partition: &PartitionRecord, services: &[ServiceRecord]) -> Result<i64, RestoreError> {
        let (Some(clock), mut oldest) = (partition.clock, i64::MAX) else { return Ok(i64::MIN) };
        for service in services {
            let Some(record) = &service.active else { continue };
            let spec = parse(&service.service, &record.spec)?;
            let next = first_not_due(&spec, clock);
            for sensor in (0..spec.sensors.len()).filter(|sensor| matters(&spec, *sensor)) {
                oldest = oldest.min(next - spec.keep_ms(sensor) - SUSPEND_MS - FUTURE_MS);
            }
        }
        Ok(partition.ahead.map_or(oldest, |ahead| oldest.min(ahead.cut_clock)))
    }

    /// The core at a cut: its partition record, the latest record of each service, and the rollups of the cuts from
    /// [`Core::rollups_needed_from`] to this one, in order (older ones do no harm).
    ///
    /// # Errors
    /// If the records are not what a cut writes.
    pub fn restore(
        partitions: i32,
        partition: &PartitionRecord,
        services: Vec<ServiceRecord>,
        rollups: impl IntoIterator<Item = Rollup>,
    ) -> Result<Self, RestoreError> {
        let mut core = Core::new(partition.partition, partitions);
        core.clock = PartitionClock { now: partition.clock, suspended_since: partition.suspended_since };
        core.full_cut_clock = partition.full_cut_clock;
        core.ahead = partition.ahead;
        for record in services {
            let active =
                record.active.map(|active| restore_active(&record.service, active, partition.clock)).transpose()?;
            let mut service = Service { generation: record.generation, active, published: None };
            service.published = Some(Published::of(&service));
            core.services.insert(record.service, service);
        }
        for rollup in rollups.into_iter().filter(|rollup| rollup.cut_position <= partition.cut_position) {
            core.take_back(&rollup);
        }
        core.find_due();
        Ok(core)
    }

    fn take_back(&mut self, rollup: &Rollup) {
        let service = self.services.get_mut(rollup.service.as_str());
        let Some(active) = service.and_then(|service| service.active.as_mut()) else { return };
        let Some(sensor) = active.spec.sensor(&rollup.sensor) else { return };
        if rollup.cut_position <= active.windows_from {
            return;
        }
        let through = horizon(active, sensor);
        let is_target = active.spec.slo.as_ref().is_some_and(|slo| slo.target == sensor);
        let window_from = active.next.map_or(i64::MIN, |next| next - active.spec.window_ms);
        let series: &mut Series = &mut active.series[sensor];
        series.seen = series.seen.max(Some(rollup.seen));
        rollup.panes.iter().filter(|pane| pane.end > through).for_each(|pane| series.panes.restore(pane));
        let sketch = Sketch::of_rollup(rollup);
        if is_target && sketch.overlaps(window_from, i64::MAX) {
            series.sketches.push(sketch);
        }
    }
}

/// What producers had buffered for hours may come within one cut, each reading in a step of its own: no rollup may
/// become larger than the bus takes. The parts behind the first carry panes alone.
fn split(panes: Vec<RollupPane>) -> Vec<Vec<RollupPane>> {
    const PART_BYTES: usize = 256 * 1024;
    let size = |pane: &RollupPane| {
        64 + pane.last_attributes.iter().map(|(name, text)| 8 + name.len() + text.len()).sum::<usize>()
    };
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for pane in panes {
        bytes += size(&pane);
        if bytes > PART_BYTES {
            bytes = size(&pane);
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(pane);
        }
    }
    parts
}

/// Steps of a series that end at or before this are of no use to any instant to come.
fn horizon(active: &Active, sensor: usize) -> i64 {
    match active.next {
        Some(_) if !matters(&active.spec, sensor) => i64::MAX,
        Some(next) => next - active.spec.keep_ms(sensor),
        None => i64::MIN,
    }
}

/// Does anything look back at the readings of this sensor?
fn matters(spec: &Spec, sensor: usize) -> bool {
    spec.slo.as_ref().is_some_and(|slo| slo.target == sensor)
        || spec
            .causes
            .iter()
            .any(|cause| matches!(cause.condition, Condition::Comparison { sensor: own, .. } if own == sensor))
}

impl Published {
    fn of(service: &Service) -> Self {
        let active = service.active.as_ref().map(|active| Life {
            spec: active.spec.hash,
            alive_since: active.alive_since,
            verdict: active.verdict,
            machines: active.machines.clone(),
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

fn restore_active(service: &ServiceId, record: ActiveRecord, clock: Option<i64>) -> Result<Active, RestoreError> {
    let spec = parse(service, &record.spec)?;
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
        .map(|machine| restore_machine(service, machine, &active.spec))
        .collect::<Result<_, _>>()?;
    Ok(active)
}

fn restore_machine(service: &ServiceId, record: MachineRecord, active: &Arc<Spec>) -> Result<Machine, RestoreError> {
    let open = record.incident.map(|open| {
        Ok(Open {
            id: open.id,
            opened_at: open.opened_at,
            spec: open.spec.map_or_else(|| Ok(active.clone()), |text| parse(service, &text))?,
            attributes: shared(open.attributes),
            looks: open.looks.iter().map(|look| Look { step: look.step, due: look.due }).collect(),
        })
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
    Ok(Machine {
        phase,
        episode: record.episode.map(|episode| Episode {
            id: episode.id,
            openings: episode.openings,
            last_opened: episode.last_opened,
            last_resolved: episode.last_resolved,
            flapping: episode.flapping,
        }),
        occurrence: record.occurrence.map(Arc::new),
    })
}

fn parse(service: &ServiceId, text: &str) -> Result<Arc<Spec>, RestoreError> {
    crate::spec::parse(text)
        .map(|checked| Arc::new(checked.spec))
        .map_err(|findings| RestoreError::Spec { service: service.clone(), reason: findings.to_string() })
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

    #[test]
    fn a_flood_of_old_readings_is_split_into_rollups_that_the_bus_takes() {
        let pane = |end| RollupPane { end, n: 1, ..RollupPane::default() };
        let parts = split((0..10_000).map(pane).collect());
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= 4_096));
        assert_eq!(parts.concat(), (0..10_000).map(pane).collect::<Vec<_>>());
        assert_eq!(split(Vec::new()), [Vec::new()]);
    }
}
