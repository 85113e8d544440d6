//! A record of the vault as JSON: what `ops dta --json` prints and `ops_sdk.dta` returns.

use serde_json::{Map, Value, json};

use super::find::Found;
use super::segment::Header;

/// One object: `topic`, `partition`, `offset`, `at` (append time, ms), `key`, and `value`, or `undecodable` with why and the bytes
/// in hex.
pub fn to_json(found: &Found, with_headers: bool) -> Value {
    let Found { log, entry, decoded, .. } = found;
    let mut object = Map::new();
    object.insert("topic".into(), json!(log.topic));
    object.insert("partition".into(), json!(log.partition));
    object.insert("offset".into(), json!(entry.offset));
    object.insert("at".into(), json!(entry.timestamp));
    object.insert("key".into(), bytes_to_json(entry.key.as_deref()));
    if with_headers {
        let header = |header: &Header| json!({"name": bytes_to_json(Some(&header.name)), "value": bytes_to_json(header.value.as_deref())});
        object.insert("headers".into(), entry.headers.iter().map(header).collect());
    }
    match decoded {
        Ok(value) => object.insert("value".into(), value.clone()),
        Err(why) => {
            let hex = entry.value.as_deref().map(hex);
            object.insert("undecodable".into(), json!({"why": why, "hex": hex}))
        }
    };
    Value::Object(object)
}

/// Text where it is text, else `{"hex": ..}`.
fn bytes_to_json(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => std::str::from_utf8(bytes).map_or_else(|_| json!({"hex": hex(bytes)}), |text| json!(text)),
    }
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
