//! Between what serde says of a model type and an Avro datum, led by the schema: field names are the same in
//! the model, in JSON and in Avro, so no codec repeats them.
//!
//! For records of a few a second (incidents, state, actions, specs). Readings, rollups and dead letters are
//! written by hand: they are many, or hold what JSON cannot (infinities, bytes).

use apache_avro::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::Error;
use super::binary::{Cursor, Fault, put_blocks, put_bytes, put_double, put_long};
use super::format::Format;

/// The value on the bus of `record`. The same record gives the same bytes.
///
/// # Panics
/// If the model has a field or a type that the schema lacks: both are part of the program, and a round trip
/// of every variant is tested.
pub fn encode(format: &Format, record: &impl Serialize) -> Vec<u8> {
    let record = serde_json::to_value(record).expect("a model type is plain data");
    let mut out = format.begin(256);
    put(format.schema(), &record, &mut out)
        .unwrap_or_else(|reason| panic!("{} and its schema differ: {reason}", format.name()));
    out
}

/// Reads a value back.
pub fn decode<T: DeserializeOwned>(format: &Format, value: &[u8]) -> Result<T, Error> {
    let record = format.read(value, |cursor| get(format.schema(), cursor))?;
    serde_json::from_value(record).map_err(|error| format.malformed(error))
}

fn put(schema: &Schema, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let misfit = || format!("{value} for {schema:?}");
    match (schema, value) {
        (Schema::Int | Schema::Long, Value::Number(number)) => {
            // A count beyond the largest long is written as the largest long.
            put_long(out, number.as_i64().or(number.is_u64().then_some(i64::MAX)).ok_or_else(misfit)?);
        }
        (Schema::Double, Value::Number(number)) => put_double(out, number.as_f64().ok_or_else(misfit)?),
        (Schema::Boolean, Value::Bool(yes)) => out.push(u8::from(*yes)),
        (Schema::String, Value::String(text)) => put_bytes(out, text.as_bytes()),
        (Schema::Record(record), Value::Object(object)) => {
            let known = |name: &str| record.fields.iter().any(|field| field.name == name);
            if let Some(name) = object.keys().find(|name| !known(name)) {
                return Err(format!("{} has no field {name}", record.name.name));
            }
            for field in &record.fields {
                put(&field.schema, object.get(&field.name).unwrap_or(&Value::Null), out)
                    .map_err(|reason| format!("{}: {reason}", field.name))?;
            }
        }
        (Schema::Union(union), value) => {
            let branch = usize::from(!value.is_null());
            let schema = union.variants().get(branch).ok_or_else(misfit)?;
            put_long(out, branch as i64);
            if branch == 1 {
                put(schema, value, out)?;
            }
        }
        (Schema::Array(array), Value::Array(items)) => {
            let mut result = Ok(());
            put_blocks(out, items.iter(), |out, item| {
                if result.is_ok() {
                    result = put(&array.items, item, out);
                }
            });
            result?;
        }
        (Schema::Map(map), Value::Object(object)) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            let mut result = Ok(());
            put_blocks(out, entries.into_iter(), |out, (name, value)| {
                if result.is_ok() {
                    put_bytes(out, name.as_bytes());
                    result = put(&map.types, value, out);
                }
            });
            result?;
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

/// Null fields are left out: in the model, what a kind of record does not have is not there.
fn get(schema: &Schema, cursor: &mut Cursor<'_>) -> Result<Value, Fault> {
    Ok(match schema {
        Schema::Int => Value::from(cursor.int()?),
        Schema::Long => Value::from(cursor.long()?),
        Schema::Double => Number::from_f64(cursor.double()?).map_or(Value::Null, Value::Number),
        Schema::Boolean => Value::from(cursor.boolean()?),
        Schema::String => Value::from(cursor.string()?),
        Schema::Record(record) => {
            let mut object = Map::new();
            for field in &record.fields {
                let value = get(&field.schema, cursor)?;
                if !value.is_null() {
                    object.insert(field.name.clone(), value);
                }
            }
            Value::Object(object)
        }
        Schema::Union(union) => {
            let branch = union.variants().get(1).ok_or(Fault::Malformed("a union of one type"))?;
            cursor.optional(|cursor| get(branch, cursor))?.unwrap_or(Value::Null)
        }
        Schema::Array(array) => Value::Array(cursor.array(|cursor| get(&array.items, cursor))?),
        Schema::Map(map) => {
            let mut object = Map::new();
            cursor.blocks(|cursor| {
                let name = cursor.string()?.to_owned();
                object.insert(name, get(&map.types, cursor)?);
                Ok(())
            })?;
            Value::Object(object)
        }
        _ => return Err(Fault::Malformed("a type that no schema of ours has")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::formats;

    /// `put` and `get` know `["null", T]` and no other union, and every type that the schemas use.
    #[test]
    fn the_schemas_use_nothing_that_this_file_does_not_know() {
        fn walk(schema: &Schema) {
            match schema {
                Schema::Record(record) => record.fields.iter().for_each(|field| walk(&field.schema)),
                Schema::Union(union) => {
                    assert!(matches!(union.variants(), [Schema::Null, _]), "{union:?}");
                    walk(&union.variants()[1]);
                }
                Schema::Array(array) => walk(&array.items),
                Schema::Map(map) => walk(&map.types),
                Schema::Bytes | Schema::Int | Schema::Long | Schema::Double | Schema::Boolean | Schema::String => {}
                other => panic!("{other:?}"),
            }
        }
        formats().iter().for_each(|format| walk(format.schema()));
    }

    #[test]
    fn a_field_that_the_schema_lacks_is_no_silent_loss() {
        let record = serde_json::json!({"service": "s", "colour": "red"});
        let reason = put(crate::codec::READING.schema(), &record, &mut Vec::new()).unwrap_err();
        assert_eq!(reason, "Reading has no field colour");
    }
}
