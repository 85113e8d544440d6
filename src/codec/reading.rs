//! `ops.metrics`: readings, the hot path, and the only bytes that strangers write. Called by the processor for
//! every record, and by whoever emits.
//!
//! Finds the reasons of [`RejectReason`] up to `bad_name`, always the first that applies; those after it are the
//! processor's, since a refused reading still shows that its series is alive.
//!
//! A good record goes the short way, [`plain`]: no allocation, every byte looked at once. Whatever that does not take
//! goes the long way, which finds out why. Headers say nothing of a reading; that a record with them may be too long to be
//! moved to its home ([`is_movable`]) is the core's business, which knows whether it has to be.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::binary::{Cursor, Fault, put_blocks, put_bytes, put_double, put_long};
use super::format::{CONFLUENT, HeaderFault, SINGLE_OBJECT};
use super::ids::{self, Ids, Known};
use super::{READING, json};
use crate::model::reading::{Attributes, Reading, RejectReason};

/// The longest value that is taken, bytes.
pub const MAX_VALUE_LENGTH: usize = 32 * 1024;
/// The longest record that is moved, bytes. The bus may hold longer ones, as it measures compressed batches, but may not
/// take them again.
pub const MAX_MOVED_LENGTH: usize = 64 * 1024;
/// What a header counts beside its bytes: a million empty ones are not nothing.
const HEADER_LENGTH: usize = 16;

/// What a JSON value says, before record and key fill it up.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parsed<'a> {
    /// None: the record's key.
    pub service: Option<Cow<'a, str>>,
    /// None: there is none.
    pub sensor: Option<Cow<'a, str>>,
    /// None: the append time.
    pub ts: Option<i64>,
    /// Perhaps not finite.
    pub value: f64,
    pub attributes: Attributes<'a>,
}

/// Reads one record of `ops.metrics`. `append_ms` stands in for a `ts` that JSON leaves out, `key` for a `service`.
pub fn decode<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, append_ms: i64) -> Result<Reading<'a>, RejectReason> {
    let reading = decode_with_any_name(Ids::NONE, key, value, append_ms)?;
    if reading.is_named_well() { Ok(reading) } else { Err(RejectReason::BadName) }
}

/// The same, but service and sensor may be called anything: `bad_name` is left to the core, which looks at a name only
/// if it is none of those that it knows.
///
/// Where there is a schema registry, what names its schema by an id that is not in `ids` is `unknown_schema`: whoever
/// decides something has asked for it before ([`Ids::unknown`]).
pub fn decode_with_any_name<'a>(
    ids: &Ids,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    append_ms: i64,
) -> Result<Reading<'a>, RejectReason> {
    if let Some(reading) = value.and_then(|value| decode_plain(ids, value)) {
        return Ok(reading);
    }
    let value = value.ok_or(RejectReason::NullValue)?;
    match parse(ids, key, value, append_ms) {
        Err(reason) if reason < RejectReason::TooLarge => Err(reason),
        _ if value.len() > MAX_VALUE_LENGTH => Err(RejectReason::TooLarge),
        read => read,
    }
}

/// The same of a value that is a whole reading by the current schema, as nearly all are: key, headers and append time are
/// not asked for. `None` of any other.
#[inline(always)]
pub fn decode_plain<'a>(ids: &Ids, value: &'a [u8]) -> Option<Reading<'a>> {
    (value.len() <= MAX_VALUE_LENGTH).then(|| plain(ids, value))?
}

/// May a record, whose headers are given, be appended to another partition?
pub fn is_movable<'a>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> bool {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = headers.map(|(name, value)| HEADER_LENGTH + name.len() + length(value)).sum();
    length(key) + length(value) + headers <= MAX_MOVED_LENGTH
}

/// The short way: a whole reading by the current schema, borrowed. `None` if anything at all is amiss. Inlined, so that the
/// reading is made where it is wanted and not moved there.
#[inline(always)]
fn plain<'a>(ids: &Ids, value: &'a [u8]) -> Option<Reading<'a>> {
    let single = value.strip_prefix(READING.header());
    let mut cursor = Cursor::new(single.or_else(|| ids.current_reading(value))?);
    let mut reading = Reading {
        service: cursor.string().ok()?.into(),
        sensor: cursor.string().ok()?.into(),
        ts: cursor.long().ok()?,
        value: positive_zero(cursor.double().ok()?),
        attributes: Attributes::new(),
    };
    cursor
        .blocks(|cursor| {
            reading.attributes.insert(cursor.string()?.into(), cursor.string()?.into());
            Ok(())
        })
        .ok()?;
    (cursor.left() == 0).then_some(reading)
}

