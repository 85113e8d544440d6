//! Driver of the Kubernetes API: reads the scale of a workload and sets it, fenced by uid and resourceVersion,
//! so that the API server itself refuses a repeat or a write based on what is no longer so.
//!
//! It never patches blindly, never retries, and decides nothing. The autoscaler calls it.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::time::timeout;

use super::scale::{Owner, ScaleState, Scaled};
use super::{DEADLINE, WorldError, excerpt, install_crypto_provider, with_causes};
use crate::model::spec::Workload;
use crate::torture::{self, Sabotage};

/// How often a read is begun anew because the object changed between its two halves.
const READ_ATTEMPTS: u32 = 4;
/// How much of a foreign message is kept.
const REASON_BYTES: usize = 512;

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A kubeconfig file; without one `KUBECONFIG`, `~/.kube/config` or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig; its current one if none is given.
    pub context: Option<String>,
    /// A plain `http://host:port` without credentials (the demo's simulated cluster); wins over the others.
    pub server: Option<String>,
}

/// A connection to one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
}

/// Does a call change something? Decides what silence means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl Cluster {
    /// Reads the configuration and makes a client; nothing is sent yet.
    pub async fn connect(options: &Options) -> Result<Self, WorldError> {
        install_crypto_provider();
        let target = match (&options.server, &options.context) {
            (Some(server), _) => server.clone(),
            (None, Some(context)) => format!("kubernetes context {context}"),
            (None, None) => "kubernetes".to_owned(),
        };
        let invalid = |reason: String| WorldError::Invalid { target: target.clone(), reason };
        let mut config = configuration(options).await.map_err(invalid)?;
        // A retry inside the client would hide from us that a write may have been done.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(3));
        config.read_timeout = Some(DEADLINE);
        let client = kube::Client::try_from(config).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { client })
    }

    /// What the workload looks like now: scale, generation and owner, all of one version of the object.
    pub async fn scale_of(&self, workload: &Workload) -> Result<ScaleState, WorldError> {
        let address = Address::of(workload, self.client.default_namespace())?;
        let objects = self.objects(&address);
        for _ in 0..READ_ATTEMPTS {
            let scale = call(Kind::Read, &address.target, objects.get_scale(&address.name)).await?;
            let object = call(Kind::Read, &address.target, objects.get(&address.name)).await?;
            let scaled = scaled(&address.target, Kind::Read, scale)?;
            // The object may change between the two reads; numbers of two versions would be no fence.
            if object.metadata.uid.as_deref() != Some(&scaled.uid)
                || object.metadata.resource_version.as_deref() != Some(&scaled.resource_version)
            {
                continue;
            }
            let managed_by = self.owner(&address, &object).await?;
            return Ok(ScaleState {
                uid: scaled.uid,
                generation: object.metadata.generation.unwrap_or(0),
                resource_version: scaled.resource_version,
                replicas: scaled.replicas,
                ready: ready(&address, &object),
                managed_by,
            });
        }
        Err(WorldError::Unreachable {
            target: address.target,
            reason: format!("it changed during each of {READ_ATTEMPTS} reads"),
        })
    }

    /// Asks for `to` replicas, if the object is still the one of `uid` at `resource_version`; otherwise nothing
    /// is done and the error is [`WorldError::Conflict`].
    pub async fn set_replicas(
        &self,
        workload: &Workload,
        uid: &str,
        resource_version: &str,
        to: u32,
    ) -> Result<Scaled, WorldError> {
        let address = Address::of(workload, self.client.default_namespace())?;
        let invalid = |reason: &str| WorldError::Invalid { target: address.target.clone(), reason: reason.into() };
        // Either of them empty would be no fence: the API server takes that as "whatever is there".
        if uid.is_empty() || resource_version.is_empty() {
            return Err(invalid("a write needs the uid and the resourceVersion that were read"));
        }
        let replicas = i32::try_from(to).map_err(|_| invalid("more replicas than Kubernetes can count"))?;
        let fenced = !torture::is_without(Sabotage::NoResourceVersion);
        let scale = Scale {
            metadata: ObjectMeta {
                name: Some(address.name.clone()),
                namespace: Some(address.namespace.clone()),
                uid: fenced.then(|| uid.to_owned()),
                resource_version: fenced.then(|| resource_version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(ScaleSpec { replicas: Some(replicas) }),
            status: None,
        };
        let objects = self.objects(&address);
        let write = PostParams { field_manager: Some("hms-ops".to_owned()), ..PostParams::default() };
        let answer = call(Kind::Write, &address.target, objects.replace_scale(&address.name, &write, &scale)).await?;
        scaled(&address.target, Kind::Write, answer)
    }

    fn objects(&self, address: &Address) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &address.namespace, &address.resource)
    }

    /// The KEDA ScaledObject or HPA that scales this object. KEDA first: it makes an HPA of its own.
    async fn owner(&self, address: &Address, object: &DynamicObject) -> Result<Option<Owner>, WorldError> {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        if let Some(name) = self.scaled_object(address, kind).await? {
            return Ok(Some(Owner::Keda(name)));
        }
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &address.namespace);
        let target = format!("horizontalpodautoscalers in {}", address.namespace);
        let list = match call(Kind::Read, &target, autoscalers.list(&ListParams::default())).await {
            Err(WorldError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let owner = list.items.into_iter().find(|autoscaler| {
            let to = &autoscaler.spec.scale_target_ref;
            address.is_named_by(kind, &to.name, &to.kind, to.api_version.as_deref())
        });
        Ok(owner.and_then(|autoscaler| autoscaler.metadata.name).map(Owner::Hpa))
    }

    async fn scaled_object(&self, address: &Address, kind: &str) -> Result<Option<String>, WorldError> {
        let keda = ApiResource {
            group: "keda.sh".into(),
            version: "v1alpha1".into(),
            api_version: "keda.sh/v1alpha1".into(),
            kind: "ScaledObject".into(),
            plural: "scaledobjects".into(),
        };
        let objects: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &address.namespace, &keda);
        let target = format!("scaledobjects in {}", address.namespace);
        let list = match call(Kind::Read, &target, objects.list(&ListParams::default())).await {
            // No such API: KEDA is not installed.
            Err(WorldError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let owner = list.items.into_iter().find(|object| {
            let to = &object.data["spec"]["scaleTargetRef"];
            // KEDA's own defaults: a Deployment of apps/v1.
            let text = |field: &str, default| to[field].as_str().unwrap_or(default).to_owned();
            address.is_named_by(
                kind,
                &text("name", ""),
                &text("kind", "Deployment"),
                Some(&text("apiVersion", "apps/v1")),
            )
        });
        Ok(owner.and_then(|object| object.metadata.name))
    }
}

async fn configuration(options: &Options) -> Result<Config, String> {
    if let Some(server) = &options.server {
        if !server.starts_with("http://") {
            return Err(format!("{server:?} must begin with http://"));
        }
        return match server.parse() {
            Ok(uri) => Ok(Config::new(uri)),
            Err(error) => Err(format!("{server:?} is no address: {error}")),
        };
    }
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    match &options.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| error.to_string())?;
            Config::from_custom_kubeconfig(file, &choice).await.map_err(|error| error.to_string())
        }
        None if options.context.is_some() => Config::from_kubeconfig(&choice).await.map_err(|error| error.to_string()),
        None => Config::infer().await.map_err(|error| error.to_string()),
    }
}

