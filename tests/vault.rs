//! The vault keeps every record byte for byte, whoever writes, whatever fails, and never says so too early.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hms_ops::vault::archive::{Batcher, Limits};
use hms_ops::vault::{Appended, Entry, Header, LogId, SegmentDraft, Vault, VaultError};
use proptest::prelude::*;
use tempfile::TempDir;

fn log() -> LogId {
    LogId::new("ops.incidents", 3)
}

fn entry(offset: i64, value: &str) -> Entry {
    Entry {
        offset,
        timestamp: 1_000 * offset,
        key: Some(b"svc".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn draft(from: i64, to: i64, entries: Vec<Entry>) -> SegmentDraft {
    SegmentDraft { log: log(), from, to, entries }
}

fn empty(dir: &TempDir) -> Vault {
    Vault::open_for_append(dir.path().to_str().unwrap()).unwrap()
}

async fn everything(vault: &Vault) -> Vec<Entry> {
    let mut all = Vec::new();
    for segment in vault.segments(&log()).await.unwrap() {
        all.extend(vault.read(&segment).await.unwrap());
    }
    all
}

/// The file of the segment of [`log`] that begins at `from`.
fn file(dir: &TempDir, from: i64) -> PathBuf {
    dir.path().join(format!("ops.incidents/3/{from:020}"))
}

/// The names in the folder of [`log`], temporary files included.
fn names(dir: &TempDir) -> Vec<String> {
    let folder = fs::read_dir(dir.path().join("ops.incidents/3")).unwrap();
    let mut names: Vec<_> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn bytes_come_back_as_they_were() {
    let dir = TempDir::new().unwrap();
    let header = |name: &[u8], value: Option<&[u8]>| Header { name: name.into(), value: value.map(Into::into) };
    let strange = vec![
        Entry { offset: 2, timestamp: -1, key: None, value: None, headers: Vec::new() },
        Entry { offset: 3, timestamp: 0, key: Some(vec![]), value: Some(vec![]), headers: vec![header(b"", None)] },
        Entry {
            offset: 9,
            timestamp: i64::MAX,
            key: Some(vec![0xff, 0xfe, 0]),
            value: Some((0..=255).cycle().take(100_000).collect()),
            headers: vec![header(&[0xc3, 0x28], Some(&[0xff])), header(b"twice", None), header(b"twice", Some(b""))],
        },
    ];
    let written = empty(&dir).append(&draft(0, 12, strange.clone())).await.unwrap();
    assert_eq!(written, Appended::Written);

    let reader = Vault::open(&format!("file://{}", dir.path().display())).unwrap();
    assert_eq!(everything(&reader).await, strange);
    assert_eq!(reader.end(&log()).await.unwrap(), Some(12));
    assert_eq!(reader.logs().await.unwrap(), [log()]);
    assert_eq!(reader.end(&LogId::new("ops.actions", 0)).await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_neither_makes_nor_changes_a_vault() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("none");
    assert!(matches!(Vault::open(missing.to_str().unwrap()), Err(VaultError::Open { .. })));
    let reader = Vault::open(dir.path().to_str().unwrap()).unwrap();
    assert!(matches!(reader.append(&draft(0, 1, vec![])).await, Err(VaultError::ReadOnly { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Two archivers with the same start: `A [0,3)` and `B [0,2)` at once. One is stored whole, the other learns
/// where to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_one_wins_and_the_other_goes_on_behind_it() {
    for _ in 0..20 {
        let dir = TempDir::new().unwrap();
        let rivals = [3, 2].map(|to| {
            let vault = empty(&dir);
            let entries = (0..to).map(|offset| entry(offset, "x")).collect();
            tokio::spawn(async move { (to, vault.append(&draft(0, to, entries)).await.unwrap()) })
        });
        let mut outcomes = Vec::new();
        for rival in rivals {
            outcomes.push(rival.await.unwrap());
        }
        let winners: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == Appended::Written).collect();
        let [(to, _)] = winners[..] else { panic!("{outcomes:?}") };
        assert!(outcomes.iter().any(|(_, outcome)| *outcome == Appended::LostRace { existing_to: *to }));
        assert_eq!(empty(&dir).end(&log()).await.unwrap(), Some(*to));
        assert_eq!(names(&dir), ["00000000000000000000"], "the loser left something behind");
    }
}

/// A stopped, B took over and went on; A wakes with its old draft. `B: [0,60) [60,90)`, `A: [0,80)`.
#[tokio::test]
async fn an_archiver_that_lost_its_partitions_does_no_harm() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (empty(&dir), empty(&dir));
    assert_eq!(a.end(&log()).await.unwrap(), None);
    assert_eq!(b.append(&draft(0, 60, vec![entry(5, "b")])).await.unwrap(), Appended::Written);
    assert_eq!(b.append(&draft(60, 90, vec![entry(60, "b")])).await.unwrap(), Appended::Written);

    let late = draft(0, 80, vec![entry(5, "a"), entry(60, "a")]);
    assert_eq!(a.append(&late).await.unwrap(), Appended::LostRace { existing_to: 60 });
    let next = draft(60, 80, vec![entry(60, "a")]);
    assert_eq!(a.append(&next).await.unwrap(), Appended::LostRace { existing_to: 90 });
    let inside = draft(70, 95, vec![entry(91, "a")]);
    assert!(matches!(a.append(&inside).await, Err(VaultError::Misplaced { from: 70, end: 90, .. })));
    assert_eq!(a.append(&draft(90, 95, vec![entry(91, "a")])).await.unwrap(), Appended::Written);
    // B believes that the vault ends at 90: it looks again before it says that this does not fit.
    assert_eq!(b.append(&draft(95, 99, vec![])).await.unwrap(), Appended::Written);
    assert!(matches!(b.append(&draft(100, 101, vec![])).await, Err(VaultError::Misplaced { end: 99, .. })));
    let values: Vec<_> = everything(&a).await.into_iter().map(|entry| entry.value.unwrap()).collect();
    assert_eq!(values, [b"b", b"b", b"a"]);
}

/// Killed between the temporary file and its link: the file is no segment, and goes when the next writer opens.
#[tokio::test]
async fn what_a_crash_left_half_written_is_ignored_and_removed() {
    let dir = TempDir::new().unwrap();
    let whole = draft(0, 5, vec![entry(4, "x")]);
    assert_eq!(empty(&dir).append(&whole).await.unwrap(), Appended::Written);
    let bytes = fs::read(file(&dir, 0)).unwrap();
    fs::write(format!("{}#1", file(&dir, 5).display()), &bytes[..bytes.len() / 2]).unwrap();

    let reader = Vault::open(dir.path().to_str().unwrap()).unwrap();
    assert_eq!(reader.end(&log()).await.unwrap(), Some(5));
    assert_eq!(names(&dir).len(), 2, "a reader must not clean up");

    let vault = empty(&dir);
    assert_eq!(names(&dir), ["00000000000000000000"]);
    assert_eq!(vault.append(&draft(5, 6, vec![entry(5, "y")])).await.unwrap(), Appended::Written);
    assert_eq!(everything(&vault).await, [entry(4, "x"), entry(5, "y")]);
}

#[tokio::test]
async fn gaps_overlaps_and_damage_are_reported() {
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    for from in [0, 10, 20] {
        let entries = vec![entry(from, "x"), entry(from + 9, "y")];
        assert_eq!(vault.append(&draft(from, from + 10, entries)).await.unwrap(), Appended::Written);
    }
    let middle = fs::read(file(&dir, 10)).unwrap();

    fs::remove_file(file(&dir, 10)).unwrap();
    assert!(matches!(vault.end(&log()).await, Err(VaultError::Gap { from: 10, to: 20, .. })));

    // Somebody else's [10, 25) in its place.
    let other = TempDir::new().unwrap();
    let forger = empty(&other);
    assert_eq!(forger.append(&draft(0, 10, vec![])).await.unwrap(), Appended::Written);
    assert_eq!(forger.append(&draft(10, 25, vec![])).await.unwrap(), Appended::Written);
    fs::copy(file(&other, 10), file(&dir, 10)).unwrap();
    assert!(matches!(vault.end(&log()).await, Err(VaultError::Overlap { from: 20, to: 25, .. })));

    // A segment under another's name, an empty file, a cut one.
    for bytes in [&fs::read(file(&dir, 0)).unwrap()[..], &[], &middle[..50]] {
        fs::write(file(&dir, 10), bytes).unwrap();
        assert!(matches!(vault.end(&log()).await, Err(VaultError::Damaged { .. })), "{} bytes", bytes.len());
    }
    // Cut behind its metadata, where only reading it shows.
    fs::write(file(&dir, 10), &middle[..middle.len() - 1]).unwrap();
    let segments = vault.segments(&log()).await.unwrap();
    assert!(matches!(vault.read(&segments[1]).await, Err(VaultError::Damaged { .. })));
    fs::write(file(&dir, 10), &middle).unwrap();
    assert_eq!(vault.end(&log()).await.unwrap(), Some(30));
}

/// Runs as nobody, because the superuser may write everywhere: on every thread of the runtime.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_vault_takes_nothing_and_goes_on_when_it_can() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let folder = dir.path().join("ops.incidents/3");
    let first = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let vault = Arc::new(empty(&dir));
    assert_eq!(first.block_on(vault.append(&draft(0, 5, vec![entry(4, "x")]))).unwrap(), Appended::Written);

    // SAFETY: changes the file system identity of the calling thread alone, and only if it is the superuser's.
    let nobody = || unsafe {
        libc::setfsuid(65_534);
    };
    mode(dir.path(), 0o755);
    mode(&folder, 0o555);
    let next = draft(5, 6, vec![entry(5, "y")]);
    let (held, tried) = (Arc::clone(&vault), next.clone());
    let refused = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().on_thread_start(nobody).build().unwrap();
        nobody();
        runtime.block_on(async { (held.append(&tried).await, held.end(&log()).await) })
    });
    let (append, end) = refused.join().unwrap();
    mode(&folder, 0o755);
    let error = append.unwrap_err();
    assert!(matches!(error, VaultError::Write { .. }) && error.is_retriable(), "{error}");
    assert_eq!(end.unwrap(), Some(5));
    assert_eq!(names(&dir), ["00000000000000000000"]);
    assert_eq!(first.block_on(vault.append(&next)).unwrap(), Appended::Written);
    assert_eq!(first.block_on(everything(&vault)), [entry(4, "x"), entry(5, "y")]);
}

/// No more room in the middle of a file, as a full disk has it: here by the limit on the size of files.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_takes_nothing_and_the_same_draft_fits_later() {
    const LIMIT: u64 = 4 << 20;
    fn limit(bytes: u64) {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain calls on a struct of ours; without the signal a write over the limit is an error.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut now), 0);
            now.rlim_cur = bytes.min(now.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &now), 0);
        }
    }
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    let half = "x".repeat(LIMIT as usize / 8);
    let big = draft(0, 9, (0..9).map(|offset| entry(offset, &half)).collect());
    limit(LIMIT);
    let refused = vault.append(&big).await;
    limit(u64::MAX);
    let error = refused.unwrap_err();
    assert!(matches!(error, VaultError::Write { .. }) && error.is_retriable(), "{error}");
    assert_eq!(vault.end(&log()).await.unwrap(), None);
    assert!(names(&dir).is_empty(), "half a file stayed");
    assert_eq!(vault.append(&big).await.unwrap(), Appended::Written);
    assert_eq!(vault.append(&big).await.unwrap(), Appended::LostRace { existing_to: 9 });
}

