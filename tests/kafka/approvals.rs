//! What a guard hands to a human waits for that human, on a real Kafka and a simulated cluster: approved it is done once,
//! as it was shown; all else does nothing. By the command line and over HTTP too.
//!
//! Nothing here sleeps: every step waits for a record. That nothing is done is known when something is, that was asked for
//! later.

use std::time::Instant;

use hms_ops::actors::{Actor, autoscaler, bookmark};
use hms_ops::bus::Offsets;
use hms_ops::bus::onlooker::Onlooker;
use hms_ops::model::ActionId;
use hms_ops::model::action::{ActionEvent, ActionKind, Proposal, Word};
use hms_ops::sdk::{approve, freeze};
use hms_ops::web::{Right, Scope, Token, Tokens};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::actors::{Scaling, Stage, incident, now_ms, opened, requested, resolved, scale_up, story};
use crate::harness::*;
use crate::rig::effects::controls::CONTROLS;
use crate::rig::sabotage::assert_noticed;
use crate::sdk::Installation;
use crate::warroom::Room;
use crate::warroom::document::Document;

/// Longer than any test.
const LONG_MS: i64 = 600_000;

/// One action an incident, then a human is asked.
fn bounded(approval_ms: i64) -> impl FnOnce(&mut autoscaler::Options) {
    move |options| {
        options.guard.cool_down_ms = Some(0);
        options.guard.budget_incident = 1;
        options.guard.approval_ms = approval_ms;
    }
}

/// `requested(2 -> 4) done`, then `requested(4 -> 6) awaiting`: both of incident 1.
fn hand_over(scaling: &Scaling, approval_ms: i64) -> (Actor, ActionEvent) {
    let stage = &scaling.stage;
    stage.settled_before(0);
    let actor = scaling.start_with(bounded(approval_ms));
    stage.tell(&[opened(1, false), scale_up(1), requested(1, 2, "scale_up", &[("compute", "+2")])]);
    let seen = stage.actions_until(|seen| seen.iter().any(|event| event.proposal().is_some()));
    assert_eq!(story(&seen)[..2], ["scale_up started #1", "scale_up done #1"]);
    (actor, seen.into_iter().find(|event| event.proposal().is_some()).unwrap())
}

/// What an actor has written that was stopped then, and what a human said: 2 -> 4 for incident 1, until `expires_at`.
fn was_approved(scaling: &Scaling, expires_at: i64) -> ActionEvent {
    let stage = &scaling.stage;
    stage.settled_before(0);
    stage.tell(&[opened(1, false), scale_up(1)]);
    let intent = scaling.intent();
    let ActionKind::Started { mut goal } = intent.kind.clone() else { unreachable!() };
    goal.insert("window_seconds".to_owned(), "300".to_owned());
    let hash = Proposal::hash_of(&intent.action_id, "scale_up", "deployment scanner", &goal);
    let (reason, why, at) = ("budget_incident".to_owned(), String::new(), expires_at - 10);
    let kind = ActionKind::Awaiting(Proposal { reason, why, goal, hash, expires_at });
    let asked = ActionEvent { kind, at, ..intent };
    stage.was_written(&asked);
    stage.was_written(&ActionEvent { at, ..word(&asked, true) });
    asked
}

fn word(asked: &ActionEvent, is_yes: bool) -> ActionEvent {
    ActionEvent::word(asked, asked.proposal().unwrap(), is_yes, "alice", "as agreed", now_ms())
}

fn say(stage: &Stage, asked: &ActionEvent, is_yes: bool) {
    let proposed = (asked, asked.proposal().unwrap());
    approve::say(&settings(), &stage.topics, proposed, is_yes, "alice", "as agreed").unwrap();
}

/// What stands on the record about an action, words left out.
fn told(seen: &[ActionEvent], asked: &ActionEvent) -> Vec<String> {
    let own = seen.iter().filter(|event| event.action_id == asked.action_id && event.kind.word().is_none());
    story(&own.cloned().collect::<Vec<_>>())
}

