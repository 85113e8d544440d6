//! What the simulated API says that it can do, in the plain (not aggregated) form that every client falls back to.

use serde_json::{Value, json};

use super::store::Kind;

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0-simulated", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "simulated",
    })
}

/// `/api`.
pub(super) fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`, with the groups of these kinds.
pub(super) fn groups(kinds: &[Kind]) -> Value {
    let mut groups: Vec<Value> =
        kinds.iter().filter(|kind| !kind.group().is_empty()).map(|kind| group(*kind)).collect();
    // The kinds of a group follow each other.
    groups.dedup();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(kind: Kind) -> Value {
    let version = json!({"groupVersion": kind.api_version(), "version": kind.version()});
    json!({"name": kind.group(), "versions": [version], "preferredVersion": version})
}

/// `/api/v1`, `/apis/GROUP/VERSION`, with these kinds, all of that group.
pub(super) fn resources(group_version: &str, kinds: &[Kind]) -> Value {
    let resources: Vec<Value> = kinds.iter().flat_map(|kind| entries(*kind)).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    })
}

/// A kind and its subresources.
fn entries(kind: Kind) -> Vec<Value> {
    let (short, categories): (&[&str], &[&str]) = match kind {
        Kind::Deployment => (&["deploy"], &["all"]),
        Kind::StatefulSet => (&["sts"], &["all"]),
        Kind::Pod => (&["po"], &["all"]),
        Kind::Autoscaler => (&["hpa"], &["all"]),
        Kind::ScaledObject => (&["so"], &[]),
    };
    let verbs: &[&str] = match kind {
        Kind::Deployment | Kind::StatefulSet => &["create", "delete", "get", "list", "patch", "update", "watch"],
        Kind::Autoscaler => &["create", "delete", "get", "list", "watch"],
        Kind::Pod | Kind::ScaledObject => &["get", "list", "watch"],
    };
    let mut resources = vec![json!({
        "name": kind.resource(), "singularName": kind.kind().to_lowercase(), "namespaced": true, "kind": kind.kind(),
        "verbs": verbs, "shortNames": short, "categories": categories,
    })];
    if kind.is_workload() {
        resources.push(json!({
            "name": format!("{}/scale", kind.resource()), "singularName": "", "namespaced": true, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
        }));
    }
    resources
}