/// Where a workload is in the API.
struct Address {
    /// For people: `deployment default/scanner`.
    target: String,
    resource: ApiResource,
    namespace: String,
    name: String,
    /// `deployment` or `statefulset`: kinds that leave `status.readyReplicas` out when it is 0.
    built_in: bool,
}

impl Address {
    fn of(workload: &Workload, default_namespace: &str) -> Result<Self, WorldError> {
        let namespace = workload.namespace.as_deref().unwrap_or(default_namespace).to_owned();
        let target = format!("{} {namespace}/{}", workload.kind, workload.name);
        let invalid = |reason: &str| WorldError::Invalid { target: excerpt(&target, 300), reason: reason.into() };
        // They become part of a path.
        if !is_dns_name(&namespace) || !is_dns_name(&workload.name) {
            return Err(invalid("names in Kubernetes are lower-case letters, digits, - and ."));
        }
        let (group, version, plural) = match workload.kind.as_str() {
            "deployment" => ("apps", "v1", "deployments"),
            "statefulset" => ("apps", "v1", "statefulsets"),
            custom => custom_resource(custom).ok_or_else(|| {
                invalid("the kind is deployment, statefulset or resource.group/version of a custom resource")
            })?,
        };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            // Only server-side apply would need the kind; the server's answers name it.
            kind: String::new(),
            plural: plural.to_owned(),
        };
        let built_in = group == "apps";
        Ok(Self { resource, namespace, name: workload.name.clone(), built_in, target })
    }

    /// Does a reference (of an HPA, of a ScaledObject) mean this workload, whose kind is `kind`?
    fn is_named_by(&self, kind: &str, name: &str, ref_kind: &str, api_version: Option<&str>) -> bool {
        // The version may differ from ours, the group may not.
        let group = api_version.map(|text| text.split_once('/').map_or("", |(group, _)| group));
        name == self.name && ref_kind == kind && group.is_none_or(|group| group == self.resource.group)
    }
}

/// `rollouts.argoproj.io/v1alpha1` -> group, version, plural.
fn custom_resource(text: &str) -> Option<(&str, &str, &str)> {
    let (resource, version) = text.split_once('/')?;
    let (plural, group) = resource.split_once('.')?;
    [group, version, plural].into_iter().all(is_dns_name).then_some((group, version, plural))
}

fn is_dns_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= 253
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'.'))
}

