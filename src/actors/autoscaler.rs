//! The autoscaler: `scale_up`, `scale_down` and `scale`, on Kubernetes. It gathers the facts; [`guard`] decides,
//! [`intent`] says what is left after a crash, and the API server refuses whatever is based on what is no longer so.
//! One window after what it did it looks whether that helped ([`effect`]).
//!
//! Other verbs are not its business, and neither is when to ask: `ops.incidents` says that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::approval;
use super::counters::Counters;
use super::effect::{self, Check};
use super::error::Error;
use super::frame::{self, Actor};
use super::gauge::Gauge;
use super::guard::{self, Request};
use super::intent::{self, Goal, Resume};
use super::ledger::{Incident, Ledger};
use super::reason::Reason;
use super::role::{AskedBy, Decision, EFFECT, Role, Task};
use super::scaling::{BadRequest, Verb};
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::spec::Workload;
use crate::sdk::measure::Measured;
use crate::telemetry::clock::now_ms;
use crate::torture::{self, Sabotage};
use crate::world::kubernetes::{self, Cluster};
use crate::world::scale::{ScaleState, Scaled};
use crate::world::{Hint, WorldError};

/// Pauses between tries of a call that surely did nothing.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long one action is tried before it is given up.
const PATIENCE: Duration = Duration::from_secs(45);
/// How old an intent may get while its target cannot be seen, ms.
const UNSEEN_MS: i64 = 300_000;

/// Between two looks for a cut that is to come: the processor makes one every ten seconds.
const CHECK_AGAIN: Duration = Duration::from_secs(2);
/// Its name on `ops.actions`.
const NAME: &str = "autoscaler";
/// The cause of the SLO's incidents.
const SLO: &str = "slo";

/// The group's name if the user gives none.
pub const GROUP: &str = "ops-autoscaler";

/// What the autoscaler is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// As every actor.
    pub frame: frame::Options,
    /// Which cluster; a workload that names a context is looked for in that context of the same kubeconfig.
    pub clusters: kubernetes::Options,
    /// Budgets, cool-down, age. Its `dry_run` is the frame's.
    pub guard: guard::Settings,
}

/// Starts the autoscaler.
///
/// # Errors
/// As [`Actor::start`].
pub fn start(options: Options) -> Result<Actor, Error> {
    let Options { frame, clusters, mut guard } = options;
    guard.dry_run = frame.dry_run;
    let gauge = Gauge::new(&frame.bus, &frame.topics);
    Actor::start(Autoscaler { clusters: Clusters::new(clusters), guard, gauge }, frame)
}

/// See the module.
struct Autoscaler {
    clusters: Clusters,
    guard: guard::Settings,
    gauge: Gauge,
}

/// What a look showed.
enum Seen {
    /// The workload, of a scaling.
    World(Result<ScaleState, WorldError>),
    /// How the readings were before and after an action, of the check of its effect; `None`: it cannot be said yet.
    Readings(Option<(Measured, Measured)>),
}

/// What is to be done: to whom, what, and whether an earlier write may still have been obeyed.
struct Order {
    workload: Workload,
    goal: Goal,
    doubt: bool,
}

