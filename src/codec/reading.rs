//! `ops.metrics`: readings, the hot path, and the only bytes that strangers write. Called by the processor for
//! every record, and by whoever emits.
//!
//! Finds the reasons of [`RejectReason`] up to `bad_name`, always the first that applies; those after it are the
//! processor's, since a refused reading still shows that its series is alive.

use std::collections::BTreeMap;

use super::binary::{Cursor, Fault, put_blocks, put_bytes, put_double, put_long};
use super::format::{CONFLUENT, HeaderFault, SINGLE_OBJECT};
use super::{READING, json};
use crate::model::reading::{Reading, RejectReason};

/// The longest value that is taken, bytes.
pub const MAX_VALUE_LENGTH: usize = 32 * 1024;
/// The longest record that is taken, key, value and headers together, bytes. The bus may hold longer ones (it
/// measures compressed batches), which could neither be forwarded nor kept.
pub const MAX_RECORD_LENGTH: usize = 64 * 1024;
/// What a header counts beside its bytes: a million empty ones are not nothing.
const HEADER_LENGTH: usize = 16;

/// What a value says, before its names and numbers are judged.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parsed {
    /// None: the record's key.
    pub service: Option<String>,
    /// None: there is none.
    pub sensor: Option<String>,
    /// None: the append time.
    pub ts: Option<i64>,
    /// Perhaps not finite.
    pub value: f64,
    pub attributes: BTreeMap<String, String>,
}

/// Reads one record of `ops.metrics` that has no headers. `append_ms` stands in for a `ts` that JSON leaves out, `key`
/// for a `service`.
pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>, append_ms: i64) -> Result<Reading, RejectReason> {
    decode_with_headers(key, value, 0, append_ms)
}

/// What headers count of [`MAX_RECORD_LENGTH`], bytes.
pub fn headers_length<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> usize {
    headers.map(|(name, value)| HEADER_LENGTH + name.len() + value.map_or(0, <[u8]>::len)).sum()
}

/// The same of a record with headers, whose [`headers_length`] is given.
pub fn decode_with_headers(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers_length: usize,
    append_ms: i64,
) -> Result<Reading, RejectReason> {
    let value = value.ok_or(RejectReason::NullValue)?;
    let parsed = parse(value);
    if let Err(reason) = parsed
        && reason < RejectReason::TooLarge
    {
        return Err(reason);
    }
    let length = value.len() + key.map_or(0, <[u8]>::len) + headers_length;
    if value.len() > MAX_VALUE_LENGTH || length > MAX_RECORD_LENGTH {
        return Err(RejectReason::TooLarge);
    }
    judge(key, parsed?, append_ms)
}

/// The value on the bus.
pub fn encode(reading: &Reading) -> Vec<u8> {
    let mut out = READING.begin(reading.service.len() + reading.sensor.len() + 24);
    put_bytes(&mut out, reading.service.as_bytes());
    put_bytes(&mut out, reading.sensor.as_bytes());
    put_long(&mut out, reading.ts);
    put_double(&mut out, reading.value);
    put_attributes(&mut out, &reading.attributes);
    out
}

/// A map of text to text, sorted by name.
pub(super) fn put_attributes(out: &mut Vec<u8>, attributes: &BTreeMap<String, String>) {
    put_blocks(out, attributes.iter(), |out, (name, text)| {
        put_bytes(out, name.as_bytes());
        put_bytes(out, text.as_bytes());
    });
}

/// Tells the encoding by the first byte and reads it.
fn parse(value: &[u8]) -> Result<Parsed, RejectReason> {
    match value.first() {
        None => Err(RejectReason::Truncated),
        Some(&CONFLUENT) => Err(RejectReason::UnknownSchema),
        Some(first) if *first == SINGLE_OBJECT[0] => parse_avro(value),
        Some(_) => {
            let text = json::trim(value);
            match text.first() {
                None => Err(RejectReason::Truncated),
                Some(b'{') => json::parse(text),
                Some(_) => Err(RejectReason::BadMagic),
            }
        }
    }
}

fn parse_avro(value: &[u8]) -> Result<Parsed, RejectReason> {
    let datum = READING.datum(value).map_err(|fault| match fault {
        HeaderFault::NotSingleObject => RejectReason::BadMagic,
        HeaderFault::UnknownSchema(_) => RejectReason::UnknownSchema,
        HeaderFault::Truncated => RejectReason::Truncated,
        HeaderFault::TrailingBytes(_) => RejectReason::TrailingBytes,
        HeaderFault::Malformed => RejectReason::Malformed,
    })?;
    let mut cursor = Cursor::new(&datum);
    let fields = Fields::read(&mut cursor).map_err(|fault| match fault {
        Fault::Truncated => RejectReason::Truncated,
        Fault::Malformed(_) => RejectReason::Malformed,
    })?;
    if cursor.left() > 0 {
        return Err(RejectReason::TrailingBytes);
    }
    fields.parsed().ok_or(RejectReason::Malformed)
}

/// A datum of the current schema, borrowed. Text is looked at only when all of it is there, since `truncated`
/// goes before `malformed`.
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
    fn parsed(self) -> Option<Parsed> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(Parsed {
            service: Some(text(self.service)?),
            sensor: Some(text(self.sensor)?),
            ts: Some(self.ts),
            value: self.value,
            attributes: self
                .attributes
                .into_iter()
                .map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// Names; value and time are looked at with the series in hand ([`Reading::fault`]).
fn judge(key: Option<&[u8]>, parsed: Parsed, append_ms: i64) -> Result<Reading, RejectReason> {
    let from_key = || std::str::from_utf8(key?).ok().map(str::to_owned);
    let service = parsed.service.or_else(from_key).ok_or(RejectReason::BadName)?;
    let sensor = parsed.sensor.ok_or(RejectReason::BadName)?;
    let ts = parsed.ts.unwrap_or(append_ms);
    // The sum is what makes 0.0 of -0.0.
    let reading = Reading { service, sensor, ts, value: parsed.value + 0.0, attributes: parsed.attributes };
    if reading.is_named_well() { Ok(reading) } else { Err(RejectReason::BadName) }
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
        let read = fields.parsed()?;
        Some((read.service?, read.sensor?, read.ts?, read.value.to_bits(), read.attributes))
    }

    fn readings() -> impl Strategy<Value = Reading> {
        let attributes = prop::collection::btree_map(".{0,8}", ".{0,8}", 0..5);
        let value = prop::num::f64::NORMAL | prop::num::f64::ZERO;
        ("[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", "[a-z_:][a-z0-9_:]{0,20}", 1..=i64::MAX, value, attributes).prop_map(
            |(service, sensor, ts, value, attributes)| Reading { service, sensor, ts, value: value + 0.0, attributes },
        )
    }

    proptest! {
        #[test]
        fn a_reading_comes_back(reading in readings()) {
            prop_assert_eq!(decode(None, Some(&encode(&reading)), 1), Ok(reading));
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

    #[test]
    fn the_tick_alone_may_break_the_rule_of_names() {
        let mut tick = Reading {
            service: TICK_SERVICE.to_owned(),
            sensor: TICK_SENSOR.to_owned(),
            ts: 1,
            value: 0.0,
            attributes: BTreeMap::new(),
        };
        assert_eq!(decode(None, Some(&encode(&tick)), 1), Ok(tick.clone()));
        tick.sensor = "tock".to_owned();
        assert_eq!(decode(None, Some(&encode(&tick)), 1), Err(RejectReason::BadName));
    }
}
