//! What an actor is doing in the world right now: looks and effects on the runtime, one at a time for each target,
//! so that a target that hangs holds up no other. Outlives the sessions with the bus: what was begun is not begun
//! again because the bus was away. Owned by the loop; knows neither the bus nor the ledger.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::counters::Counters;
use super::role::{Role, Task};
use crate::model::ActionId;
use crate::model::action::ActionKind;

/// What comes back from the runtime.
pub(super) enum Report<Seen> {
    /// What a look showed.
    Seen(Seen),
    /// How an effect ended.
    Ended(ActionKind),
}

/// Where a task is.
enum Stage<R: Role> {
    /// Looking, or about to look again.
    Looking(AbortHandle),
    /// Its intent is in the open transaction.
    Intended(R::Order),
    /// It is being done.
    Acting(AbortHandle),
    /// It ended so; its outcome is not yet committed.
    Ended(ActionKind),
}

/// See the module.
pub(super) struct Work<R: Role> {
    role: Arc<R>,
    counters: Arc<Counters>,
    runtime: Handle,
    stages: BTreeMap<ActionId, (String, Stage<R>)>,
    sender: Sender<(ActionId, Option<Report<R::Seen>>)>,
    reports: Receiver<(ActionId, Option<Report<R::Seen>>)>,
}

impl<R: Role> Work<R> {
    /// Nothing to do yet.
    pub fn new(role: Arc<R>, counters: Arc<Counters>, runtime: Handle) -> Self {
        let (sender, reports) = channel();
        Self { role, counters, runtime, stages: BTreeMap::new(), sender, reports }
    }

    /// Whose work it is.
    pub fn role(&self) -> Arc<R> {
        self.role.clone()
    }

    /// The actor's name.
    pub fn name(&self) -> &'static str {
        self.role.name()
    }

    /// Is nothing under way for this target?
    pub fn is_free(&self, target: &str) -> bool {
        self.stages.values().all(|(busy, _)| busy != target)
    }

    /// Is this task under way?
    pub fn has(&self, action: &ActionId) -> bool {
        self.stages.contains_key(action)
    }

    /// Is anything being done that has effects?
    pub fn is_acting(&self) -> bool {
        self.stages.values().any(|(_, stage)| matches!(stage, Stage::Acting(_)))
    }

    /// Looks at the world, `after` a while.
    pub fn look(&mut self, task: &Arc<Task>, after: Duration) {
        let (role, of) = (self.role.clone(), task.clone());
        let abort = self.spawn(task.action_id, async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            Report::Seen(role.look(&of).await)
        });
        self.stages.insert(task.action_id, (task.target.clone(), Stage::Looking(abort)));
    }

    /// The intent of a task goes out with the next transaction.
    pub fn intend(&mut self, task: &Task, order: R::Order) {
        self.stages.insert(task.action_id, (task.target.clone(), Stage::Intended(order)));
    }

    /// The intent of a task is committed: does it.
    pub fn act(&mut self, task: &Arc<Task>) {
        let Some((target, Stage::Intended(order))) = self.stages.remove(&task.action_id) else { return };
        let (role, counters, of) = (self.role.clone(), self.counters.clone(), task.clone());
        let abort = self.spawn(task.action_id, async move { Report::Ended(role.act(&of, order, &counters).await) });
        self.stages.insert(task.action_id, (target, Stage::Acting(abort)));
    }

    /// The outcome of a task is known; it stays until [`Self::done`].
    pub fn end(&mut self, task: &Task, kind: ActionKind) {
        self.stages.insert(task.action_id, (task.target.clone(), Stage::Ended(kind)));
    }

    /// The outcome of a task that ended, if its commit is still to be made.
    pub fn ended(&self, action: &ActionId) -> Option<&ActionKind> {
        match self.stages.get(action) {
            Some((_, Stage::Ended(kind))) => Some(kind),
            _ => None,
        }
    }

    /// Lets a task go: it is settled, or not ours any more. An effect on its way is not called back by this.
    pub fn done(&mut self, action: &ActionId) {
        if let Some((_, Stage::Looking(abort) | Stage::Acting(abort))) = self.stages.remove(action) {
            abort.abort();
        }
    }

    /// The session with the bus ended: intents that were not committed are none. What is being done goes on.
    pub fn new_session(&mut self) {
        self.stages.retain(|_, (_, stage)| match stage {
            Stage::Looking(abort) => {
                abort.abort();
                false
            }
            Stage::Intended(_) => false,
            Stage::Acting(_) | Stage::Ended(_) => true,
        });
    }

    /// The next report of a task that is still ours, within `timeout`.
    pub fn report(&mut self, timeout: Duration) -> Option<(ActionId, Report<R::Seen>)> {
        loop {
            let (action, report) = self.reports.recv_timeout(timeout).ok()?;
            let report = match (self.stages.get(&action), report) {
                (Some((_, Stage::Looking(_))), Some(report @ Report::Seen(_)))
                | (Some((_, Stage::Acting(_))), Some(report @ Report::Ended(_))) => report,
                // A defect of ours, which must not block the target for ever.
                (Some((_, Stage::Looking(_))), None) => {
                    let reason = "the look broke off".to_owned();
                    Report::Ended(ActionKind::Failed { reason, detail: BTreeMap::new() })
                }
                (Some((_, Stage::Acting(_))), None) => {
                    Report::Ended(ActionKind::Unknown { reason: "the effect broke off".to_owned() })
                }
                // Let go of meanwhile.
                _ => continue,
            };
            return Some((action, report));
        }
    }

    /// Runs something; its end is reported even if it panics.
    fn spawn(&self, action: ActionId, work: impl Future<Output = Report<R::Seen>> + Send + 'static) -> AbortHandle {
        let sender = self.sender.clone();
        let work = self.runtime.spawn(work);
        let abort = work.abort_handle();
        self.runtime.spawn(async move {
            let report = match work.await {
                Ok(report) => Some(report),
                Err(error) if error.is_cancelled() => return,
                Err(error) => {
                    tracing::error!(%action, %error, "an actor's work broke off");
                    None
                }
            };
            // Nobody listens any more: the actor has ended.
            let _ = sender.send((action, report));
        });
        abort
    }
}

impl<R: Role> Drop for Work<R> {
    fn drop(&mut self) {
        for (_, stage) in self.stages.values() {
            if let Stage::Looking(abort) | Stage::Acting(abort) = stage {
                abort.abort();
            }
        }
    }
}
