//! The actors on a real Kafka: what is requested on `ops.incidents` is done once in the world, whatever happens in
//! between, and all of it stands on `ops.actions`.
//!
//! Nothing here sleeps: every step waits for a record.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hms_ops::actors::bookmark::Bookmark;
use hms_ops::actors::{Actor, autoscaler, frame, guard};
use hms_ops::bus::{Isolation, Next, Offsets, Outcome, Producer, Reader, Record, TransactionalProducer};
use hms_ops::codec;
use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::incident::{Basis, EventKind, IncidentEvent, Verdict};
use hms_ops::model::topics::Topics;
use hms_ops::model::{ActionId, IncidentId, ServiceId, SpecHash};
use tokio::runtime::Runtime;

use crate::harness::*;
use crate::kubernetes::{Kubernetes, read};

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The two topics, a group, and a runtime for the world.
pub struct Stage {
    pub topics: Topics,
    pub group: String,
    pub runtime: Runtime,
}

impl Stage {
    pub fn new(partitions: i32) -> Self {
        let topics = Topics {
            incidents: create_topic("incidents", partitions),
            actions: create_topic("actions", partitions),
            ..Topics::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { topics, group: unique("actors"), runtime }
    }

    /// A group that has settled everything before `offset` of partition 0, as if an actor had left it in order.
    pub fn settled_before(&self, offset: i64) {
        let (consumer, mut member) = (join(&self.topics.incidents, &self.group, "a"), Plain::default());
        poll_until(&consumer, &mut member, |_| !consumer.owned().is_empty());
        let mut producer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
        let bookmark = Bookmark {
            writer: producer.transactional_id().to_owned(),
            incidents: 0,
            actions: 0,
            released: true,
            owes: None,
        };
        let places = [crate::harness::offset(&self.topics.incidents, 0, offset, &bookmark.to_string())];
        let outcome = producer.commit(&places, &consumer.group_metadata().unwrap()).unwrap();
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        consumer.close(&mut member).unwrap();
    }

    pub fn options(&self) -> frame::Options {
        frame::Options {
            bus: settings(),
            topics: self.topics.clone(),
            group: self.group.clone(),
            instance: "a".to_owned(),
            dry_run: false,
            runtime: self.runtime.handle().clone(),
        }
    }

    /// Appends events to partition 0 of `ops.incidents`.
    pub fn tell(&self, events: &[IncidentEvent]) {
        let producer = Producer::new(&settings(), 1000).unwrap();
        for event in events {
            let value = codec::incident::encode(event);
            let key = event.service.as_str().as_bytes();
            let record =
                Record { topic: &self.topics.incidents, key: Some(key), value: Some(&value), ..Record::default() };
            producer.send(&record, PATIENCE).unwrap();
        }
        assert!(producer.flush(PATIENCE).is_complete());
    }

    /// Appends an event to partition 0 of `ops.actions`: what an actor wrote before it crashed.
    pub fn was_written(&self, event: &ActionEvent) {
        let producer = Producer::new(&settings(), 1000).unwrap();
        let value = codec::action::encode(event);
        let record = Record { topic: &self.topics.actions, value: Some(&value), ..Record::default() };
        producer.send(&record, PATIENCE).unwrap();
        assert!(producer.flush(PATIENCE).is_complete());
    }

    /// Everything on `ops.actions`, as soon as `enough` says so.
    pub fn actions_until(&self, enough: impl Fn(&[ActionEvent]) -> bool) -> Vec<ActionEvent> {
        let partitions = Offsets::new(&settings()).unwrap().partitions(&self.topics.actions).unwrap();
        let starts = (0..partitions).map(|partition| (partition, 0));
        let mut reader = Reader::open(&settings(), &self.topics.actions, Isolation::Committed, starts).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while !enough(&seen) {
            assert!(Instant::now() < deadline, "still not there after {seen:#?}");
            if let Next::Record(message) = reader.next(Duration::from_millis(100)).unwrap() {
                seen.push(codec::action::decode(message.value().unwrap()).unwrap());
            }
        }
        seen
    }

    /// Everything on `ops.actions` by now.
    pub fn actions_so_far(&self) -> Vec<ActionEvent> {
        let offsets = Offsets::new(&settings()).unwrap();
        let mut reader = Reader::all(&settings(), &offsets, &self.topics.actions, Isolation::Committed).unwrap();
        let mut seen = Vec::new();
        while let Next::Record(message) = reader.next(PATIENCE).unwrap() {
            seen.push(codec::action::decode(message.value().unwrap()).unwrap());
        }
        seen
    }

    /// Everything on `ops.actions`, once `count` of them are outcomes.
    pub fn outcomes(&self, count: usize) -> Vec<ActionEvent> {
        self.actions_until(|seen| seen.iter().filter(|event| event.kind.is_outcome()).count() >= count)
    }
}

/// `verb: started, done, ...`, in order.
pub fn story(events: &[ActionEvent]) -> Vec<String> {
    let tell = |event: &ActionEvent| {
        let detail = match &event.kind {
            ActionKind::Suppressed { reason, .. } => format!(" {reason}"),
            _ => String::new(),
        };
        format!("{} {}{detail} #{}", event.verb, event.kind.name(), event.attempt)
    };
    events.iter().map(tell).collect()
}

pub fn incident(generation: u64) -> IncidentId {
    IncidentId { service: ServiceId::new("scanner").unwrap(), generation }
}

pub fn event(kind: EventKind, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: ServiceId::new("scanner").unwrap(), spec_hash: SpecHash::of(""), at }
}

