//! `ops actions`, `ops freeze`, `ops thaw` and what `ops status` says of it, as a user runs them against a real Kafka.

use std::process::Output;
use std::time::{Duration, Instant};

use hms_ops::bus::{Producer, Record};
use hms_ops::codec;
use hms_ops::model::action::{ActionEvent, ActionKind, Effect};
use hms_ops::model::incident::IncidentEvent;
use hms_ops::model::{ActionId, ServiceId};
use serde_json::Value;

use crate::actors::{action, incident, now_ms, opened, requested};
use crate::harness::*;
use crate::rig::fleet::{Fleet, Ops, PARTITIONS, kept_file, ops};

/// The command on the fleet's topics.
fn run(fleet: &Fleet, command: &[&str]) -> Output {
    let mut ops = ops();
    ops.args(command).args(["--brokers", fleet.settings.brokers(), "--topic-prefix", &fleet.prefix]);
    ops.env("USER", "alice").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// One object a line.
fn json(fleet: &Fleet, command: &[&str]) -> Vec<Value> {
    let output = run(fleet, command);
    assert!(output.status.success(), "{output:?}");
    text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Log<'a> {
    fleet: &'a Fleet,
    producer: Producer,
}

impl Log<'_> {
    fn append(&self, topic: &str, service: &ServiceId, value: &[u8]) {
        let key = Some(service.as_str().as_bytes());
        let record =
            Record { topic, partition: service.home(PARTITIONS), key, value: Some(value), ..Record::default() };
        self.producer.send(&record, PATIENCE).unwrap();
        assert!(self.producer.flush(PATIENCE).is_complete());
    }

    fn asked(&self, event: &IncidentEvent) {
        self.append(&self.fleet.topics.incidents, &event.service, &codec::incident::encode(event));
    }

    fn done(&self, event: &ActionEvent) {
        self.append(&self.fleet.topics.actions, &event.service, &codec::action::encode(event));
    }
}

