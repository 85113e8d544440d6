//! What a guard has handed to a human, and how it stands. Pure: a proposal, the human's word if there is one, and a clock
//! that the caller reads. The ledger holds it, the desk asks it before anything of the action is begun.
//!
//! ```text
//!  awaiting --approved, in time--> decided again: the same goal --> started
//!     |                                           \ another goal -> suppressed: changed
//!     |------rejected------------> denied
//!     \------too late------------> expired
//! ```
//!
//! The first word in the log that is bound to the proposal counts, any other changes nothing. It is good once: an action
//! has one outcome, and whatever is done for it is checked against the proposal again. The policy gate, once there is
//! one, hands over by the same door.

use std::collections::BTreeMap;

use super::role::Task;
use crate::model::action::{ActionEvent, ActionKind, Proposal};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    asked: ActionEvent,
    proposal: Proposal,
    word: Option<ActionEvent>,
}

/// How it stands now.
#[derive(Clone, Debug, PartialEq)]
pub enum Stand {
    /// Nobody has said anything, and there is time.
    Open,
    /// It may be done, if it is still the same.
    Approved,
    /// It will not be done: `denied` or `expired`.
    Settled(ActionKind),
}

/// The proposal of a guard to do this for a task.
pub fn propose(task: &Task, code: &str, why: String, goal: BTreeMap<String, String>, expires_at: i64) -> Proposal {
    let hash = Proposal::hash_of(&task.action_id, &task.verb, &task.target, &goal);
    Proposal { reason: code.to_owned(), why, goal, hash, expires_at }
}

impl Approval {
    /// Of an `awaiting`; `None` if it is none, or its hash is not that of what it says.
    pub fn of(asked: &ActionEvent) -> Option<Self> {
        let proposal = asked.proposal()?.clone();
        let target = asked.target.as_deref().unwrap_or_default();
        let hash = Proposal::hash_of(&asked.action_id, &asked.verb, target, &proposal.goal);
        (hash == proposal.hash).then(|| Self { asked: asked.clone(), proposal, word: None })
    }

    /// An event that came after it; the first that is a word on it counts.
    pub fn hear(&mut self, event: &ActionEvent) {
        if self.word.is_none() && event.is_word_on(&self.asked) {
            self.word = Some(event.clone());
        }
    }

    /// The `awaiting`.
    pub fn asked(&self) -> &ActionEvent {
        &self.asked
    }

    /// Has a human said something that counts?
    pub fn is_answered(&self) -> bool {
        self.word.is_some()
    }

    /// Until when a word counts, ms.
    pub fn expires_at(&self) -> i64 {
        self.proposal.expires_at
    }

    /// How it stands at `now_ms` by the actor's clock.
    pub fn stand(&self, now_ms: i64) -> Stand {
        match &self.word {
            Some(ActionEvent { kind: ActionKind::Rejected(word), actor, .. }) => {
                Stand::Settled(ActionKind::Denied { reason: format!("{actor}: {}", word.reason) })
            }
            _ if now_ms > self.proposal.expires_at => Stand::Settled(ActionKind::Expired),
            Some(_) => Stand::Approved,
            None => Stand::Open,
        }
    }

    /// What is to be said instead of doing this for the task, which stands as `stand`; `None`: it was approved.
    pub fn objection(&self, stand: Stand, task: &Task, goal: &BTreeMap<String, String>) -> Option<ActionKind> {
        let (code, why) = match stand {
            Stand::Settled(kind) => return Some(kind),
            // Begun by somebody who did not ask.
            Stand::Open => ("unapproved", "nobody has approved it".to_owned()),
            Stand::Approved => {
                let hash = Proposal::hash_of(&task.action_id, &task.verb, &task.target, goal);
                if hash == self.proposal.hash {
                    return None;
                }
                ("changed", format!("approved was {}; now it would be {}", told(&self.proposal.goal), told(goal)))
            }
        };
        let mut detail = goal.clone();
        detail.insert("why".to_owned(), why);
        Some(ActionKind::Suppressed { reason: code.to_owned(), detail })
    }
}

