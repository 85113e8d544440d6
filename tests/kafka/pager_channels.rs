//! The pager on a real Kafka with the twins of PagerDuty, Slack and a mail server: an episode's life on each of them,
//! what faults change, and that no channel waits for another.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hms_ops::actors::channel::{Channel, Channels, Console};
use hms_ops::actors::{Actor, pager};
use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::incident::{Basis, EventKind, IncidentEvent};
use hms_ops::model::{ActionId, IncidentId};
use hms_ops::world::email::{self, Email, Security};
use hms_ops::world::pagerduty::PagerDuty;
use hms_ops::world::slack::{Mark, Message, Slack};
use serde_json::json;

use crate::actors::{Stage, action, event, incident, now_ms, opened, resolved, story};
use crate::harness::*;
use crate::pager::Printed;
use crate::twins::{self, Fault, smtp};

/// The step of the first pages of an incident, and of those that follow.
const STEPS: (u32, u32) = (2, 3);

/// The topics, and the three twins.
struct Town {
    stage: Stage,
    pagerduty: twins::pagerduty::PagerDuty,
    slack: twins::slack::Slack,
    smtp: smtp::Smtp,
    printed: Printed,
    /// Time for one try.
    timeout: Duration,
}

impl Town {
    /// Whoever is started acts on what is told from now on.
    fn new() -> Self {
        let stage = Stage::new(1);
        let (pagerduty, slack, smtp) = stage.runtime.block_on(async {
            (twins::pagerduty::PagerDuty::start().await, twins::slack::Slack::start().await, smtp::Smtp::start().await)
        });
        stage.settled_before(0);
        Self { stage, pagerduty, slack, smtp, printed: Printed::default(), timeout: Duration::from_secs(10) }
    }

    /// What hangs is given up early.
    fn impatient() -> Self {
        Self { timeout: Duration::from_secs(1), ..Self::new() }
    }

    fn slack_driver(&self) -> Slack {
        Slack::new(&self.slack.url, twins::slack::TOKEN, twins::slack::CHANNEL).unwrap().within(self.timeout)
    }

    /// The pager with the channels `pd`, `sl` and `ma`; TSA's is `pd`.
    fn start(&self) -> Actor {
        let pagerduty = PagerDuty::new(&self.pagerduty.url, twins::pagerduty::ROUTING_KEY).unwrap();
        let email = Email::new(email::Options {
            server: "127.0.0.1".to_owned(),
            port: Some(self.smtp.port),
            security: Security::None,
            credentials: Some(("ops".to_owned(), "s3cret".to_owned())),
            from: "ops@example.org".to_owned(),
            to: vec!["duty@example.org".to_owned()],
        });
        let by_name = [
            ("pd".to_owned(), Channel::PagerDuty(pagerduty.within(self.timeout))),
            ("sl".to_owned(), Channel::Slack(self.slack_driver())),
            ("ma".to_owned(), Channel::Email(email.unwrap().within(self.timeout))),
        ];
        let owners = BTreeMap::from([("TSA".to_owned(), "pd".to_owned())]);
        let channels = Channels::new(by_name.into(), Console::new(self.printed.clone())).with_owners(owners);
        let link = Some("https://ops.example.org/{service}/{incident}".to_owned());
        pager::start(pager::Options { frame: self.stage.options(), channels, link }).unwrap()
    }

    /// Waits for what a twin tells of.
    fn wait<T>(&self, it: impl Future<Output = T>) -> T {
        self.stage.runtime.block_on(async { tokio::time::timeout(PATIENCE, it).await.expect("it never came") })
    }
}

/// `page CHANNEL & page CHANNEL ...`: one request for each call of a step.
fn pages(generation: u64, step: u32, channels: &[&str]) -> Vec<IncidentEvent> {
    let call = |(place, channel): (usize, &&str)| {
        let args =
            [("channel", *channel), ("severity", "critical"), ("service.owner", "TSA"), ("attr.pod", "p-<!channel>")];
        let kind = EventKind::Requested {
            incident: incident(generation),
            step,
            call: place as u32 + 1,
            verb: Arc::from("page"),
            args: args.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            basis: if step == STEPS.0 { Basis::Opened } else { Basis::FreshData },
            action_id: ActionId::of(&incident(generation), step, place as u32 + 1),
            fresh: None,
        };
        event(kind, now_ms())
    };
    channels.iter().enumerate().map(call).collect()
}