/// An opening of the SLO's incident; `openings` of the episode that began with incident 1 if it is flapping.
pub fn opened(generation: u64, flapping: bool) -> IncidentEvent {
    let at = now_ms();
    let kind = EventKind::Opened {
        incident: incident(generation),
        cause: Arc::from("slo"),
        episode: incident(if flapping { 1 } else { generation }),
        openings: if flapping { generation as u32 } else { 1 },
        flapping,
        verdict: Some(Verdict {
            threshold: 30.0,
            window_from: at - 300_000,
            window_to: at,
            n: 812,
            over: 50,
            rank: 772,
            p95_estimate: Some(38.2),
        }),
    };
    event(kind, at)
}

pub fn requested(generation: u64, step: u32, verb: &str, args: &[(&str, &str)]) -> IncidentEvent {
    let usual = [("workload.kind", "deployment"), ("workload.name", "scanner"), ("window_seconds", "300")];
    let kind = EventKind::Requested {
        incident: incident(generation),
        step,
        call: 1,
        verb: Arc::from(verb),
        args: usual.iter().chain(args).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        basis: Basis::Opened,
        action_id: ActionId::of(&incident(generation), step, 1),
        fresh: None,
    };
    event(kind, now_ms())
}

pub fn resolved(generation: u64) -> IncidentEvent {
    let at = now_ms();
    let kind = EventKind::Resolved {
        incident: incident(generation),
        cause: Arc::from("slo"),
        opened_at: at - 60_000,
        recovered: None,
    };
    event(kind, at)
}

pub fn scale_up(generation: u64) -> IncidentEvent {
    requested(generation, 1, "scale_up", &[("compute", "+2")])
}

/// A cluster with `scanner` at 2 replicas, real or simulated, and the autoscaler on it.
pub struct Scaling {
    pub cluster: Kubernetes,
    pub stage: Stage,
}

impl Scaling {
    pub fn new(stage: Stage) -> Self {
        Self { cluster: stage.runtime.block_on(Kubernetes::with_scanner(2)), stage }
    }

    pub fn start(&self) -> Actor {
        self.start_with(|_| {})
    }

    pub fn start_with(&self, change: impl FnOnce(&mut autoscaler::Options)) -> Actor {
        let clusters = self.cluster.options().clone();
        let mut options =
            autoscaler::Options { frame: self.stage.options(), clusters, guard: guard::Settings::default() };
        change(&mut options);
        autoscaler::start(options).unwrap()
    }

    /// Replicas before and after each write so far.
    pub fn writes(&self) -> Vec<(u32, u32)> {
        self.stage.runtime.block_on(self.cluster.writes("scanner"))
    }

    /// A person scales.
    pub fn scale_by_hand(&self, replicas: u32) {
        self.stage.runtime.block_on(self.cluster.scale_by_hand("scanner", replicas));
    }

    /// The intent 2 -> 4 of `scale_up` of incident 1, as an actor would have written it just now.
    pub fn intent(&self) -> ActionEvent {
        let state = self.stage.runtime.block_on(async { read(&self.cluster.driver().await).await });
        let goal = [
            ("from", "2".to_owned()),
            ("to", "4".to_owned()),
            ("uid", state.uid),
            ("generation", state.generation.to_string()),
            ("resource_version", state.resource_version),
        ];
        let goal = goal.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        action(ActionKind::Started { goal }, 1, "autoscaler", "scale_up")
    }
}

/// A record of the action of step 1 of an incident.
pub fn action(kind: ActionKind, generation: u64, actor: &str, verb: &str) -> ActionEvent {
    ActionEvent {
        kind,
        action_id: ActionId::of(&incident(generation), 1, 1),
        incident: incident(generation),
        service: incident(generation).service,
        verb: verb.to_owned(),
        actor: actor.to_owned(),
        at: now_ms(),
        target: Some("deployment scanner".to_owned()),
        attempt: 1,
        dry_run: false,
    }
}

