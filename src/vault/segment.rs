//! One segment of one log: what it holds and what its bytes look like (an Avro object container file).
//!
//! Pure: no files here ([`super::Vault`] stores and lists), and what the records mean is not known here either.
//! A segment covers *positions*, not records: transaction markers and compaction take offsets that no record has.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use apache_avro::types::Value;
use apache_avro::{Reader, Schema, Writer};

use super::error::VaultError;
use crate::codec::format::bound_allocations;

/// The schema of an [`Entry`] in a container. Header names are bytes because the vault keeps what was there,
/// not what should have been.
const ENTRY_SCHEMA: &str = r#"{
  "type": "record", "name": "Entry", "namespace": "hms.ops.vault",
  "doc": "One record of a Kafka partition, byte for byte.",
  "fields": [
    {"name": "offset", "type": "long"},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "append time"},
    {"name": "key", "type": ["null", "bytes"]},
    {"name": "value", "type": ["null", "bytes"]},
    {"name": "headers", "type": {"type": "array", "items": {
      "type": "record", "name": "Header", "fields": [
        {"name": "name", "type": "bytes"},
        {"name": "value", "type": ["null", "bytes"]}]}}}]
}"#;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    bound_allocations();
    Schema::parse_str(ENTRY_SCHEMA).expect("the schema above is a schema")
});

/// The longest name that Kafka allows a topic, bytes.
const MAX_TOPIC: usize = 249;

/// The number of this layout; in every container as `ops.format`.
const FORMAT: i64 = 1;

/// One partition of one topic. Shown as `topic/partition`, which is also its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// For example `ops.incidents`.
    pub topic: String,
    /// From 0.
    pub partition: i32,
}

impl LogId {
    /// The log of `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name; UTF-8 by Kafka's rule, bytes here.
    pub name: Vec<u8>,
    /// Its value; Kafka knows null.
    pub value: Option<Vec<u8>>,
}

/// One record of a log, byte for byte: a leaf of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its offset in the partition.
    pub offset: i64,
    /// The broker's append time, ms since the epoch; -1 if the broker gave none.
    pub timestamp: i64,
    /// The key, as it was.
    pub key: Option<Vec<u8>>,
    /// The value, as it was.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<Header>,
}

impl Entry {
    /// Bytes of key, value and headers, by which a batch is measured.
    pub fn size(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|header| header.name.len() + optional(&header.value)).sum();
        optional(&self.key) + optional(&self.value) + headers
    }
}

/// A segment that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDraft {
    /// Of which log.
    pub log: LogId,
    /// The first position it covers: where the vault ends (0 for the first segment of a log).
    pub from: i64,
    /// The first position behind it: the consumer's position, not the last offset + 1.
    pub to: i64,
    /// Every record in `[from, to)`, by offset. A position without a record is a hole.
    pub entries: Vec<Entry>,
}

impl SegmentDraft {
    /// Offsets ascend within `[from, to)`, and the topic is a name that can be a folder.
    pub(super) fn check(&self) -> Result<(), VaultError> {
        let bad = |why: String| Err(VaultError::BadDraft { log: self.log.clone(), from: self.from, why });
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let topic = &self.log.topic;
        if topic.is_empty()
            || topic.len() > MAX_TOPIC
            || !topic.chars().all(legal)
            || topic.starts_with('.')
            || topic == super::SCHEMAS
        {
            return bad(format!("{topic:?} cannot be the topic of a log"));
        }
        if self.log.partition < 0 || self.from < 0 || self.to <= self.from {
            return bad(format!("it covers [{}, {})", self.from, self.to));
        }
        check_offsets(&self.entries, self.from, self.to).or_else(bad)
    }
}

/// A segment that is in the vault, as its container's metadata describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Of which log.
    pub log: LogId,
    /// The first position it covers; its name.
    pub from: i64,
    /// The first position behind it.
    pub to: i64,
    /// How many records it holds.
    pub records: u64,
    /// The least and the greatest append time in it, ms; `None` if it holds no record.
    pub times: Option<(i64, i64)>,
}

impl Segment {
    /// Where it lies in the vault. Zero-padded, so that the order of names is the order of positions.
    pub fn path(&self) -> String {
        path(&self.log, self.from)
    }
}

/// `topic/partition/FIRST`.
pub(super) fn path(log: &LogId, from: i64) -> String {
    format!("{log}/{from:020}")
}

