//! The two sides of a comparison in the same form: what the oracle tells, and what was published. Used by the judge
//! alone.

use hms_ops::model::incident::IncidentEvent;
use serde_json::{Value, json};

use crate::oracle::Told;

/// What the oracle says of an event, all of it.
pub fn in_full(told: &Told) -> Value {
    let mut event = told.event.clone();
    event["spec_hash"] = json!(told.spec_hash);
    if let Some((partition, offset)) = told.from {
        event["from_partition"] = json!(partition);
        event["from_offset"] = json!(offset);
    }
    event
}

/// The event with the fields that the oracle tells too. `from_*` show that the oracle heard of a spec in time.
pub fn comparable(event: &IncidentEvent) -> Value {
    let mut value = serde_json::to_value(event).unwrap();
    for name in ["args", "p95_estimate", "text", "semantics"] {
        value.as_object_mut().unwrap().remove(name);
    }
    value
}
