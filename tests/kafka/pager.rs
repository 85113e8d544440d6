//! The pager on a real Kafka: who is told what, when it is cleared, and what a crash or a deaf receiver changes.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use hms_ops::actors::channel::{Channel, Channels, Console};
use hms_ops::actors::{Actor, pager};
use hms_ops::model::ActionId;
use hms_ops::model::action::{ActionEvent, ActionKind, Proposal};
use hms_ops::model::incident::{CloseReason, EventKind};
use hms_ops::world::webhook::Webhook;
use serde_json::Value;

use crate::actors::{Stage, action, event, incident, now_ms, opened, requested, resolved, story};
use crate::harness::*;

/// A receiver of webhooks: its url, and what it got: the key and the body.
struct Twin {
    url: String,
    got: Receiver<(String, Value)>,
}

impl Twin {
    /// Answers with `answers` in turn, then with 204.
    fn start(stage: &Stage, answers: &[u16]) -> Self {
        let (sender, got) = channel();
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let sender: Arc<Mutex<Sender<_>>> = Arc::new(Mutex::new(sender));
        let handler = move |headers: HeaderMap, Json(body): Json<Value>| async move {
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            sender.lock().unwrap().send((key, body)).unwrap();
            let mut answers = answers.lock().unwrap();
            let status = if answers.is_empty() { 204 } else { answers.remove(0) };
            StatusCode::from_u16(status).unwrap()
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = stage.runtime.block_on(tokio::net::TcpListener::bind(any)).unwrap();
        let url = format!("http://{}/page", listener.local_addr().unwrap());
        let router = Router::new().route("/page", post(handler));
        stage.runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, got }
    }

    fn next(&self) -> (String, Value) {
        self.got.recv_timeout(PATIENCE).expect("no page came")
    }

    fn is_silent(&self) -> bool {
        self.got.try_recv().is_err()
    }
}

/// What was printed.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pager with `tsa_ops` at the twin, if there is one.
fn start(stage: &Stage, twin: Option<&Twin>) -> (Actor, Printed) {
    start_as(stage, twin, "a")
}

fn start_as(stage: &Stage, twin: Option<&Twin>, instance: &str) -> (Actor, Printed) {
    let printed = Printed::default();
    let webhook = twin.map(|twin| Channel::Webhook(Webhook::new(&twin.url, &BTreeMap::new()).unwrap()));
    let by_name = webhook.map(|webhook| ("tsa_ops".to_owned(), webhook)).into_iter().collect();
    let channels = Channels::new(by_name, Console::new(printed.clone()));
    let frame = hms_ops::actors::frame::Options { instance: instance.to_owned(), ..stage.options() };
    (pager::start(pager::Options { frame, channels, link: None }).unwrap(), printed)
}

fn page(generation: u64, channel: &str) -> hms_ops::model::incident::IncidentEvent {
    requested(generation, 2, "page", &[("channel", channel), ("severity", "critical"), ("attr.pod", "p-7")])
}

fn page_id(generation: u64) -> String {
    ActionId::of(&incident(generation), 2, 1).to_string()
}