impl Role for Autoscaler {
    const CAN_BE_STOPPED: bool = true;
    const VERBS: &'static [&'static str] = &["scale_up", "scale_down", "scale"];

    type Seen = Seen;
    type Order = Order;

    fn name(&self) -> &'static str {
        NAME
    }

    fn asked(&self, offset: i64, event: &IncidentEvent, _: &Ledger) -> Vec<Task> {
        let EventKind::Requested { incident, verb, args, action_id, .. } = &event.kind else { return Vec::new() };
        if Verb::of(verb).is_none() {
            return Vec::new();
        }
        vec![Task {
            action_id: *action_id,
            incident: incident.clone(),
            verb: verb.to_string(),
            target: target(args),
            at_ms: event.at,
            asked_by: AskedBy::Incident { offset, event: Box::new(event.clone()) },
        }]
    }

    fn asked_by_action(&self, settled: &ActionEvent, ledger: &Ledger) -> Option<Task> {
        let action = ledger.action(&settled.action_id).filter(|_| settled.actor == NAME)?;
        effect::task(settled, action.intent.as_ref().filter(|_| !action.checked)?)
    }

    fn before_looking(&self, task: &Task, ledger: &Ledger, now_ms: i64) -> Option<ActionKind> {
        if task.verb == EFFECT {
            return None;
        }
        let reason = match request(task) {
            // What is for a human needs the goal.
            Ok(request) => self.guarded(task, &request, ledger, now_ms).filter(|reason| !reason.is_for_a_human())?,
            Err(bad) => Reason::BadRequest(bad),
        };
        Some(suppressed(task, &reason))
    }

    fn while_waiting(&self, task: &Task, ledger: &Ledger) -> Option<ActionKind> {
        let is_over = ledger.incident(&task.incident).is_some_and(Incident::is_over);
        let frozen = ledger.frozen(&task.incident.service);
        let reason = guard::withdrawn(&request(task).ok()?, is_over, frozen)?;
        Some(suppressed(task, &reason))
    }

    async fn look(&self, task: &Task) -> Seen {
        match Check::of(task) {
            Some(check) => Seen::Readings(self.measure(check).await),
            None => Seen::World(self.see(task).await),
        }
    }

    fn decide(&self, task: &Task, seen: Seen, ledger: &Ledger, now_ms: i64) -> Decision<Order> {
        let seen = match seen {
            Seen::World(seen) => seen,
            Seen::Readings(readings) => return check(task, readings, ledger, now_ms),
        };
        let request = match request(task) {
            Ok(request) => request,
            Err(bad) => return Decision::Settle(suppressed(task, &Reason::BadRequest(bad))),
        };
        let begun = ledger.intent(&task.action_id);
        if let Some(begun) = begun.filter(|_| !torture::is_without(Sabotage::NoLookBeforeRetry)) {
            let ActionKind::Started { goal } = &begun.kind else { return Decision::Settle(unreadable()) };
            let age_ms = now_ms.saturating_sub(begun.at);
            let decision = self.resume(task, request.call.workload, goal, seen, age_ms);
            // Nothing was done yet, so nothing has to be done that is over or stale by now.
            let again = matches!(decision, Decision::Begin { .. });
            let request = self::request(task).ok().filter(|_| again);
            return match request.and_then(|request| self.guarded(task, &request, ledger, now_ms)) {
                Some(reason) => Decision::Settle(suppressed(task, &reason)),
                None => decision,
            };
        }
        // The wait for a look may have been long.
        if let Some(kind) = self.before_looking(task, ledger, now_ms) {
            return Decision::Settle(kind);
        }
        let world = match seen {
            Ok(world) => world,
            Err(error) => return later_or(&error, || failed(&error)),
        };
        let history = ledger.history(&task.incident, now_ms);
        match guard::decide_scale(&request, &world, &history, now_ms, &self.settings(task, ledger)) {
            guard::Decision::Act(goal) => Decision::Begin {
                goal: with_terms(task, &goal),
                order: Order { workload: request.call.workload, goal, doubt: false },
            },
            guard::Decision::HandOver(goal, reason) => {
                let until_ms = now_ms.saturating_add(self.guard.approval_ms);
                let goal = with_terms(task, &goal);
                Decision::Ask(approval::propose(task, reason.name(), reason.to_string(), goal, until_ms))
            }
            guard::Decision::Suppress(reason) | guard::Decision::Refuse(reason) => {
                Decision::Settle(suppressed(task, &reason))
            }
        }
    }

    fn before_acting(&self, task: &Task, ledger: &Ledger) -> Option<ActionKind> {
        let freeze = ledger.frozen(&task.incident.service)?;
        Some(suppressed(task, &Reason::Frozen(freeze.clone())))
    }

    async fn act(&self, _: &Task, order: Order, _: &Counters) -> ActionKind {
        match self.clusters.of(&order.workload).await {
            Ok(cluster) => carry_out(&cluster, order).await,
            Err(error) => failed(&error),
        }
    }
}

impl Autoscaler {
    /// By what a task is guarded: whoever approved it knew of budgets and age.
    fn settings(&self, task: &Task, ledger: &Ledger) -> guard::Settings {
        if ledger.approval(&task.action_id).is_some() { self.guard.approved() } else { self.guard }
    }

    /// What the guards say that need no look.
    fn guarded(&self, task: &Task, request: &Request, ledger: &Ledger, now_ms: i64) -> Option<Reason> {
        let history = ledger.history(&task.incident, now_ms);
        guard::before_looking(request, &history, now_ms, &self.settings(task, ledger))
    }

    async fn see(&self, task: &Task) -> Result<ScaleState, WorldError> {
        let workload = match request(task) {
            Ok(request) => request.call.workload,
            Err(bad) => return Err(WorldError::Invalid { target: task.target.clone(), reason: bad.to_string() }),
        };
        self.clusters.of(&workload).await?.scale_of(&workload).await
    }