/// An opening that goes on with the episode of incident 1.
fn opened_again(generation: u64) -> IncidentEvent {
    let mut event = opened(generation, false);
    if let EventKind::Opened { episode, openings, .. } = &mut event.kind {
        (*episode, *openings) = (incident(1), generation as u32);
    }
    event
}

/// What was done for an incident through a channel.
fn of<'e>(seen: &'e [ActionEvent], incident: &IncidentId, target: &str) -> Vec<&'e ActionEvent> {
    seen.iter().filter(|event| event.incident == *incident && event.target.as_deref() == Some(target)).collect()
}

fn detail<'e>(event: &'e ActionEvent, name: &str) -> &'e str {
    let ActionKind::Done { detail } = &event.kind else { panic!("not done: {event:?}") };
    &detail[name]
}

/// `opened page(pd & sl & ma)`, a restart, `page(pd & sl & ma, later) resolved`, a restart, and the same episode again.
#[test]
fn an_episode_lives_its_life_on_every_channel() {
    let town = Town::new();
    let actor = town.start();
    let all = ["pd", "sl", "ma"];
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &all)].concat());
    town.stage.outcomes(3);
    actor.stop().unwrap();
    let actor = town.start();
    town.stage.tell(&pages(1, STEPS.1, &all));
    town.stage.outcomes(6);
    assert_eq!(town.pagerduty.open(), ["scanner.1"]);
    town.stage.tell(&[resolved(1)]);
    let seen = town.stage.outcomes(9);
    for channel in all {
        let told: Vec<_> = of(&seen, &incident(1), channel).into_iter().cloned().collect();
        let once = ["page started #1", "page done #1", "page started #1", "page done #1"];
        assert_eq!(story(&told), [&once[..], &["clear started #1", "clear done #1"]].concat(), "{channel}");
    }
    let alert = town.pagerduty.alert("scanner.1");
    assert_eq!((alert.is_open, alert.openings, alert.triggers.len(), alert.resolves), (false, 1, 2, 1));
    let trigger = &alert.triggers[0];
    assert_eq!(trigger["payload"]["severity"], "critical");
    assert_eq!(trigger["links"][0]["href"], "https://ops.example.org/scanner/scanner.1");
    assert_eq!(trigger["payload"]["custom_details"]["opened_by"]["over"], 50);
    assert_eq!(trigger["payload"]["custom_details"]["explain"], "ops explain scanner.1");

    let messages = town.slack.messages();
    let root = messages[0]["ts"].clone();
    assert!(messages[0]["thread_ts"].is_null() && messages[1..].iter().all(|message| message["thread_ts"] == root));
    assert_eq!(town.slack.questions.count(), 0, "where the thread is stands on ops.actions");
    let said = messages[0].to_string();
    for part in ["50 of 812 readings over 30 in 5 min", "6.2 % over, 40 allowed", "ops explain scanner.1", "since: "] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("<!channel>") && said.contains("&lt;!channel&gt;"), "{said}");
    let mails = town.smtp.mails();
    assert_eq!(mails[1].header("In-Reply-To"), mails[0].header("Message-ID"));
    assert!(mails[2].header("Subject").contains("[all clear]"));
    actor.stop().unwrap();

    // The ledger may have forgotten the first: Slack has not.
    let actor = town.start();
    town.stage.tell(&[vec![opened_again(2)], pages(2, STEPS.0, &["sl"])].concat());
    town.stage.outcomes(10);
    assert_eq!(town.slack.messages()[3]["thread_ts"], root);
    town.stage.tell(&[resolved(2)]);
    let seen = town.stage.outcomes(11);
    assert_eq!(town.slack.messages()[4]["thread_ts"], root);
    let done = of(&seen, &incident(2), "sl");
    assert_eq!(detail(done[1], "thread"), root.as_str().unwrap());
    assert_eq!(actor.counters().get("repeat", "page") + actor.counters().get("repeat", "clear"), 0);
    actor.stop().unwrap();
    assert_eq!(town.printed.text(), "");
}

/// `page pd & page sl`, and PagerDuty never answers: Slack has its page, and the next one, while it is waited for.
#[test]
fn a_hung_channel_delays_no_other() {
    let town = Town::new();
    let actor = town.start();
    town.pagerduty.calls.always(Some(Fault::Hang));
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["pd", "sl"])].concat());
    town.wait(town.pagerduty.calls.reached(1));
    town.wait(town.slack.posts.reached(1));
    town.stage.tell(&[vec![opened(2, false)], pages(2, STEPS.0, &["pd", "sl", "ma"])].concat());
    town.wait(town.slack.posts.reached(2));
    town.wait(town.smtp.reached(1));
    let seen = town.stage.outcomes(3);
    assert!(seen.iter().all(|event| event.target.as_deref() != Some("pd") || !event.kind.is_outcome()), "{seen:#?}");
    // Not stopped in order: that would wait for the deaf one.
    drop(actor);
}

