//! The pipeline proves itself alive: a real processor, a real autoscaler, a pager that watches both, and a receiver of
//! pings. Whatever stops is paged once and cleared when it goes on, and nobody is told meanwhile that all is well.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hms_ops::bus::{Producer, Record};
use hms_ops::codec;
use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::{ActionId, ServiceId};
use tokio::runtime::Runtime;

use crate::actors::{action, incident, opened, requested};
use crate::harness::*;
use crate::rig::fleet::{Fleet, Ops, PARTITIONS, kept_file, ops};

/// Counts pings.
struct Pings {
    url: String,
    count: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Pings {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let take = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            StatusCode::OK
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}/t0ken", listener.local_addr().unwrap());
        let router = Router::new().route("/t0ken", get(take));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, count, _runtime: runtime }
    }

    fn so_far(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

/// A fleet with its processor, its autoscaler and its pager.
struct Pipeline {
    fleet: Fleet,
    pings: Pings,
}

impl Pipeline {
    fn new() -> Self {
        let (fleet, pings) = (Fleet::new("alive"), Pings::start());
        let config = format!(
            "[alive]\nurl = \"{}\"\nevery_seconds = 1\npartition_seconds = 15\nactor_seconds = 30\nactors = [\"{}\"]\n",
            pings.url,
            Self::group(&fleet, "autoscaler")
        );
        std::fs::write(kept_file(&format!("{}ops.toml", fleet.prefix)), config).unwrap();
        Self { fleet, pings }
    }

    fn group(fleet: &Fleet, actor: &str) -> String {
        format!("{}{actor}", fleet.prefix)
    }

    fn act(&self, actor: &str, more: &[&str]) -> Ops {
        let mut command = ops();
        command.args(["act", actor, "--brokers", self.fleet.settings.brokers(), "--topic-prefix", &self.fleet.prefix]);
        command.args(["--group", &Self::group(&self.fleet, actor)]).args(more);
        command.arg("--config").arg(kept_file(&format!("{}ops.toml", self.fleet.prefix)));
        Ops::spawn(command, kept_file(&format!("{}{actor}.log", self.fleet.prefix)))
    }

    /// Appends an event of the service `scanner` to its home.
    fn append(&self, topic: &str, value: &[u8]) {
        let service = ServiceId::new("scanner").unwrap();
        let producer = Producer::new(&self.fleet.settings, 10).unwrap();
        let record = Record { topic, partition: service.home(PARTITIONS), value: Some(value), ..Record::default() };
        producer.send(&record, PATIENCE).unwrap();
        assert!(producer.flush(PATIENCE).is_complete());
    }

    fn wait_for(&self, what: &str, pager: &Ops, mut there: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while !there(&pager.said()) {
            assert!(Instant::now() < deadline, "still waiting for {what}\n{}", pager.said());
            // What a child writes can be waited for, but not with a bound.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// How many blocks of this kind tell of it.
fn blocks(said: &str, title: &str, cause: &str) -> usize {
    let blocks = said.split("\n=====").filter(|block| block.contains(title) && block.contains(cause));
    blocks.count()
}

const CLOCKS: &str = "stands still";
const DEBT: &str = "answers nothing";

/// All lives: pings. The processor and the autoscaler die, a request waits: a page for each partition's clock, one for
/// the autoscaler, and no ping. Both come back: each page is cleared, and the pings go on. A pager that is started again
/// in between repeats nothing.
#[test]
fn what_stands_still_is_paged_once_and_cleared_and_pings_come_only_while_all_moves() {
    let pipeline = Pipeline::new();
    let Pipeline { fleet, pings } = &pipeline;
    let processor = fleet.start("p1");
    let server = ["--server", "http://127.0.0.1:9"];
    let autoscaler = pipeline.act("autoscaler", &server);
    let pager = pipeline.act("pager", &[]);
    pipeline.wait_for("pings", &pager, |_| pings.so_far() >= 2);
    assert_eq!(blocks(&pager.said(), " PAGE ", ""), 0, "{}", pager.said());
    pipeline.wait_for("the autoscaler", &autoscaler, |said| {
        said.matches("starts at the end").count() == PARTITIONS as usize
    });
    autoscaler.stop();
    processor.kill();
    pipeline.append(&fleet.topics.incidents, &codec::incident::encode(&opened(1, false)));
    let mut old = requested(1, 1, "scale_up", &[("compute", "+2")]);
    old.at -= 301_000;
    pipeline.append(&fleet.topics.incidents, &codec::incident::encode(&old));

    let clocks = |said: &str| blocks(said, " PAGE ", CLOCKS);
    pipeline.wait_for("the partitions' pages", &pager, |said| clocks(said) == PARTITIONS as usize);
    let silent_since = pings.so_far();
    pipeline.wait_for("the autoscaler's page", &pager, |said| blocks(said, " PAGE ", DEBT) == 1);
    assert_eq!(pings.so_far(), silent_since, "nobody is told that all is well");
    assert_eq!(clocks(&pager.said()), PARTITIONS as usize);
    let paged_before = pager.said();
    pager.stop();

    // The new one knows what was paged, and clears it when it moves, and no sooner.
    let pager = pipeline.act("pager", &[]);
    pipeline.wait_for("what the new pager restores", &pager, |said| {
        said.matches("restored").count() == PARTITIONS as usize
    });
    let autoscaler = pipeline.act("autoscaler", &server);
    let clears = |said: &str, part: &str| blocks(said, " ALL CLEAR ", &format!("_ops.{part}"));
    pipeline
        .wait_for("the autoscaler's clear", &pager, |said| clears(said, &Pipeline::group(fleet, "autoscaler")) == 1);
    assert_eq!(clears(&pager.said(), "partition"), 0, "they stand: {}", pager.said());
    let processor = fleet.start("p1");
    pipeline.wait_for("the partitions' clears", &pager, |said| clears(said, "partition") == PARTITIONS as usize);
    pipeline.wait_for("pings again", &pager, |_| pings.so_far() >= silent_since + 2);
    assert_eq!(blocks(&pager.said(), " PAGE ", CLOCKS), 0, "paged before: {paged_before}\nand now: {}", pager.said());

    // Bounds that a dry run has come to are for people too, once an incident.
    for (generation, step) in [(8, 1), (8, 2), (9, 1)] {
        let held = ActionEvent {
            action_id: ActionId::of(&incident(generation), step, 1),
            ..action(ActionKind::suppressed("budget_service"), generation, "autoscaler", "scale_up")
        };
        pipeline.append(&fleet.topics.actions, &codec::action::encode(&held));
    }
    let held = |said: &str, incident: &str| blocks(said, "was held back", incident);
    pipeline.wait_for("the page about the last budget", &pager, |said| held(said, "scanner.9") == 1);
    assert_eq!(held(&pager.said(), "scanner.8"), 1);
    pager.stop();
    autoscaler.stop();
    processor.stop();
}