/// `opened requested(scale_up +2)`, the request delivered twice, then a restart: one write, 2 -> 4.
#[test]
fn a_request_is_carried_out_once() {
    let scaling = Scaling::new(Stage::new(2));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let actor = scaling.start();
    stage.tell(&[opened(1, false), scale_up(1), scale_up(1)]);
    let seen = stage.outcomes(1);
    assert_eq!(story(&seen), ["scale_up started #1", "scale_up done #1"]);
    let ActionKind::Started { goal } = &seen[0].kind else { panic!("{seen:?}") };
    assert_eq!((goal["from"].as_str(), goal["to"].as_str()), ("2", "4"));
    assert_eq!(seen[0].target.as_deref(), Some("deployment scanner"));
    let counters = actor.counters().clone();
    actor.stop().unwrap();
    assert_eq!((counters.get("started", "scale_up"), counters.get("done", "scale_up")), (1, 1));

    // Another incident after the restart: its cool-down knows of the action before it.
    let actor = scaling.start();
    stage.tell(&[scale_up(1), opened(2, false), scale_up(2)]);
    let seen = stage.outcomes(2);
    assert_eq!(story(&seen)[2..], ["scale_up suppressed cool_down #1"]);
    assert_eq!(seen[2].incident, incident(2));
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// `opened requested | started` and then a crash: the world is untouched, so the same is done, once.
#[test]
fn a_crash_between_intent_and_effect_is_made_up_for() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    stage.was_written(&scaling.intent());
    let actor = scaling.start();
    let seen = stage.outcomes(1);
    assert_eq!(story(&seen), ["scale_up started #1", "scale_up started #2", "scale_up done #2"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// `opened requested | started`, the write, and then a crash: the goal is reached, nothing is done again.
#[test]
fn a_crash_between_effect_and_outcome_does_nothing_again() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    stage.was_written(&scaling.intent());
    scaling.scale_by_hand(4);
    let actor = scaling.start();
    assert_eq!(story(&stage.outcomes(1)), ["scale_up started #1", "scale_up done #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// As before, but somebody else has scaled meanwhile: nobody can tell, and nothing is done.
#[test]
fn a_crash_and_a_rival_leave_an_unknown_outcome() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    stage.was_written(&scaling.intent());
    scaling.scale_by_hand(7);
    let actor = scaling.start();
    assert_eq!(story(&stage.outcomes(1)), ["scale_up started #1", "scale_up unknown #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 7)]);
}

/// What came while nobody was there: incident 1 is over, incident 2 is not, the request of incident 3 is old.
#[test]
fn history_is_read_to_its_end_before_anything_is_done() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let mut old = scale_up(3);
    old.at -= 301_000;
    let other = requested(2, 1, "scale_up", &[("compute", "+1")]);
    stage.tell(&[opened(1, false), scale_up(1), opened(3, false), old, opened(2, false), other, resolved(1)]);
    let actor = scaling.start();
    let seen = stage.outcomes(3);
    let of = |generation| {
        let events: Vec<_> = seen.iter().filter(|event| event.incident == incident(generation)).cloned().collect();
        story(&events)
    };
    assert_eq!(of(1), ["scale_up suppressed over #1"]);
    assert_eq!(of(3), ["scale_up suppressed stale #1"]);
    assert_eq!(of(2), ["scale_up started #1", "scale_up done #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 3)]);
}

/// A group that never was there before leaves everything alone that was requested before it came.
#[test]
fn a_new_group_starts_at_the_end() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.tell(&[opened(1, false), scale_up(1)]);
    let actor = scaling.start();
    // It has come when it answers; until then it is asked again, each time for another incident.
    let mut generation = 1;
    let deadline = Instant::now() + PATIENCE;
    let mut reader = Reader::open(&settings(), &stage.topics.actions, Isolation::Committed, [(0, 0)]).unwrap();
    while !matches!(reader.next(Duration::from_millis(300)).unwrap(), Next::Record(_)) {
        assert!(Instant::now() < deadline, "it never came");
        generation += 1;
        stage.tell(&[opened(generation, false), scale_up(generation)]);
    }
    let seen = stage.outcomes(1);
    assert!(seen.iter().all(|event| event.incident != incident(1)), "{seen:?}");
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// Dry run: what would be done is said, and nothing is done.
#[test]
fn a_dry_run_touches_nothing() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    let actor = scaling.start_with(|options| options.frame.dry_run = true);
    let seen = stage.outcomes(1);
    assert_eq!((story(&seen), seen[0].dry_run), (vec!["scale_up suppressed dry_run #1".to_owned()], true));
    let ActionKind::Suppressed { detail, .. } = &seen[0].kind else { panic!("{seen:?}") };
    assert_eq!((detail["from"].as_str(), detail["to"].as_str()), ("2", "4"), "what it would have done");
    actor.stop().unwrap();
    assert!(scaling.writes().is_empty());
}

/// A second member under the same name takes the place of the first, which ends and says so.
#[test]
fn a_second_actor_of_the_same_name_takes_over() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let first = scaling.start();
    stage.tell(&[opened(1, false), scale_up(1)]);
    stage.outcomes(1);
    let second = scaling.start();
    stage.runtime.block_on(async { tokio::time::timeout(PATIENCE, first.ended()).await.unwrap() });
    assert!(first.stop().is_err(), "it says why it has ended");
    stage.tell(&[opened(2, false), requested(2, 1, "scale", &[("compute", "3")])]);
    assert_eq!(story(&stage.outcomes(2))[2..], ["scale started #1", "scale done #1"]);
    second.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 3)]);
}