/// Everything, once the action that waited has its outcome.
fn until_settled(stage: &Stage, asked: &ActionEvent) -> Vec<ActionEvent> {
    let settled = |event: &ActionEvent| event.action_id == asked.action_id && event.kind.is_outcome();
    stage.actions_until(|seen| seen.iter().any(settled))
}

/// Asks for something else, of a workload of its own that is not there, and waits for its outcome: what was to come of
/// all before has come.
fn until_quiet(stage: &Stage, generation: u64) -> Vec<ActionEvent> {
    let other = [("compute", "+2"), ("workload.name", "missing")];
    stage.tell(&[opened(generation, false), requested(generation, 1, "scale_up", &other)]);
    let settled = |event: &ActionEvent| event.incident == incident(generation) && event.kind.is_outcome();
    stage.actions_until(|seen| seen.iter().any(settled))
}

/// Two approvals, forged ones before them, a restart and one more: one write, the one that was shown.
#[test]
fn what_is_approved_is_done_exactly_once_and_nothing_forged_counts() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    let proposal = asked.proposal().unwrap();
    assert_eq!(
        (proposal.reason.as_str(), &*proposal.goal["from"], &*proposal.goal["to"]),
        ("budget_incident", "4", "6")
    );
    assert!(
        proposal.why.contains("has had its 1 actions") && proposal.expires_at > asked.at + LONG_MS / 2,
        "{asked:?}"
    );
    let right = word(&asked, true);
    let other = ActionEvent { action_id: ActionId::of(&incident(1), 9, 1), ..right.clone() };
    let hash = "0".repeat(64);
    let kind = ActionKind::Approved(Word { reason: String::new(), hash });
    let forged = ActionEvent { kind, ..right.clone() };
    let late = ActionEvent { at: proposal.expires_at + 1, ..right };
    [other, forged, late].iter().for_each(|event| stage.was_written(event));
    let seen = until_quiet(stage, 2);
    assert_eq!((told(&seen, &asked), scaling.writes()), (vec!["scale_up awaiting #1".to_owned()], vec![(2, 4)]));

    say(stage, &asked, true);
    say(stage, &asked, true);
    let done = ["scale_up awaiting #1", "scale_up started #1", "scale_up done #1"];
    assert_eq!(told(&until_settled(stage, &asked), &asked), done);
    actor.stop().unwrap();
    let actor = scaling.start_with(bounded(LONG_MS));
    say(stage, &asked, true);
    assert_eq!(told(&until_quiet(stage, 3), &asked), done);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
}

#[test]
fn what_is_refused_is_denied_with_who_and_why_and_stays_so() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    say(stage, &asked, false);
    say(stage, &asked, true);
    until_settled(stage, &asked);
    let seen = until_quiet(stage, 2);
    assert_eq!(told(&seen, &asked), ["scale_up awaiting #1", "scale_up denied #1"]);
    let denied = ActionKind::Denied { reason: "alice: as agreed".to_owned() };
    assert!(seen.iter().any(|event| event.kind == denied && event.actor == "autoscaler"), "{seen:#?}");
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

#[test]
fn what_nobody_approves_in_time_expires_and_an_approval_after_that_changes_nothing() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, 1_500);
    until_settled(stage, &asked);
    // It says that it was in time; nobody saw it before it was too late.
    stage.was_written(&ActionEvent { at: asked.at, ..word(&asked, true) });
    let seen = until_quiet(stage, 2);
    assert_eq!(told(&seen, &asked), ["scale_up awaiting #1", "scale_up expired #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// Approved while nobody is there, and taken up too late.
#[test]
fn an_approval_that_is_taken_up_too_late_does_nothing() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let asked = was_approved(&scaling, now_ms() - 5);
    let actor = scaling.start_with(bounded(LONG_MS));
    assert_eq!(told(&until_settled(stage, &asked), &asked), ["scale_up awaiting #1", "scale_up expired #1"]);
    actor.stop().unwrap();
    assert!(scaling.writes().is_empty());
}

/// Approved in time, and the cluster cannot be seen: it does not wait for that for ever.
#[test]
fn an_approval_whose_workload_cannot_be_seen_expires() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let asked = was_approved(&scaling, now_ms() + 10_000);
    let actor = scaling.start_with(|options| {
        bounded(LONG_MS)(options);
        options.clusters.server = Some("http://127.0.0.1:9".to_owned());
        options.clusters.kubeconfig = None;
    });
    assert_eq!(told(&until_settled(stage, &asked), &asked), ["scale_up awaiting #1", "scale_up expired #1"]);
    actor.stop().unwrap();
    assert!(scaling.writes().is_empty());
}