/// The container file of a draft that was checked, read back once: what is stored can be read.
pub(super) fn encode(draft: &SegmentDraft) -> Result<Vec<u8>, String> {
    let bytes = write(draft).map_err(|error| error.to_string())?;
    match decode(&bytes)? {
        (_, entries) if entries == draft.entries => Ok(bytes),
        _ => Err("it does not read back as it was".to_owned()),
    }
}

fn write(draft: &SegmentDraft) -> Result<Vec<u8>, apache_avro::Error> {
    // One record a block: apache-avro bounds what it allocates for a block, and so the bound is a record's.
    let mut writer = Writer::builder().schema(&SCHEMA).writer(Vec::new()).block_size(1).build();
    let mut describe = |name: &str, value: String| writer.add_user_metadata(format!("ops.{name}"), value);
    describe("format", FORMAT.to_string())?;
    describe("topic", draft.log.topic.clone())?;
    describe("partition", draft.log.partition.to_string())?;
    describe("from", draft.from.to_string())?;
    describe("to", draft.to.to_string())?;
    describe("records", draft.entries.len().to_string())?;
    if let Some((min, max)) = times(&draft.entries) {
        describe("min_timestamp", min.to_string())?;
        describe("max_timestamp", max.to_string())?;
    }
    for entry in &draft.entries {
        writer.append(to_avro(entry))?;
    }
    if draft.entries.is_empty() {
        writer.flush()?;
    }
    writer.into_inner()
}

/// Reads the metadata of a container from its first bytes. `Err` says what is wrong, or that they are too few.
pub(super) fn decode_header(bytes: &[u8]) -> Result<Segment, String> {
    LazyLock::force(&SCHEMA);
    let reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    describe(reader.user_metadata())
}

/// Reads a whole container and checks it against its own metadata.
pub(super) fn decode(bytes: &[u8]) -> Result<(Segment, Vec<Entry>), String> {
    let reader = Reader::with_schema(&SCHEMA, bytes).map_err(|error| error.to_string())?;
    let segment = describe(reader.user_metadata())?;
    let mut entries = Vec::new();
    for value in reader {
        entries.push(from_avro(value.map_err(|error| error.to_string())?).ok_or("a record is no entry")?);
    }
    if entries.len() as u64 != segment.records {
        return Err(format!("it holds {} records and says {}", entries.len(), segment.records));
    }
    check_offsets(&entries, segment.from, segment.to)?;
    Ok((segment, entries))
}

fn describe(metadata: &HashMap<String, Vec<u8>>) -> Result<Segment, String> {
    let text = |name: &str| {
        let bytes = metadata.get(&format!("ops.{name}"))?;
        std::str::from_utf8(bytes).ok()
    };
    let number = |name: &str| {
        text(name).and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| format!("no number in ops.{name}"))
    };
    let format = number("format")?;
    if format != FORMAT {
        return Err(format!("its layout is number {format}, this program knows {FORMAT}"));
    }
    let topic = text("topic").ok_or("no text in ops.topic")?;
    let partition = i32::try_from(number("partition")?).map_err(|error| format!("ops.partition: {error}"))?;
    let records = u64::try_from(number("records")?).map_err(|error| format!("ops.records: {error}"))?;
    let times = if records > 0 { Some((number("min_timestamp")?, number("max_timestamp")?)) } else { None };
    let segment =
        Segment { log: LogId::new(topic, partition), from: number("from")?, to: number("to")?, records, times };
    if segment.from < 0 || segment.to <= segment.from {
        return Err(format!("it covers [{}, {})", segment.from, segment.to));
    }
    Ok(segment)
}

fn check_offsets(entries: &[Entry], from: i64, to: i64) -> Result<(), String> {
    let mut next = from;
    for entry in entries {
        if entry.offset < next || entry.offset >= to {
            return Err(format!("offset {} is out of place in [{next}, {to})", entry.offset));
        }
        next = entry.offset + 1;
    }
    Ok(())
}

fn times(entries: &[Entry]) -> Option<(i64, i64)> {
    let times = || entries.iter().map(|entry| entry.timestamp);
    times().min().zip(times().max())
}

fn to_avro(entry: &Entry) -> Value {
    let headers = entry.headers.iter().map(|header| {
        Value::Record(vec![
            ("name".into(), Value::Bytes(header.name.clone())),
            ("value".into(), optional_to_avro(&header.value)),
        ])
    });
    Value::Record(vec![
        ("offset".into(), Value::Long(entry.offset)),
        ("timestamp".into(), Value::TimestampMillis(entry.timestamp)),
        ("key".into(), optional_to_avro(&entry.key)),
        ("value".into(), optional_to_avro(&entry.value)),
        ("headers".into(), Value::Array(headers.collect())),
    ])
}

