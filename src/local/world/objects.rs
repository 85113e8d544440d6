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

/// A pod of a deployment, not ready yet.
pub(super) fn pod(deployment: &Value, name: &str, started: &str) -> Value {
    let owner = text(deployment, "name");
    let template = &deployment["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": text(deployment, "namespace"), "labels": template["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "uid": text(deployment, "uid"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": template["spec"],
        "status": {
            "phase": "Pending", "startTime": started,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": started}],
            "containerStatuses": [container(deployment, false, json!({"waiting": {"reason": "ContainerCreating"}}))],
        },
    })
}

/// The status of a pod that has become ready.
pub(super) fn ready(deployment: &Value, started: &Value, now: &str) -> Value {
    json!({
        "phase": "Running", "startTime": started,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [container(deployment, true, json!({"running": {"startedAt": now}}))],
    })
}

fn container(deployment: &Value, ready: bool, state: Value) -> Value {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
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

/// The scale subresource of a deployment.
pub(super) fn scale(deployment: &Value) -> Value {
    let metadata = &deployment["metadata"];
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
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
            "replicas": deployment["status"]["replicas"].as_u64().unwrap_or(0), "selector": selector.join(","),
        },
    });
    match deployment["spec"]["replicas"].as_u64() {
        Some(0) | None => {}
        Some(replicas) => scale["spec"]["replicas"] = replicas.into(),
    }
    scale
}

/// A HorizontalPodAutoscaler over a deployment. (It owns; it does not scale.)
pub(super) fn autoscaler(namespace: &str, name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": 1, "maxReplicas": 10,
        },
        "status": {"currentReplicas": 0, "desiredReplicas": 0},
    })
}

/// A KEDA ScaledObject over a deployment, by KEDA's defaults for kind and group.
pub(super) fn scaled_object(namespace: &str, name: &str, deployment: &str) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"scaleTargetRef": {"name": deployment}, "triggers": []},
    })
}
