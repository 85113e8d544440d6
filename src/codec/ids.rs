//! Schema ids of a registry, as a value: which schema each names, and which we write. Pure: who meets an id that is not
//! in the table asks the registry at the edge ([`crate::registry`]) and comes back with a table that has it.
//!
//! ```text
//! single object   C3 01 | fingerprint, 8 bytes | datum      names its schema by itself
//! wire format     00    | id, 4 bytes          | datum      names it by a table; the datum is the same
//! ```
//!
//! So a frame is exchanged without touching the datum, and the codecs of our own topics know the first form alone: the
//! bus puts what they wrote into the second on its way out ([`Ids::frame`]) and back on its way in ([`Ids::unframe`]).
//! Readings, which strangers write by schemas of their own, are not turned back: [`super::reading`] takes both forms.
//!
//! An id means the same for ever: a registry never gives one out twice. A table only grows, but for the ids that nobody
//! had when they were asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema;

use super::format::{CONFLUENT, Format, HEADER_LENGTH, header};
use super::{READING, formats};

/// Length of what goes before the datum in the wire format: `00` and the id.
pub const FRAME_LENGTH: usize = 5;
/// The longest schema that is taken from a registry, bytes.
pub const MAX_SCHEMA_LENGTH: usize = 256 * 1024;

/// What an id names.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// A schema of ours, by its single-object header.
    Ours([u8; HEADER_LENGTH]),
    /// A stranger's, from which readings are resolved.
    Foreign(Arc<Schema>),
    /// No schema, or none that a reading can be written by.
    Nothing,
}

/// See the module. Without a registry it is empty, and nothing is framed.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// By which schema what is written: single-object header and frame.
    written: Vec<([u8; HEADER_LENGTH], [u8; FRAME_LENGTH])>,
    /// The frame of readings by the current schema, for the short way.
    readings: Option<[u8; FRAME_LENGTH]>,
    known: BTreeMap<u32, Known>,
}

impl Ids {
    /// No registry.
    pub const NONE: &'static Self = &Self { written: Vec::new(), readings: None, known: BTreeMap::new() };

    /// Is there a registry?
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// From now on what is written by the current schema of `format` names it by `id`.
    pub fn write(&mut self, format: &Format, id: u32) {
        self.written.retain(|(header, _)| header != format.header());
        self.written.push((*format.header(), frame(id)));
        if format.header() == READING.header() {
            self.readings = Some(frame(id));
        }
        self.known.insert(id, Known::Ours(*format.header()));
    }

    /// What the registry says of `id`: the text of an Avro schema, or that there is none.
    pub fn learn(&mut self, id: u32, schema: Option<&str>) {
        let known = schema.map_or(Known::Nothing, understand);
        self.known.entry(id).or_insert(known);
    }

    /// Is it known what `id` names, and be it nothing?
    pub fn knows(&self, id: u32) -> bool {
        self.known.contains_key(&id)
    }

    /// Forgets the ids that named nothing: one that is not given out yet may be given out later.
    pub fn forget_nothing(&mut self) {
        self.known.retain(|_, known| !matches!(known, Known::Nothing));
    }

    /// How many ids name nothing.
    pub fn nothing(&self) -> usize {
        self.known.values().filter(|known| matches!(known, Known::Nothing)).count()
    }

    /// The id that has to be asked for before `value` can be read; none without a registry.
    #[inline]
    pub fn unknown(&self, value: &[u8]) -> Option<u32> {
        if value.first() != Some(&CONFLUENT) || self.is_empty() {
            return None;
        }
        let (id, _) = split(value)?;
        (!self.knows(id)).then_some(id)
    }

    /// `value`, which a codec has written, in the wire format. `None`: it stays as it is.
    pub fn frame(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (head, datum) = value.split_at_checked(HEADER_LENGTH)?;
        let (_, frame) = self.written.iter().find(|(header, _)| header == head)?;
        Some([frame, datum].concat())
    }

