//! What an actor is doing in the world right now: looks and effects on the runtime, one at a time for each target,
//! so that a target that hangs holds up no other. Outlives the sessions with the bus: what was begun is not begun
//! again because the bus was away. Owned by the loop; knows neither the bus nor the ledger.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::counters::Counters;
use super::role::{Role, Task};
use crate::model::ActionId;
use crate::model::action::ActionKind;
use crate::torture::{self, Point};

/// What comes back from the runtime.
pub(super) enum Report<Seen> {
    /// What a look showed.
    Seen(Seen),
    /// How an effect ended.
    Ended(ActionKind),
    /// It was not begun: too long after its intent was committed, another may have taken over by now.
    Lapsed,
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

    /// The intent of a task is committed: does it, unless it is `until` or later by then.
    pub fn act(&mut self, task: &Arc<Task>, until: Instant) {
        let Some((target, Stage::Intended(order))) = self.stages.remove(&task.action_id) else { return };
        let (role, counters, of) = (self.role.clone(), self.counters.clone(), task.clone());
        let abort = self.spawn(task.action_id, async move {
            torture::reached(Point::ActorEffectBegins);
            if Instant::now() >= until {
                return Report::Lapsed;
            }
            Report::Ended(role.act(&of, order, &counters).await)
        });
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
                | (Some((_, Stage::Acting(_))), Some(report @ (Report::Ended(_) | Report::Lapsed))) => report,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::actors::ledger::Ledger;
    use crate::actors::role::{AskedBy, Decision};
    use crate::model::action::ActionEvent;
    use crate::model::incident::IncidentEvent;
    use crate::model::{IncidentId, ServiceId};

    /// Counts its effects.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Role for Counting {
        type Seen = ();
        type Order = ();

        fn name(&self) -> &'static str {
            "counting"
        }

        fn asked(&self, _: i64, _: &IncidentEvent, _: &Ledger) -> Vec<Task> {
            Vec::new()
        }

        fn before_looking(&self, _: &Task, _: &Ledger, _: i64) -> Option<ActionKind> {
            None
        }

        async fn look(&self, _: &Task) {}

        fn decide(&self, _: &Task, (): (), _: &Ledger, _: i64) -> Decision<()> {
            Decision::Begin { goal: BTreeMap::new(), order: () }
        }

        async fn act(&self, _: &Task, (): (), _: &Counters) -> ActionKind {
            self.0.fetch_add(1, Ordering::Relaxed);
            ActionKind::Done { detail: BTreeMap::new() }
        }
    }

    fn task() -> Arc<Task> {
        let incident = IncidentId { service: ServiceId::new("scanner").unwrap(), generation: 1 };
        let asked_by = AskedBy::Action(Box::new(ActionEvent {
            kind: ActionKind::Unknown { reason: String::new() },
            action_id: ActionId::of(&incident, 1, 1),
            incident: incident.clone(),
            service: incident.service.clone(),
            verb: "scale".to_owned(),
            actor: "autoscaler".to_owned(),
            at: 0,
            target: None,
            attempt: 1,
            dry_run: false,
        }));
        Arc::new(Task {
            action_id: ActionId::of(&incident, 2, 1),
            incident,
            verb: "page".to_owned(),
            target: "default".to_owned(),
            at_ms: 0,
            asked_by,
        })
    }

    /// A process that stood still between the commit of its intent and the effect does not know who owns it now.
    #[test]
    fn an_effect_is_not_begun_long_after_its_intent_was_committed() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (role, task) = (Arc::new(Counting::default()), task());
        let mut work = Work::new(role.clone(), Arc::default(), runtime.handle().clone());
        let now = Instant::now();
        for (until, begun) in [(now, 0), (now + Duration::from_secs(3_600), 1)] {
            work.intend(&task, ());
            work.act(&task, until);
            let (action, report) = work.report(Duration::from_secs(60)).unwrap();
            assert_eq!((action, matches!(report, Report::Lapsed)), (task.action_id, begun == 0));
            assert_eq!(role.0.load(Ordering::Relaxed), begun);
            work.done(&action);
        }
    }
}