fn optional_to_avro(bytes: &Option<Vec<u8>>) -> Value {
    match bytes {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(bytes) => Value::Union(1, Box::new(Value::Bytes(bytes.clone()))),
    }
}

/// `None` if the value is not of [`ENTRY_SCHEMA`].
fn from_avro(value: Value) -> Option<Entry> {
    let Value::Record(fields) = value else { return None };
    let [offset, timestamp, key, value, headers] =
        <[(String, Value); 5]>::try_from(fields).ok()?.map(|(_, value)| value);
    let (Value::Long(offset), Value::TimestampMillis(timestamp), Value::Array(headers)) = (offset, timestamp, headers)
    else {
        return None;
    };
    let header = |value| {
        let Value::Record(fields) = value else { return None };
        let [name, value] = <[(String, Value); 2]>::try_from(fields).ok()?.map(|(_, value)| value);
        let Value::Bytes(name) = name else { return None };
        Some(Header { name, value: optional_from_avro(value)? })
    };
    Some(Entry {
        offset,
        timestamp,
        key: optional_from_avro(key)?,
        value: optional_from_avro(value)?,
        headers: headers.into_iter().map(header).collect::<Option<_>>()?,
    })
}

fn optional_from_avro(value: Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Union(_, inner) => match *inner {
            Value::Null => Some(None),
            Value::Bytes(bytes) => Some(Some(bytes)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: i64) -> Entry {
        Entry {
            offset,
            timestamp: 1_700_000_000_000 + offset,
            key: Some(b"svc".to_vec()),
            value: Some(vec![0xc3, 0x01, 0xff, 0x00]),
            headers: vec![Header { name: b"ce_type".to_vec(), value: Some(b"hms.ops.opened".to_vec()) }],
        }
    }

    fn draft(from: i64, to: i64, offsets: &[i64]) -> SegmentDraft {
        let entries = offsets.iter().copied().map(entry).collect();
        SegmentDraft { log: LogId::new("ops.incidents", 3), from, to, entries }
    }

    #[test]
    fn a_container_describes_itself() {
        let segment = decode_header(&encode(&draft(10, 20, &[11, 15])).unwrap()).unwrap();
        let times = Some((1_700_000_000_011, 1_700_000_000_015));
        assert_eq!(segment, Segment { log: LogId::new("ops.incidents", 3), from: 10, to: 20, records: 2, times });
        assert_eq!(segment.path(), "ops.incidents/3/00000000000000000010");
    }

    #[test]
    fn a_segment_of_markers_alone_has_a_container_too() {
        let (segment, entries) = decode(&encode(&draft(5, 7, &[])).unwrap()).unwrap();
        assert_eq!((segment.from, segment.to, segment.records, segment.times), (5, 7, 0, None));
        assert!(entries.is_empty());
    }

    #[test]
    fn a_container_that_was_cut_is_not_taken_for_a_shorter_one() {
        let whole = encode(&draft(0, 9, &[0, 4, 8])).unwrap();
        assert_eq!(decode(&whole).unwrap().1.len(), 3);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "cut at {length} of {}", whole.len());
        }
    }

    #[test]
    fn a_draft_that_contradicts_itself_is_refused() {
        for bad in [
            draft(5, 5, &[]),
            draft(-1, 5, &[]),
            draft(0, 5, &[5]),
            draft(3, 5, &[2]),
            draft(0, 5, &[2, 2]),
            draft(0, 5, &[3, 1]),
            SegmentDraft { log: LogId::new("../x", 0), ..draft(0, 5, &[]) },
            SegmentDraft { log: LogId::new("..", 0), ..draft(0, 5, &[]) },
            SegmentDraft { log: LogId::new("schemas", 0), ..draft(0, 5, &[]) },
            SegmentDraft { log: LogId::new("x".repeat(250), 0), ..draft(0, 5, &[]) },
            SegmentDraft { log: LogId::new("ops.actions", -1), ..draft(0, 5, &[]) },
        ] {
            assert!(matches!(bad.check(), Err(VaultError::BadDraft { .. })), "{bad:?}");
        }
        draft(0, 5, &[0, 4]).check().unwrap();
    }
}
