//! What is in the vault is found by people and programs: `find`, `show`, and `ops dta` on top of them.

use std::fs;
use std::process::{Command, Output};

use hms_ops::codec::{self, ids::Ids};
use hms_ops::model::incident::{EventKind, IncidentEvent};
use hms_ops::model::{ServiceId, SpecHash};
use hms_ops::vault::decode::Decode;
use hms_ops::vault::find::{Lookup, Query, find, show};
use hms_ops::vault::{Appended, Entry, Header, LogId, SegmentDraft, Vault, VaultError};
use serde_json::{Value, json};
use tempfile::TempDir;

fn log() -> LogId {
    LogId::new("ops.incidents", 3)
}

fn entry(offset: i64, value: &str) -> Entry {
    let value = Some(value.as_bytes().to_vec());
    Entry { offset, timestamp: 1_000 * offset, key: Some(b"svc".to_vec()), value, headers: Vec::new() }
}

fn draft(from: i64, to: i64, entries: Vec<Entry>) -> SegmentDraft {
    SegmentDraft { log: log(), from, to, entries }
}

fn empty(dir: &TempDir) -> Vault {
    Vault::open_for_append(dir.path().to_str().unwrap()).unwrap()
}

/// Values are JSON here; what is none cannot be decoded.
struct PlainJson;