/// A goal in a line.
fn told(goal: &BTreeMap<String, String>) -> String {
    let part = |name: &str| goal.get(name).map_or("?", String::as_str);
    format!("{} -> {} of uid {}, generation {}", part("from"), part("to"), part("uid"), part("generation"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::role::AskedBy;
    use crate::model::ActionId;
    use crate::model::action::Word;

    const UNTIL: i64 = 1_000;

    fn goal(to: &str) -> BTreeMap<String, String> {
        let goal = [("from", "4"), ("to", to), ("uid", "u"), ("generation", "3"), ("resource_version", "7")];
        goal.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn event(kind: ActionKind) -> ActionEvent {
        ActionEvent::scaling(kind, 0)
    }

    fn task() -> Task {
        let event = event(ActionKind::Expired);
        Task {
            action_id: event.action_id,
            incident: event.incident.clone(),
            verb: event.verb.clone(),
            target: "deployment scanner".to_owned(),
            at_ms: 0,
            asked_by: AskedBy::Action(Box::new(event)),
        }
    }

    fn approval() -> Approval {
        let proposal = propose(&task(), "budget_incident", "it has had its 3".to_owned(), goal("6"), UNTIL);
        Approval::of(&event(ActionKind::Awaiting(proposal))).unwrap()
    }

    fn word(of: &Approval, is_yes: bool, at: i64) -> ActionEvent {
        ActionEvent::word(&of.asked, &of.proposal, is_yes, "alice", "as agreed", at)
    }

    #[test]
    fn it_is_open_until_a_word_or_the_end_of_its_time() {
        let mut approval = approval();
        assert_eq!((approval.stand(UNTIL), approval.is_answered()), (Stand::Open, false));
        assert_eq!(approval.stand(UNTIL + 1), Stand::Settled(ActionKind::Expired));
        approval.hear(&word(&approval, true, 5));
        assert_eq!((approval.stand(UNTIL), approval.is_answered()), (Stand::Approved, true));
        assert_eq!(approval.stand(UNTIL + 1), Stand::Settled(ActionKind::Expired), "taken up too late");
    }

    #[test]
    fn the_first_word_counts_and_a_denial_says_who_and_why() {
        let mut denied = approval();
        denied.hear(&word(&denied, false, 5));
        denied.hear(&word(&denied, true, 6));
        let expected = Stand::Settled(ActionKind::Denied { reason: "alice: as agreed".to_owned() });
        assert_eq!((denied.stand(7), denied.stand(UNTIL + 1)), (expected.clone(), expected));
        let mut approved = approval();
        approved.hear(&word(&approved, true, 5));
        approved.hear(&word(&approved, false, 6));
        assert_eq!(approved.stand(7), Stand::Approved);
    }

    #[test]
    fn a_forged_word_changes_nothing() {
        let mut forged = approval();
        let right = word(&forged, true, 5);
        let of_other_hash = ActionKind::Approved(Word { reason: String::new(), hash: "0".repeat(64) });
        forged.hear(&ActionEvent { kind: of_other_hash, ..right.clone() });
        forged.hear(&ActionEvent { action_id: ActionId::of(&right.incident, 2, 1), ..right.clone() });
        forged.hear(&ActionEvent { at: UNTIL + 1, ..right });
        assert_eq!(forged, approval());
        // And neither does one that says what it is not.
        let mut asked = forged.asked;
        let ActionKind::Awaiting(proposal) = &mut asked.kind else { unreachable!() };
        proposal.goal = goal("60");
        assert_eq!(Approval::of(&asked), None);
    }

    #[test]
    fn only_what_was_approved_is_begun() {
        let approval = approval();
        let said = |stand, goal: &BTreeMap<String, String>| match approval.objection(stand, &task(), goal) {
            Some(ActionKind::Suppressed { reason, .. }) => reason,
            Some(other) => other.name().to_owned(),
            None => "begun".to_owned(),
        };
        let mut later = goal("6");
        later.insert("resource_version".to_owned(), "8".to_owned());
        assert_eq!(said(Stand::Approved, &goal("6")), "begun");
        assert_eq!(said(Stand::Approved, &later), "begun", "a status update is no rival");
        assert_eq!(said(Stand::Approved, &goal("7")), "changed");
        assert_eq!(said(Stand::Open, &goal("6")), "unapproved");
        assert_eq!(said(Stand::Settled(ActionKind::Expired), &goal("6")), "expired");
    }
}