fn ready(address: &Address, object: &DynamicObject) -> Option<u32> {
    let said = object.data["status"]["readyReplicas"].as_u64().and_then(|ready| u32::try_from(ready).ok());
    if address.built_in { Some(said.unwrap_or(0)) } else { said }
}

/// What the scale subresource says, or an error if the answer lacks what a fence needs.
fn scaled(target: &str, kind: Kind, scale: Scale) -> Result<Scaled, WorldError> {
    // Absent replicas are 0: the API server leaves them out then.
    let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
    match (scale.metadata.uid, scale.metadata.resource_version, u32::try_from(replicas)) {
        (Some(uid), Some(resource_version), Ok(replicas)) => Ok(Scaled { uid, resource_version, replicas }),
        _ => Err(silence(kind, target, "the scale has no uid, no resourceVersion or negative replicas".to_owned())),
    }
}

/// One request, bounded in time, its failure put in our words.
async fn call<T>(kind: Kind, target: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, WorldError> {
    match timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(kind, target, error)),
        Err(_) => Err(silence(kind, target, format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

fn classify(kind: Kind, target: &str, error: kube::Error) -> WorldError {
    let target = target.to_owned();
    let kube::Error::Api(status) = error else {
        return silence(kind, &target, with_causes(&error));
    };
    let reason = excerpt(&status.message, REASON_BYTES);
    match status.code {
        404 => WorldError::NotFound { target },
        409 => WorldError::Conflict { target, reason },
        401 | 403 => WorldError::Forbidden { target, reason },
        // A server that fails while it writes may have written.
        0 | 500.. if kind == Kind::Write => WorldError::Unknown { target, reason },
        0 => WorldError::Unreachable { target, reason },
        status_code => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let retry_after_ms = (seconds > 0).then(|| u64::from(seconds) * 1000);
            WorldError::Refused { target, status: status_code, reason, retry_after_ms }
        }
    }
}

/// No answer, or none that can be read.
fn silence(kind: Kind, target: &str, reason: String) -> WorldError {
    let (target, reason) = (target.to_owned(), excerpt(&reason, REASON_BYTES));
    match kind {
        Kind::Read => WorldError::Unreachable { target, reason },
        Kind::Write => WorldError::Unknown { target, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: &str, name: &str) -> Workload {
        Workload { kind: kind.into(), name: name.into(), namespace: None, context: None }
    }

    #[test]
    fn kinds_and_custom_resources_have_their_place_in_the_api() {
        for (kind, path) in [
            ("deployment", "apps/v1 deployments"),
            ("statefulset", "apps/v1 statefulsets"),
            ("rollouts.argoproj.io/v1alpha1", "argoproj.io/v1alpha1 rollouts"),
        ] {
            let address = Address::of(&workload(kind, "scanner"), "prod").unwrap();
            assert_eq!(format!("{} {}", address.resource.api_version, address.resource.plural), path);
            assert_eq!(address.target, format!("{kind} prod/scanner"));
        }
    }

    #[test]
    fn names_that_would_change_the_path_are_never_sent() {
        for (kind, name) in [
            ("deployment", "../secrets"),
            ("deployment", "a/scale"),
            ("deployment", "a?x=1"),
            ("deployment", "-a"),
            ("deployment", ""),
            ("pods", "a"),
            ("rollouts.argoproj.io", "a"),
            ("a/b.c/v1", "a"),
        ] {
            let refused = Address::of(&workload(kind, name), "default");
            assert!(matches!(refused, Err(WorldError::Invalid { .. })), "{kind} {name}");
        }
    }

    #[test]
    fn a_reference_must_agree_in_name_kind_and_group() {
        let address = Address::of(&workload("deployment", "scanner"), "default").unwrap();
        for (name, kind, api_version, is_meant) in [
            ("scanner", "Deployment", Some("apps/v1"), true),
            ("scanner", "Deployment", Some("apps/v1beta2"), true),
            ("scanner", "Deployment", None, true),
            ("scanner", "Deployment", Some("other.io/v1"), false),
            ("scanner", "Deployment", Some("v1"), false),
            ("scanner", "StatefulSet", Some("apps/v1"), false),
            ("gate", "Deployment", Some("apps/v1"), false),
        ] {
            assert_eq!(address.is_named_by("Deployment", name, kind, api_version), is_meant, "{name} {kind}");
        }
    }

    #[test]
    fn a_failing_server_leaves_a_write_unknown_and_a_read_undone() {
        let failed = |code| kube::Error::Api(kube::core::Status::failure("boom", "").with_code(code).boxed());
        let unknown = WorldError::Unknown { target: "t".into(), reason: "boom".into() };
        assert_eq!(classify(Kind::Write, "t", failed(504)), unknown);
        assert!(matches!(classify(Kind::Read, "t", failed(504)), WorldError::Refused { status: 504, .. }));
        assert!(matches!(classify(Kind::Write, "t", failed(422)), WorldError::Refused { status: 422, .. }));
        assert!(matches!(classify(Kind::Write, "t", failed(403)), WorldError::Forbidden { .. }));
    }
}
