//! Autoscalers and pagers as child processes, requests for them, and the world that they act on: the simulated
//! Kubernetes API behind a gate that can hold writes back, and a receiver of pages. And the judge of what they did:
//! INV-8 (one effective write), INV-9 (one alert, cleared at its end), INV-11 (one outcome).
//!
//! Each service has a deployment of its own, so that every write names the action that it belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hms_ops::bus::{Admin, Isolation, Next, Offsets, Producer, Reader, Record};
use hms_ops::codec;
use hms_ops::local::world::{SimulatedCluster, SimulatedDeployment};
use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::incident::{Basis, EventKind, IncidentEvent};
use hms_ops::model::{ActionId, IncidentId, ServiceId, SpecHash};
use hms_ops::torture::{Point, Sabotage};
use hms_ops::world::kubernetes;
use tokio::runtime::Runtime;

use super::cluster::PATIENCE;
use super::fleet::{Fleet, Ops, PARTITIONS, ids, kept_file, now_ms, ops, patient_offsets};
use world::{Gate, Sink};

pub mod channels;
pub mod controls;
pub mod faults;
pub mod months;
pub mod world;

/// Replicas of a deployment before anybody acts, and what is asked for.
pub const REPLICAS: (u32, u32) = (2, 4);
/// The namespace of all deployments.
pub const NAMESPACE: &str = "default";

/// Which actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ops act autoscaler`.
    Autoscaler,
    /// `ops act pager`.
    Pager,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Autoscaler => "autoscaler",
            Self::Pager => "pager",
        }
    }
}

/// How a process differs from a sound one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flaw {
    /// Dies when it reaches this point, for the so manieth time.
    pub dies_at: Option<(Point, u32)>,
    /// Stands still when it reaches this point.
    pub freezes_at: Option<Point>,
    /// Has lost this guard.
    pub without: Option<Sabotage>,
    /// What is handed to a human waits so long, s.
    pub waits_seconds: Option<u32>,
}

/// One kind of actor on topics of its own, and its world.
pub struct Effects {
    /// The topics.
    pub fleet: Fleet,
    /// Whom it is about.
    pub kind: Kind,
    /// The Kubernetes API.
    pub cluster: SimulatedCluster,
    /// Before it.
    pub gate: Gate,
    /// Who gets the pages.
    pub sink: Sink,
    group: String,
    services: Vec<String>,
    asked: Vec<String>,
    producer: Producer,
    logs: Mutex<BTreeSet<PathBuf>>,
    // Last: everything above may run on it.
    _runtime: Runtime,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Actions, each with one outcome.
    pub actions: u64,
    /// Writes and pages that had an effect.
    pub effects: u64,
    /// Pages that were sent again, all of them announced.
    pub repeats: u64,
    /// Actions of which nobody can tell whether they were done.
    pub unknown: u64,
}

impl Effects {
    /// Nothing is asked yet.
    pub fn new(name: &str, kind: Kind) -> Self {
        let fleet = Fleet::new(name);
        // Of one partition: whoever owns it owns all that is asked.
        let services: Vec<_> = ids("svc", 40).into_iter().take(40).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let deployment = |name: &String| SimulatedDeployment {
            namespace: NAMESPACE.to_owned(),
            name: name.clone(),
            replicas: REPLICAS.0,
        };
        let deployments = services.iter().map(deployment).collect();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (cluster, gate, sink) = runtime.block_on(async {
            let cluster = SimulatedCluster::start(any, Duration::from_millis(10), deployments).await.unwrap();
            let gate = Gate::start(cluster.url()).await;
            (cluster, gate, Sink::start().await)
        });
        let config = format!(
            "[channels.sink]\nkind = \"webhook\"\nurl = \"{}\"\n\n[autoscaler]\nserver = \"{}\"\n",
            sink.url, gate.url
        );
        std::fs::write(kept_file(&format!("{}ops.toml", fleet.prefix)), config).unwrap();
        let (group, producer) =
            (format!("{}{}", fleet.prefix, kind.name()), Producer::new(&fleet.settings, 100).unwrap());
        let (asked, logs) = (Vec::new(), Mutex::default());
        Self { fleet, kind, cluster, gate, sink, group, services, asked, producer, logs, _runtime: runtime }
    }

