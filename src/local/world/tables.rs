//! What `kubectl get` prints: the server renders the columns, as a real API server does.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{Kind, text};

/// The columns of a kind: name and priority (above 0 only with `-o wide`).
fn columns(kind: Kind) -> &'static [(&'static str, i32)] {
    match kind {
        Kind::Deployment => &[
            ("Name", 0),
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        Kind::StatefulSet => &[("Name", 0), ("Ready", 0), ("Age", 0), ("Containers", 1), ("Images", 1)],
        Kind::Pod => &[("Name", 0), ("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0)],
        Kind::Autoscaler => &[
            ("Name", 0),
            ("Reference", 0),
            ("Targets", 0),
            ("MinPods", 0),
            ("MaxPods", 0),
            ("Replicas", 0),
            ("Age", 0),
        ],
        Kind::ScaledObject => &[("Name", 0), ("Age", 0)],
    }
}

/// A `Table` of these objects. `whole`: each row carries its object, not only the metadata.
pub(super) fn table<'a>(
    kind: Kind,
    objects: impl IntoIterator<Item = &'a Value>,
    version: &str,
    whole: bool,
    now: Timestamp,
) -> Value {
    let definitions: Vec<Value> = columns(kind)
        .iter()
        .map(|(name, priority)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let carried = if whole { object.clone() } else { metadata_only(object) };
            json!({"cells": cells(kind, object, now), "object": carried})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
    })
}

fn cells(kind: Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = json!(text(object, "name"));
    let age = json!(age(text(object, "creationTimestamp"), now));
    let (spec, status) = (&object["spec"], &object["status"]);
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    match kind {
        Kind::Deployment => {
            let container = &spec["template"]["spec"]["containers"][0];
            let labels = spec["selector"]["matchLabels"].as_object();
            let selector: Vec<_> = labels
                .into_iter()
                .flatten()
                .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
                .collect();
            vec![
                name,
                json!(format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]))),
                json!(count(&status["updatedReplicas"])),
                json!(count(&status["availableReplicas"])),
                age,
                container["name"].clone(),
                container["image"].clone(),
                json!(selector.join(",")),
            ]
        }
        Kind::StatefulSet => {
            let container = &spec["template"]["spec"]["containers"][0];
            let ready = format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]));
            vec![name, json!(ready), age, container["name"].clone(), container["image"].clone()]
        }
        Kind::Pod => {
            let container = &status["containerStatuses"][0];
            let ready = u8::from(container["ready"] == true);
            let waiting = &container["state"]["waiting"]["reason"];
            let shown = if waiting.is_string() { waiting } else { &status["phase"] };
            vec![name, json!(format!("{ready}/1")), shown.clone(), json!(count(&container["restartCount"])), age]
        }
        Kind::Autoscaler => {
            let to = &spec["scaleTargetRef"];
            let reference = format!("{}/{}", to["kind"].as_str().unwrap_or(""), to["name"].as_str().unwrap_or(""));
            vec![
                name,
                json!(reference),
                // What an API server makes of one without metrics, where nobody measures.
                json!("cpu: <unknown>/80%"),
                spec["minReplicas"].clone(),
                spec["maxReplicas"].clone(),
                json!(count(&status["currentReplicas"])),
                age,
            ]
        }
        Kind::ScaledObject => vec![name, age],
    }
}

/// As `kubectl` writes ages: `45s`, `3m5s`, `12m`, `5h`, `3d`.
fn age(created: &str, now: Timestamp) -> String {
    let Ok(created) = created.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = (now.as_second() - created.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => match seconds % 60 {
            0 => format!("{}m", seconds / 60),
            rest => format!("{}m{rest}s", seconds / 60),
        },
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::world::objects;

    #[test]
    fn rows_have_a_cell_for_each_column() {
        let objects = [
            (Kind::Deployment, objects::deployment("default", "scanner", 4)),
            (Kind::StatefulSet, objects::deployment("default", "scanner", 4)),
            (Kind::Autoscaler, json!({"metadata": {"name": "hpa"}, "spec": {"minReplicas": 1, "maxReplicas": 10}})),
            (Kind::ScaledObject, objects::scaled_object("default", "so", "scanner")),
            (Kind::Pod, objects::pod(&objects::deployment("default", "scanner", 4), "p", "")),
        ];
        for (kind, object) in objects {
            let table = table(kind, [&object], "7", false, Timestamp::UNIX_EPOCH);
            let cells = table["rows"][0]["cells"].as_array().unwrap();
            assert_eq!(cells.len(), table["columnDefinitions"].as_array().unwrap().len(), "{kind:?}");
        }
    }

    #[test]
    fn ages_read_as_kubectls() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, text) in [(0, "0s"), (119, "119s"), (185, "3m5s"), (240, "4m"), (720, "12m"), (18_000, "5h")] {
            assert_eq!(age("1970-01-01T00:00:00Z", at(seconds)), text);
        }
        assert_eq!(age("", at(1)), "<unknown>");
    }
}
