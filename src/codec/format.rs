//! One record type on the bus: its current schema, the released ones, and the header that names a schema.
//!
//! Knows nothing of the fields: that is the business of the codecs. What begins with `00` instead names its schema by
//! an id: see [`super::ids`].

use std::borrow::Cow;
use std::io::Read;

use apache_avro::Schema;
use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};

use super::Error;
use super::binary::{Cursor, Fault};

/// First two bytes of Avro's single-object encoding.
pub const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];
/// First byte of the Confluent wire format.
pub const CONFLUENT: u8 = 0x00;
/// Length of the single-object header.
pub const HEADER_LENGTH: usize = 10;

/// The largest string, and the largest count of an array, that apache-avro takes, for the whole process.
/// Without a bound a count of 4 * 10^8 in 20 bytes ends the process. The largest record on the bus has 1 MiB.
const MAX_ALLOCATION_BYTES: usize = 1024 * 1024;

/// Sets the bound of apache-avro's allocations. The first call in a process decides, so whoever uses
/// apache-avro without a [`Format`] calls this before.
pub fn bound_allocations() {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION_BYTES);
}

/// One record type on the bus.
pub struct Format {
    name: &'static str,
    text: String,
    current: Schema,
    header: [u8; HEADER_LENGTH],
    released: Vec<([u8; HEADER_LENGTH], Schema)>,
}

/// Why a value holds no datum that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// It does not begin as single-object encoding does.
    NotSingleObject,
    /// CRC-64-AVRO of a schema that was never released.
    UnknownSchema(u64),
    /// It ends within the header or, by an older schema, within the datum.
    Truncated,
    /// Bytes follow the datum of an older schema.
    TrailingBytes(usize),
    /// It cannot have been written by the older schema that it names.
    Malformed,
}

impl Format {
    /// # Panics
    /// If a schema does not parse: they are part of the program.
    pub(super) fn new(name: &'static str, current: &str, released: &[&str]) -> Self {
        bound_allocations();
        let parse = |text: &str| {
            let schema = Schema::parse_str(text).unwrap_or_else(|error| panic!("schema {name}: {error}"));
            (header(&schema), schema)
        };
        let released = released.iter().map(|text| parse(text)).collect();
        let text = current.to_owned();
        let (header, current) = parse(current);
        Self { name, text, current, header, released }
    }

    /// What every value by the current schema begins with.
    pub(super) fn header(&self) -> &[u8; HEADER_LENGTH] {
        &self.header
    }

    /// The name of the record type, as its file in `schemas/`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The current schema as text, with its docs: what the vault keeps beside the records.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema by which is written.
    pub fn schema(&self) -> &Schema {
        &self.current
    }

    /// Every schema that was ever released, oldest first.
    pub fn released(&self) -> impl Iterator<Item = &Schema> {
        self.released.iter().map(|(_, schema)| schema)
    }

    /// A value that begins with the header of the current schema and waits for its datum.
    pub(super) fn begin(&self, capacity: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LENGTH + capacity);
        self.begin_in(&mut out);
        out
    }

    /// The same at the end of `out`.
    pub(super) fn begin_in(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    /// The datum of `value` by the current schema, which is resolved from an older one where need be.
    pub(super) fn datum<'a>(&self, value: &'a [u8]) -> Result<Cow<'a, [u8]>, HeaderFault> {
        let Some((head, datum)) = value.split_at_checked(HEADER_LENGTH) else {
            let begun = value.len().min(SINGLE_OBJECT.len());
            let is_ours = value[..begun] == SINGLE_OBJECT[..begun];
            return Err(if is_ours { HeaderFault::Truncated } else { HeaderFault::NotSingleObject });
        };
        self.datum_by(head, datum)
    }

    /// The same of a datum whose single-object header is `head`, wherever that stood.
    pub(super) fn datum_by<'a>(&self, head: &[u8], datum: &'a [u8]) -> Result<Cow<'a, [u8]>, HeaderFault> {
        if head == self.header {
            return Ok(Cow::Borrowed(datum));
        }
        if head[..2] != SINGLE_OBJECT {
            return Err(HeaderFault::NotSingleObject);
        }
        match self.released.iter().find(|(header, _)| head == header) {
            Some((_, writer)) => self.upgrade(writer, datum).map(Cow::Owned),
            None => {
                let fingerprint = head[2..].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
                Err(HeaderFault::UnknownSchema(fingerprint))
            }
        }
    }

    /// Is this the header of the current schema or of one that was released?
    pub(super) fn wrote(&self, header: &[u8; HEADER_LENGTH]) -> bool {
        *header == self.header || self.released.iter().any(|(released, _)| released == header)
    }

    /// Resolves a datum by an older schema, or a stranger's, to one by the current schema.
    pub(super) fn upgrade(&self, writer: &Schema, datum: &[u8]) -> Result<Vec<u8>, HeaderFault> {
        let mut source = Source { rest: datum, ran_dry: false };
        let value = apache_avro::from_avro_datum(writer, &mut source, Some(&self.current));
        // apache-avro takes a string that is cut off for null: the source knows better.
        if source.ran_dry {
            return Err(HeaderFault::Truncated);
        }
        if !source.rest.is_empty() && value.is_ok() {
            return Err(HeaderFault::TrailingBytes(source.rest.len()));
        }
        value.and_then(|value| apache_avro::to_avro_datum(&self.current, value)).map_err(|_| HeaderFault::Malformed)
    }

    /// Reads a whole value: header, then the datum to its last byte.
    pub(super) fn read<T>(
        &self,
        value: &[u8],
        read: impl FnOnce(&mut Cursor<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let record = self.name;
        let datum = self.datum(value).map_err(|fault| match fault {
            HeaderFault::NotSingleObject => Error::NotSingleObject { record },
            HeaderFault::UnknownSchema(fingerprint) => Error::UnknownSchema { record, fingerprint },
            HeaderFault::Truncated => Error::Truncated { record },
            HeaderFault::TrailingBytes(bytes) => Error::TrailingBytes { record, bytes },
            HeaderFault::Malformed => self.malformed("it does not fit the schema that it names"),
        })?;
        let mut cursor = Cursor::new(&datum);
        let read = read(&mut cursor).map_err(|fault| match fault {
            Fault::Truncated => Error::Truncated { record },
            Fault::Malformed(reason) => self.malformed(reason),
        })?;
        match cursor.left() {
            0 => Ok(read),
            bytes => Err(Error::TrailingBytes { record, bytes }),
        }
    }

    /// An [`Error::Malformed`] of this record type.
    pub(super) fn malformed(&self, reason: impl ToString) -> Error {
        Error::Malformed { record: self.name, reason: reason.to_string() }
    }
}

