//! The events of `ops.actions`: the life of an action from its intent to its effect.
//!
//! Written by the actors; read by the actors (to know what was done before a crash), the archiver, the war
//! room and `ops status`. Nothing here decides an incident: actions are about the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{ActionId, IncidentId, ServiceId};

/// One event of `ops.actions`. Its JSON form is flat, as that of [`super::incident::IncidentEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct ActionEvent {
    /// What happened.
    #[serde(flatten)]
    pub kind: ActionKind,
    /// The action, as requested.
    pub action_id: ActionId,
    /// For which incident.
    pub incident: IncidentId,
    /// Of which service.
    pub service: ServiceId,
    /// What was requested: `scale_up`, `page`, ...
    pub verb: String,
    /// Who carries it out: `autoscaler`, `pager`, ...
    pub actor: String,
    /// When, ms, by the actor's clock.
    pub at: i64,
    /// What is acted on: a workload, a channel.
    pub target: Option<String>,
    /// From 1; a repeat of the same action has the next number.
    pub attempt: u32,
    /// Nothing was done, only said.
    pub dry_run: bool,
}

impl ActionEvent {
    /// `frozen` or `thawed`, by `who`, of `service` ([`ServiceId::ops`] for all). Freezing belongs to no incident: it
    /// stands under the service's generation 0, which no incident has. The same moment is the same id.
    pub fn switch(kind: ActionKind, service: &ServiceId, who: &str, at: i64) -> Self {
        let incident = IncidentId { service: service.clone(), generation: 0 };
        let verb = if matches!(kind, ActionKind::Frozen { .. }) { "freeze" } else { "thaw" };
        Self {
            action_id: ActionId::follow_up(&incident, kind.name(), &at.to_string()),
            incident,
            service: service.clone(),
            verb: verb.to_owned(),
            actor: who.to_owned(),
            at,
            target: None,
            attempt: 1,
            dry_run: false,
            kind,
        }
    }
}

/// What happened to an action.
///
/// ```text
/// request -> guard -> policy -> [approval] -> started -> done | failed | unknown | suppressed: frozen
///               \-> suppressed  \-> denied     \-> expired   done -> verified | ineffective
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ActionKind {
    /// The intent: on the bus before anything is done.
    Started {
        /// The absolute goal by name; of scaling `from`, `to`, `uid`, `generation`, `resource_version`.
        goal: BTreeMap<String, String>,
    },
    /// The target did it.
    Done {
        /// What the target answered, by name.
        detail: BTreeMap<String, String>,
    },
    /// The target did not do it, and will not.
    Failed {
        /// Why, for people.
        reason: String,
        /// What the target answered, by name.
        detail: BTreeMap<String, String>,
    },
    /// Nobody can tell whether it was done; a human is paged.
    Unknown {
        /// Why nobody can.
        reason: String,
    },
    /// A guard held it back.
    Suppressed {
        /// The guard's code: `over`, `stale`, `cool_down`, `managed_by_hpa`, ...
        reason: String,
        /// What the guard saw, by name; of `dry_run` the goal that would have been written down.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        detail: BTreeMap<String, String>,
    },
    /// Policy refused it.
    Denied {
        /// The policy's reason.
        reason: String,
    },
    /// Nobody approved it in time.
    Expired,
    /// One window after `done` the service is well.
    Verified(Effect),
    /// One window after `done` it is not.
    Ineffective(Effect),
    /// A human stopped all actions, of the service or (`_ops`) of all services. No action: see [`ActionEvent::switch`].
    Frozen {
        /// Why, in the words of whoever did it.
        reason: String,
    },
    /// A human let them go on.
    Thawed {
        /// Why, in the words of whoever did it.
        reason: String,
    },
}

/// How the service was right before an action and one window after it. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Effect {
    /// p95 estimate before, for people.
    pub before: Option<f64>,
    /// Readings before.
    pub before_n: Option<u64>,
    /// Those among them above the threshold.
    pub before_over: Option<u64>,
    /// p95 estimate after, for people.
    pub after: Option<f64>,
    /// Readings after.
    pub after_n: Option<u64>,
    /// Those among them above the threshold.
    pub after_over: Option<u64>,
    /// By what it was judged: `readings`, `no_readings` (there were none after it), `incident` (there is no
    /// objective: whether the incident was over by then).
    #[serde(default, rename = "reason")]
    pub basis: String,
}

impl ActionKind {
    /// The name on the bus and in `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
            Self::Suppressed { .. } => "suppressed",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Verified { .. } => "verified",
            Self::Ineffective { .. } => "ineffective",
            Self::Frozen { .. } => "frozen",
            Self::Thawed { .. } => "thawed",
        }
    }

    /// Held back by a guard that has nothing to add.
    pub fn suppressed(reason: &str) -> Self {
        Self::Suppressed { reason: reason.to_owned(), detail: BTreeMap::new() }
    }

    /// Is the request settled by this? Every request ends in exactly one outcome; the effect check comes after.
    pub fn is_outcome(&self) -> bool {
        !matches!(self, Self::Started { .. }) && !self.is_effect() && !self.is_switch()
    }

    /// Does this say whether an action that is done had its effect?
    pub fn is_effect(&self) -> bool {
        matches!(self, Self::Verified(_) | Self::Ineffective(_))
    }

    /// Is this no action, but a human's hand on all of them?
    pub fn is_switch(&self) -> bool {
        matches!(self, Self::Frozen { .. } | Self::Thawed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_flat_and_its_event_is_the_name() {
        let incident: IncidentId = "scanner.3".parse().unwrap();
        let event = ActionEvent {
            kind: ActionKind::suppressed("cool_down"),
            action_id: ActionId::of(&incident, 1, 1),
            service: incident.service.clone(),
            incident,
            verb: "scale_up".to_owned(),
            actor: "autoscaler".to_owned(),
            at: 5,
            target: None,
            attempt: 1,
            dry_run: false,
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], event.kind.name());
        assert_eq!((&json["reason"], json.get("detail")), (&"cool_down".into(), None));
        assert_eq!(serde_json::from_value::<ActionEvent>(json).unwrap(), event);
        assert!(event.kind.is_outcome() && !ActionKind::Started { goal: BTreeMap::new() }.is_outcome());
    }

    #[test]
    fn freezing_is_no_action_and_belongs_to_no_incident() {
        let frozen =
            ActionEvent::switch(ActionKind::Frozen { reason: "deploy".to_owned() }, &ServiceId::ops(), "me", 5);
        assert!(!frozen.kind.is_outcome() && frozen.incident.to_string() == "_ops.0");
        let json = serde_json::to_value(&frozen).unwrap();
        assert_eq!((json["event"].as_str(), json["service"].as_str()), (Some("frozen"), Some("_ops")));
        assert_eq!(serde_json::from_value::<ActionEvent>(json).unwrap(), frozen);
    }
}