/// A post without a clear answer is looked for. One that is there is not sent again; one that is not, is, and counted.
#[test]
fn what_slack_may_have_is_looked_for_before_it_is_sent_again() {
    let town = Town::impatient();
    let actor = town.start();
    let faults = [
        (Fault::TakeAndHang, 0),
        (Fault::TakeAndFail, 0),
        (Fault::TooMany(1), 0),
        (Fault::Hang, 1),
        (Fault::Status(500), 2),
        (Fault::Garbage, 3),
    ];
    for (place, (fault, repeats)) in faults.into_iter().enumerate() {
        let generation = place as u64 + 1;
        town.slack.posts.meet(&[fault]);
        town.stage.tell(&[vec![opened(generation, false)], pages(generation, STEPS.0, &["sl"])].concat());
        let seen = town.stage.outcomes(generation as usize);
        let outcome = of(&seen, &incident(generation), "sl")[1];
        assert_eq!(outcome.kind.name(), "done", "{fault:?}");
        assert_eq!(town.slack.messages().len() as u64, generation, "once each: {fault:?}");
        assert_eq!(
            (actor.counters().get("repeat", "page"), town.slack.posts.repeats()),
            (repeats, repeats),
            "{fault:?}"
        );
    }
    actor.stop().unwrap();
}

/// Slack cannot be asked for a moment: it is asked until it answers, and nothing is sent meanwhile.
#[test]
fn a_question_that_fails_is_asked_again() {
    let town = Town::impatient();
    let actor = town.start();
    town.slack.posts.meet(&[Fault::TakeAndFail]);
    town.slack.questions.meet(&[Fault::TooMany(1), Fault::Status(500), Fault::Hang]);
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["sl"])].concat());
    let seen = town.stage.outcomes(1);
    assert_eq!(detail(&seen[1], "read_back"), "true");
    assert_eq!((town.slack.messages().len(), town.slack.questions.count()), (1, 4));
    actor.stop().unwrap();
}

/// Where nobody can be asked, what may have been taken is sent again: as often as the twins count it, under the same
/// key, and PagerDuty opens one alert of it.
#[test]
fn repeats_are_counted_as_the_twins_count_them() {
    let town = Town::impatient();
    let actor = town.start();
    let faults = [Fault::TakeAndFail, Fault::TooMany(1), Fault::Garbage, Fault::TakeAndHang, Fault::Twice];
    town.pagerduty.calls.meet(&faults);
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["pd"])].concat());
    let seen = town.stage.outcomes(1);
    assert_eq!(story(&seen), ["page started #1", "page done #1"]);
    let alert = town.pagerduty.alert("scanner.1");
    assert_eq!((alert.openings, alert.triggers.len()), (1, 4), "taken four times, opened once");
    assert_eq!((actor.counters().get("repeat", "page"), town.pagerduty.calls.repeats()), (4, 4));

    town.smtp.meet(&[smtp::Fault::Later, smtp::Fault::BreakBefore, smtp::Fault::TakeAndBreak]);
    town.stage.tell(&pages(1, STEPS.1, &["ma"]));
    town.stage.outcomes(2);
    let mails = town.smtp.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"), "a mailbox can tell");
    assert_eq!(actor.counters().get("repeat", "page"), 5);
    actor.stop().unwrap();
}

/// `page` is held back by PagerDuty, `resolved` comes meanwhile: the clear waits for the page and ends it.
#[test]
fn a_page_whose_incident_ends_while_it_is_sent_is_cleared_after_it() {
    let town = Town::new();
    let actor = town.start();
    town.pagerduty.calls.meet(&[Fault::Late]);
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["pd"])].concat());
    town.wait(town.pagerduty.calls.reached(1));
    // The page to Slack comes after the end in the log: whoever has answered it has read the end.
    town.stage.tell(&[vec![resolved(1), opened(2, false)], pages(2, STEPS.0, &["sl"])].concat());
    town.wait(town.slack.posts.reached(1));
    assert!(town.pagerduty.events().is_empty(), "nothing overtakes the page");
    town.pagerduty.calls.let_go();
    town.wait(town.pagerduty.calls.reached(2));
    town.stage.outcomes(3);
    assert_eq!(town.pagerduty.events(), ["trigger scanner.1", "resolve scanner.1"]);
    actor.stop().unwrap();
}

