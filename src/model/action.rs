//! The events of `ops.actions`: the life of an action from its intent to its effect.
//!
//! Written by the actors; read by the actors (to know what was done before a crash), the archiver, the war
//! room and `ops status`. Nothing here decides an incident: actions are about the world.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

    /// The word of a human, `who`, on what `asked` (an `awaiting`) proposes; `reason` in their words.
    pub fn word(asked: &Self, proposal: &Proposal, is_yes: bool, who: &str, reason: &str, at: i64) -> Self {
        let word = Word { reason: reason.to_owned(), hash: proposal.hash.clone() };
        let kind = if is_yes { ActionKind::Approved(word) } else { ActionKind::Rejected(word) };
        Self { kind, actor: who.to_owned(), at, ..asked.clone() }
    }

    /// What it proposes, if it is an `awaiting`.
    pub fn proposal(&self) -> Option<&Proposal> {
        match &self.kind {
            ActionKind::Awaiting(proposal) => Some(proposal),
            _ => None,
        }
    }

    /// Is this a human's word on what `asked` proposes: about this action, bound to this proposal, and in time by the
    /// clock of whoever said it? Of several the first in the log counts.
    pub fn is_word_on(&self, asked: &Self) -> bool {
        let (Some(proposal), Some(word)) = (asked.proposal(), self.kind.word()) else { return false };
        (self.action_id, &self.service) == (asked.action_id, &asked.service)
            && word.hash == proposal.hash
            && self.at <= proposal.expires_at
    }
}

/// What would be done, and waits for a human's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Proposal {
    /// The code of the guard that handed it over: `budget_incident`, `budget_service`.
    pub reason: String,
    /// The same in words.
    pub why: String,
    /// The absolute goal, as `started` would have it.
    pub goal: BTreeMap<String, String>,
    /// What a word has to name: see [`Proposal::hash_of`].
    pub hash: String,
    /// Later than this, ms by the actor's clock, no word counts.
    pub expires_at: i64,
}

/// Entries of a goal to which an approval is not bound: the version moves with every update of the status, which is no
/// rival (the write itself is bound to it); what was asked for before a bound made less of it decides nothing.
const LOOSE: [&str; 3] = ["resource_version", "asked", "bound"];

impl Proposal {
    /// What an approval is bound to, in hex: SHA-256 over the action's id, verb, target and the goal's names and values in
    /// order, each as `{length in bytes}:{text}`, without `resource_version`, `asked` and `bound`.
    pub fn hash_of(action: &ActionId, verb: &str, target: &str, goal: &BTreeMap<String, String>) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update(text.len().to_string());
            digest.update(":");
            digest.update(text);
        };
        [action.to_string().as_str(), verb, target].into_iter().for_each(&mut add);
        for (name, value) in goal.iter().filter(|(name, _)| !LOOSE.contains(&name.as_str())) {
            add(name);
            add(value);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A human's word on a [`Proposal`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Word {
    /// Why, in the words of whoever said it.
    pub reason: String,
    /// Of the proposal that was meant.
    pub hash: String,
}