/// A request that is done and helped, one that is held back, one that waits, an old one, and another service's.
#[test]
fn actions_shows_what_was_asked_what_came_of_it_and_what_waits() {
    let fleet = Fleet::new("actions");
    fleet.register("id: scanner\nowner: TSA\nsensors:\n  - name: q\n");
    let log = Log { fleet: &fleet, producer: Producer::new(&fleet.settings, 100).unwrap() };
    for generation in 1..=3 {
        log.asked(&opened(generation, false));
        log.asked(&requested(generation, 1, "scale_up", &[("compute", "+2")]));
    }
    let goal = [("from", "2"), ("to", "4")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    log.done(&action(ActionKind::Started { goal }, 1, "autoscaler", "scale_up"));
    log.done(&action(ActionKind::Done { detail: [].into() }, 1, "autoscaler", "scale_up"));
    let effect = Effect {
        before_n: Some(40),
        before_over: Some(9),
        after_n: Some(41),
        after_over: Some(0),
        basis: "readings".to_owned(),
        ..Effect::default()
    };
    log.done(&action(ActionKind::Verified(effect), 1, "autoscaler", "scale_up"));
    let detail = [("why".to_owned(), "the verb rests".to_owned())].into();
    let held = ActionKind::Suppressed { reason: "cool_down".to_owned(), detail };
    log.done(&action(held, 2, "autoscaler", "scale_up"));
    let mut old = action(ActionKind::suppressed("over"), 4, "autoscaler", "scale_up");
    old.at = now_ms() - 25 * 3_600_000;
    log.done(&old);
    let other = ServiceId::new("other").unwrap();
    log.done(&ActionEvent { service: other.clone(), ..action(ActionKind::suppressed("over"), 5, "pager", "page") });

    let shown = json(&fleet, &["actions", "--service", "scanner", "--json"]);
    let states: Vec<_> = shown.iter().map(|deed| (deed["state"].as_str().unwrap(), deed["effect"].as_str())).collect();
    assert_eq!(states, [("done", Some("verified")), ("suppressed", None), ("waiting", None)], "{shown:#?}");
    assert_eq!(shown[0]["events"].as_array().unwrap().len(), 3);
    assert_eq!((&shown[1]["reason"], &shown[1]["verb"]), (&"cool_down".into(), &"scale_up".into()));
    assert_eq!(shown[2]["action_id"], ActionId::of(&incident(3), 1, 1).to_string());
    assert_eq!(shown[2]["request"]["args"]["compute"], "+2");

    let table = text(&run(&fleet, &["actions", "--since", "2d"]));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    for part in ["scale_up +2", "done, verified", "replicas 2 -> 4; p95 ~ ? -> ?, 9 of 40 over -> 0 of 41"] {
        assert!(table.contains(part), "{part} is missing in\n{table}");
    }
    assert!(table.contains("cool_down: the verb rests"), "{table}");
    assert_eq!(run(&fleet, &["actions", "--service", "scaner"]).status.code(), Some(2));
    assert_eq!(run(&fleet, &["actions", "--since", "soon"]).status.code(), Some(2));
}

/// `freeze freeze --service thaw thaw --service`: what holds is shown, who did it and why, and it stands on the record.
#[test]
fn a_freeze_is_on_the_record_and_shown_until_it_is_thawed() {
    let fleet = Fleet::new("freeze");
    fleet.register("id: scanner\nowner: TSA\nsensors:\n  - name: q\n");
    assert_eq!(run(&fleet, &["freeze", "--service", "scaner"]).status.code(), Some(1));
    assert_eq!(run(&fleet, &["freeze", "--reason", "two\nlines"]).status.code(), Some(2));
    assert_eq!(run(&fleet, &["thaw"]).status.code(), Some(1), "nothing is frozen");
    assert!(json(&fleet, &["actions", "--json"]).is_empty());

    let output = run(&fleet, &["freeze", "--reason", "a deploy"]);
    assert!(output.status.success() && text(&output).contains("by alice: a deploy"), "{output:?}");
    assert!(run(&fleet, &["freeze", "--service", "scanner"]).status.success());
    // Its exit code says unknown: no processor runs here.
    let status: Value = serde_json::from_str(&text(&run(&fleet, &["status", "scanner", "--json"]))).unwrap();
    assert_eq!((&status["frozen"]["reason"], &status["frozen"]["actor"]), (&"a deploy".into(), &"alice".into()));
    let table = text(&run(&fleet, &["actions"]));
    assert!(table.starts_with("FROZEN: all actions, since ") && table.contains("FROZEN: scanner"), "{table}");
    // One record of each, however many partitions hold it.
    let states =
        |shown: Vec<Value>| shown.iter().map(|deed| deed["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(states(json(&fleet, &["actions", "--json"])), ["frozen", "frozen"]);

    let thawed = run(&fleet, &["thaw"]);
    assert!(String::from_utf8_lossy(&thawed.stderr).contains("still: FROZEN: scanner"), "{thawed:?}");
    assert!(run(&fleet, &["thaw", "--service", "scanner"]).status.success());
    let shown = json(&fleet, &["actions", "--service", "scanner", "--json"]);
    assert_eq!(states(shown), ["frozen", "frozen", "thawed", "thawed"]);
    let status = run(&fleet, &["status", "scanner"]);
    assert!(!text(&status).contains("FROZEN"), "{status:?}");
}

/// `--watch` shows what changes, as it does.
#[test]
fn a_watch_shows_each_change() {
    let fleet = Fleet::new("watch");
    let log = Log { fleet: &fleet, producer: Producer::new(&fleet.settings, 100).unwrap() };
    log.asked(&requested(1, 1, "scale_up", &[("compute", "+2")]));
    let mut command = ops();
    command.args([
        "actions",
        "--watch",
        "--json",
        "--brokers",
        fleet.settings.brokers(),
        "--topic-prefix",
        &fleet.prefix,
    ]);
    let mut watch = Ops::spawn(command, kept_file(&format!("{}watch.log", fleet.prefix)));
    let mut states: Vec<String> = Vec::new();
    let mut wait_for = |watch: &mut Ops, state: &str| {
        let deadline = Instant::now() + PATIENCE;
        while states.last().map(String::as_str) != Some(state) {
            assert!(Instant::now() < deadline && watch.is_alive(), "{states:?}\n{}", watch.said());
            let news = watch.news();
            let shown = news.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            states.extend(shown.map(|deed| deed["state"].as_str().unwrap().to_owned()));
            // What a child writes can be waited for, but not with a bound.
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(&mut watch, "waiting");
    log.done(&action(ActionKind::Started { goal: [].into() }, 1, "autoscaler", "scale_up"));
    wait_for(&mut watch, "started");
    log.done(&action(ActionKind::Done { detail: [].into() }, 1, "autoscaler", "scale_up"));
    wait_for(&mut watch, "done");
    assert_eq!(states, ["waiting", "started", "done"]);
}
