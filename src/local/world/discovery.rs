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
    let groups: Vec<Value> = kinds.iter().filter(|kind| !kind.group().is_empty()).map(|kind| group(*kind)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(kind: Kind) -> Value {
    let version = json!({"groupVersion": kind.api_version(), "version": kind.version()});
    json!({"name": kind.group(), "versions": [version], "preferredVersion": version})
}

/// `/api/v1`, `/apis/GROUP/VERSION`: the one kind of that group.
pub(super) fn resources(kind: Kind) -> Value {
    let (short, categories): (&[&str], &[&str]) = match kind {
        Kind::Deployment => (&["deploy"], &["all"]),
        Kind::Pod => (&["po"], &["all"]),
        Kind::Autoscaler => (&["hpa"], &["all"]),
        Kind::ScaledObject => (&["so"], &[]),
    };
    let verbs: &[&str] = match kind {
        Kind::Deployment => &["create", "delete", "get", "list", "patch", "update", "watch"],
        _ => &["get", "list", "watch"],
    };
    let mut resources = vec![json!({
        "name": kind.resource(), "singularName": kind.kind().to_lowercase(), "namespaced": true, "kind": kind.kind(),
        "verbs": verbs, "shortNames": short, "categories": categories,
    })];
    if kind == Kind::Deployment {
        resources.push(json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
        }));
    }
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": kind.api_version(), "resources": resources,
    })
}
