//! Who the autoscaler is in a real cluster: the ServiceAccount of `deploy/kubernetes.yaml` with its rights in one
//! namespace, and kubeconfigs for it.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{SOON, object, of, port_of};

/// What we ship.
const MANIFEST: &str = include_str!("../../deploy/kubernetes.yaml");
/// The ServiceAccount in it.
const NAME: &str = "ops-autoscaler";

/// One thing that the manifest allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// API group.
    pub group: String,
    /// Plural, with the subresource.
    pub resource: String,
    /// What may be done.
    pub verb: String,
}

/// See the module.
pub struct Account {
    token: String,
    namespace: String,
    /// What it may do.
    rights: Vec<Right>,
    /// What gives it its rights.
    binding: Value,
}

/// All that the manifest allows, one by one.
pub fn rights() -> Vec<Right> {
    let role = documents().find(|document| document["kind"] == "ClusterRole").unwrap();
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let right = |verb| Right { group: group.clone(), resource: resource.clone(), verb };
                rights.extend(texts(&rule["verbs"]).into_iter().map(right));
            }
        }
    }
    rights
}

fn documents() -> impl Iterator<Item = Value> {
    serde_yaml::Deserializer::from_str(MANIFEST).map(|document| Value::deserialize(document).unwrap())
}

impl Account {
    /// Applies the manifest with account, role and binding in `namespace`; of its rights those that are `kept`.
    pub async fn create(admin: &kube::Client, namespace: &str, kept: impl Fn(&Right) -> bool) -> Self {
        let rights: Vec<Right> = rights().into_iter().filter(kept).collect();
        let mut binding = Value::Null;
        for mut document in documents() {
            document["metadata"]["namespace"] = namespace.into();
            if document["kind"] == "ClusterRole" {
                // The same for one namespace: tests with other rights run at the same time.
                document["kind"] = "Role".into();
                let rule = |right: &Right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]});
                document["rules"] = rights.iter().map(rule).collect();
            }
            if document["kind"] == "RoleBinding" {
                document["roleRef"]["kind"] = "Role".into();
                document["subjects"][0]["namespace"] = namespace.into();
                binding = document.clone();
            }
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (version, kind) = (text(&document["apiVersion"]), text(&document["kind"]));
            let objects = object(admin, &version, &kind, Some(namespace));
            objects.create(&PostParams::default(), &of(document)).await.unwrap();
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
        let hours = TokenRequestSpec { expiration_seconds: Some(4 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(hours), ..TokenRequest::default() };
        let granted = accounts.create_token_request(NAME, &PostParams::default(), &request).await.unwrap();
        let token = granted.status.and_then(|status| status.token).unwrap();
        Self { token, namespace: namespace.to_owned(), rights, binding }
    }

    /// A kubeconfig by which this account gets into the cluster of the administrator's `file`; at another `server`, if
    /// one is given.
    pub fn write_kubeconfig(&self, file: &File, server: Option<&str>, path: &Path) {
        file.write_for(&json!({"token": self.token}), server, &self.namespace, path);
    }

    /// Takes all its rights away, or gives them back; when this returns, it is so. By `kubeconfig` the account gets in.
    pub async fn grant(&self, admin: &kube::Client, granted: bool, kubeconfig: &Path) {
        let bindings = object(admin, "rbac.authorization.k8s.io/v1", "RoleBinding", Some(&self.namespace));
        if granted {
            bindings.create(&PostParams::default(), &of(self.binding.clone())).await.unwrap();
        } else {
            bindings.delete(NAME, &DeleteParams::default()).await.unwrap();
        }
        self.wait_until(granted, kubeconfig).await;
    }

    /// Waits until the API server knows what the account may do: it hears of it a moment after it is stored.
    pub async fn wait_until(&self, granted: bool, kubeconfig: &Path) {
        let reviews = Api::<SelfSubjectAccessReview>::all(client(kubeconfig).await);
        let right = &self.rights[0];
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (right.resource.as_str(), None),
        };
        let attributes = ResourceAttributes {
            namespace: Some(self.namespace.clone()),
            group: Some(right.group.clone()),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(right.verb.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let known = async {
            let allowed = async || {
                let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
                answer.status.is_some_and(|status| status.allowed)
            };
            // Nothing tells when.
            while allowed().await != granted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, known).await.expect("the API server never hears of it");
    }
}

/// The administrator's kubeconfig, whose first cluster and user are meant.
pub struct File(Value);

impl File {
    /// As it is on disk.
    pub fn read(path: &Path) -> Self {
        Self(serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Where the API server listens.
    pub fn port(&self) -> u16 {
        port_of(self.0["clusters"][0]["cluster"]["server"].as_str().unwrap())
    }

    /// The same for one namespace.
    pub fn write(&self, namespace: &str, path: &Path) {
        self.write_for(&self.0["users"][0]["user"], None, namespace, path);
    }

    fn write_for(&self, user: &Value, server: Option<&str>, namespace: &str, path: &Path) {
        let mut cluster = self.0["clusters"][0]["cluster"].clone();
        if let Some(server) = server {
            cluster["server"] = server.into();
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        });
        // JSON is YAML.
        std::fs::write(path, config.to_string()).unwrap();
    }
}

/// A client by a kubeconfig.
pub async fn client(kubeconfig: &Path) -> kube::Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}