/// `opened requested(page) requested(page) ... resolved`: one page with all that a human needs, one clear of the
/// same alert; after a restart, nothing more.
#[test]
fn a_page_is_sent_once_and_cleared_when_it_is_over() {
    let stage = Stage::new(2);
    let twin = Twin::start(&stage, &[]);
    stage.settled_before(0);
    let (actor, printed) = start(&stage, Some(&twin));
    stage.was_written(&action(
        ActionKind::Done { detail: [("to".into(), "4".into())].into() },
        1,
        "autoscaler",
        "scale_up",
    ));
    stage.tell(&[opened(1, false), page(1, "tsa_ops"), page(1, "tsa_ops")]);
    let (key, body) = twin.next();
    assert_eq!(key, page_id(1));
    assert_eq!((&body["kind"], &body["action_id"]), (&"page".into(), &key.clone().into()));
    for (name, value) in [
        ("dedup_key", "scanner.1"),
        ("service", "scanner"),
        ("incident", "scanner.1"),
        ("cause", "slo"),
        ("severity", "critical"),
        ("channel", "tsa_ops"),
    ] {
        assert_eq!(body[name], value, "{body}");
    }
    assert_eq!((&body["opened_by"]["over"], &body["opened_by"]["n"]), (&50.into(), &812.into()));
    assert_eq!(body["attributes"]["pod"], "p-7");

    stage.outcomes(2);
    stage.tell(&[resolved(1)]);
    let (key, clear) = twin.next();
    assert_eq!((&clear["kind"], &clear["dedup_key"]), (&"clear".into(), &"scanner.1".into()));
    assert_eq!(key, ActionId::follow_up(&incident(1), "resolved", "tsa_ops").to_string());
    let tried: Vec<_> = clear["tried"].as_array().unwrap().iter().map(|tried| &tried["verb"]).collect();
    assert!(tried.contains(&&"scale_up".into()) && tried.contains(&&"page".into()), "{clear}");
    stage.outcomes(3);
    actor.stop().unwrap();

    let (actor, _) = start(&stage, Some(&twin));
    stage.tell(&[opened(2, false), page(2, "tsa_ops")]);
    assert_eq!(twin.next().0, page_id(2), "the first after the restart");
    let seen = stage.outcomes(4);
    assert_eq!(
        story(&seen)[1..],
        ["page started #1", "page done #1", "clear started #1", "clear done #1", "page started #1", "page done #1"]
    );
    actor.stop().unwrap();
    assert!(printed.text().is_empty() && twin.is_silent());
}

/// A channel that nobody configured, and none at all: the console, which says so.
#[test]
fn a_page_to_nobody_is_shown_on_the_console() {
    let stage = Stage::new(1);
    stage.settled_before(0);
    let (actor, printed) = start(&stage, None);
    stage.tell(&[opened(1, false), page(1, "CIGIE"), requested(1, 3, "page", &[])]);
    stage.outcomes(2);
    let text = printed.text();
    for part in [
        "PAGE CIGIE (critical)",
        "channel \"CIGIE\" is not configured",
        "PAGE default",
        "service   scanner   incident scanner.1",
        "50 of 812 readings over 30 in 5 min, p95 about 38.2",
        "pod = p-7",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text.matches("is not configured").count(), 1, "the default needs no configuration: {text}");
    actor.stop().unwrap();
}

/// A page that may have gone out before a crash goes out again, with its key, and the repeat is counted. One whose
/// incident is over by now does not; its alert is cleared. One that was never begun is suppressed.
#[test]
fn after_a_crash_what_is_open_is_paged_again_and_what_is_over_is_cleared() {
    let stage = Stage::new(1);
    let twin = Twin::start(&stage, &[]);
    stage.settled_before(0);
    let mut begun = action(ActionKind::Started { goal: BTreeMap::new() }, 1, "pager", "page");
    for generation in [1, 2] {
        let goal =
            [("channel".to_owned(), "tsa_ops".to_owned()), ("episode".to_owned(), format!("scanner.{generation}"))];
        begun.kind = ActionKind::Started { goal: goal.into() };
        begun.action_id = ActionId::of(&incident(generation), 2, 1);
        begun.incident = incident(generation);
        begun.target = Some("tsa_ops".to_owned());
        stage.was_written(&begun);
    }
    stage.tell(&[opened(1, false), page(1, "tsa_ops"), opened(2, false), page(2, "tsa_ops"), resolved(2)]);
    stage.tell(&[opened(3, false), page(3, "tsa_ops"), resolved(3)]);
    let (actor, _) = start(&stage, Some(&twin));
    let (key, body) = twin.next();
    assert_eq!((key, &body["attempt"]), (page_id(1), &2.into()));
    assert_eq!(twin.next().1["kind"], "clear");
    let seen = stage.outcomes(4);
    let of = |generation| {
        let events: Vec<_> = seen.iter().filter(|event| event.incident == incident(generation)).cloned().collect();
        story(&events)
    };
    assert_eq!(of(1), ["page started #1", "page started #2", "page done #2"]);
    assert_eq!(of(2), ["page started #1", "page unknown #1", "clear started #1", "clear done #1"]);
    assert_eq!(of(3), ["page suppressed over #1"]);
    assert_eq!(actor.counters().get("repeat", "page"), 1);
    actor.stop().unwrap();
    assert!(twin.is_silent());
}

