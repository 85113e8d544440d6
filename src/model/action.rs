//! The events of `ops.actions`: the life of an action from its intent to its effect.
//!
//! Written by the actors; read by the actors (to know what was done before a crash), the archiver, the war
//! room and `ops status`. Nothing here decides an incident: actions are about the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{ActionId, IncidentId, ServiceId};

/// One event of `ops.actions`. Its JSON form is flat, as that of [`super::incident::IncidentEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// What happened to an action.
///
/// ```text
/// request -> guard -> policy -> [approval] -> started -> done | failed | unknown
///               \-> suppressed  \-> denied     \-> expired   done -> verified | ineffective
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    },
    /// Policy refused it.
    Denied {
        /// The policy's reason.
        reason: String,
    },
    /// Nobody approved it in time.
    Expired,
    /// One window after `done` the service is better.
    Verified {
        /// p95 estimate when the incident was opened.
        before: Option<f64>,
        /// p95 estimate now.
        after: Option<f64>,
    },
    /// One window after `done` it is not.
    Ineffective {
        /// p95 estimate when the incident was opened.
        before: Option<f64>,
        /// p95 estimate now.
        after: Option<f64>,
    },
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
        }
    }

    /// Is the request settled by this? Every request ends in exactly one outcome; the effect check comes after.
    pub fn is_outcome(&self) -> bool {
        !matches!(self, Self::Started { .. } | Self::Verified { .. } | Self::Ineffective { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_flat_and_its_event_is_the_name() {
        let incident: IncidentId = "scanner.3".parse().unwrap();
        let event = ActionEvent {
            kind: ActionKind::Suppressed { reason: "cool_down".to_owned() },
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
        assert_eq!(json["reason"], "cool_down");
        assert_eq!(serde_json::from_value::<ActionEvent>(json).unwrap(), event);
        assert!(event.kind.is_outcome() && !ActionKind::Started { goal: BTreeMap::new() }.is_outcome());
    }
}
