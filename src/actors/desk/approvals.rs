//! What waits for a human: it is written down and lets its target go; taken up again when there is a word, and begun only
//! as it was approved.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Desk, Outgoing};
use crate::actors::approval::{Approval, Stand};
use crate::actors::ledger::Ledger;
use crate::actors::role::{Role, Task};
use crate::model::action::{ActionKind, Proposal};
use crate::torture::{self, Sabotage};

/// What is to become of a task whose target is free.
pub(super) enum Step {
    /// Nothing: it waits for a human.
    Wait,
    /// This is its outcome.
    Settle(ActionKind),
    /// The world is looked at.
    Look,
}

/// The next step of a task.
pub(super) fn step<R: Role>(role: &R, task: &Task, ledger: &Ledger, now_ms: i64) -> Step {
    // What was begun is looked at first, whatever the guards say.
    if ledger.intent(&task.action_id).is_some() {
        return Step::Look;
    }
    let settled = match ledger.approval(&task.action_id).map(|approval| stand(approval, now_ms)) {
        Some(Stand::Settled(kind)) => Some(kind),
        Some(Stand::Open) => match role.while_waiting(task, ledger) {
            Some(kind) => Some(kind),
            None => return Step::Wait,
        },
        Some(Stand::Approved) | None => role.before_looking(task, ledger, now_ms),
    };
    settled.map_or(Step::Look, Step::Settle)
}

/// The outcome of a task that was approved, and whose time was over before the world was seen. (What was begun is for
/// the role to end.)
pub(super) fn lapsed(task: &Task, ledger: &Ledger, now_ms: i64) -> Option<ActionKind> {
    let approval = ledger.approval(&task.action_id).filter(|_| ledger.intent(&task.action_id).is_none())?;
    match stand(approval, now_ms) {
        Stand::Settled(kind) => Some(kind),
        Stand::Open | Stand::Approved => None,
    }
}

/// What is to be said instead of beginning this, because a human was asked and did not approve it.
pub(super) fn objection(
    task: &Task,
    goal: &BTreeMap<String, String>,
    ledger: &Ledger,
    now_ms: i64,
) -> Option<ActionKind> {
    let approval = ledger.approval(&task.action_id)?;
    approval.objection(stand(approval, now_ms), task, goal)
}

fn stand(approval: &Approval, now_ms: i64) -> Stand {
    if torture::is_without(Sabotage::ActUnapproved) { Stand::Approved } else { approval.stand(now_ms) }
}

impl<R: Role> Desk<'_, R> {
    /// Writes down what a human is asked. The task waits in the ledger, nothing waits for it.
    pub(super) fn ask(&mut self, partition: i32, task: &Arc<Task>, proposal: Proposal) {
        let event = self.event(task, 1, ActionKind::Awaiting(proposal));
        // At once, so that it is not taken up again before it is committed.
        if let Some(ledger) = self.ledgers.get_mut(&partition) {
            ledger.fold_action(None, &event);
        }
        self.work.done(&task.action_id);
        self.outbox.push(Outgoing { partition, task: task.action_id, event });
    }
}
