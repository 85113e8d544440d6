//! A partition whose log no longer holds where it stopped: what `ops.incidents` says is unfinished, so that nothing
//! stays open for ever and no generation comes twice. Pure; used by `restore` where a gap is accepted.
//!
//! The state of the last cut is not enough: what was decided after it can not be decided again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::incident::{CloseReason, EventKind, IncidentEvent};
use crate::model::{IncidentId, ServiceId, SpecHash};

/// The unfinished business of one partition. Takes every event of its `ops.incidents`, in order.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    generations: BTreeMap<ServiceId, u64>,
    /// By service and cause: the latest episode.
    episodes: BTreeMap<(ServiceId, Arc<str>), Episode>,
}

#[derive(Debug)]
struct Episode {
    id: IncidentId,
    openings: u32,
    flapping: bool,
    spec_hash: SpecHash,
    /// The incident that is open, and since when, ms.
    open: Option<(IncidentId, i64)>,
}

impl Unfinished {
    /// Takes the next event.
    pub fn note(&mut self, event: &IncidentEvent) {
        let key = |cause: &Arc<str>| (event.service.clone(), cause.clone());
        match &event.kind {
            EventKind::Opened { incident, cause, episode, openings, flapping, .. } => {
                self.generations.insert(event.service.clone(), incident.generation);
                let episode = Episode {
                    id: episode.clone(),
                    openings: *openings,
                    flapping: *flapping,
                    spec_hash: event.spec_hash,
                    open: Some((incident.clone(), event.at)),
                };
                self.episodes.insert(key(cause), episode);
            }
            EventKind::Resolved { cause, .. } => {
                if let Some(episode) = self.episodes.get_mut(&key(cause)) {
                    episode.open = None;
                }
            }
            EventKind::Closed { cause, .. } => {
                self.episodes.remove(&key(cause));
            }
            EventKind::EpisodeEnded { episode: ended, .. } => self.episodes.retain(|_, episode| episode.id != *ended),
            _ => {}
        }
    }

    /// The latest generation of each service that ever had an incident.
    pub fn generations(&self) -> &BTreeMap<ServiceId, u64> {
        &self.generations
    }

    /// The events that finish it: open incidents are closed, flapping episodes end.
    pub fn farewell(self, at: i64) -> Vec<IncidentEvent> {
        let finish = |((service, cause), episode): ((ServiceId, Arc<str>), Episode)| {
            let kind = match episode.open {
                Some((incident, opened_at)) => {
                    EventKind::Closed { incident, cause, opened_at, reason: CloseReason::Superseded }
                }
                None if episode.flapping => EventKind::EpisodeEnded { episode: episode.id, openings: episode.openings },
                None => return None,
            };
            Some(IncidentEvent { kind, service, spec_hash: episode.spec_hash, at })
        };
        self.episodes.into_iter().filter_map(finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> IncidentEvent {
        IncidentEvent { kind, service: ServiceId::new("svc").unwrap(), spec_hash: SpecHash::of("x"), at: 7 }
    }

    fn opened(generation: u64, cause: &str, flapping: bool) -> IncidentEvent {
        let incident = IncidentId { service: ServiceId::new("svc").unwrap(), generation };
        let episode = incident.clone();
        event(EventKind::Opened { incident, cause: cause.into(), episode, openings: 1, flapping, verdict: None })
    }

    fn resolved(generation: u64, cause: &str) -> IncidentEvent {
        let incident = IncidentId { service: ServiceId::new("svc").unwrap(), generation };
        event(EventKind::Resolved { incident, cause: cause.into(), opened_at: 7, recovered: None })
    }

    #[test]
    fn what_is_open_is_closed_what_flaps_ends_and_what_is_over_is_left_alone() {
        let mut unfinished = Unfinished::default();
        for event in [
            opened(1, "slo", false),
            opened(2, "no_data", true),
            resolved(2, "no_data"),
            opened(3, "z > 5", false),
            resolved(3, "z > 5"),
        ] {
            unfinished.note(&event);
        }
        assert_eq!(unfinished.generations().values().copied().collect::<Vec<_>>(), [3]);
        let farewell = unfinished.farewell(9);
        assert!(matches!(&farewell[0].kind, EventKind::EpisodeEnded { episode, .. } if episode.generation == 2));
        assert!(matches!(&farewell[1].kind, EventKind::Closed { incident, .. } if incident.generation == 1));
        assert_eq!((farewell.len(), farewell[0].at), (2, 9));
    }
}