/// The single-object header of a schema.
pub(super) fn header(schema: &Schema) -> [u8; HEADER_LENGTH] {
    let built = RabinFingerprintHeader::from_schema(schema).build_header();
    built.try_into().expect("two bytes of magic and eight of fingerprint")
}

/// A datum that remembers whether more was asked of it than it had.
struct Source<'a> {
    rest: &'a [u8],
    ran_dry: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.ran_dry |= into.len() > self.rest.len();
        self.rest.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::formats;
    use apache_avro::schema_compatibility::SchemaCompatibility;
    use apache_avro::types::Value;

    #[test]
    fn the_fingerprint_is_the_avro_specifications() {
        // "null" in the test vectors of Avro's schema-tests.txt.
        let null = header(&Schema::Null);
        assert_eq!(null, [0xc3, 0x01, 0x8a, 0x8f, 0x25, 0xcc, 0xe7, 0x24, 0xdd, 0x63]);
    }

    /// FULL_TRANSITIVE: everybody reads everybody, in both directions.
    #[test]
    fn every_released_schema_and_the_current_one_read_each_other() {
        for format in formats() {
            let all: Vec<_> = format.released().chain([format.schema()]).collect();
            assert!(all.len() > 1, "{} was never released", format.name());
            for a in &all {
                for b in &all {
                    SchemaCompatibility::can_read(a, b).unwrap_or_else(|e| panic!("{}: {e}", format.name()));
                }
            }
        }
    }

    /// What makes the above hold for schemas to come: a field can be added and removed only if it has a default.
    #[test]
    fn every_field_has_a_default_and_a_doc() {
        fn walk(schema: &Schema, fields: &mut usize) {
            match schema {
                Schema::Record(record) => {
                    for field in &record.fields {
                        assert!(field.default.is_some(), "{}.{} has no default", record.name.name, field.name);
                        assert!(field.doc.is_some(), "{}.{} has no doc", record.name.name, field.name);
                        *fields += 1;
                        walk(&field.schema, fields);
                    }
                }
                Schema::Union(union) => union.variants().iter().for_each(|each| walk(each, fields)),
                Schema::Array(array) => walk(&array.items, fields),
                Schema::Map(map) => walk(&map.types, fields),
                _ => {}
            }
        }
        let mut fields = 0;
        formats().iter().for_each(|format| walk(format.schema(), &mut fields));
        assert!(fields > 100, "only {fields} fields were found");
    }

    const OLD: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string","default":""}]}"#;
    const NEW: &str = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"long","default":7},
                          {"name":"a","type":"string","default":""}]}"#;

    #[test]
    fn what_an_older_schema_wrote_is_read_with_the_defaults_of_the_current_one() {
        let format = Format::new("r", NEW, &[OLD]);
        let old = Format::new("r", OLD, &[]);
        let mut value = old.begin(0);
        value.extend(apache_avro::to_avro_datum(&old.current, record("hello")).unwrap());
        let read = format.read(&value, |cursor| Ok((cursor.long()?, cursor.string()?.to_owned())));
        assert_eq!(read, Ok((7, "hello".to_owned())));
        for end in 0..value.len() {
            assert_eq!(format.read(&value[..end], |_| Ok(())), Err(Error::Truncated { record: "r" }), "{end}");
        }
        value.push(0);
        assert_eq!(format.read(&value, |_| Ok(())), Err(Error::TrailingBytes { record: "r", bytes: 1 }));
    }

    /// Older data goes through apache-avro, which would reserve room for all of them and end the process.
    #[test]
    fn a_count_of_400_000_000_in_older_data_is_malformed() {
        const LIST: &str = r#"{"type":"record","name":"R","fields":[
            {"name":"l","type":{"type":"array","items":"long"},"default":[]}]}"#;
        let mut value = Format::new("r", LIST, &[]).begin(0);
        value.extend(b"\x80\xe0\xbe\xfd\x02\x02");
        let error = Format::new("r", NEW, &[LIST]).read(&value, |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Malformed { record: "r", .. }), "{error}");
    }

    #[test]
    fn a_header_that_nobody_released_is_named() {
        let format = Format::new("r", NEW, &[]);
        let mut value = Format::new("r", OLD, &[]).begin(0);
        let fingerprint = u64::from_le_bytes(value[2..].try_into().unwrap());
        assert_eq!(format.datum(&value), Err(HeaderFault::UnknownSchema(fingerprint)));
        value[1] = 2;
        assert_eq!(format.datum(&value), Err(HeaderFault::NotSingleObject));
    }

    fn record(a: &str) -> Value {
        Value::Record(vec![("a".to_owned(), Value::String(a.to_owned()))])
    }
}
