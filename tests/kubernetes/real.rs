//! What only a real API server shows: rights, custom resources, other people's APIs. Beside `tests/kubernetes/run`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hms_ops::model::spec::Workload;
use hms_ops::world::WorldError;
use hms_ops::world::kubernetes::{Cluster, Options};
use hms_ops::world::scale::{Owner, ScaleState};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cluster::account::{Account, File, Right, client, rights};
use crate::cluster::{Kubernetes, SOON, object, of, read, real, scanner, workload};

const NEEDS: &str = "needs a real Kubernetes: tests/kubernetes/run cargo test --test kubernetes -- --include-ignored";

async fn with_scanner() -> Kubernetes {
    assert!(real().is_some(), "{NEEDS}");
    Kubernetes::with_scanner(2).await
}

/// Is it a refusal for want of rights?
fn is_forbidden<T: std::fmt::Debug>(answer: kube::Result<T>) -> bool {
    matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
async fn beyond_its_rights_the_account_is_refused() {
    let kubernetes = with_scanner().await;
    let other = with_scanner().await;
    let account = client(kubernetes.options().kubeconfig.as_deref().unwrap()).await;
    let deployments = object(&account, "apps/v1", "Deployment", Some(&kubernetes.namespace));
    // What it may do, so that what follows is no want of a way in.
    let found = deployments.get("scanner").await.unwrap();
    let (ours, post) = (PatchParams::default(), PostParams::default());
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));

    assert!(is_forbidden(deployments.replace("scanner", &post, &found).await), "update");
    assert!(is_forbidden(deployments.patch("scanner", &ours, &three).await), "patch");
    assert!(
        is_forbidden(deployments.patch_scale("scanner", &ours, &three).await),
        "patch of the scale, without a fence"
    );
    assert!(is_forbidden(deployments.delete("scanner", &DeleteParams::default()).await), "delete");
    assert!(is_forbidden(deployments.list(&ListParams::default()).await), "list");
    for kind in ["Pod", "Secret", "ConfigMap", "ServiceAccount"] {
        let objects = object(&account, "v1", kind, Some(&kubernetes.namespace));
        assert!(is_forbidden(objects.list(&ListParams::default()).await), "{kind}");
    }
    let driver = kubernetes.driver().await;
    let elsewhere = Workload { namespace: Some(other.namespace.clone()), ..scanner() };
    assert!(matches!(driver.scale_of(&elsewhere).await, Err(WorldError::Forbidden { .. })));
    let theirs = read(&other.driver().await).await;
    let write = driver.set_replicas(&elsewhere, &theirs.uid, &theirs.resource_version, 3).await;
    assert!(matches!(write, Err(WorldError::Forbidden { .. })), "{write:?}");
    assert!(kubernetes.writes("scanner").await.is_empty() && other.writes("scanner").await.is_empty());
}

/// Each of the rights is taken away in turn, and something of what the driver does is refused.
#[tokio::test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
async fn every_right_that_is_granted_is_needed() {
    let all = rights();
    assert!(all.len() > 5, "{all:?}");
    assert!(real().is_some(), "{NEEDS}");
    let kubernetes = Kubernetes::start().await;
    for without in all {
        let said = refusal(&kubernetes, &without).await;
        let resource = without.resource.split('/').next().unwrap_or_default();
        assert!(said.contains(resource), "without {without:?} it says {said}");
    }
}

/// What is said in a namespace of its own to an account that lacks a right.
async fn refusal(kubernetes: &Kubernetes, without: &Right) -> String {
    let made = object(&kubernetes.client, "v1", "Namespace", None)
        .create(&PostParams::default(), &of(json!({"metadata": {"generateName": "test-"}})))
        .await
        .unwrap();
    let home = made.metadata.name.unwrap();
    let account = Account::create(&kubernetes.client, &home, |right| right != without).await;
    let kubeconfig = kubernetes.scratch().join("without");
    account.write_kubeconfig(&File::read(&real().unwrap()), None, &kubeconfig);
    account.wait_until(true, &kubeconfig).await;
    let driver = Cluster::connect(&Options { kubeconfig: Some(kubeconfig), ..Options::default() }).await.unwrap();
    for kind in ["Deployment", "StatefulSet"] {
        make(&kubernetes.client, &home, kind).await;
        let subject = workload(&kind.to_lowercase(), "subject");
        let done = match driver.scale_of(&subject).await {
            Ok(state) => driver.set_replicas(&subject, &state.uid, &state.resource_version, 1).await.map(drop),
            Err(error) => Err(error),
        };
        match done {
            Err(WorldError::Forbidden { reason, .. }) => return reason,
            done => done.unwrap(),
        }
    }
    panic!("everything can be done without {without:?}");
}

/// A workload without replicas, so that it is settled from the start.
async fn make(client: &kube::Client, namespace: &str, kind: &str) {
    let labels = json!({"app": "subject"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none:1"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    let body = json!({"metadata": {"name": "subject"}, "spec": spec});
    let made = object(client, "apps/v1", kind, Some(namespace));
    made.create(&PostParams::default(), &of(body)).await.unwrap();
    // Its controller has looked at it when the status says so; until then its version moves.
    let settled = async {
        while made.get("subject").await.unwrap().data["status"]["observedGeneration"].is_null() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, settled).await.expect("no controller looks at it");
}

/// Declares a custom resource and waits until the API serves it.
async fn declare(client: &kube::Client, group: &str, kind: &str, scale: Option<Value>) {
    let plural = format!("{}s", kind.to_lowercase());
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut version = json!({
        "name": "v1alpha1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}},
    });
    if let Some(scale) = scale {
        version["subresources"] = json!({"status": {}, "scale": scale});
    }
    let definition = json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": [version],
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
        },
    });
    let definitions = object(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", None);
    definitions.create(&PostParams::default(), &of(definition)).await.unwrap();
    let served = async {
        let api = object(client, &format!("{group}/v1alpha1"), kind, None);
        while api.list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, served).await.expect("the custom resource is never served");
}

