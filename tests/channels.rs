//! The drivers of the channels against the twins of what they drive, and `ops page test` as people call it: what an
//! answer means, what is found again, what is sent.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use hms_ops::actors::page::{Kind, Page};
use hms_ops::world::email::{self, Email, Letter, Security};
use hms_ops::world::pagerduty::PagerDuty;
use hms_ops::world::slack::{Found, Slack};
use hms_ops::world::webhook::Webhook;
use hms_ops::world::{Hint, WorldError};
use tokio::net::TcpListener;
use twins::Fault;

#[path = "twins/mod.rs"]
mod twins;

/// Enough for an answer from this machine; what hangs is given up after it.
const SOON: Duration = Duration::from_secs(2);

fn page(at_ms: i64) -> Page {
    Page::test(Kind::Page, "duty", "info", at_ms)
}

fn clear(at_ms: i64) -> Page {
    Page::test(Kind::Clear, "duty", "info", at_ms)
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn pagerduty() -> (twins::pagerduty::PagerDuty, PagerDuty) {
    let twin = twins::pagerduty::PagerDuty::start().await;
    let driver = PagerDuty::new(&twin.url, twins::pagerduty::ROUTING_KEY).unwrap().within(SOON);
    (twin, driver)
}

#[tokio::test]
async fn pagerduty_joins_repeats_to_the_alert_that_is_open_and_a_resolve_ends_it() {
    let (twin, driver) = pagerduty().await;
    let alert = page(1).alert();
    for _ in 0..2 {
        driver.trigger("scanner.1", &alert).await.unwrap();
    }
    let found = twin.alert("scanner.1");
    assert_eq!((found.is_open, found.openings, found.triggers.len()), (true, 1, 2));
    assert_eq!(found.triggers[0]["payload"]["custom_details"]["action_id"], page(1).action_id.to_string());
    driver.resolve("scanner.1").await.unwrap();
    driver.resolve("scanner.2").await.unwrap();
    assert!(twin.open().is_empty());
    assert_eq!(twin.calls.repeats(), 1);
}

#[tokio::test]
async fn pagerdutys_answers_mean_what_is_documented() {
    let (twin, driver) = pagerduty().await;
    for (fault, hint, unclear) in [
        (Fault::Status(400), Hint::GiveUp, false),
        (Fault::TooMany(7), Hint::Retry { after_ms: 7_000 }, false),
        (Fault::Status(503), Hint::Retry { after_ms: 0 }, false),
        (Fault::Status(500), Hint::LookFirst, true),
        (Fault::TakeAndFail, Hint::LookFirst, true),
        (Fault::Garbage, Hint::LookFirst, true),
        (Fault::Hang, Hint::LookFirst, true),
        (Fault::Status(301), Hint::GiveUp, false),
    ] {
        twin.calls.meet(&[fault]);
        let error = driver.trigger("scanner.1", &page(1).alert()).await.unwrap_err();
        assert_eq!((error.hint(), matches!(error, WorldError::Unknown { .. })), (hint, unclear), "{fault:?}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let driver = PagerDuty::new(&format!("http://{nobody}"), twins::pagerduty::ROUTING_KEY).unwrap();
    let error = driver.resolve("scanner.1").await.unwrap_err();
    assert!(matches!(error, WorldError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_alert_too_large_for_pagerduty_comes_without_its_evidence() {
    let (twin, driver) = pagerduty().await;
    let mut page = page(1);
    page.attributes = BTreeMap::from([("pod".to_owned(), "x".repeat(600 * 1024))]);
    page.why = "y".repeat(3_000);
    driver.trigger("scanner.1", &page.alert()).await.unwrap();
    assert!(twin.alert("scanner.1").triggers[0]["payload"]["custom_details"]["note"].is_string());
}

async fn slack() -> (twins::slack::Slack, Slack) {
    let twin = twins::slack::Slack::start().await;
    let driver = Slack::new(&twin.url, twins::slack::TOKEN, twins::slack::CHANNEL).unwrap().within(SOON);
    (twin, driver)
}

/// `page, other page, others, clear (in the thread of page)`, over several pages of history.
#[tokio::test]
async fn slack_finds_a_message_and_its_thread_by_what_it_carries() {
    let (twin, driver) = slack().await;
    let since = now_ms() - 60_000;
    assert_eq!(driver.find(&page(1).mark(), since, None).await.unwrap(), Found::default());
    let first = driver.post(&page(1).message(None)).await.unwrap();
    for at_ms in 2..7 {
        driver.post(&page(at_ms).message(None)).await.unwrap();
    }
    let second = driver.post(&clear(1).message(Some(first.clone()))).await.unwrap();
    let thread = Some(first.clone());
    let there = driver.find(&page(1).mark(), since, None).await.unwrap();
    assert_eq!(there, Found { message: Some(first.clone()), thread: thread.clone() });
    let replied = Found { message: Some(second), thread: thread.clone() };
    for known in [None, Some(first.as_str())] {
        assert_eq!(driver.find(&clear(1).mark(), since, known).await.unwrap(), replied);
    }
    let nothing = driver.find(&clear(2).mark(), since, None).await.unwrap();
    assert!(nothing.message.is_none() && nothing.thread.is_some());
    let later = driver.find(&page(1).mark(), now_ms() + 60_000, None).await.unwrap();
    assert_eq!(later, Found::default(), "nothing older than asked for");
    assert_eq!(twin.messages()[6]["thread_ts"], *first);
}

#[tokio::test]
async fn slacks_answers_mean_what_is_documented() {
    let (twin, driver) = slack().await;
    for (fault, hint) in [
        (Fault::TooMany(3), Hint::Retry { after_ms: 3_000 }),
        (Fault::Status(500), Hint::LookFirst),
        (Fault::TakeAndFail, Hint::LookFirst),
        (Fault::Garbage, Hint::LookFirst),
        (Fault::TakeAndHang, Hint::LookFirst),
    ] {
        twin.posts.meet(&[fault]);
        let error = driver.post(&page(1).message(None)).await.unwrap_err();
        assert_eq!(error.hint(), hint, "{fault:?}: {error}");
        // A question that fails has changed nothing, whatever became of it.
        twin.questions.meet(&[fault]);
        let error = driver.find(&page(1).mark(), 0, None).await.unwrap_err();
        assert!(matches!(error.hint(), Hint::Retry { .. }), "{fault:?}: {error}");
    }
    assert_eq!(twin.messages().len(), 2, "those that were taken");
    let gone = driver.post(&page(1).message(Some("1.000000".to_owned()))).await.unwrap_err();
    assert!(matches!(gone, WorldError::NotFound { .. }), "{gone}");
    let stranger = Slack::new(&twin.url, "another-token", twins::slack::CHANNEL).unwrap();
    let error = stranger.post(&page(1).message(None)).await.unwrap_err();
    assert!(error.hint() == Hint::GiveUp && error.to_string().contains("invalid_auth"), "{error}");
}

async fn mailbox() -> (twins::smtp::Smtp, Email) {
    let twin = twins::smtp::Smtp::start().await;
    let driver = Email::new(email::Options {
        server: "127.0.0.1".to_owned(),
        port: Some(twin.port),
        security: Security::None,
        credentials: Some(("ops".to_owned(), "s3cret".to_owned())),
        from: "HMS-OPS <ops@example.org>".to_owned(),
        to: vec!["first@example.org".to_owned(), "second@example.org".to_owned()],
    });
    (twin, driver.unwrap().within(SOON))
}

#[tokio::test]
async fn a_mail_is_whole_and_names_the_action_and_what_it_answers() {
    let (twin, driver) = mailbox().await;
    assert!(driver.send(&page(1).letter()).await.unwrap().is_empty());
    let mut letter: Letter = clear(1).letter();
    letter.text.push_str(".\r\nRSET\r\n");
    driver.send(&letter).await.unwrap();
    let mails = twin.mails();
    assert_eq!(mails[0].to, ["<first@example.org>", "<second@example.org>"]);
    assert_eq!(mails[0].header("From"), "HMS-OPS <ops@example.org>");
    assert!(!mails[0].header("Date").is_empty() && mails[0].header("Subject").contains("TEST"));
    assert_eq!(mails[0].header("Message-ID"), driver.message_id(&page(1).letter().id));
    assert_eq!(mails[1].header("In-Reply-To"), mails[0].header("Message-ID"));
    assert!(mails[1].header("References").starts_with(mails[0].header("References")));
    assert!(mails[1].body.contains("\n.\nRSET\n"), "{:?}", mails[1].body);
}

#[tokio::test]
async fn only_a_mail_that_was_sent_whole_may_have_been_taken() {
    use twins::smtp::Fault;
    let (twin, driver) = mailbox().await;
    for (fault, hint, taken) in [
        (Fault::Later, Hint::Retry { after_ms: 0 }, 0),
        (Fault::Never, Hint::GiveUp, 0),
        (Fault::BreakBefore, Hint::Retry { after_ms: 0 }, 0),
        (Fault::TakeAndBreak, Hint::LookFirst, 1),
        (Fault::TakeAndHang, Hint::LookFirst, 2),
    ] {
        twin.meet(&[fault]);
        let error = driver.send(&page(1).letter()).await.unwrap_err();
        assert_eq!((error.hint(), twin.mails().len()), (hint, taken), "{fault:?}: {error}");
    }
    twin.meet(&[Fault::NotHim]);
    assert_eq!(driver.send(&page(1).letter()).await.unwrap(), ["first@example.org"]);
    assert_eq!(twin.mails()[2].to, ["<second@example.org>"], "one of them is better than none");
}

#[tokio::test]
async fn a_webhook_gives_up_waiting_when_it_is_told_to() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", deaf.local_addr().unwrap());
    let webhook = Webhook::new(&url, &BTreeMap::new()).unwrap().within(Duration::from_millis(100));
    let error = webhook.post("key", &page(1).body()).await.unwrap_err();
    assert!(matches!(error, WorldError::Unknown { .. }), "{error}");
}

/// `ops page test`, with this `ops.toml`: the exit code, stdout, stderr.
async fn page_test(config: &str, channel: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ops.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(["page", "test", channel, "--config"]).arg(&path);
    command.env("KEY", twins::pagerduty::ROUTING_KEY).env("TOKEN", twins::slack::TOKEN).env("PASSWORD", "s3cret");
    // Beside the runtime, on which the twins serve.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    drop(directory);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (code, out, err) = (output.status.code().unwrap(), text(output.stdout), text(output.stderr));
    for secret in [twins::pagerduty::ROUTING_KEY, twins::slack::TOKEN, "s3cret"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
    }
    (code, out, err)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_test_page_says_what_it_is_and_leaves_no_alert() {
    let (pagerduty, slack, smtp) = (
        twins::pagerduty::PagerDuty::start().await,
        twins::slack::Slack::start().await,
        twins::smtp::Smtp::start().await,
    );
    let config = format!(
        "[channels.pd]\nkind = \"pagerduty\"\nrouting_key_env = \"KEY\"\nurl = \"{}\"\n\
         [channels.sl]\nkind = \"slack\"\nchannel = \"{}\"\ntoken_env = \"TOKEN\"\nurl = \"{}\"\n\
         [channels.ma]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nuser = \"ops\"\n\
         password_env = \"PASSWORD\"\nfrom = \"ops@example.org\"\nto = [\"duty@example.org\"]\n\
         [channels.co]\nkind = \"console\"\n",
        pagerduty.url,
        twins::slack::CHANNEL,
        slack.url,
        smtp.port
    );
    for channel in ["pd", "sl", "ma", "co"] {
        let (code, out, err) = page_test(&config, channel).await;
        assert_eq!(code, 0, "{channel}: {out}{err}");
        assert!(out.contains("taken by") && (channel != "co" || out.contains("TEST PAGE")), "{out}");
    }
    assert!(pagerduty.open().is_empty());
    let key = pagerduty.events()[0].trim_start_matches("trigger ").to_owned();
    let summary = pagerduty.alert(&key).triggers[0]["payload"]["summary"].clone();
    assert!(summary.as_str().unwrap().starts_with("TEST"), "{summary}");
    let messages = slack.messages();
    assert!(messages[0]["text"].as_str().unwrap().contains("TEST"), "{messages:?}");
    assert_eq!(messages[1]["thread_ts"], messages[0]["ts"]);
    assert_eq!(smtp.mails().len(), 2);

    slack.posts.meet(&[Fault::TooMany(1)]);
    let (code, _, err) = page_test(&config, "sl").await;
    assert!(code == 1 && err.contains("not taken by sl") && err.contains("429"), "{code} {err}");
    // It may have been taken: its alert is ended all the same.
    pagerduty.calls.meet(&[Fault::TakeAndFail]);
    let (code, ..) = page_test(&config, "pd").await;
    assert_eq!((code, pagerduty.open().len()), (1, 0));
    let (code, _, err) = page_test(&config, "pdd").await;
    assert!(code == 2 && err.contains("\"pdd\"") && err.contains("co, ma, pd, sl"), "{code} {err}");
    let (code, _, err) = page_test(&config.replace("\"KEY\"", "\"NO_KEY\""), "sl").await;
    assert!(code == 2 && err.contains("NO_KEY"), "{code} {err}");
}