    /// How the readings were before and after, if it is time and the processor has come so far.
    async fn measure(&self, check: Check) -> Option<(Measured, Measured)> {
        let sensor = check.sensor.clone().filter(|_| now_ms() >= check.due_ms() + effect::LATENESS_MS)?;
        let gauge = self.gauge.clone();
        let measured = tokio::task::spawn_blocking(move || gauge.measure(&check, &sensor)).await;
        match measured {
            Ok(Ok(measured)) => measured,
            // It is asked again, and for an hour at most.
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether an action helped cannot be seen");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a look at the readings broke off");
                None
            }
        }
    }

    /// What is left of an intent that was written `age_ms` ago and has no outcome. Guards were asked then.
    fn resume(
        &self,
        task: &Task,
        workload: Workload,
        goal: &BTreeMap<String, String>,
        seen: Result<ScaleState, WorldError>,
        age_ms: i64,
    ) -> Decision<Order> {
        let Some(goal) = Goal::from_map(goal) else { return Decision::Settle(unreadable()) };
        let world = match seen {
            Ok(world) => Some(world),
            Err(WorldError::NotFound { .. }) => None,
            Err(error) => {
                let unknown = || ActionKind::Unknown { reason: format!("after a restart: {error}") };
                if age_ms > UNSEEN_MS {
                    return Decision::Settle(unknown());
                }
                return later_or(&error, unknown);
            }
        };
        match intent::resume(&goal, world.as_ref()) {
            Resume::AlreadyDone => Decision::Settle(done(&goal, &[("found", "after a restart")])),
            Resume::ActAgain(goal) if self.guard.dry_run => Decision::Settle(suppressed(task, &Reason::DryRun(goal))),
            Resume::ActAgain(goal) => {
                Decision::Begin { goal: with_terms(task, &goal), order: Order { workload, goal, doubt: true } }
            }
            Resume::Unknown(lost) => Decision::Settle(ActionKind::Unknown { reason: lost.to_string() }),
        }
    }
}

