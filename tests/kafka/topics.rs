//! `ops topics`: the cluster becomes as the files say, drift is seen, and what must not change does not.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hms_ops::bus::{Admin, Error, Offsets, Producer, Record, Settings, TopicSpec};
use hms_ops::local::kafka::{LocalKafka, Options};
use serde_json::{Value, json};

use crate::harness::*;

fn ops(verb: &str, prefix: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(["topics", verb, "--json", "--prefix", prefix]).args(more);
    command.env("OPS_BROKERS", brokers()).output().unwrap()
}

/// Exit code and the objects on stdout.
fn answer(output: &Output) -> (i32, Vec<Value>) {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    (output.status.code().unwrap(), lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A Kafka as it comes makes a topic for whoever asks for one, with one partition.
#[test]
fn no_client_of_ours_makes_a_topic_by_asking_for_it() {
    let mut options = Options::default();
    options.properties.insert("auto.create.topics.enable".to_owned(), "true".to_owned());
    let kafka = LocalKafka::start(&options).unwrap();
    let settings = Settings::new(kafka.brokers(), "test");
    let admin = Admin::new(&settings).unwrap();
    let spec = TopicSpec { name: "four".to_owned(), partitions: 4, replication: 1, configs: BTreeMap::new() };
    for _ in 0..2 {
        assert!(admin.create_topic(&spec).unwrap());
        assert_eq!(Offsets::new(&settings).unwrap().partitions("four").unwrap(), 4);
        admin.delete_topic("four").unwrap();
    }
    let is_missing = |refused: Result<(), Error>| matches!(refused, Err(Error::NoSuchTopic { .. }));
    let record = Record { topic: "none", value: Some(b"x"), ..Record::default() };
    assert!(is_missing(Producer::new(&settings, 10).unwrap().send(&record, PATIENCE)));
    assert!(is_missing(Offsets::new(&settings).unwrap().partitions("none").map(drop)));
    let made = admin.describe_topics(&["none", "four"]).unwrap();
    assert!(made.values().all(Option::is_none), "{made:?}");
}

/// diff: 8 missing -> apply -> diff: none -> somebody turns a knob -> diff: 1 -> apply -> diff: none.
#[test]
fn apply_makes_the_cluster_as_declared_and_keeps_what_is_not_declared() {
    let prefix = unique("apply.");
    let few = ["--partitions", "2"];
    let (code, missing) = answer(&ops("diff", &prefix, &few));
    assert_eq!((code, missing.len()), (1, 8));
    assert!(missing.iter().all(|found| found["difference"] == "missing"), "{missing:?}");
    assert_eq!(answer(&ops("apply", &prefix, &few)), (0, missing));
    assert_eq!(answer(&ops("diff", &prefix, &few)), (0, vec![]));

    let metrics = format!("{prefix}ops.metrics");
    let admin = Admin::new(&settings()).unwrap();
    let configs = |admin: &Admin| admin.describe_topics(&[&metrics]).unwrap()[&metrics].clone().unwrap().configs;
    let declared = configs(&admin);
    let mut turned = declared.clone();
    turned.insert("retention.ms".to_owned(), "1000".to_owned());
    turned.insert("flush.ms".to_owned(), "77".to_owned());
    admin.set_topic_configs(&metrics, &turned).unwrap();
    // The controller has taken them; when the broker has heard of it nothing tells.
    let until = |wanted: &BTreeMap<String, String>| {
        let deadline = Instant::now() + PATIENCE;
        while configs(&admin) != *wanted {
            assert!(Instant::now() < deadline, "{:?} instead of {wanted:?}", configs(&admin));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&turned);
    let drift = json!({"topic": metrics, "difference": "config", "setting": "retention.ms",
                       "declared": "604800000", "actual": "1000"});
    assert_eq!(answer(&ops("diff", &prefix, &few)), (1, vec![drift.clone()]));
    assert_eq!(answer(&ops("apply", &prefix, &few)), (0, vec![drift]));
    let mut expected = declared;
    expected.insert("flush.ms".to_owned(), "77".to_owned());
    until(&expected);
}

/// A missing topic is not made either: it would have another number of partitions than its siblings.
#[test]
fn another_number_of_partitions_is_refused_with_the_way_out_and_nothing_is_changed() {
    let prefix = unique("refuse.");
    assert_eq!(ops("apply", &prefix, &["--partitions", "2"]).status.code(), Some(0));
    let actions = format!("{prefix}ops.actions");
    let admin = Admin::new(&settings()).unwrap();
    admin.delete_topic(&actions).unwrap();
    let output = ops("apply", &prefix, &["--partitions", "3"]);
    assert_eq!(answer(&output), (1, vec![]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ops.metrics has 2 partitions, declared 3") && said.contains("--partitions 2"), "{said}");
    assert_eq!(said.matches("To move to 3").count(), 1, "{said}");
    assert_eq!(admin.describe_topics(&[&actions]).unwrap(), BTreeMap::from([(actions, None)]));
}