    /// The same, but readings stay as they are: within a transaction they are strangers', on their way home.
    pub fn frame_decided(&self, value: &[u8]) -> Option<Vec<u8>> {
        if value.starts_with(READING.header()) { None } else { self.frame(value) }
    }

    /// `value` in single-object encoding, if it is in the wire format by a schema of our own topics. `None`: it stays as
    /// it is.
    pub fn unframe(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (id, datum) = split(value)?;
        match self.known.get(&id)? {
            Known::Ours(header) if !READING.wrote(header) => Some([header, datum].concat()),
            _ => None,
        }
    }

    /// What follows the frame of readings by the current schema.
    #[inline]
    pub(super) fn current_reading<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        value.strip_prefix(self.readings.as_ref()?)
    }

    /// What `id` names; none if that was not asked for.
    pub(super) fn get(&self, id: u32) -> Option<&Known> {
        self.known.get(&id)
    }

    /// Ids of the current schemas and their single-object headers in hex, as the vault keeps them.
    pub fn of_ours(&self) -> impl Iterator<Item = (u32, String)> {
        let hex = |header: &[u8]| header[2..].iter().map(|byte| format!("{byte:02x}")).collect();
        self.known.iter().filter_map(move |(id, known)| match known {
            Known::Ours(header) => Some((*id, hex(header))),
            _ => None,
        })
    }
}

/// What goes before a datum.
fn frame(id: u32) -> [u8; FRAME_LENGTH] {
    let [a, b, c, d] = id.to_be_bytes();
    [CONFLUENT, a, b, c, d]
}

/// Id and datum of a value in the wire format.
pub(super) fn split(value: &[u8]) -> Option<(u32, &[u8])> {
    let (head, datum) = value.split_first_chunk::<FRAME_LENGTH>()?;
    let [CONFLUENT, id @ ..] = *head else { return None };
    Some((u32::from_be_bytes(id), datum))
}

/// What a schema is to us.
fn understand(text: &str) -> Known {
    // Sets the bound of apache-avro's allocations too.
    let ours = formats();
    if text.len() > MAX_SCHEMA_LENGTH {
        return Known::Nothing;
    }
    let Ok(schema) = Schema::parse_str(text) else { return Known::Nothing };
    let found = header(&schema);
    if ours.iter().any(|format| format.wrote(&found)) {
        return Known::Ours(found);
    }
    // Without logical types, from which apache-avro resolves nothing: a time in milliseconds is the number that it is.
    let Ok(schema) = Schema::parse_str(&schema.canonical_form()) else { return Known::Nothing };
    let is_readable = matches!(schema, Schema::Record(_)) && is_bounded(&schema, &mut Vec::new());
    if is_readable { Known::Foreign(Arc::new(schema)) } else { Known::Nothing }
}

/// Is a value by this schema no larger and no deeper than its bytes allow? Of a record within itself each level may cost
/// one byte, of an array of nothing an item costs none: 32 KiB of either would end the process.
fn is_bounded(schema: &Schema, within: &mut Vec<String>) -> bool {
    match schema {
        Schema::Ref { name } => !within.contains(&name.fullname(None)),
        Schema::Record(record) => {
            within.push(record.name.fullname(None));
            let bounded = record.fields.iter().all(|field| is_bounded(&field.schema, within));
            within.pop();
            bounded
        }
        Schema::Union(union) => union.variants().iter().all(|each| is_bounded(each, within)),
        Schema::Array(array) => !may_be_empty(&array.items) && is_bounded(&array.items, within),
        Schema::Map(map) => is_bounded(&map.types, within),
        _ => true,
    }
}