/// Writes, and looks again wherever the answer leaves a doubt.
async fn carry_out(cluster: &Cluster, order: Order) -> ActionKind {
    let Order { workload, mut goal, mut doubt } = order;
    let (deadline, mut pause) = (Instant::now() + PATIENCE, PAUSES.0);
    loop {
        let write = cluster.set_replicas(&workload, &goal.uid, &goal.resource_version, goal.to).await;
        let error = match write {
            Ok(Scaled { resource_version, .. }) => return done(&goal, &[("resource_version", &resource_version)]),
            Err(error) => error,
        };
        match hint(&error) {
            Hint::Retry { after_ms } if Instant::now() < deadline => {
                sleep(pause.max(Duration::from_millis(after_ms)).min(PATIENCE)).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            Hint::LookFirst if Instant::now() < deadline => {
                doubt |= matches!(error, WorldError::Unknown { .. });
                let world = match look_again(cluster, &workload, deadline).await {
                    Ok(world) => world,
                    Err(unseen) if doubt => return ActionKind::Unknown { reason: format!("{error}; then {unseen}") },
                    Err(unseen) => return failed(&unseen),
                };
                match intent::resume(&goal, world.as_ref()) {
                    Resume::AlreadyDone => return done(&goal, &[("found", "after a write without a clear answer")]),
                    Resume::ActAgain(again) => {
                        goal = again;
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                    Resume::Unknown(lost) if doubt => return ActionKind::Unknown { reason: lost.to_string() },
                    // Every write of ours was refused: whatever it is now, it is not our doing.
                    Resume::Unknown(lost) => {
                        return ActionKind::Failed { reason: lost.to_string(), detail: BTreeMap::new() };
                    }
                }
            }
            _ if doubt => return ActionKind::Unknown { reason: error.to_string() },
            _ => return failed(&error),
        }
    }
}

/// What may be done after an error, where the workload could be seen a moment ago: an API server that has just begun
/// knows no rights yet, and forbids everybody everything.
fn hint(error: &WorldError) -> Hint {
    match error {
        WorldError::Forbidden { .. } => Hint::Retry { after_ms: 0 },
        _ => error.hint(),
    }
}

/// Looks until it is seen; `None`: it is gone.
async fn look_again(
    cluster: &Cluster,
    workload: &Workload,
    deadline: Instant,
) -> Result<Option<ScaleState>, WorldError> {
    let mut pause = PAUSES.0;
    loop {
        match cluster.scale_of(workload).await {
            Ok(world) => return Ok(Some(world)),
            Err(WorldError::NotFound { .. }) => return Ok(None),
            Err(error) if matches!(hint(&error), Hint::GiveUp) || Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Clients by context, made when they are first needed.
struct Clusters {
    options: kubernetes::Options,
    known: Mutex<BTreeMap<Option<String>, Cluster>>,
}

impl Clusters {
    fn new(options: kubernetes::Options) -> Self {
        Self { options, known: Mutex::default() }
    }

    async fn of(&self, workload: &Workload) -> Result<Cluster, WorldError> {
        let mut known = self.known.lock().await;
        if let Some(cluster) = known.get(&workload.context) {
            return Ok(cluster.clone());
        }
        let context = workload.context.clone().or_else(|| self.options.context.clone());
        let cluster = Cluster::connect(&kubernetes::Options { context, ..self.options.clone() }).await?;
        known.insert(workload.context.clone(), cluster.clone());
        Ok(cluster)
    }
}

fn request(task: &Task) -> Result<Request, BadRequest> {
    let event = match &task.asked_by {
        AskedBy::Incident { event, .. } => Request::of(event),
        AskedBy::Action(_) => None,
    };
    event.unwrap_or_else(|| Err(BadRequest { argument: "verb".to_owned(), value: Some(task.verb.clone()) }))
}

/// A goal as it stands on `ops.actions`, with the terms by which its effect will be checked.
fn with_terms(task: &Task, goal: &Goal) -> BTreeMap<String, String> {
    let mut map = goal.to_map();
    if let AskedBy::Incident { event, .. } = &task.asked_by
        && let EventKind::Requested { args, .. } = &event.kind
    {
        map.extend(effect::terms(args));
    }
    map
}

/// Whether an action had its effect; again later, if that cannot be said yet.
fn check(task: &Task, readings: Option<(Measured, Measured)>, ledger: &Ledger, now_ms: i64) -> Decision<Order> {
    let Some(check) = Check::of(task) else { return Decision::Settle(effect::unseen()) };
    let wait_ms = check.due_ms().saturating_add(effect::LATENESS_MS).saturating_sub(now_ms);
    if let Ok(wait_ms @ 1..) = u64::try_from(wait_ms) {
        return Decision::LookAgain { after: Duration::from_millis(wait_ms) };
    }
    let incident = ledger.incident(&task.incident);
    if check.sensor.is_none() || incident.is_some_and(|incident| &*incident.cause != SLO) {
        return Decision::Settle(effect::by_incident(incident.is_some_and(Incident::is_over)));
    }
    match readings {
        Some(readings) => Decision::Settle(effect::by_readings(readings, check.objective_ppm)),
        None if check.is_too_late(now_ms) => Decision::Settle(effect::unseen()),
        None => Decision::LookAgain { after: CHECK_AGAIN },
    }
}

/// What is acted on, for people and as the name of the queue: `context/deployment namespace/name`.
fn target(args: &BTreeMap<String, String>) -> String {
    let part = |name: &str| args.get(name).map_or("", String::as_str);
    let (context, namespace) = (part("workload.context"), part("workload.namespace"));
    let (context, namespace) = match (context, namespace) {
        ("", "") => (String::new(), String::new()),
        ("", namespace) => (String::new(), format!("{namespace}/")),
        (context, "") => (format!("{context}: "), String::new()),
        (context, namespace) => (format!("{context}: "), format!("{namespace}/")),
    };
    format!("{context}{} {namespace}{}", part("workload.kind"), part("workload.name"))
}

/// Waits if the same call may succeed later, else settles.
fn later_or(error: &WorldError, outcome: impl FnOnce() -> ActionKind) -> Decision<Order> {
    match error.hint() {
        Hint::Retry { after_ms } => {
            Decision::LookAgain { after: Duration::from_millis(after_ms).clamp(Duration::from_secs(1), PATIENCE) }
        }
        Hint::LookFirst => Decision::LookAgain { after: Duration::from_secs(1) },
        Hint::GiveUp => Decision::Settle(outcome()),
    }
}

fn suppressed(task: &Task, reason: &Reason) -> ActionKind {
    let (name, action) = (reason.name(), &task.action_id);
    tracing::info!(%action, verb = task.verb, target = task.target, "not carried out, {name}: {reason}");
    ActionKind::Suppressed { reason: name.to_owned(), detail: reason.detail() }
}

fn failed(error: &WorldError) -> ActionKind {
    ActionKind::Failed { reason: error.to_string(), detail: BTreeMap::new() }
}

fn unreadable() -> ActionKind {
    ActionKind::Unknown { reason: "the intent on ops.actions cannot be read".to_owned() }
}

fn done(goal: &Goal, detail: &[(&str, &str)]) -> ActionKind {
    let replicas = [("from", goal.from.to_string()), ("to", goal.to.to_string())];
    let replicas = replicas.into_iter().map(|(name, value)| (name.to_owned(), value));
    let detail = detail.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ActionKind::Done { detail: replicas.chain(detail).collect() }
}