/// The value on the bus.
pub fn encode(reading: &Reading<'_>) -> Vec<u8> {
    let mut out = begin(&reading.service, &reading.sensor);
    put_long(&mut out, reading.ts);
    put_double(&mut out, reading.value);
    put_attributes(&mut out, &reading.attributes);
    out
}

fn begin(service: &str, sensor: &str) -> Vec<u8> {
    let mut out = READING.begin(service.len() + sensor.len() + 24);
    put_bytes(&mut out, service.as_bytes());
    put_bytes(&mut out, sensor.as_bytes());
    out
}

/// What all readings of one series with the same attributes have in common, encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    head: Box<[u8]>,
    tail: Box<[u8]>,
}

impl Frame {
    /// Of such readings.
    pub fn new(service: &str, sensor: &str, attributes: &BTreeMap<impl AsRef<str>, impl AsRef<str>>) -> Self {
        let mut tail = Vec::new();
        put_attributes(&mut tail, attributes);
        Self { head: begin(service, sensor).into(), tail: tail.into() }
    }

    /// Appends the value on the bus of one of them to `out`.
    pub fn put(&self, out: &mut Vec<u8>, ts: i64, value: f64) {
        out.extend_from_slice(&self.head);
        put_long(out, ts);
        put_double(out, value);
        out.extend_from_slice(&self.tail);
    }

    /// No value is longer, bytes.
    pub fn longest(&self) -> usize {
        self.head.len() + 10 + 8 + self.tail.len()
    }
}

/// A map of text to text, sorted by name.
pub(super) fn put_attributes(out: &mut Vec<u8>, attributes: &BTreeMap<impl AsRef<str>, impl AsRef<str>>) {
    put_blocks(out, attributes.iter(), |out, (name, text)| {
        put_bytes(out, name.as_ref().as_bytes());
        put_bytes(out, text.as_ref().as_bytes());
    });
}

/// The long way. Tells the encoding by the first byte and reads it.
fn parse<'a>(ids: &Ids, key: Option<&'a [u8]>, value: &'a [u8], append_ms: i64) -> Result<Reading<'a>, RejectReason> {
    match value.first() {
        None => Err(RejectReason::Truncated),
        Some(&CONFLUENT) => parse_framed(ids, value),
        Some(first) if *first == SINGLE_OBJECT[0] => parse_avro(READING.datum(value)),
        Some(_) => {
            let text = json::trim(value);
            match text.first() {
                None => Err(RejectReason::Truncated),
                Some(b'{') => fill_up(json::parse(text)?, key, append_ms),
                Some(_) => Err(RejectReason::BadMagic),
            }
        }
    }
}

/// By the schema that an id names. Without a registry nothing is named.
fn parse_framed<'a>(ids: &Ids, value: &'a [u8]) -> Result<Reading<'a>, RejectReason> {
    if ids.is_empty() {
        return Err(RejectReason::UnknownSchema);
    }
    let (id, datum) = ids::split(value).ok_or(RejectReason::Truncated)?;
    match ids.get(id) {
        Some(Known::Ours(header)) => parse_avro(READING.datum_by(header, datum)),
        Some(Known::Foreign(writer)) => parse_avro(READING.upgrade(writer, datum).map(Cow::Owned)),
        Some(Known::Nothing) | None => Err(RejectReason::UnknownSchema),
    }
}

fn parse_avro(datum: Result<Cow<'_, [u8]>, HeaderFault>) -> Result<Reading<'_>, RejectReason> {
    let datum = datum.map_err(|fault| match fault {
        HeaderFault::NotSingleObject => RejectReason::BadMagic,
        HeaderFault::UnknownSchema(_) => RejectReason::UnknownSchema,
        HeaderFault::Truncated => RejectReason::Truncated,
        HeaderFault::TrailingBytes(_) => RejectReason::TrailingBytes,
        HeaderFault::Malformed => RejectReason::Malformed,
    })?;
    match &datum {
        Cow::Borrowed(datum) => parse_datum(datum),
        Cow::Owned(datum) => parse_datum(datum).map(Reading::into_owned),
    }
}

fn parse_datum(datum: &[u8]) -> Result<Reading<'_>, RejectReason> {
    let mut cursor = Cursor::new(datum);
    let fields = Fields::read(&mut cursor).map_err(|fault| match fault {
        Fault::Truncated => RejectReason::Truncated,
        Fault::Malformed(_) => RejectReason::Malformed,
    })?;
    if cursor.left() > 0 {
        return Err(RejectReason::TrailingBytes);
    }
    fields.reading().ok_or(RejectReason::Malformed)
}