    /// Starts an actor.
    pub fn start(&self, instance: &str, flaw: Flaw) -> Ops {
        let mut command = ops();
        command.args(["act", self.kind.name(), "--brokers", self.fleet.settings.brokers()]);
        command.args(["--topic-prefix", &self.fleet.prefix, "--group", &self.group, "--instance", instance]);
        command.arg("--config").arg(kept_file(&format!("{}ops.toml", self.fleet.prefix)));
        command.envs(flaw.dies_at.map(|(point, times)| ("OPS_CRASH_AT", format!("{}:{times}", point.name()))));
        command.envs(flaw.freezes_at.map(|point| ("OPS_FREEZE_AT", point.name())));
        command.envs(flaw.waits_seconds.map(|seconds| ("OPS_APPROVAL_SECONDS", seconds.to_string())));
        command.envs(flaw.without.map(|guard| ("OPS_SABOTAGE", guard.name())));
        let log = kept_file(&format!("{}{instance}.log", self.fleet.prefix));
        self.logs.lock().unwrap().insert(log.clone());
        Ops::spawn(command, log)
    }

    /// The incident of a service has had the three actions of its budget, an hour ago.
    pub fn had_its_actions(&self, service: &str) {
        for step in 2..=4 {
            let event = |kind| ActionEvent {
                kind,
                action_id: ActionId::of(&incident(service), step, 1),
                incident: incident(service),
                service: ServiceId::new(service).unwrap(),
                verb: "scale_up".to_owned(),
                actor: self.kind.name().to_owned(),
                at: now_ms() - 3_600_000,
                target: Some(format!("deployment {service}")),
                attempt: 1,
                dry_run: false,
            };
            let goal = BTreeMap::from([("from".to_owned(), "1".to_owned()), ("to".to_owned(), "2".to_owned())]);
            for event in [event(ActionKind::Started { goal }), event(ActionKind::Done { detail: BTreeMap::new() })] {
                let (value, partition) = (codec::action::encode(&event), event.service.home(PARTITIONS));
                let topic = &self.fleet.topics.actions;
                self.producer
                    .send(&Record { topic, partition, value: Some(&value), ..Record::default() }, PATIENCE)
                    .unwrap();
            }
        }
        assert!(self.producer.flush(PATIENCE).is_complete());
    }

    /// Waits until the group has a place in every partition: what is asked from then on is its business.
    pub fn wait_until_settled(&self) -> Result<(), String> {
        let admin = Admin::new(&self.fleet.settings).unwrap();
        let settled = || {
            let offsets = patient_offsets(&admin, &self.group, &self.fleet.topics.incidents);
            offsets.iter().all(|found| found.offset.is_some())
        };
        self.wait_for("the group's first commit", settled)
    }