/// `opened(3rd of its episode, flapping) requested(page) resolved`: no clear before `episode_ended`.
#[test]
fn a_flapping_alert_is_cleared_at_the_end_of_its_episode() {
    let stage = Stage::new(1);
    let twin = Twin::start(&stage, &[]);
    stage.settled_before(0);
    let (actor, _) = start(&stage, Some(&twin));
    stage.tell(&[opened(3, true), page(3, "tsa_ops")]);
    assert_eq!(twin.next().1["dedup_key"], "scanner.1");
    stage.tell(&[resolved(3), opened(4, true), page(4, "tsa_ops")]);
    let (key, body) = twin.next();
    assert_eq!((key, &body["flapping_openings"]), (page_id(4), &4.into()), "no clear in between");
    let ended = EventKind::EpisodeEnded { episode: incident(1), openings: 4 };
    stage.tell(&[resolved(4), event(ended, 0)]);
    let (key, clear) = twin.next();
    assert_eq!(key, ActionId::follow_up(&incident(1), "episode_ended", "tsa_ops").to_string());
    assert_eq!((&clear["kind"], &clear["dedup_key"]), (&"clear".into(), &"scanner.1".into()));
    stage.outcomes(3);
    actor.stop().unwrap();
    assert!(twin.is_silent(), "one alert, one clear");
}

/// A spec that goes away takes its alerts with it.
#[test]
fn a_close_clears_too() {
    let stage = Stage::new(1);
    let twin = Twin::start(&stage, &[]);
    stage.settled_before(0);
    let (actor, _) = start(&stage, Some(&twin));
    stage.tell(&[opened(1, false), page(1, "tsa_ops")]);
    twin.next();
    let closed = EventKind::Closed {
        incident: incident(1),
        cause: Arc::from("slo"),
        opened_at: 0,
        reason: CloseReason::Unregistered,
    };
    stage.tell(&[event(closed, 0)]);
    assert_eq!(twin.next().0, ActionId::follow_up(&incident(1), "closed", "tsa_ops").to_string());
    actor.stop().unwrap();
}

/// A receiver that answers 503, then 500 (which may have taken it), then takes it: one action, the same key each
/// time, one possible repeat. One that refuses for good: the page is shown on the console.
#[test]
fn a_receiver_that_refuses_is_tried_again_and_the_console_is_the_last_resort() {
    let stage = Stage::new(1);
    let twin = Twin::start(&stage, &[503, 500, 204, 400]);
    stage.settled_before(0);
    let (actor, printed) = start(&stage, Some(&twin));
    stage.tell(&[opened(1, false), page(1, "tsa_ops")]);
    let keys: Vec<_> = (0..3).map(|_| twin.next().0).collect();
    assert_eq!(keys, vec![page_id(1); 3]);
    stage.tell(&[opened(2, false), page(2, "tsa_ops")]);
    let seen = stage.outcomes(2);
    assert_eq!(story(&seen), ["page started #1", "page done #1", "page started #1", "page failed #1"]);
    assert_eq!(actor.counters().get("repeat", "page"), 1);
    assert!(printed.text().contains("not delivered to tsa_ops"), "{}", printed.text());
    // A page that never got there leaves no alert.
    stage.tell(&[resolved(2), opened(3, false), page(3, "tsa_ops")]);
    twin.next();
    assert_eq!(twin.next().0, page_id(3));
    actor.stop().unwrap();
}

/// Another actor does not know what became of its action: a human is paged, once, also over a restart.
#[test]
fn an_unknown_outcome_pages_a_human() {
    let stage = Stage::new(1);
    stage.settled_before(0);
    let (actor, printed) = start(&stage, None);
    stage.tell(&[opened(1, false)]);
    let unknown =
        action(ActionKind::Unknown { reason: "the workload is gone".to_owned() }, 1, "autoscaler", "scale_up");
    stage.was_written(&unknown);
    let seen = stage.outcomes(2);
    assert_eq!(story(&seen), ["scale_up unknown #1", "page started #1", "page done #1"]);
    assert!(
        printed.text().contains("nobody can tell whether scale_up deployment scanner was done"),
        "{}",
        printed.text()
    );
    actor.stop().unwrap();
    let (actor, again) = start(&stage, None);
    stage.tell(&[opened(2, false), page(2, "default")]);
    stage.outcomes(3);
    actor.stop().unwrap();
    assert_eq!(again.text().matches("nobody can tell").count(), 0, "{}", again.text());
}