/// A datum of the current schema. Text is looked at only when all of it is there, since `truncated` goes before
/// `malformed`.
struct Fields<'a> {
    service: &'a [u8],
    sensor: &'a [u8],
    ts: i64,
    value: f64,
    attributes: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Fields<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        let mut fields = Self {
            service: cursor.bytes()?,
            sensor: cursor.bytes()?,
            ts: cursor.long()?,
            value: cursor.double()?,
            attributes: Vec::new(),
        };
        cursor.blocks(|cursor| {
            fields.attributes.push((cursor.bytes()?, cursor.bytes()?));
            Ok(())
        })?;
        Ok(fields)
    }

    /// `None` if any of it is not UTF-8.
    fn reading(self) -> Option<Reading<'a>> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
        Some(Reading {
            service: text(self.service)?,
            sensor: text(self.sensor)?,
            ts: self.ts,
            value: positive_zero(self.value),
            attributes: self
                .attributes
                .into_iter()
                .map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// What JSON leaves out the record has.
fn fill_up<'a>(parsed: Parsed<'a>, key: Option<&'a [u8]>, append_ms: i64) -> Result<Reading<'a>, RejectReason> {
    let from_key = || std::str::from_utf8(key?).ok().map(Cow::Borrowed);
    Ok(Reading {
        service: parsed.service.or_else(from_key).ok_or(RejectReason::BadName)?,
        sensor: parsed.sensor.ok_or(RejectReason::BadName)?,
        ts: parsed.ts.unwrap_or(append_ms),
        value: positive_zero(parsed.value),
        attributes: parsed.attributes,
    })
}

/// Makes 0.0 of -0.0.
fn positive_zero(value: f64) -> f64 {
    value + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{TICK_SENSOR, TICK_SERVICE};
    use apache_avro::types::Value;
    use proptest::prelude::*;

    /// The fields in order, the value by its bits.
    type Read = (String, String, i64, u64, BTreeMap<String, String>);

    /// What apache-avro makes of a datum, by the general path.
    fn generic(datum: &[u8]) -> Option<Read> {
        let mut rest = datum;
        let value = apache_avro::from_avro_datum(READING.schema(), &mut rest, None).ok()?;
        let Value::Record(fields) = value else { return None };
        let [service, sensor, ts, value, attributes] = fields.try_into().ok()?;
        match (service.1, sensor.1, ts.1, value.1, attributes.1) {
            (Value::String(a), Value::String(b), Value::Long(ts), Value::Double(value), Value::Map(map))
                if rest.is_empty() =>
            {
                let text = |value| if let Value::String(text) = value { Some(text) } else { None };
                let map = map.into_iter().map(|(k, v)| Some((k, text(v)?))).collect::<Option<_>>()?;
                Some((a, b, ts, value.to_bits(), map))
            }
            _ => None,
        }
    }

    fn by_hand(datum: &[u8]) -> Option<Read> {
        let mut cursor = Cursor::new(datum);
        let fields = Fields::read(&mut cursor).ok().filter(|_| cursor.left() == 0)?;
        let (ts, value) = (fields.ts, fields.value.to_bits());
        let read = fields.reading()?.into_owned();
        let attributes = read.attributes.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Some((read.service.into(), read.sensor.into(), ts, value, attributes))
    }

    fn readings() -> impl Strategy<Value = Reading<'static>> {
        let attributes = prop::collection::btree_map(".{0,8}", ".{0,8}", 0..5);
        let value = prop::num::f64::NORMAL | prop::num::f64::ZERO;
        ("[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", "[a-z_:][a-z0-9_:]{0,20}", 1..=i64::MAX, value, attributes).prop_map(
            |(service, sensor, ts, value, attributes)| Reading {
                service: service.into(),
                sensor: sensor.into(),
                ts,
                value: value + 0.0,
                attributes: attributes.into_iter().map(|(name, text)| (name.into(), text.into())).collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn a_reading_comes_back(reading in readings()) {
            let value = encode(&reading);
            prop_assert_eq!(decode(None, Some(&value), 1), Ok(reading));
        }

        #[test]
        fn a_frame_makes_the_same_bytes(reading in readings()) {
            let frame = Frame::new(&reading.service, &reading.sensor, &reading.attributes);
            let mut value = Vec::new();
            frame.put(&mut value, reading.ts, reading.value);
            prop_assert!(value.len() <= frame.longest());
            prop_assert_eq!(value, encode(&reading));
        }

        #[test]
        fn the_reader_by_hand_and_the_general_one_agree(
            reading in readings(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut datum = encode(&reading).split_off(super::super::format::HEADER_LENGTH);
            for (place, byte) in edits {
                let place = place.index(datum.len());
                datum[place] = byte;
            }
            prop_assert_eq!(by_hand(&datum), generic(&datum));
        }
    }

    proptest! {
        /// What the short way takes, the long way takes for the same; and it takes all that is whole.
        #[test]
        fn the_short_way_and_the_long_way_agree(
            reading in readings(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut value = encode(&reading);
            prop_assert!(plain(Ids::NONE, &value).is_some());
            for (place, byte) in edits {
                let place = place.index(value.len());
                value[place] = byte;
            }
            let by_bits = |reading: Reading<'_>| (reading.value.to_bits(), Reading { value: 0.0, ..reading }.into_owned());
            if let Some(taken) = plain(Ids::NONE, &value) {
                prop_assert_eq!(parse(Ids::NONE, None, &value, 1).map(by_bits), Ok(by_bits(taken)));
            } else {
                prop_assert!(parse(Ids::NONE, None, &value, 1).is_err());
            }
        }
    }

    #[test]
    fn the_tick_alone_may_break_the_rule_of_names() {
        let mut tick = Reading {
            service: TICK_SERVICE.into(),
            sensor: TICK_SENSOR.into(),
            ts: 1,
            value: 0.0,
            attributes: Attributes::new(),
        };
        assert_eq!(decode(None, Some(&encode(&tick)), 1), Ok(tick.clone()));
        tick.sensor = "tock".into();
        assert_eq!(decode(None, Some(&encode(&tick)), 1), Err(RejectReason::BadName));
    }

    fn registry() -> Ids {
        let mut ids = Ids::default();
        ids.write(&READING, 7);
        ids
    }

    fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
        [&[0][..], &id.to_be_bytes(), datum].concat()
    }

    proptest! {
        /// Whatever its head, a datum is read alike.
        #[test]
        fn a_frame_says_what_a_single_object_says(reading in readings(), byte in any::<u8>(), place in any::<prop::sample::Index>()) {
            let (ids, mut single) = (registry(), encode(&reading));
            let length = single.len() - super::super::format::HEADER_LENGTH;
            let place = super::super::format::HEADER_LENGTH + place.index(length);
            single[place] = byte;
            let frame = ids.frame(&single).unwrap();
            let by_bits = |reading: Reading<'_>| (reading.value.to_bits(), Reading { value: 0.0, ..reading }.into_owned());
            prop_assert_eq!(
                decode_with_any_name(&ids, None, Some(&frame), 1).map(by_bits),
                decode_with_any_name(&ids, None, Some(&single), 1).map(by_bits)
            );
        }
    }

    #[test]
    fn a_strangers_schema_is_resolved_to_ours() {
        const WRITER: &str = r#"{"type":"record","name":"Measurement","namespace":"acme","fields":[
            {"name":"value","type":"float"},{"name":"note","type":["null","string"],"default":null},
            {"name":"sensor","type":"string"},{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"service","type":"string"}]}"#;
        let mut ids = registry();
        ids.learn(9, Some(WRITER));
        let value = framed(9, b"\x00\x00\xfc\x41\x02\x04hi\x02q\x02\x02s");
        let read = decode_with_any_name(&ids, None, Some(&value), 1).unwrap();
        assert_eq!((&*read.service, &*read.sensor, read.ts, read.value), ("s", "q", 1, 31.5));
        for end in 5..value.len() {
            let cut = decode_with_any_name(&ids, None, Some(&value[..end]), 1);
            assert_eq!(cut, Err(RejectReason::Truncated), "{end}");
        }
        let long = [&value[..], b"x"].concat();
        assert_eq!(decode_with_any_name(&ids, None, Some(&long), 1), Err(RejectReason::TrailingBytes));
    }

    #[test]
    fn an_id_that_names_no_reading_is_an_unknown_schema() {
        let mut ids = registry();
        ids.write(&super::super::INCIDENT, 8);
        ids.learn(9, None);
        for id in [8, 9, 10] {
            let value = framed(id, b"x");
            let read = decode_with_any_name(&ids, None, Some(&value), 1);
            assert_eq!(read, Err(RejectReason::UnknownSchema), "{id}");
        }
        assert_eq!(decode_with_any_name(&ids, None, Some(b"\x00\x00\x00"), 1), Err(RejectReason::Truncated));
        let value = framed(7, b"");
        assert_eq!(decode(None, Some(&value), 1), Err(RejectReason::UnknownSchema), "without a registry");
    }
}