/// Of a custom resource only its scale is known: where its replicas are is its own business.
#[tokio::test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
async fn a_custom_resource_scales_by_its_scale_subresource() {
    assert!(real().is_some(), "{NEEDS}");
    let kubernetes = Kubernetes::start().await;
    let group = format!("{}.example.org", kubernetes.namespace);
    let paths = json!({"specReplicasPath": ".spec.open", "statusReplicasPath": ".status.open"});
    declare(&kubernetes.client, &group, "Lane", Some(paths)).await;
    let lanes = kubernetes.objects(&format!("{group}/v1alpha1"), "Lane");
    let north = json!({"apiVersion": format!("{group}/v1alpha1"), "kind": "Lane", "metadata": {"name": "north"}, "spec": {"open": 2}});
    lanes.create(&PostParams::default(), &of(north)).await.unwrap();

    let driver = kubernetes.driver().await;
    let subject = workload(&format!("lanes.{group}/v1alpha1"), "north");
    assert!(matches!(driver.scale_of(&subject).await, Err(WorldError::Forbidden { .. })), "without a rule of its own");
    grant(&kubernetes, &group, "lanes").await;
    let before = granted(&driver, &subject).await;
    assert_eq!((before.replicas, before.ready, before.generation, &before.managed_by), (2, None, 1, &None));

    let set = async |uid: &str, version: &str, to| driver.set_replicas(&subject, uid, version, to).await;
    set(&before.uid, &before.resource_version, 4).await.unwrap();
    let after = driver.scale_of(&subject).await.unwrap();
    assert_eq!((after.replicas, after.generation), (4, 2));
    assert_eq!(lanes.get("north").await.unwrap().data["spec"]["open"], 4);
    for (uid, version) in [(&before.uid, &before.resource_version), (&"other".to_owned(), &after.resource_version)] {
        let late = set(uid, version, 5).await;
        assert!(matches!(late, Err(WorldError::Conflict { .. })), "{late:?}");
    }
    assert_eq!(driver.scale_of(&subject).await.unwrap(), after);
}

/// The two rules that `deploy/kubernetes.yaml` names for a custom resource.
async fn grant(kubernetes: &Kubernetes, group: &str, plural: &str) {
    let role = json!({"metadata": {"name": "custom"}, "rules": [
        {"apiGroups": [group], "resources": [plural], "verbs": ["get"]},
        {"apiGroups": [group], "resources": [format!("{plural}/scale")], "verbs": ["get", "update"]},
    ]});
    let binding = json!({
        "metadata": {"name": "custom"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "custom"},
        "subjects": [{"kind": "ServiceAccount", "name": "ops-autoscaler", "namespace": kubernetes.namespace}],
    });
    for (kind, body) in [("Role", role), ("RoleBinding", binding)] {
        let objects: Api<DynamicObject> = kubernetes.objects("rbac.authorization.k8s.io/v1", kind);
        objects.create(&PostParams::default(), &of(body)).await.unwrap();
    }
}

/// What the driver sees as soon as it may: the API server hears of a right a moment after it is stored.
async fn granted(driver: &Cluster, subject: &Workload) -> ScaleState {
    let seen = async {
        loop {
            match driver.scale_of(subject).await {
                Err(WorldError::Forbidden { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                seen => return seen.unwrap(),
            }
        }
    };
    timeout(SOON, seen).await.expect("the right never holds")
}

/// KEDA itself is not there, but its API is: what it owns is its own. (Where the API is not there either, every other
/// test shows that it is not missed.)
#[tokio::test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
async fn a_scaled_object_of_keda_owns_the_replicas() {
    let kubernetes = with_scanner().await;
    let driver = kubernetes.driver().await;
    assert_eq!(read(&driver).await.managed_by, None);
    declare(&kubernetes.client, "keda.sh", "ScaledObject", None).await;
    let body = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "queue-scaler"},
        "spec": {"scaleTargetRef": {"name": "scanner"}, "triggers": []},
    });
    let objects = kubernetes.objects("keda.sh/v1alpha1", "ScaledObject");
    objects.create(&PostParams::default(), &of(body)).await.unwrap();
    assert_eq!(read(&driver).await.managed_by, Some(Owner::Keda("queue-scaler".into())));
}

/// `run` is killed along with the shell that called it; nothing of the control plane is left.
#[tokio::test]
#[ignore = "needs a real Kubernetes, tests/kubernetes/run"]
async fn a_control_plane_ends_with_who_started_it() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/run");
    let script = format!("'{}' sh -c 'echo $OPS_TEST_KUBECONFIG; exec sleep 1000'; true", run.display());
    let mut shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = Path::new(line.trim());
    let (server, directory) = (client(kubeconfig).await, kubeconfig.parent().unwrap());
    server.apiserver_version().await.expect("it serves");
    shell.kill().unwrap();
    shell.wait().unwrap();
    // Others close the port and remove the directory; nothing tells when.
    let gone = async {
        while directory.exists() || server.apiserver_version().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, gone).await.expect("it lives on");
}
