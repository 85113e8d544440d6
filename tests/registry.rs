//! The schema registry: its client, its subjects and the table of a running process, against the twin, or against the real
//! registry whose address is in `OPS_TEST_REGISTRY` (`tests/registry/run` starts one).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hms_ops::bus::Schemas as _;
use hms_ops::codec;
use hms_ops::model::topics::Topics;
use hms_ops::registry::client::LEVEL;
use hms_ops::registry::subjects::{self, Difference, subjects};
use hms_ops::registry::{Access, Client, Error, Lookup};

#[path = "twins/mod.rs"]
mod twins;

use twins::registry::{Registry, USER};

/// Long enough for an answer on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry, and names that nobody else has there.
struct Stage {
    access: Access,
    topics: Topics,
    _twin: Option<Registry>,
}

fn stage() -> Stage {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let topics = Topics::new(&format!("test-{now:x}-{}.", NEXT.fetch_add(1, Ordering::Relaxed)));
    match std::env::var("OPS_TEST_REGISTRY") {
        Ok(url) => Stage { access: Access { url, user: None }, topics, _twin: None },
        Err(_) => {
            let twin = Registry::start();
            Stage { access: Access { url: twin.url.clone(), user: None }, topics, _twin: Some(twin) }
        }
    }
}

fn to(twin: &Registry) -> Access {
    Access { url: twin.url.clone(), user: None }
}

#[test]
fn what_is_applied_is_found_by_a_service_and_applying_again_changes_nothing() {
    let Stage { access, topics, _twin } = stage();
    let (client, subjects) = (Client::new(&access).unwrap(), subjects(&topics));
    match Lookup::start(&access, &topics).map(drop) {
        Err(Error::Missing { subjects: missing, .. }) => assert_eq!(missing.len(), subjects.len()),
        other => panic!("{other:?}"),
    }
    let found = subjects::differences(&client, &subjects).unwrap();
    let unregistered = found.iter().filter(|(_, found)| *found == Difference::NotRegistered).count();
    assert_eq!((unregistered, found.len()), (subjects.len(), 2 * subjects.len()), "{found:?}");
    for _ in 0..2 {
        assert_eq!(subjects::apply(&client, &subjects).unwrap(), []);
        assert_eq!(subjects::differences(&client, &subjects).unwrap(), []);
    }
    assert_eq!(client.level(&subjects[0].name).unwrap().as_deref(), Some(LEVEL));
    assert_eq!(client.versions(&subjects[0].name).unwrap().len(), 1);
    let ids = Lookup::start(&access, &topics).unwrap().ids();
    for subject in &subjects {
        let id = client.find(&subject.name, subject.format.text()).unwrap().unwrap();
        assert!(ids.knows(id), "{}", subject.name);
        assert!(client.schema(id).unwrap().is_some());
    }
}

#[test]
fn a_schema_that_breaks_readers_is_refused_and_nothing_is_registered() {
    let Stage { access, topics, _twin } = stage();
    let (client, subjects) = (Client::new(&access).unwrap(), subjects(&topics));
    const FOREIGN: &str = r#"{"type":"record","name":"Reading","namespace":"hms.ops","fields":[
        {"name":"service","type":"string"},{"name":"who","type":"long"}]}"#;
    let metrics = format!("{}-value", topics.metrics);
    client.register(&metrics, FOREIGN).unwrap();
    let refused = subjects::apply(&client, &subjects).unwrap();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].0 == metrics && matches!(refused[0].1, Difference::Incompatible { .. }), "{refused:?}");
    for subject in subjects.iter().filter(|subject| subject.name != metrics) {
        assert_eq!(client.versions(&subject.name).unwrap(), [], "{}", subject.name);
    }
    let error = client.register(&metrics, subjects[0].format.text()).unwrap_err();
    assert!(matches!(error, Error::Refused { code: 409 | 40901, .. }), "{error}");
    let error = client.register(&metrics, "{").unwrap_err();
    assert!(matches!(error, Error::Refused { code: 422 | 42201, .. }), "{error}");
}