/// Nobody can tell whether a page was taken, and then it is refused for good: `unknown`, shown on the console; and its
/// alert, which may be open, is cleared when the incident ends.
#[test]
fn an_alert_that_may_be_open_is_cleared() {
    let town = Town::new();
    let actor = town.start();
    town.pagerduty.calls.meet(&[Fault::TakeAndFail, Fault::Status(400)]);
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["pd"])].concat());
    let seen = town.stage.outcomes(1);
    assert_eq!(story(&seen), ["page started #1", "page unknown #1"]);
    assert!(town.printed.text().contains("not delivered to pd"), "{}", town.printed.text());
    assert_eq!(town.pagerduty.open(), ["scanner.1"]);
    town.stage.tell(&[resolved(1)]);
    town.stage.outcomes(2);
    assert!(town.pagerduty.open().is_empty());
    actor.stop().unwrap();
}

/// `page started`, and a crash. Of incident 1 the message is there, of incident 2 it is not.
#[test]
fn after_a_crash_slack_is_asked_what_is_there() {
    let town = Town::new();
    let ids = [1, 2].map(|generation| ActionId::of(&incident(generation), STEPS.0, 1));
    for (generation, id) in [1, 2].into_iter().zip(ids) {
        let goal = [("channel", "sl".to_owned()), ("episode", incident(generation).to_string())];
        let goal = goal.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut begun = action(ActionKind::Started { goal }, generation, "pager", "page");
        (begun.action_id, begun.target) = (id, Some("sl".to_owned()));
        town.stage.was_written(&begun);
        town.stage.tell(&[vec![opened(generation, false)], pages(generation, STEPS.0, &["sl"])].concat());
    }
    let mark = Mark { action_id: ids[0].to_string(), dedup_key: incident(1).to_string() };
    let message = Message { text: "sent before the crash".to_owned(), blocks: json!([]), mark, thread: None };
    town.wait(town.slack_driver().post(&message)).unwrap();
    let actor = town.start();
    let seen = town.stage.outcomes(2);
    assert_eq!(detail(of(&seen, &incident(1), "sl")[2], "read_back"), "true");
    assert_eq!(town.slack.actions(), ids.map(|id| id.to_string()));
    assert_eq!(actor.counters().get("repeat", "page"), 1, "what is not there may still come");
    // What ends the first goes into the thread that was found.
    town.stage.tell(&[resolved(1)]);
    town.stage.outcomes(3);
    let messages = town.slack.messages();
    assert_eq!(messages[2]["thread_ts"], messages[0]["ts"]);
    actor.stop().unwrap();
}

/// Somebody deletes the page: what follows begins anew.
#[test]
fn a_thread_that_was_deleted_loses_no_page() {
    let town = Town::new();
    let actor = town.start();
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["sl"])].concat());
    town.stage.outcomes(1);
    town.slack.delete(town.slack.messages()[0]["ts"].as_str().unwrap());
    town.stage.tell(&pages(1, STEPS.1, &["sl"]));
    town.stage.outcomes(2);
    let messages = town.slack.messages();
    assert!(messages.len() == 1 && messages[0]["thread_ts"].is_null(), "{messages:?}");
    actor.stop().unwrap();
}

/// A channel that nobody configured, of an owner who has one; and a page that names none.
#[test]
fn a_page_to_nobody_goes_to_the_owner_and_says_so() {
    let town = Town::new();
    let actor = town.start();
    town.stage.tell(&[vec![opened(1, false)], pages(1, STEPS.0, &["CIGIE"])].concat());
    town.stage.outcomes(1);
    let alert = town.pagerduty.alert("scanner.1");
    let details = &alert.triggers[0]["payload"]["custom_details"];
    assert_eq!(details["note"], "channel \"CIGIE\" is not configured, so it goes to \"pd\"");
    assert_eq!(alert.triggers[0]["payload"]["group"], "TSA");
    let unknown = ActionKind::Unknown { reason: "the workload is gone".to_owned() };
    town.stage.was_written(&action(unknown, 1, "autoscaler", "scale_up"));
    town.stage.outcomes(3);
    let alert = town.pagerduty.alert("scanner.1");
    let summary = alert.triggers[1]["payload"]["summary"].as_str().unwrap();
    assert!(summary.contains("nobody can tell whether scale_up"), "{summary}");
    town.stage.tell(&[resolved(1)]);
    town.stage.outcomes(5);
    assert!(town.pagerduty.open().is_empty());
    actor.stop().unwrap();
    assert_eq!(town.printed.text(), "");
}
