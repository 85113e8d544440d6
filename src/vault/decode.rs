//! What the records of the vault say, by the codec of their topic: the one place where the vault meets it.

use serde_json::Value;

use super::Vault;
use super::error::VaultError;
use super::segment::Entry;
use crate::codec;
use crate::codec::ids::Ids;

/// Turns the bytes of a record into JSON.
pub trait Decode {
    /// What the record of `topic` says, or why that cannot be told. `ids`: what the vault knows of them ([`Vault::ids`]).
    fn decode(&self, topic: &str, ids: &Ids, entry: &Entry) -> Result<Value, String>;
}

/// The decoder of what is on our bus: events of `ops.incidents` and `ops.actions`, whatever their prefix.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTopic;

impl Decode for ByTopic {
    fn decode(&self, topic: &str, ids: &Ids, entry: &Entry) -> Result<Value, String> {
        let value = entry.value.as_deref().ok_or("it has no value")?;
        let unframed = ids.unframe(value);
        let value = unframed.as_deref().unwrap_or(value);
        let json = if topic.ends_with("ops.incidents") {
            codec::incident::decode(value).map(serde_json::to_value)
        } else if topic.ends_with("ops.actions") {
            codec::action::decode(value).map(serde_json::to_value)
        } else {
            return Err(format!("no codec is known for {topic}"));
        };
        json.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

impl Vault {
    /// Keeps every schema that a record of `ops.incidents` or `ops.actions` may name. The archiver calls this
    /// before its first segment.
    pub async fn keep_bus_schemas(&self) -> Result<(), VaultError> {
        for format in codec::formats().into_iter().filter(|format| matches!(format.name(), "incident" | "action")) {
            for schema in format.released().chain([format.schema()]) {
                let bad = |error: serde_json::Error| VaultError::BadSchema { why: error.to_string() };
                self.keep_schema(&serde_json::to_string_pretty(schema).map_err(bad)?).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::incident::{EventKind, IncidentEvent};
    use crate::model::{ServiceId, SpecHash};

    #[test]
    fn the_codec_is_that_of_the_topic_whatever_its_prefix() {
        let service = ServiceId::new("svc").expect("a legal id");
        let event = IncidentEvent { kind: EventKind::NoData, service, spec_hash: SpecHash::of(""), at: 5 };
        let value = Some(codec::incident::encode(&event));
        let entry = Entry { offset: 0, timestamp: 0, key: None, value, headers: Vec::new() };
        for topic in ["ops.incidents", "test-1.ops.incidents"] {
            assert_eq!(ByTopic.decode(topic, Ids::NONE, &entry).unwrap()["event"], "no_data");
        }
        for topic in ["ops.actions", "ops.incidents.old"] {
            assert!(ByTopic.decode(topic, Ids::NONE, &entry).is_err(), "{topic}");
        }
        assert!(ByTopic.decode("ops.incidents", Ids::NONE, &Entry { value: None, ..entry }).is_err());
    }
}