impl Decode for PlainJson {
    fn decode(&self, _: &str, _: &Ids, entry: &Entry) -> Result<Value, String> {
        let value = entry.value.as_deref().ok_or("null value")?;
        serde_json::from_slice(value).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn find_leaves_out_only_what_does_not_match() {
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    let event = |offset, kind: &str| entry(offset, &json!({"event": kind}).to_string());
    let other = Entry { key: Some(b"other".to_vec()), ..event(2, "opened") };
    let nobodys = Entry { key: None, ..entry(4, "garbage") };
    let drafts = [
        draft(0, 3, vec![event(0, "opened"), event(1, "resolved"), other]),
        draft(3, 6, vec![entry(3, "garbage"), nobodys]),
        SegmentDraft { log: LogId::new("ops.actions", 0), from: 0, to: 2, entries: vec![event(1, "opened")] },
    ];
    for draft in &drafts {
        assert_eq!(vault.append(draft).await.unwrap(), Appended::Written);
    }
    let places = async |query: Query| {
        let findings = find(&vault, &query, &PlainJson).await.unwrap();
        assert!(findings.damage.is_empty(), "{:?}", findings.damage);
        let place = |log: &LogId, offset| format!("{log}/{offset}");
        findings.found.iter().map(|found| place(&found.log, found.entry.offset)).collect::<Vec<_>>()
    };
    let all = ["ops.incidents/3/0", "ops.actions/0/1", "ops.incidents/3/1", "ops.incidents/3/2"];
    let garbage = ["ops.incidents/3/3", "ops.incidents/3/4"];
    assert_eq!(places(Query::default()).await, [&all[..], &garbage[..]].concat());

    let topic = |name: &str| Query { topic: Some(name.into()), ..Query::default() };
    assert_eq!(places(topic("ops.actions")).await, ["ops.actions/0/1"]);
    assert_eq!(places(topic("ops.incident")).await, places(topic("ops.incidents")).await);
    assert!(places(topic("ops.none")).await.is_empty());

    let service = Query { service: Some("other".into()), ..topic("ops.incidents") };
    assert_eq!(places(service).await, ["ops.incidents/3/2", "ops.incidents/3/4"], "a null key may be anybody's");
    let kind = Query { kind: Some("resolved".into()), ..topic("ops.incidents") };
    assert_eq!(places(kind).await, ["ops.incidents/3/1", "ops.incidents/3/3", "ops.incidents/3/4"]);
    let time = Query { from: Some(1_000), to: Some(3_000), ..topic("ops.incidents") };
    assert_eq!(places(time).await, ["ops.incidents/3/1", "ops.incidents/3/2"], "[from, to)");
}

#[tokio::test]
async fn find_tells_what_it_could_not_look_at() {
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    for from in [0, 1, 2] {
        let one = draft(from, from + 1, vec![entry(from, "{}")]);
        assert_eq!(vault.append(&one).await.unwrap(), Appended::Written);
    }
    fs::remove_file(dir.path().join("ops.incidents/3/00000000000000000001")).unwrap();
    let findings = find(&vault, &Query::default(), &PlainJson).await.unwrap();
    assert_eq!(findings.found.len(), 2);
    assert!(matches!(findings.damage[..], [VaultError::Gap { from: 1, to: 2, .. }]));
}

#[tokio::test]
async fn show_tells_a_record_from_a_hole_and_from_what_is_not_there_yet() {
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    assert_eq!(show(&vault, &log(), 0).await.unwrap(), Lookup::Beyond { end: None });
    assert_eq!(vault.append(&draft(0, 5, vec![entry(3, "x")])).await.unwrap(), Appended::Written);
    assert_eq!(show(&vault, &log(), 3).await.unwrap(), Lookup::Record(entry(3, "x")));
    assert_eq!(show(&vault, &log(), 4).await.unwrap(), Lookup::Hole);
    assert_eq!(show(&vault, &log(), 5).await.unwrap(), Lookup::Beyond { end: Some(5) });
}

/// `p3: 0 opened-like event, 1 garbage, 2 marker`, and what `ops dta` says about it.
async fn on_the_bus(dir: &TempDir) -> Vec<u8> {
    let vault = empty(dir);
    vault.keep_bus_schemas().await.unwrap();
    let event = IncidentEvent {
        kind: EventKind::NoData,
        service: ServiceId::new("svc").unwrap(),
        spec_hash: SpecHash::of("id: svc"),
        at: 5,
    };
    let value = codec::incident::encode(&event);
    let headers = vec![Header { name: b"ce_type".to_vec(), value: Some(b"hms.ops.no_data".to_vec()) }];
    let records = vec![Entry { value: Some(value.clone()), headers, ..entry(0, "") }, entry(1, "gar\u{1b}bage")];
    assert_eq!(vault.append(&draft(0, 3, records)).await.unwrap(), Appended::Written);
    value
}

fn dta(dir: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ops")).arg("dta").args(args).env("OPS_VAULT", dir.path()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn ops_dta_find_prints_what_matches_and_answers_by_its_exit_code() {
    let dir = TempDir::new().unwrap();
    on_the_bus(&dir).await;

    let all = dta(&dir, &["find", "--json"]);
    let [event, garbage] = &lines(&all)[..] else { panic!("{all:?}") };
    assert_eq!(code(&all), 0);
    assert_eq!(
        (&event["topic"], &event["partition"], &event["offset"]),
        (&json!("ops.incidents"), &json!(3), &json!(0))
    );
    assert_eq!((&event["value"]["event"], &event["value"]["at"]), (&json!("no_data"), &json!(5)));
    assert_eq!(garbage["undecodable"]["hex"], "6761721b62616765");

    let text = dta(&dir, &["find"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("1970-01-01T00:00:00.000Z  ops.incidents/3/0  svc  no_data "), "{text}");
    assert!(text.contains("UNDECODABLE") && text.contains("6761721b62616765"), "{text}");

    assert_eq!(code(&dta(&dir, &["find", "--service", "other"])), 1);
    assert_eq!(code(&dta(&dir, &["find", "--since", "1h"])), 1);
    assert_eq!(code(&dta(&dir, &["find", "--kind", "opened"])), 2, "nothing but what cannot be decoded");
    assert_eq!(code(&dta(&dir, &["find", "--since", "yesterday"])), 2);
    assert_eq!(code(&dta(&dir, &["find", "--vault", "/nonexistent"])), 2);
}

#[tokio::test]
async fn ops_dta_show_prints_one_record_or_says_why_not() {
    let dir = TempDir::new().unwrap();
    let value = on_the_bus(&dir).await;
    let raw = dta(&dir, &["show", "ops.incident/3/0", "--raw"]);
    assert_eq!((code(&raw), raw.stdout), (0, value));
    let page = String::from_utf8(dta(&dir, &["show", "ops.incidents/3/0"]).stdout).unwrap();
    assert!(page.contains("header    ce_type: hms.ops.no_data\n") && page.contains("\"event\": \"no_data\""), "{page}");
    let json = &lines(&dta(&dir, &["show", "ops.incidents/3/0", "--json"]))[0];
    assert_eq!(json["headers"][0], json!({"name": "ce_type", "value": "hms.ops.no_data"}));

    for (place, exit, why) in [
        ("ops.incidents/3/2", 1, "transaction marker"),
        ("ops.incidents/3/3", 1, "ends at 3"),
        ("ops.actions/0/0", 1, "nothing of ops.actions/0"),
        ("ops.incidents", 2, "topic/partition/offset"),
    ] {
        let output = dta(&dir, &["show", place]);
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(code(&output) == exit && said.contains(why) && output.stdout.is_empty(), "{place}: {output:?}");
    }
}

/// Who has only the vault can read a record: its first bytes name a schema that is there.
#[tokio::test]
async fn the_schema_that_a_record_names_is_in_the_vault() {
    let dir = TempDir::new().unwrap();
    let value = on_the_bus(&dir).await;
    let named: String = value[2..10].iter().map(|byte| format!("{byte:02x}")).collect();
    let schemas = Vault::open(dir.path().to_str().unwrap()).unwrap().schemas().await.unwrap();
    let schema = schemas.iter().find(|schema| schema.fingerprint == named).unwrap();
    let parsed = apache_avro::Schema::parse_str(&schema.text).unwrap();
    assert!(apache_avro::from_avro_datum(&parsed, &mut &value[10..], None).is_ok());
    assert!(schema.text.contains("Topic ops.incidents"), "its documentation was lost: {}", schema.text);
}

/// A record that names its schema by an id is read without the registry; an id that is another's now is refused.
#[tokio::test]
async fn the_vault_knows_what_the_ids_of_its_records_name() {
    let dir = TempDir::new().unwrap();
    let event = IncidentEvent {
        kind: EventKind::NoData,
        service: ServiceId::new("svc").unwrap(),
        spec_hash: SpecHash::of("id: svc"),
        at: 5,
    };
    let format = |name: &str| codec::formats().into_iter().find(|format| format.name() == name).unwrap();
    let mut ids = Ids::default();
    ids.write(format("incident"), 7);
    ids.write(format("reading"), 8);
    let framed = ids.frame(&codec::incident::encode(&event)).unwrap();
    {
        let vault = empty(&dir);
        let records = vec![Entry { value: Some(framed.clone()), ..entry(0, "") }];
        assert_eq!(vault.append(&draft(0, 1, records)).await.unwrap(), Appended::Written);
        assert!(lines(&dta(&dir, &["find", "--json"]))[0]["undecodable"].is_object(), "nothing is known yet");
        vault.keep_bus_schemas().await.unwrap();
        for _ in 0..2 {
            vault.keep_ids(&ids).await.unwrap();
        }
        let mut moved = Ids::default();
        moved.write(format("action"), 7);
        assert!(matches!(vault.keep_ids(&moved).await, Err(VaultError::BadSchema { .. })));
    }
    let found = lines(&dta(&dir, &["find", "--json"]));
    assert_eq!(found[0]["value"]["event"], "no_data", "{found:?}");
    assert!(dir.path().join("schemas/ids/7.json").exists() && !dir.path().join("schemas/ids/8.json").exists());
    let place = ["show", "ops.incidents/3/0"];
    assert_eq!(code(&dta(&dir, &place)), 0);
    assert_eq!(dta(&dir, &[&place[..], &["--raw"]].concat()).stdout, framed, "kept to the byte");
}
