//! The frame of the actors on a real Kafka: a human's stop, dry run per spec, and whether an action helped.
//!
//! Nothing here sleeps: every step waits for a record.

use hms_ops::bus::{Producer, Record};
use hms_ops::codec;
use hms_ops::model::ServiceId;
use hms_ops::model::action::{ActionEvent, ActionKind, Effect};
use hms_ops::model::incident::IncidentEvent;
use hms_ops::model::state::{PartitionRecord, Rollup, RollupPane};
use hms_ops::model::topics::Topics;
use hms_ops::sdk::freeze;

use crate::actors::{Scaling, Stage, incident, opened, requested, story};
use crate::harness::*;

fn frozen(stage: &Stage, service: Option<&str>) {
    let service = service.map(|id| ServiceId::new(id).unwrap());
    let kind = ActionKind::Frozen { reason: "a deploy".to_owned() };
    freeze::switch(&settings(), &stage.topics, service.as_ref(), "alice", kind).unwrap();
}

fn thawed(stage: &Stage, service: Option<&str>) {
    let service = service.map(|id| ServiceId::new(id).unwrap());
    let kind = ActionKind::Thawed { reason: String::new() };
    freeze::switch(&settings(), &stage.topics, service.as_ref(), "alice", kind).unwrap();
}

/// Incident `generation` opens and sets the replicas to `compute`.
fn scale(generation: u64, compute: &str, more: &[(&str, &str)]) -> [IncidentEvent; 2] {
    let args: Vec<_> = [("compute", compute)].into_iter().chain(more.iter().copied()).collect();
    [opened(generation, false), requested(generation, 1, "scale", &args)]
}

/// What was done for an incident.
fn of(seen: &[ActionEvent], generation: u64) -> Vec<String> {
    let events: Vec<_> = seen.iter().filter(|event| event.incident == incident(generation)).cloned().collect();
    story(&events)
}

/// `frozen` then a request, then a restart and another; `thawed`, and the next is done.
#[test]
fn a_freeze_holds_over_restarts_until_it_is_thawed() {
    let scaling = Scaling::new(Stage::new(2));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let quick = |options: &mut hms_ops::actors::autoscaler::Options| options.guard.cool_down_ms = Some(0);
    frozen(stage, None);
    let actor = scaling.start_with(quick);
    stage.tell(&scale(1, "3", &[]));
    let seen = stage.outcomes(1);
    assert_eq!(of(&seen, 1), ["scale suppressed frozen #1"]);
    let held = seen.iter().find(|event| event.incident == incident(1)).unwrap();
    let ActionKind::Suppressed { detail, .. } = &held.kind else { panic!("{held:?}") };
    assert!(detail["why"].contains("by alice: a deploy"), "{detail:?}");
    actor.stop().unwrap();

    let actor = scaling.start_with(quick);
    stage.tell(&scale(2, "3", &[]));
    assert_eq!(of(&stage.outcomes(2), 2), ["scale suppressed frozen #1"]);
    // All are thawed, this one is not.
    frozen(stage, Some("scanner"));
    thawed(stage, None);
    stage.tell(&scale(3, "3", &[]));
    assert_eq!(of(&stage.outcomes(3), 3), ["scale suppressed frozen #1"]);
    thawed(stage, Some("scanner"));
    stage.tell(&scale(4, "3", &[]));
    assert_eq!(of(&stage.outcomes(4), 4), ["scale started #1", "scale done #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 3)]);
}

/// A group that never was there before knows of a freeze that is older than it.
#[test]
fn a_new_group_is_frozen_too() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    frozen(stage, None);
    let actor = scaling.start();
    // Its first commit says that it has come.
    let mut generation = 0;
    let seen = loop {
        generation += 1;
        stage.tell(&scale(generation, "3", &[]));
        let seen = stage.actions_so_far();
        if seen.iter().any(|event| event.kind.is_outcome()) {
            break seen;
        }
    };
    let outcome = seen.iter().find(|event| event.kind.is_outcome()).unwrap();
    assert_eq!(story(std::slice::from_ref(outcome)), ["scale suppressed frozen #1"]);
    actor.stop().unwrap();
    assert!(scaling.writes().is_empty());
}

/// The spec says `dry_run: true`: what would be done is said with its goal, and the next service's is done.
#[test]
fn a_dry_run_of_a_spec_touches_nothing() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    stage.settled_before(0);
    let actor = scaling.start();
    stage.tell(&scale(1, "5", &[("dry_run", "true")]));
    let seen = stage.outcomes(1);
    assert_eq!(story(&seen), ["scale suppressed dry_run #1"]);
    let ActionKind::Suppressed { detail, .. } = &seen[0].kind else { panic!("{seen:?}") };
    assert_eq!((detail["from"].as_str(), detail["to"].as_str()), ("2", "5"));
    stage.tell(&scale(2, "5", &[]));
    assert_eq!(of(&stage.outcomes(2), 2), ["scale started #1", "scale done #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 5)]);
}

const TERMS: [(&str, &str); 4] =
    [("window_seconds", "4"), ("slo.target", "q"), ("slo.threshold", "30"), ("slo.objective_ppm", "950000")];

/// The processor's part: what it cuts.
struct Cuts<'a> {
    stage: &'a Stage,
    producer: Producer,
}

impl Cuts<'_> {
    fn append(&self, topic: &str, value: &[u8]) {
        let record = Record { topic, value: Some(value), ..Record::default() };
        self.producer.send(&record, PATIENCE).unwrap();
        assert!(self.producer.flush(PATIENCE).is_complete());
    }

    /// Readings of the step that ends at `end`, `over` of them above the threshold; the cut is `number`.
    fn readings(&self, number: i64, end: i64, n: u64, over: u64) {
        let rollup = Rollup {
            service: "scanner".into(),
            sensor: "q".into(),
            cut_position: number,
            cut_clock: end,
            n,
            first_ts: end,
            last_ts: end,
            panes: vec![RollupPane { end, n, over, unrecovered: over }],
            values: vec![if over > 0 { 38.0 } else { 12.0 }],
            ..Rollup::default()
        };
        let mut value = Vec::new();
        codec::state::encode_rollup(&rollup, &mut value);
        self.append(&self.stage.topics.rollups, &value);
    }

    /// The partition's clock at a cut.
    fn clock(&self, number: i64, clock: i64) {
        let record = PartitionRecord { cut_position: number, clock: Some(clock), ..PartitionRecord::default() };
        self.append(&self.stage.topics.state, &codec::state::encode_partition(&record));
    }
}

