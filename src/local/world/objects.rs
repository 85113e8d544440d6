//! How the objects of the simulated cluster look: as much of each as clients and `kubectl` read.

use serde_json::{Value, json};

use super::store::text;

/// A deployment as a user would have applied it.
pub(super) fn deployment(namespace: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": format!("simulated/{name}:1")}]},
            },
        },
        "status": {},
    })
}

/// A pod of a workload, not ready yet.
pub(super) fn pod(workload: &Value, name: &str, started: &str) -> Value {
    let owner = text(workload, "name");
    let template = &workload["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": text(workload, "namespace"), "labels": template["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": workload["kind"], "name": owner, "uid": text(workload, "uid"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": template["spec"],
        "status": {
            "phase": "Pending", "startTime": started,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": started}],
            "containerStatuses": [container(workload, false, json!({"waiting": {"reason": "ContainerCreating"}}))],
        },
    })
}

/// The status of a pod that has become ready.
pub(super) fn ready(workload: &Value, started: &Value, now: &str) -> Value {
    json!({
        "phase": "Running", "startTime": started,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [container(workload, true, json!({"running": {"startedAt": now}}))],
    })
}

fn container(workload: &Value, ready: bool, state: Value) -> Value {
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    json!({
        "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
        "restartCount": 0, "state": state,
    })
}

pub(super) fn is_ready(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

/// The status of a deployment with `pods` pods, `ready` of them ready. Counts of 0 are left out, as the API does.
pub(super) fn deployment_status(deployment: &Value, pods: u64, ready: u64, now: &str) -> Value {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
    let available = ready >= wanted;
    let before = &deployment["status"]["conditions"][0];
    let flag = if available { "True" } else { "False" };
    // The time of a transition stays while nothing changes, or each status would differ from the last.
    let since = if before["status"] == flag { before["lastTransitionTime"].clone() } else { json!(now) };
    let (reason, message) = if available {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let mut status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "conditions": [{
            "type": "Available", "status": flag, "reason": reason, "message": message,
            "lastTransitionTime": since, "lastUpdateTime": since,
        }],
    });
    for (field, count) in [
        ("replicas", pods),
        ("updatedReplicas", pods),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
        ("unavailableReplicas", wanted.saturating_sub(ready)),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    status
}

/// The status of a StatefulSet with `pods` pods, `ready` of them ready. It has no conditions, and its count of pods
/// is always there.
pub(super) fn stateful_set_status(set: &Value, pods: u64, ready: u64) -> Value {
    let mut status = json!({"observedGeneration": set["metadata"]["generation"], "replicas": pods});
    for (field, count) in [("readyReplicas", ready), ("currentReplicas", pods), ("updatedReplicas", pods)] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    status["availableReplicas"] = ready.into();
    status
}

/// The scale subresource of a workload.
pub(super) fn scale(workload: &Value) -> Value {
    let metadata = &workload["metadata"];
    let labels = workload["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
        .collect();
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {
            "replicas": workload["status"]["replicas"].as_u64().unwrap_or(0), "selector": selector.join(","),
        },
    });
    match workload["spec"]["replicas"].as_u64() {
        Some(0) | None => {}
        Some(replicas) => scale["spec"]["replicas"] = replicas.into(),
    }
    scale
}

/// A KEDA ScaledObject over a deployment, by KEDA's defaults for kind and group.
pub(super) fn scaled_object(namespace: &str, name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"scaleTargetRef": {"name": deployment}, "triggers": []},
    })
}