    /// Looks until it is so; for what nothing tells of.
    pub fn wait_for(&self, what: &str, mut there: impl FnMut() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !there() {
            if Instant::now() >= deadline {
                return Err(format!("still waiting for {what}\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// An incident of a service that none was asked for yet opens and asks for this actor. Says which service.
    pub fn ask(&mut self) -> String {
        let service = self.services[self.asked.len()].clone();
        self.asked.push(service.clone());
        let opened = EventKind::Opened {
            incident: incident(&service),
            cause: Arc::from("slo"),
            episode: incident(&service),
            openings: 1,
            flapping: false,
            verdict: None,
        };
        let (verb, args): (_, &[_]) = match self.kind {
            Kind::Autoscaler => ("scale_up", &[("compute", "+2"), ("workload.name", service.as_str())]),
            Kind::Pager => ("page", &[("channel", "sink"), ("workload.name", service.as_str())]),
        };
        let usual = [("workload.kind", "deployment"), ("window_seconds", "300")];
        let requested = EventKind::Requested {
            incident: incident(&service),
            step: 1,
            call: 1,
            verb: Arc::from(verb),
            args: usual.iter().chain(args).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            basis: Basis::Opened,
            action_id: action(&service),
            fresh: None,
        };
        self.tell(&service, opened);
        self.tell(&service, requested);
        service
    }

    /// Those that can ask.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// From now on autoscalers are started for this cluster, with deployments named as the services that ask. What they
    /// do there is not judged here.
    pub fn act_on(&self, cluster: &kubernetes::Options) {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (key, value) = match (&cluster.server, text(&cluster.kubeconfig)) {
            (Some(server), _) => ("server", server.clone()),
            (None, kubeconfig) => ("kubeconfig", kubeconfig.unwrap_or_default()),
        };
        let config = format!("[autoscaler]\n{key} = {value:?}\n");
        std::fs::write(kept_file(&format!("{}ops.toml", self.fleet.prefix)), config).unwrap();
    }

    /// Incident `generation` of a service opens and asks for this actor. Says which service.
    pub fn ask_of_generation(&self, generation: u64) -> String {
        let service = self.services[1].clone();
        let incident = IncidentId { service: ServiceId::new(&service).unwrap(), generation };
        self.tell_all(&[months::asked(self.kind, &incident, now_ms())]);
        service
    }

    /// Its incident is over.
    pub fn resolve(&self, service: &str) {
        let (incident, cause) = (incident(service), Arc::from("slo"));
        self.tell(service, EventKind::Resolved { incident, cause, opened_at: now_ms() - 1_000, recovered: None });
    }

    fn tell(&self, service: &str, kind: EventKind) {
        let service = ServiceId::new(service).unwrap();
        self.tell_all(&[IncidentEvent { kind, service, spec_hash: SpecHash::of(""), at: now_ms() }]);
    }

    /// Appends events to `ops.incidents`, each to its home.
    pub fn tell_all(&self, events: &[IncidentEvent]) {
        let topic = &self.fleet.topics.incidents;
        for event in events {
            let (value, service) = (codec::incident::encode(event), &event.service);
            let (key, partition) = (Some(service.as_str().as_bytes()), service.home(PARTITIONS));
            let record = Record { topic, partition, key, value: Some(&value), ..Record::default() };
            self.producer.send(&record, PATIENCE).unwrap();
        }
        assert!(self.producer.flush(PATIENCE).is_complete());
    }

    /// Waits until an action has an outcome.
    pub fn wait_for_outcome(&self, id: ActionId) -> Result<(), String> {
        let done = || self.actions().iter().any(|event| event.action_id == id && event.kind.is_outcome());
        self.wait_for(&format!("the outcome of {id}"), done)
    }

    /// Waits until what a service asked for has its outcome.
    pub fn wait_until_done(&self, service: &str) -> Result<(), String> {
        self.wait_for_outcome(action(service))
    }

    /// Waits until an intent of an action is committed, the `attempt`-th.
    pub fn wait_until_intended(&self, service: &str, attempt: u32) -> Result<(), String> {
        let intended = |event: &ActionEvent| event.action_id == action(service) && event.attempt == attempt;
        self.wait_for("an intent", || self.actions().iter().any(intended))
    }

    /// Ends everything that was asked, waits for the outcomes, and judges.
    pub fn finish(&self) -> Result<Judged, String> {
        for service in &self.asked {
            self.wait_until_done(service)?;
        }
        if self.kind == Kind::Pager {
            self.asked.iter().for_each(|service| self.resolve(service));
            for service in &self.asked {
                self.wait_for_outcome(clear(service))?;
            }
        }
        self.judge()
    }

    /// Judges what was done. Everything that was asked has its outcome.
    pub fn judge(&self) -> Result<Judged, String> {
        let mut judged = Judged::default();
        let mut actions: BTreeMap<ActionId, Vec<ActionEvent>> = BTreeMap::new();
        // A human's hand is no action.
        for event in self.actions().into_iter().filter(|event| !event.kind.is_switch()) {
            actions.entry(event.action_id).or_default().push(event);
        }
        for (id, events) in &actions {
            let outcomes: Vec<_> = events.iter().filter(|event| event.kind.is_outcome()).collect();
            if outcomes.len() != 1 {
                return Err(format!("{id} has {} outcomes: {events:#?}", outcomes.len()));
            }
            judge_approval(events).map_err(|what| format!("{id} {what}: {events:#?}"))?;
            judged.actions += 1;
            judged.unknown += u64::from(matches!(outcomes[0].kind, ActionKind::Unknown { .. }));
        }
        for service in &self.asked {
            let Some(events) = actions.get(&action(service)) else { return Err(format!("{service} was forgotten")) };
            let outcome = &events.iter().find(|event| event.kind.is_outcome()).unwrap().kind;
            match self.kind {
                Kind::Autoscaler => judged.effects += self.judge_scaling(service, outcome)?,
                Kind::Pager => {
                    let (sent, repeats) = self.judge_alert(service, outcome)?;
                    judged.effects += sent;
                    judged.repeats += repeats;
                }
            }
        }
        Ok(judged)
    }

    /// INV-8: at most one write of ours had an effect; as many as the outcome says.
    fn judge_scaling(&self, service: &str, outcome: &ActionKind) -> Result<u64, String> {
        let writes: Vec<_> = self.cluster.writes().into_iter().filter(|write| write.name == service).collect();
        let ours = writes.iter().filter(|write| write.user_agent != "by hand").count() as u64;
        let fits = match outcome {
            ActionKind::Done { .. } => ours == 1,
            ActionKind::Unknown { .. } => ours <= 1,
            _ => ours == 0,
        };
        // Whoever wrote last has his way, and a write of ours asks for what was intended.
        let (model, found) =
            (writes.last().map_or(REPLICAS.0, |write| write.to), self.cluster.replicas(NAMESPACE, service));
        let intended = writes.iter().filter(|write| write.user_agent != "by hand");
        let intended = intended.into_iter().all(|write| (write.from, write.to) == REPLICAS);
        if !fits || found != Some(model) || !intended {
            return Err(format!(
                "{service} ended with {outcome:?}, has {found:?} replicas, and the writes are {writes:?}"
            ));
        }
        Ok(ours)
    }

    /// INV-9: one alert, repeats announced, and what came last is its end (if it was resolved).
    fn judge_alert(&self, service: &str, outcome: &ActionKind) -> Result<(u64, u64), String> {
        let posts = self.sink.of(&incident(service).to_string());
        let keys: BTreeSet<_> = posts.iter().map(|post| (post.kind.as_str(), post.key.as_str())).collect();
        let wanted = [("clear", clear(service).to_string()), ("page", action(service).to_string())];
        let wrong =
            keys.iter().find(|(kind, key)| !wanted.iter().any(|wanted| (wanted.0, wanted.1.as_str()) == (*kind, *key)));
        let paged = posts.iter().any(|post| post.kind == "page");
        if wrong.is_some() || (matches!(outcome, ActionKind::Done { .. }) && !paged) {
            return Err(format!("{service} ended with {outcome:?}, and was paged {posts:?}"));
        }
        if posts.last().is_some_and(|last| last.kind != "clear") {
            return Err(format!("{service} is over and its alert is open: {posts:?}"));
        }
        let mut repeats = 0;
        for (_, key) in &keys {
            let sent = posts.iter().filter(|post| post.key == *key).count() as u64;
            let announced = self.announced(key);
            if sent > 1 + announced {
                return Err(format!("{service} was paged {sent} times, {announced} repeats were announced: {posts:?}"));
            }
            repeats += sent - 1;
        }
        Ok((keys.len() as u64, repeats))
    }

    /// How often the pagers said that a page may be sent twice.
    fn announced(&self, key: &str) -> u64 {
        let repeat = |line: &&str| line.contains("may be sent twice") && line.contains(key);
        self.said().lines().filter(repeat).count() as u64
    }

    /// All that the processes said.
    pub fn said(&self) -> String {
        let logs = self.logs.lock().unwrap();
        logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// Everything that is committed on `ops.actions`.
    pub fn actions(&self) -> Vec<ActionEvent> {
        let (settings, topic) = (&self.fleet.settings, &self.fleet.topics.actions);
        let starts = (0..PARTITIONS).map(|partition| (partition, 0));
        let reader = Reader::open(settings, topic, Isolation::Committed, starts).unwrap();
        let mut reader = reader.until_now(&Offsets::new(settings).unwrap()).unwrap();
        let mut events = Vec::new();
        loop {
            match reader.next(PATIENCE).unwrap() {
                Next::Record(message) => events.push(codec::action::decode(message.value().unwrap()).unwrap()),
                Next::End => return events,
                Next::Idle => panic!("{topic} has no end"),
            }
        }
    }
}

/// INV-13: what was handed to a human was begun only after their yes to just that, and what was refused never.
fn judge_approval(events: &[ActionEvent]) -> Result<(), &'static str> {
    let Some(asked) = events.iter().position(|event| event.proposal().is_some()) else { return Ok(()) };
    let is_begun = |event: &ActionEvent| matches!(event.kind, ActionKind::Started { .. });
    let Some(begun) = events.iter().position(is_begun) else { return Ok(()) };
    let mut words = events[asked.min(begun)..begun].iter().filter(|event| event.is_word_on(&events[asked]));
    match words.next().map(|word| &word.kind) {
        Some(ActionKind::Approved(_)) => Ok(()),
        Some(_) => Err("was begun although it was refused"),
        None => Err("was begun although nobody approved it"),
    }
}

/// The one incident of a service.
pub fn incident(service: &str) -> IncidentId {
    IncidentId { service: ServiceId::new(service).unwrap(), generation: 1 }
}

/// What it asks for.
pub fn action(service: &str) -> ActionId {
    ActionId::of(&incident(service), 1, 1)
}

/// What ends its alert.
pub fn clear(service: &str) -> ActionId {
    ActionId::follow_up(&incident(service), "resolved", "sink")
}