/// `awaiting`, and one that was answered before anybody could be paged: one page, with how to answer, also over a restart.
#[test]
fn what_waits_for_a_human_is_paged_once_with_how_to_answer() {
    let stage = Stage::new(1);
    stage.settled_before(0);
    let asked = |generation| {
        let id = ActionId::of(&incident(generation), 1, 1);
        let hash = Proposal::hash_of(&id, "scale_up", "deployment scanner", &BTreeMap::new());
        let (reason, why) = ("budget_incident".to_owned(), "the incident has had its 3 actions".to_owned());
        let proposal = Proposal { reason, why, goal: BTreeMap::new(), hash, expires_at: now_ms() + 600_000 };
        action(ActionKind::Awaiting(proposal), generation, "autoscaler", "scale_up")
    };
    let (first, answered) = (asked(1), asked(2));
    stage.tell(&[opened(1, false), opened(2, false)]);
    stage.was_written(&answered);
    stage.was_written(&ActionEvent::word(&answered, answered.proposal().unwrap(), true, "alice", "fine", now_ms()));
    stage.was_written(&first);
    let (actor, printed) = start(&stage, None);
    let paged = |seen: &[ActionEvent]| seen.iter().filter(|event| event.verb == "page").cloned().collect::<Vec<_>>();
    let seen = stage.actions_until(|seen| paged(seen).len() == 2);
    assert_eq!(story(&paged(&seen)), ["page started #1", "page done #1"]);
    let text = printed.text();
    assert!(
        text.contains(&format!("ops approve {}", first.action_id)) && text.contains("waits for a human until 20"),
        "{text}"
    );
    actor.stop().unwrap();
    let (actor, again) = start(&stage, None);
    stage.tell(&[opened(3, false), page(3, "default")]);
    let seen = stage.actions_until(|seen| paged(seen).len() == 4);
    assert!(paged(&seen)[2..].iter().all(|event| event.incident == incident(3)), "{seen:#?}");
    actor.stop().unwrap();
    assert!(!again.text().contains("ops approve"), "{}", again.text());
}

/// A receiver that never answers holds up its own pages only.
#[test]
fn a_deaf_channel_holds_up_no_other() {
    let stage = Stage::new(1);
    let deaf = stage.runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let twin = Twin { url: format!("http://{}/page", deaf.local_addr().unwrap()), got: channel().1 };
    stage.settled_before(0);
    let (actor, printed) = start(&stage, Some(&twin));
    stage.tell(&[opened(1, false), page(1, "tsa_ops"), page_of_step(1, 3), opened(2, false), page(2, "tsa_ops")]);
    let seen = stage.outcomes(1);
    assert_eq!(seen.iter().filter(|event| event.kind.is_outcome()).count(), 1);
    let text = printed.text();
    assert!(text.contains("PAGE default") && !text.contains("PAGE tsa_ops"), "{text}");
    // Not stopped in order: that would wait for the deaf one.
    drop(actor);
}

fn page_of_step(generation: u64, step: u32) -> hms_ops::model::incident::IncidentEvent {
    requested(generation, step, "page", &[])
}

/// Two pagers share the partitions; the one that raised the alert goes, the other one clears it.
#[test]
fn whoever_takes_a_partition_over_clears_what_its_predecessor_raised() {
    let stage = Stage::new(2);
    let twin = Twin::start(&stage, &[]);
    stage.settled_before(0);
    let (first, _) = start(&stage, Some(&twin));
    stage.tell(&[opened(1, false), page(1, "tsa_ops")]);
    assert_eq!(twin.next().0, page_id(1));
    stage.outcomes(1);
    let (second, _) = start_as(&stage, Some(&twin), "b");
    first.stop().unwrap();
    stage.tell(&[resolved(1)]);
    assert_eq!(twin.next().1["kind"], "clear");
    let seen = stage.outcomes(2);
    assert_eq!(story(&seen), ["page started #1", "page done #1", "clear started #1", "clear done #1"]);
    second.stop().unwrap();
    assert!(twin.is_silent());
}
