//! What a scale really does, and what the API server itself refuses.

use hms_ops::world::WorldError;
use hms_ops::world::kubernetes::Cluster;
use hms_ops::world::scale::{Owner, ScaleState, Scaled};
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::PostParams;
use serde_json::json;

use crate::cluster::{Kubernetes, read, scanner, workload};

async fn set(driver: &Cluster, read: &ScaleState, to: u32) -> Result<Scaled, WorldError> {
    driver.set_replicas(&scanner(), &read.uid, &read.resource_version, to).await
}

#[tokio::test]
async fn scaling_up_and_down_moves_the_pods_and_the_generation() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    assert_eq!((before.replicas, before.ready, before.generation, &before.managed_by), (2, Some(2), 1, &None));

    let written = set(&driver, &before, 4).await.unwrap();
    assert_eq!((written.replicas, &written.uid), (4, &before.uid));
    kubernetes.wait_until_ready("scanner", 4).await;
    let after = read(&driver).await;
    assert_eq!((after.replicas, after.ready, after.generation), (4, Some(4), 2));

    set(&driver, &after, 0).await.unwrap();
    kubernetes.wait_until_ready("scanner", 0).await;
    let none = read(&driver).await;
    assert_eq!((none.replicas, none.ready, none.generation), (0, Some(0), 3));
    assert_eq!(kubernetes.writes("scanner").await, [(2, 4), (4, 0)]);
}

#[tokio::test]
async fn the_same_write_twice_is_refused_by_the_server() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    set(&driver, &before, 4).await.unwrap();
    assert!(matches!(set(&driver, &before, 4).await, Err(WorldError::Conflict { .. })));
    assert_eq!(kubernetes.writes("scanner").await, [(2, 4)]);
}

#[tokio::test]
async fn a_rival_between_read_and_write_wins() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    kubernetes.scale_by_hand("scanner", 7).await;
    let refused = set(&driver, &before, 4).await.unwrap_err();
    assert!(
        matches!(&refused, WorldError::Conflict { reason, .. } if reason.contains("has been modified")),
        "{refused}"
    );
    assert_eq!(kubernetes.writes("scanner").await, [(2, 7)]);
}

/// A conflict need not be a rival: whoever reads again finds the same uid and generation, and may write.
#[tokio::test]
async fn a_change_of_anything_refuses_the_write_and_a_second_read_tells_whether_it_matters() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    kubernetes.note("scanner", "labels").await;
    assert!(matches!(set(&driver, &before, 4).await, Err(WorldError::Conflict { .. })));
    let again = read(&driver).await;
    assert_eq!((&again.uid, again.generation, again.replicas), (&before.uid, before.generation, 2));
    assert_ne!(again.resource_version, before.resource_version);
    set(&driver, &again, 4).await.unwrap();
    assert_eq!(kubernetes.writes("scanner").await, [(2, 4)]);
}

/// Of a Deployment an annotation is part of what it asks for: the generation cannot tell it from a rival's replicas.
#[tokio::test]
async fn an_annotation_of_a_deployment_is_another_generation() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    kubernetes.note("scanner", "annotations").await;
    let after = read(&driver).await;
    assert_eq!((after.generation, after.replicas), (before.generation + 1, before.replicas));
}

/// 4 -> 6 by us, 4 by a person: all is as it was, but for the version and the generation.
#[tokio::test]
async fn there_and_back_again_is_another_version() {
    let kubernetes = Kubernetes::with_scanner(4).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    set(&driver, &before, 6).await.unwrap();
    kubernetes.scale_by_hand("scanner", 4).await;
    kubernetes.wait_until_ready("scanner", 4).await;
    let after = read(&driver).await;
    assert_eq!((&after.uid, after.replicas, after.ready), (&before.uid, before.replicas, before.ready));
    assert_eq!((before.generation, after.generation), (1, 3));
    assert!(matches!(set(&driver, &before, 6).await, Err(WorldError::Conflict { .. })));
    assert_eq!(kubernetes.writes("scanner").await, [(4, 6), (6, 4)]);
}

