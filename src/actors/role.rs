//! What makes an actor the autoscaler or the pager: which events ask something of it, how it looks at the world,
//! what it decides, and how it does it. Everything else (history, intent, outcome, the bus) is the frame's.
//!
//! `asked`, `before_looking` and `decide` run on the actor's loop, one after the other, and must not wait for
//! anything; `look` and `act` run on the runtime, one at a time for each target.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use super::claim::Claims;
use super::counters::Counters;
use super::ledger::Ledger;
use crate::model::action::{ActionEvent, ActionKind, Proposal};
use crate::model::incident::IncidentEvent;
use crate::model::{ActionId, IncidentId};

/// The verb of a task that only looks whether an action had its effect: what settles it is `verified` or
/// `ineffective`, of that action.
pub const EFFECT: &str = "effect";

/// One thing that an actor was asked to do. It waits in the ledger until it has an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Same id, same action, for ever.
    pub action_id: ActionId,
    /// For which incident.
    pub incident: IncidentId,
    /// What to do.
    pub verb: String,
    /// What it is done to: tasks with the same target wait for each other, others never.
    pub target: String,
    /// Since when it was to be done, ms.
    pub at_ms: i64,
    /// What asked for it.
    pub asked_by: AskedBy,
}

/// What asked for a task.
#[derive(Clone, Debug, PartialEq)]
pub enum AskedBy {
    /// An event of `ops.incidents`.
    Incident {
        /// Its offset.
        offset: i64,
        /// The event.
        event: Box<IncidentEvent>,
    },
    /// What was told of another action on `ops.actions`: its outcome, or that it waits for a human.
    Action(Box<ActionEvent>),
}

impl AskedBy {
    /// The offset in `ops.incidents`, if that is where it comes from.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Incident { offset, .. } => Some(*offset),
            Self::Action(_) => None,
        }
    }

    /// Was it told of this action?
    pub fn is_action(&self, action: &ActionId) -> bool {
        matches!(self, Self::Action(of) if of.action_id == *action)
    }
}

/// What is to become of a task now.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<Order> {
    /// This is its outcome; nothing is done.
    Settle(ActionKind),
    /// Write down this goal, then carry out the order.
    Begin {
        /// The absolute goal, for `ops.actions`.
        goal: BTreeMap<String, String>,
        /// The same for `act`.
        order: Order,
    },
    /// A guard hands it to a human: this is written down and waits for their word, and nothing else for it.
    Ask(Proposal),
    /// The world could not be seen: look again later.
    LookAgain {
        /// How much later.
        after: Duration,
    },
}

/// See the module.
pub trait Role: Send + Sync + 'static {
    /// Can a human stop what it does? Then an effect begins only when all was read that stood on `ops.actions` when its
    /// intent was committed, and [`Self::before_acting`] is asked once more.
    const CAN_BE_STOPPED: bool = false;

    /// What it carries out: these are counted from the beginning.
    const VERBS: &'static [&'static str] = &[];

    /// What a look at the world shows.
    type Seen: Send + 'static;
    /// What is to be done in the world.
    type Order: Send + 'static;

    /// Its name on `ops.actions`.
    fn name(&self) -> &'static str;

    /// What this event asks of the actor. The ledger knows the event already.
    fn asked(&self, offset: i64, event: &IncidentEvent, ledger: &Ledger) -> Vec<Task>;

    /// What the outcome of another action asks of the actor, or that it waits for a human.
    fn asked_by_action(&self, told: &ActionEvent, ledger: &Ledger) -> Option<Task> {
        let _ = (told, ledger);
        None
    }

    /// What the actor has noticed by itself about a partition: events that stand nowhere. They are folded, and ask, as
    /// if they stood at the end of `ops.incidents`.
    fn noticed(&self, partition: i32, ledger: &Ledger) -> Vec<IncidentEvent> {
        let _ = (partition, ledger);
        Vec::new()
    }

    /// Where its effects ask whether they are still ours, if they do.
    fn claims(&self) -> Option<&Claims> {
        None
    }

    /// The outcome of a task that was not begun and needs no look.
    fn before_looking(&self, task: &Task, ledger: &Ledger, now_ms: i64) -> Option<ActionKind>;

    /// The outcome of a task that waits for a human and needs no word any more.
    fn while_waiting(&self, task: &Task, ledger: &Ledger) -> Option<ActionKind> {
        let _ = (task, ledger);
        None
    }

    /// Looks at the world; changes nothing.
    fn look(&self, task: &Task) -> impl Future<Output = Self::Seen> + Send;

    /// What is to become of the task. If [`Ledger::intent`] knows an intent of it, that was begun before a crash; if
    /// [`Ledger::approval`] knows one, a human has approved it.
    fn decide(&self, task: &Task, seen: Self::Seen, ledger: &Ledger, now_ms: i64) -> Decision<Self::Order>;

    /// The outcome of a task whose intent is committed and that must not be done all the same.
    fn before_acting(&self, task: &Task, ledger: &Ledger) -> Option<ActionKind> {
        let _ = (task, ledger);
        None
    }

    /// Does it, and says how it ended: an outcome. Its intent is committed.
    fn act(&self, task: &Task, order: Self::Order, counters: &Counters) -> impl Future<Output = ActionKind> + Send;
}