#[tokio::test]
async fn schemas_are_kept_once_under_the_fingerprint_of_the_records() {
    let dir = TempDir::new().unwrap();
    let vault = empty(&dir);
    let text = r#"{"type": "record", "name": "a.b.Small", "doc": "first", "fields": [{"name": "x", "type": "long"}]}"#;
    vault.keep_schema(text).await.unwrap();
    vault.keep_schema(&text.replace("first", "same to a reader")).await.unwrap();
    assert!(matches!(vault.keep_schema("\"long\"").await, Err(VaultError::BadSchema { .. })));
    let [stored] = &vault.schemas().await.unwrap()[..] else { panic!("not one schema") };
    assert_eq!((stored.name.as_str(), stored.text.as_str()), ("Small", text));

    let schema = apache_avro::Schema::parse_str(text).unwrap();
    let mut writer = apache_avro::GenericSingleObjectWriter::new_with_capacity(&schema, 64).unwrap();
    let mut record = Vec::new();
    let value = apache_avro::types::Value::Record(vec![("x".into(), apache_avro::types::Value::Long(1))]);
    writer.write_value(value, &mut record).unwrap();
    let on_the_bus: String = record[2..10].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(stored.fingerprint, on_the_bus);
    assert!(vault.logs().await.unwrap().is_empty(), "schemas are no log");
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

/// A log with holes: entries with anything in them, and the position behind the last marker.
fn any_log() -> impl Strategy<Value = (Vec<Entry>, i64)> {
    let header = (any_bytes(), prop::option::of(any_bytes())).prop_map(|(name, value)| Header { name, value });
    let record = (
        0..3_i64,
        any::<i64>(),
        prop::option::of(any_bytes()),
        prop::option::of(any_bytes()),
        prop::collection::vec(header, 0..3),
    );
    (prop::collection::vec(record, 0..30), 0..3_i64).prop_map(|(records, tail)| {
        let mut next = 0;
        let entries = records.into_iter().map(|(hole, timestamp, key, value, headers)| {
            let offset = next + hole;
            next = offset + 1;
            Entry { offset, timestamp, key, value, headers }
        });
        (entries.collect(), next + tail)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any log, cut by any limits, by an archiver that dies after any number of records and starts again at the
    /// vault's end: the vault holds that log.
    #[test]
    fn any_split_of_a_log_reads_back_as_the_same_log(
        (entries, end) in any_log(),
        max_records in 1..8_usize,
        max_bytes in 1..300_usize,
        max_age_ms in 1..10_i64,
        crashes in prop::collection::vec(any::<bool>(), 30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = TempDir::new().unwrap();
        let limits = Limits { max_bytes, max_records, max_age_ms };
        runtime.block_on(async {
            let mut vault = empty(&dir);
            let mut batcher = Batcher::new(limits);
            batcher.begin(log(), 0);
            let (mut at, mut crashes) = (0, crashes.into_iter());
            while let Some(entry) = entries.get(at) {
                let now = at as i64;
                let mut drafts = batcher.due(now);
                drafts.extend(batcher.push(&log(), entry.clone(), now));
                batcher.moved(&log(), entry.offset + 1);
                for draft in drafts {
                    assert_eq!(vault.append(&draft).await.unwrap(), Appended::Written);
                }
                at += 1;
                if crashes.next() == Some(true) {
                    drop(vault);
                    vault = empty(&dir);
                    let position = vault.end(&log()).await.unwrap().unwrap_or(0);
                    batcher = Batcher::new(limits);
                    batcher.begin(log(), position);
                    at = entries.partition_point(|entry| entry.offset < position);
                }
            }
            batcher.moved(&log(), end);
            if let Some(draft) = batcher.take(&log()) {
                assert_eq!(vault.append(&draft).await.unwrap(), Appended::Written);
                assert_eq!(vault.end(&log()).await.unwrap(), Some(end));
            }
            assert_eq!(everything(&vault).await, entries);
        });
    }
}