/// The same workload is scaled for another incident meanwhile, without waiting: what was approved is not what would be done.
#[test]
fn nothing_waits_for_it_and_if_the_world_moves_it_is_not_done() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    stage.tell(&[opened(2, false), scale_up(2)]);
    stage.actions_until(|seen| seen.iter().any(|event| event.incident == incident(2) && event.kind.is_outcome()));
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
    say(stage, &asked, true);
    let seen = until_settled(stage, &asked);
    assert_eq!(told(&seen, &asked), ["scale_up awaiting #1", "scale_up suppressed changed #1"]);
    let ActionKind::Suppressed { detail, .. } = &seen.last().unwrap().kind else { panic!("{seen:#?}") };
    assert!(detail["why"].contains("approved was 4 -> 6") && detail["why"].contains("now it would be 6 -> 8"));
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
}

#[test]
fn what_waits_ends_at_once_when_its_incident_does() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    stage.tell(&[resolved(1)]);
    assert_eq!(told(&until_settled(stage, &asked), &asked)[1..], ["scale_up suppressed over #1"]);
    say(stage, &asked, true);
    assert_eq!(told(&until_quiet(stage, 2), &asked).len(), 2);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

#[test]
fn a_freeze_ends_what_waits() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    let frozen = ActionKind::Frozen { reason: "a deploy".to_owned() };
    freeze::switch(&settings(), &stage.topics, None, "bob", frozen).unwrap();
    say(stage, &asked, true);
    assert_eq!(told(&until_settled(stage, &asked), &asked)[1..], ["scale_up suppressed frozen #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// `awaiting | restart | approved | started | crash | restart`: it is asked once, and done once.
#[test]
fn what_waits_and_what_is_approved_survives_restarts() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    actor.stop().unwrap();
    let actor = scaling.start_with(bounded(LONG_MS));
    let waits = ["scale_up awaiting #1"];
    assert_eq!(told(&until_quiet(stage, 2), &asked), waits);
    actor.stop().unwrap();
    // As an actor leaves it that was approved, has begun, and crashes before it does anything.
    let goal = asked.proposal().unwrap().goal.clone();
    say(stage, &asked, true);
    stage.was_written(&ActionEvent { kind: ActionKind::Started { goal }, at: now_ms(), ..asked.clone() });
    let actor = scaling.start_with(bounded(LONG_MS));
    let seen = until_settled(stage, &asked);
    let again = ["scale_up started #1", "scale_up started #2", "scale_up done #2"];
    assert_eq!(told(&seen, &asked), [&waits[..], &again[..]].concat());
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
}

/// What was begun without an approval (by whom ever) is not gone on with.
#[test]
fn what_was_begun_without_an_approval_is_not_done() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    actor.stop().unwrap();
    let goal = asked.proposal().unwrap().goal.clone();
    stage.was_written(&ActionEvent { kind: ActionKind::Started { goal }, at: now_ms(), ..asked.clone() });
    let actor = scaling.start_with(bounded(LONG_MS));
    let seen = until_settled(stage, &asked);
    assert_eq!(told(&seen, &asked)[2..], ["scale_up suppressed unapproved #1"]);
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// The committed offset stays at the request, so that a restart finds it; the debt that the watch looks at moves on.
#[test]
fn an_actor_that_waits_for_a_human_owes_no_answer() {
    let scaling = Scaling::new(Stage::new(1));
    let stage = &scaling.stage;
    let (actor, asked) = hand_over(&scaling, LONG_MS);
    until_quiet(stage, 2);
    let end = Offsets::new(&settings()).unwrap().watermarks(&stage.topics.incidents, 0).unwrap().high;
    let onlooker = Onlooker::new(&settings(), &stage.group, &stage.topics.incidents, 1).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let (offset, metadata) = loop {
        let (offset, metadata) = onlooker.committed().unwrap().remove(0).unwrap();
        if bookmark::owed(offset, &metadata, now_ms()) == end {
            break (offset, metadata);
        }
        assert!(Instant::now() < deadline, "{offset} {metadata}");
    };
    assert!(offset < end, "{offset} {metadata}");
    assert_eq!(bookmark::owed(offset, &metadata, asked.proposal().unwrap().expires_at + 1), offset);
    actor.stop().unwrap();
}

#[test]
fn an_action_without_its_approval_is_noticed() {
    assert_noticed(CONTROLS[6], "act_unapproved");
}

/// An installation of one partition, a cluster, and an autoscaler that asks.
fn installed(approval_ms: i64) -> (Installation, Scaling, Actor, ActionEvent) {
    let at = Installation::of(1);
    let stage = Stage { topics: at.topics.clone(), ..Stage::new(1) };
    let scaling = Scaling::new(stage);
    let (actor, asked) = hand_over(&scaling, approval_ms);
    (at, scaling, actor, asked)
}

fn path(asked: &ActionEvent, what: &str) -> String {
    format!("/api/v1/actions/{}/{what}", asked.action_id)
}

fn body(asked: &ActionEvent) -> Value {
    json!({"reason": "as agreed", "hash": asked.proposal().unwrap().hash})
}

fn waits(room: &Room) -> Vec<Value> {
    room.json(room.get("/api/v1/approvals")).1["approvals"].as_array().unwrap().clone()
}

/// Refused: no reason, another's hash, an unknown action, by GET, without the header, from another site. Then once it is
/// approved; twice is a conflict, and so is what was decided another way.
#[test]
fn over_http_it_is_approved_once_and_whatever_is_wrong_changes_nothing() {
    let (at, scaling, actor, asked) = installed(LONG_MS);
    let room = Room::open(&at, Tokens::default());
    let shown = room.until("what waits", || waits(&room).into_iter().next());
    assert_eq!(
        (&shown["action_id"], &shown["reason"]),
        (&json!(asked.action_id), &json!("budget_incident")),
        "{shown}"
    );
    assert!(shown["what"].as_str().unwrap().contains("deployment scanner from 4 to 6 replicas"), "{shown}");
    assert!(shown["blast_radius"].as_str().unwrap().contains("one workload"), "{shown}");
    let (yes, right) = (path(&asked, "approve"), body(&asked));
    let unknown = format!("/api/v1/actions/{}/approve", ActionId::of(&incident(1), 9, 1));
    let refused = [
        (room.post(&yes, &json!({"reason": " ", "hash": right["hash"]})), 400, "one line"),
        (room.post(&yes, &json!({"reason": "a"})), 400, "hash"),
        (room.post(&yes, &json!({"reason": "a", "hash": "0".repeat(64)})), 409, "other_hash"),
        (room.post(&unknown, &right), 404, "no action"),
        (room.post("/api/v1/actions/..%2F..%2Fetc/approve", &right), 404, "no action"),
        (room.get(&yes), 405, ""),
        (room.client.post(room.url(&yes)).json(&right), 400, "x-ops"),
        (room.post(&yes, &right).header("origin", "null"), 403, "another site"),
        (room.post(&yes, &right).header("origin", "http://evil.example"), 403, "another site"),
    ];
    for (request, status, said) in refused {
        let (found, text) = room.text(request);
        assert!(found.as_u16() == status && text.contains(said) && text.contains("\"type\""), "{found}: {text}");
    }
    assert_eq!((waits(&room).len(), told(&scaling.stage.actions_so_far(), &asked).len()), (1, 1));

    let mut document = Document::of(&room);
    document.check(&room, "/api/v1/approvals", room.get("/api/v1/approvals"));
    let event = document.check(&room, "/api/v1/actions/{id}/approve", room.post(&yes, &right));
    assert_eq!(event["event"], "approved", "{event}");
    for again in ["approve", "deny"] {
        let (status, text) = room.text(room.post(&path(&asked, again), &right));
        assert_eq!(status, StatusCode::CONFLICT, "{text}");
    }
    assert_eq!(told(&until_settled(&scaling.stage, &asked), &asked)[1..], ["scale_up started #1", "scale_up done #1"]);
    room.until("the outcome", || waits(&room).is_empty().then_some(()));
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
}

#[test]
fn over_http_nothing_that_has_expired_is_approved_and_no_token_says_more_than_it_may() {
    let (at, scaling, actor, asked) = installed(2_000);
    let secret = |name: &str| format!("the-secret-of-{name}");
    let token = |name: &str, services: &str, rights: &[Right]| {
        Token::new(name, &secret(name), Scope::new(&[services.to_owned()]).unwrap(), rights.iter().copied()).unwrap()
    };
    let both = [Right::Read, Right::Act];
    let tokens = [token("belts", "Belt", &both), token("reader", "*", &[Right::Read]), token("all", "*", &both)];
    let room = Room::open(&at, Tokens::new(tokens).unwrap());
    let post = |name: &str| room.text(room.post(&path(&asked, "approve"), &body(&asked)).bearer_auth(secret(name)));
    assert_eq!([post("belts").0, post("reader").0], [StatusCode::FORBIDDEN; 2]);
    let listed = room.json(room.get("/api/v1/approvals").bearer_auth(secret("belts"))).1;
    assert_eq!(listed["approvals"], json!([]));
    until_settled(&scaling.stage, &asked);
    let (status, text) = post("all");
    assert_eq!(status, StatusCode::CONFLICT, "{text}");
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4)]);
}

