//! What the records of the vault say, by the codec of their topic: the one place where the vault meets it.

use serde_json::Value;

use super::segment::Entry;

/// Turns the bytes of a record into JSON.
pub trait Decode {
    /// What the record of `topic` says, or why that cannot be told.
    fn decode(&self, topic: &str, entry: &Entry) -> Result<Value, String>;
}

/// The decoder of what is on our bus: events of `ops.incidents` and `ops.actions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTopic;

impl Decode for ByTopic {
    fn decode(&self, topic: &str, entry: &Entry) -> Result<Value, String> {
        let value = entry.value.as_deref().ok_or("it has no value")?;
        let _ = topic;
        serde_json::from_slice(value).map_err(|error| error.to_string())
    }
}