fn effects(seen: &[ActionEvent]) -> Vec<(u64, &'static str, Effect)> {
    let effect = |event: &ActionEvent| match &event.kind {
        ActionKind::Verified(effect) | ActionKind::Ineffective(effect) => {
            Some((event.incident.generation, event.kind.name(), effect.clone()))
        }
        _ => None,
    };
    seen.iter().filter_map(effect).collect()
}

/// `started done | restart | verified`, `started done ineffective`: one each, from what the processor has cut by the
/// fifth second after the window; after one more restart nothing of it again, and where nothing was read nothing is well.
#[test]
fn whether_an_action_helped_is_said_once_one_window_later() {
    let mut stage = Stage::new(1);
    let topics =
        Topics { rollups: create_topic("rollups", 1), state: create_topic("state", 1), ..stage.topics.clone() };
    stage.topics = topics;
    let scaling = Scaling::new(stage);
    let stage = &scaling.stage;
    let cuts = Cuts { stage, producer: Producer::new(&settings(), 100).unwrap() };
    stage.settled_before(0);
    let quick = |options: &mut hms_ops::actors::autoscaler::Options| options.guard.cool_down_ms = Some(0);
    let actor = scaling.start_with(quick);
    let at = |seen: &[ActionEvent], generation: u64, name: &str| {
        let is_it = |event: &&ActionEvent| event.incident == incident(generation) && event.kind.name() == name;
        seen.iter().find(is_it).map(|event| event.at).unwrap()
    };
    stage.tell(&scale(1, "3", &TERMS));
    let seen = stage.outcomes(1);
    let (started, done) = (at(&seen, 1, "started"), at(&seen, 1, "done"));
    cuts.readings(1, started, 10, 4);
    // Bad while it came into effect, and good in the last quarter.
    cuts.readings(2, done + 1_000, 50, 50);
    cuts.readings(2, done + 3_500, 40, 1);
    actor.stop().unwrap();
    let actor = scaling.start_with(quick);
    // What comes later than five seconds after the window is not waited for, and not counted.
    cuts.clock(2, done + 8_999);
    cuts.clock(3, done + 9_000);
    cuts.readings(4, done + 3_600, 99, 99);
    let seen = stage.actions_until(|seen| !effects(seen).is_empty());
    let expected = Effect {
        before: Some(38.0),
        before_n: Some(10),
        before_over: Some(4),
        after: Some(38.0),
        after_n: Some(40),
        after_over: Some(1),
        basis: "readings".to_owned(),
    };
    assert_eq!(effects(&seen), [(1, "verified", expected)]);
    let verified = seen.iter().find(|event| event.kind.is_effect()).unwrap();
    let of_done = seen.iter().find(|event| event.kind.name() == "done").unwrap();
    assert_eq!(
        (verified.action_id, &verified.verb, &verified.target),
        (of_done.action_id, &of_done.verb, &of_done.target)
    );

    stage.tell(&scale(2, "4", &TERMS));
    let done = at(&stage.outcomes(2), 2, "done");
    cuts.readings(5, done + 3_500, 40, 3);
    cuts.clock(5, done + 9_000);
    let seen = stage.actions_until(|seen| effects(seen).len() == 2);
    assert_eq!(effects(&seen)[1].1, "ineffective");
    actor.stop().unwrap();
    let actor = scaling.start_with(quick);
    // If it said anything again, it would say it long before it says this.
    stage.tell(&scale(3, "5", &TERMS));
    let done = at(&stage.outcomes(3), 3, "done");
    cuts.clock(6, done + 9_000);
    let seen = stage.actions_until(|seen| effects(seen).iter().any(|(generation, ..)| *generation == 3));
    let said: Vec<_> =
        effects(&seen).into_iter().map(|(generation, name, effect)| (generation, name, effect.basis)).collect();
    let readings = || "readings".to_owned();
    let expected =
        [(1, "verified", readings()), (2, "ineffective", readings()), (3, "ineffective", "no_readings".to_owned())];
    assert_eq!(said, expected);
    actor.stop().unwrap();
}