/// Can a value by this schema take no bytes at all? Of a name that stands for a schema elsewhere it is assumed.
fn may_be_empty(schema: &Schema) -> bool {
    match schema {
        Schema::Null | Schema::Ref { .. } => true,
        Schema::Fixed(fixed) => fixed.size == 0,
        Schema::Record(record) => record.fields.iter().all(|field| may_be_empty(&field.schema)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::INCIDENT;

    fn table() -> Ids {
        let mut ids = Ids::default();
        ids.write(&READING, 7);
        ids.write(&INCIDENT, 0x0102_0304);
        ids
    }

    #[test]
    fn a_frame_is_exchanged_and_the_datum_stays() {
        let ids = table();
        let mut single = INCIDENT.begin(0);
        single.extend(b"datum");
        let framed = ids.frame(&single).unwrap();
        assert_eq!(framed, b"\x00\x01\x02\x03\x04datum");
        assert_eq!(ids.unframe(&framed).as_ref(), Some(&single));
        assert_eq!((Ids::NONE.frame(&single), Ids::NONE.unframe(&framed)), (None, None));
        for stays in [&b""[..], b"{}", b"\xc3\x01", b"\xc3\x0112345678datum"] {
            assert_eq!((ids.frame(stays), ids.unframe(stays)), (None, None), "{stays:?}");
        }
    }

    #[test]
    fn a_reading_of_a_stranger_goes_home_as_it_is() {
        let (ids, single) = (table(), READING.begin(0));
        assert!(ids.frame(&single).is_some(), "our own are framed");
        assert_eq!(ids.frame_decided(&single), None);
        assert_eq!(ids.unframe(b"\x00\x00\x00\x00\x07"), None, "and are not turned back");
    }

    #[test]
    fn an_id_is_asked_for_once_and_only_where_there_is_a_registry() {
        let (mut ids, value) = (table(), b"\x00\x00\x00\x00\x09x");
        assert_eq!(ids.unknown(value), Some(9));
        assert_eq!(Ids::NONE.unknown(value), None);
        for known in [&b"\x00\x00\x00\x00\x07x"[..], b"\x00\x00\x00", b"", b"{", b"\xc3\x01"] {
            assert_eq!(ids.unknown(known), None, "{known:?}");
        }
        ids.learn(9, None);
        assert_eq!((ids.unknown(value), ids.nothing()), (None, 1));
        ids.forget_nothing();
        assert_eq!(ids.unknown(value), Some(9));
    }

    #[test]
    fn our_schema_is_known_whatever_docs_it_has_and_under_any_id() {
        let mut ids = table();
        let canonical = READING.schema().canonical_form();
        ids.learn(40, Some(&canonical));
        assert!(matches!(ids.get(40), Some(Known::Ours(header)) if header == READING.header()));
        assert_eq!(ids.of_ours().map(|(id, _)| id).collect::<Vec<_>>(), [7, 40, 0x0102_0304]);
    }

    #[test]
    fn a_schema_whose_values_could_outgrow_their_bytes_names_nothing() {
        let record = |field: &str| {
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":"string"}},{field}]}}"#)
        };
        for (field, taken) in [
            (r#"{"name":"b","type":["null","long"]}"#, true),
            (r#"{"name":"b","type":{"type":"array","items":"long"}}"#, true),
            (r#"{"name":"b","type":["null","R"]}"#, false),
            (r#"{"name":"b","type":{"type":"map","values":"R"}}"#, false),
            (r#"{"name":"b","type":{"type":"array","items":"null"}}"#, false),
            (r#"{"name":"b","type":{"type":"array","items":{"type":"record","name":"E","fields":[]}}}"#, false),
            (r#"{"name":"b","type":{"type":"array","items":{"type":"fixed","name":"F","size":0}}}"#, false),
        ] {
            let known = understand(&record(field));
            assert_eq!(matches!(known, Known::Foreign(_)), taken, "{field}: {known:?}");
        }
        let long = record(&format!(r#"{{"name":"b","type":"long","doc":"{}"}}"#, "x".repeat(MAX_SCHEMA_LENGTH)));
        for nothing in ["", "\"string\"", "{", &long] {
            assert!(matches!(understand(nothing), Known::Nothing), "{:.40}", nothing);
        }
    }
}