#[test]
fn an_id_that_is_met_is_asked_for_and_one_that_nobody_has_is_an_answer_too() {
    let Stage { access, topics, _twin } = stage();
    let client = Client::new(&access).unwrap();
    subjects::apply(&client, &subjects(&topics)).unwrap();
    let lookup = Lookup::start(&access, &topics).unwrap();
    let field = format!("f{}", topics.metrics.len());
    let schema = format!(r#"{{"type":"record","name":"Other","fields":[{{"name":"{field}","type":"string"}}]}}"#);
    let id = client.register(&format!("{}other-value", topics.metrics), &schema).unwrap();
    let (nobody, wanted) = (u32::MAX / 2, BTreeSet::from([id, u32::MAX / 2]));
    let ids = lookup.ask(&wanted, PATIENCE);
    assert!(ids.knows(id) && ids.knows(nobody));
    assert_eq!(ids.nothing(), 1);
    assert_eq!(client.schema(nobody).unwrap(), None);
}

#[test]
fn a_registry_that_is_down_is_asked_again_until_it_answers() {
    let twin = Registry::start();
    let topics = Topics::default();
    subjects::apply(&Client::new(&to(&twin)).unwrap(), &subjects(&topics)).unwrap();
    let lookup = Lookup::start(&to(&twin), &topics).unwrap();
    let id = twin.put("somebody", r#"{"type":"record","name":"X","fields":[{"name":"a","type":"long"}]}"#);
    twin.down(true);
    twin.called();
    let wanted = BTreeSet::from([id]);
    assert!(!lookup.ask(&wanted, Duration::from_millis(50)).knows(id), "down is no answer");
    assert!(twin.called().iter().all(|call| *call == format!("GET /schemas/ids/{id}")));
    twin.down(false);
    assert!(lookup.ask(&wanted, PATIENCE).knows(id));
}

#[test]
fn what_is_not_the_registrys_answer_is_silence_and_no_missing_schema() {
    let twin = Registry::start();
    let client = Client::new(&to(&twin)).unwrap();
    for fault in [twins::Fault::Status(404), twins::Fault::Status(500), twins::Fault::Garbage, twins::Fault::TooMany(1)]
    {
        twin.meet(fault);
        let answer = client.schema(1);
        assert!(matches!(answer, Err(Error::Silent { .. })), "{fault:?}: {answer:?}");
    }
    assert_eq!(client.schema(1).unwrap(), None, "its own 40403 is an answer");
    let nowhere = Client::new(&Access { url: "http://127.0.0.1:1".to_owned(), user: None }).unwrap();
    assert!(matches!(nowhere.schema(1), Err(Error::Silent { .. })));
}

#[test]
fn who_has_no_password_is_refused_and_who_has_it_is_not() {
    let twin = Registry::start().with_user();
    let (user, password) = USER;
    let as_whom = |user| Client::new(&Access { url: twin.url.clone(), user }).unwrap().schema(1);
    for user in [None, Some((user.to_owned(), "wrong".to_owned()))] {
        let error = as_whom(user).unwrap_err();
        assert!(matches!(error, Error::Refused { code: 401, .. }), "{error}");
        assert!(!error.to_string().contains("wrong"));
    }
    assert_eq!(as_whom(Some((user.to_owned(), password.to_owned()))).unwrap(), None);
}

/// The table of a process that starts after an upgrade has both versions; what is written names the current one.
#[test]
fn versions_before_ours_are_known_and_ours_is_written() {
    let twin = Registry::start();
    let topics = Topics::default();
    let all = subjects(&topics);
    let reading = all.iter().find(|subject| subject.format.name() == "reading").unwrap();
    // The same schema without its docs is another version, and the same to us.
    let before = twin.put(&reading.name, &reading.format.schema().canonical_form());
    let client = Client::new(&to(&twin)).unwrap();
    // A canonical form has no defaults, so ours could not be read by it: its level is not ours.
    let ours = twin.put(&reading.name, reading.format.text());
    for subject in all.iter().filter(|subject| subject.name != reading.name) {
        client.register(&subject.name, subject.format.text()).unwrap();
    }
    let ids = Lookup::start(&to(&twin), &topics).unwrap().ids();
    assert!(ids.knows(before) && ids.knows(ours));
    let single = codec::reading::encode(
        &codec::reading::decode(None, Some(br#"{"service":"s","sensor":"q","ts":1,"value":1}"#), 1).unwrap(),
    );
    let framed = ids.frame(&single).unwrap();
    assert_eq!(framed[1..5], ours.to_be_bytes());
    let old = [&[0][..], &before.to_be_bytes(), &framed[5..]].concat();
    for value in [&single, &framed, &old] {
        assert_eq!(&*codec::reading::decode_with_any_name(&ids, None, Some(value), 1).unwrap().service, "s");
    }
}