/// What happened to an action.
///
/// ```text
/// request -> guard -> policy -> [approval] -> started -> done | failed | unknown | suppressed: frozen
///               \-> suppressed  \-> denied     \-> expired   done -> verified | ineffective
///
/// approval:  awaiting --approved--> decided again -> started | suppressed: changed, over, frozen, ...
///               |----rejected----> denied
///               \----------------> expired | suppressed: over, frozen
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
    /// A guard handed it to a human, whose word it waits for. No outcome: nothing else waits for it.
    Awaiting(Proposal),
    /// A human let it be done; by `actor`. The actor's own word is still to come.
    Approved(Word),
    /// A human did not.
    Rejected(Word),
    /// A human or policy refused it.
    Denied {
        /// Who and why.
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
            Self::Awaiting(_) => "awaiting",
            Self::Approved(_) => "approved",
            Self::Rejected(_) => "rejected",
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
        let is_on_its_way = matches!(self, Self::Started { .. } | Self::Awaiting(_));
        !is_on_its_way && self.word().is_none() && !self.is_effect() && !self.is_switch()
    }

    /// A human's word on an action, for or against.
    pub fn word(&self) -> Option<&Word> {
        match self {
            Self::Approved(word) | Self::Rejected(word) => Some(word),
            _ => None,
        }
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
impl ActionEvent {
    /// What the tests of all rooms are about: the first call of `scanner.1`, of the autoscaler, at `at` ms.
    pub fn scaling(kind: ActionKind, at: i64) -> Self {
        let incident: IncidentId = "scanner.1".parse().unwrap();
        Self {
            kind,
            action_id: ActionId::of(&incident, 1, 1),
            service: incident.service.clone(),
            incident,
            verb: "scale_up".to_owned(),
            actor: "autoscaler".to_owned(),
            at,
            target: Some("deployment scanner".to_owned()),
            attempt: 1,
            dry_run: false,
        }
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

    fn awaiting() -> ActionEvent {
        let incident: IncidentId = "scanner.1".parse().unwrap();
        let goal = [("from", "4"), ("to", "6"), ("uid", "u"), ("resource_version", "7")];
        let goal: BTreeMap<_, _> = goal.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let action_id = ActionId::of(&incident, 1, 1);
        let hash = Proposal::hash_of(&action_id, "scale_up", "deployment scanner", &goal);
        let (reason, why) = ("budget_incident".to_owned(), "it has had its 3".to_owned());
        ActionEvent::scaling(ActionKind::Awaiting(Proposal { reason, why, goal, hash, expires_at: 100 }), 5)
    }

    #[test]
    fn a_word_is_bound_to_its_action_and_proposal_and_says_when() {
        let asked = awaiting();
        let proposal = asked.proposal().unwrap();
        let word = ActionEvent::word(&asked, proposal, true, "alice", "it is fine", 100);
        assert!(word.is_word_on(&asked) && !word.kind.is_outcome() && !asked.kind.is_outcome());
        let no = ActionEvent::word(&asked, proposal, false, "alice", "no", 50);
        assert!(no.is_word_on(&asked) && no.kind.name() == "rejected" && no.actor == "alice");
        let mut other = word.clone();
        other.action_id = ActionId::of(&asked.incident, 2, 1);
        assert!(!other.is_word_on(&asked), "of another action");
        assert!(!ActionEvent { at: 101, ..word.clone() }.is_word_on(&asked), "too late");
        let hash = "0".repeat(64);
        let forged = ActionKind::Approved(Word { reason: String::new(), hash });
        assert!(!ActionEvent { kind: forged, ..word }.is_word_on(&asked), "of another proposal");
        assert!(!asked.is_word_on(&asked));
    }

    #[test]
    fn an_approval_binds_what_is_done_and_not_the_version_it_was_seen_at() {
        let asked = awaiting();
        let proposal = asked.proposal().unwrap();
        let hash = |action: &ActionId, verb, target, change: Option<(&str, &str)>| {
            let mut goal = proposal.goal.clone();
            goal.extend(change.map(|(name, value)| (name.to_owned(), value.to_owned())));
            Proposal::hash_of(action, verb, target, &goal)
        };
        let (id, target) = (asked.action_id, "deployment scanner");
        for loose in [None, Some(("resource_version", "8")), Some(("asked", "9")), Some(("bound", "max"))] {
            assert_eq!(hash(&id, "scale_up", target, loose), proposal.hash, "{loose:?}");
        }
        for bound in [("from", "5"), ("to", "60"), ("uid", "v"), ("more", "")] {
            assert_ne!(hash(&id, "scale_up", target, Some(bound)), proposal.hash, "{bound:?}");
        }
        let other = ActionId::of(&asked.incident, 1, 2);
        assert_ne!(hash(&other, "scale_up", target, None), proposal.hash);
        assert_ne!(hash(&id, "scale", target, None), proposal.hash);
        assert_ne!(hash(&id, "scale_up", "deployment scannera", None), proposal.hash);
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