/// `ops actions`, `ops approve` of what is not there, without a terminal, then rightly, then twice; `ops deny` too late.
#[test]
fn on_the_command_line_it_is_shown_with_its_time_and_approved_once() {
    let (at, scaling, actor, asked) = installed(LONG_MS);
    let id = asked.action_id.to_string();
    let ops = |args: &[&str]| at.ops_with(args, "");
    let shown = ops(&["actions"]);
    let first = shown.out.lines().next().unwrap();
    assert!(first.contains("awaiting, 9 min left") && first.contains(&format!("ops approve {}", &id[..12])), "{first}");
    assert_eq!(ops(&["approve", "0000", "--yes"]).code, Some(1));
    let asking = ops(&["approve", &id]);
    assert!(asking.code == Some(2) && asking.err.contains("--yes"), "{asking:?}");
    assert_eq!(told(&scaling.stage.actions_so_far(), &asked).len(), 1);
    let approved = ops(&["approve", &id[..8], "--yes", "--by", "alice", "--reason", "as agreed"]);
    assert!(
        approved.code == Some(0) && approved.out.starts_with("approved: scale_up deployment scanner"),
        "{approved:?}"
    );
    assert!(approved.err.contains("from 4 to 6 replicas"), "{approved:?}");
    assert_eq!(told(&until_settled(&scaling.stage, &asked), &asked)[1..], ["scale_up started #1", "scale_up done #1"]);
    assert_eq!(ops(&["approve", &id, "--yes"]).code, Some(1));
    assert_eq!(ops(&["deny", &id, "--yes", "--reason", "too late"]).code, Some(1));
    actor.stop().unwrap();
    assert_eq!(scaling.writes(), [(2, 4), (4, 6)]);
}