#[tokio::test]
async fn a_deployment_that_was_made_again_is_another_one() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let old = read(&driver).await;
    kubernetes.delete("scanner").await;
    assert!(matches!(driver.scale_of(&scanner()).await, Err(WorldError::NotFound { .. })));
    assert!(matches!(set(&driver, &old, 4).await, Err(WorldError::NotFound { .. })));

    kubernetes.create("Deployment", "scanner", 2).await;
    kubernetes.wait_until_ready("scanner", 2).await;
    let new = read(&driver).await;
    assert_ne!(new.uid, old.uid);
    // Even at the version of today: the uid alone refuses it.
    let stolen = ScaleState { uid: old.uid, ..new };
    let refused = set(&driver, &stolen, 4).await.unwrap_err();
    assert!(matches!(&refused, WorldError::Conflict { reason, .. } if reason.contains("UID")), "{refused}");
    assert_eq!(kubernetes.replicas("scanner").await, 2);
}

#[tokio::test]
async fn a_write_without_a_fence_is_not_even_sent() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    for (uid, version) in [("", before.resource_version.as_str()), (before.uid.as_str(), "")] {
        let refused = driver.set_replicas(&scanner(), uid, version, 4).await;
        assert!(matches!(refused, Err(WorldError::Invalid { .. })));
    }
    assert!(kubernetes.writes("scanner").await.is_empty());
}

#[tokio::test]
async fn an_autoscaler_that_owns_the_replicas_is_found() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let driver = kubernetes.driver().await;
    kubernetes.create("Deployment", "gate", 1).await;
    kubernetes.add_autoscaler("of-the-gate", "gate").await;
    assert_eq!(read(&driver).await.managed_by, None);
    kubernetes.add_autoscaler("of-the-scanner", "scanner").await;
    assert_eq!(read(&driver).await.managed_by, Some(Owner::Hpa("of-the-scanner".into())));
}

#[tokio::test]
async fn a_stateful_set_scales_as_a_deployment_does() {
    let kubernetes = Kubernetes::start().await;
    let driver = kubernetes.driver().await;
    kubernetes.create("StatefulSet", "store", 1).await;
    kubernetes.wait_until_ready("store", 1).await;
    let store = workload("statefulset", "store");
    let before = driver.scale_of(&store).await.unwrap();
    assert_eq!((before.replicas, before.ready, before.generation), (1, Some(1), 1));
    let set = async |to| driver.set_replicas(&store, &before.uid, &before.resource_version, to).await;
    set(3).await.unwrap();
    assert!(matches!(set(3).await, Err(WorldError::Conflict { .. })));
    kubernetes.wait_until_ready("store", 3).await;
    let after = driver.scale_of(&store).await.unwrap();
    assert_eq!((after.replicas, after.ready, after.generation), (3, Some(3), 2));
    // A Deployment of that name is another thing.
    assert!(matches!(driver.scale_of(&workload("deployment", "store")).await, Err(WorldError::NotFound { .. })));
}

/// What refuses our writes says the same in the same words.
#[tokio::test]
async fn refusals_are_those_of_a_real_api_server() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let before = read(&kubernetes.driver().await).await;
    let deployments = kubernetes.objects("apps/v1", "Deployment");
    let scale = |metadata: serde_json::Value, replicas| -> Scale {
        serde_json::from_value(json!({"metadata": metadata, "spec": {"replicas": replicas}})).unwrap()
    };
    let other_uid = format!("Precondition failed: UID in precondition: other, UID in object meta: {}", before.uid);
    for (name, body, code, reason, said) in [
        ("scanner", scale(json!({"name": "scanner"}), -1), 422, "Invalid", "must be greater than or equal to 0"),
        ("scanner", scale(json!({"name": "scanner", "uid": "other"}), 4), 409, "Conflict", other_uid.as_str()),
        (
            "scanner",
            scale(json!({"name": "scanner", "resourceVersion": "1"}), 4),
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"scanner\": the object has been modified; please apply \
             your changes to the latest version and try again",
        ),
        (
            "scanner",
            scale(json!({"name": "gate"}), 4),
            400,
            "BadRequest",
            "the name of the object (gate) does not match the name on the URL (scanner)",
        ),
        ("gate", scale(json!({"name": "gate"}), 4), 404, "NotFound", "deployments.apps \"gate\" not found"),
    ] {
        let refused = deployments.replace_scale(name, &PostParams::default(), &body).await;
        let Err(kube::Error::Api(status)) = refused else { panic!("{name} {body:?}: {refused:?}") };
        assert_eq!((status.code, status.reason.as_str()), (code, reason), "{status:?}");
        assert!(status.message.contains(said), "{status:?}");
    }
    assert!(kubernetes.writes("scanner").await.is_empty());
}
