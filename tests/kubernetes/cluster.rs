//! A Kubernetes for one test: the real one that `OPS_TEST_KUBECONFIG` names (tests/kubernetes/run starts it), else a
//! simulated one of its own. Tests see and change both through the API alone, in a namespace that no other test has;
//! what the driver and the autoscaler may do there is what `deploy/kubernetes.yaml` grants.
//!
//! Shared by `tests/kubernetes.rs`, the actors' tests on Kafka and the demo's.

// Each binary that includes this module uses a part of it.
#![allow(dead_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hms_ops::local::world::SimulatedCluster;
use hms_ops::model::spec::Workload;
use hms_ops::world::WorldError;
use hms_ops::world::kubernetes::{Cluster, Options};
use hms_ops::world::scale::ScaleState;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::config::Config;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use account::{Account, File};
use proxy::Proxy;

#[path = "account.rs"]
pub mod account;
#[path = "apiserver.rs"]
pub mod apiserver;
#[path = "proxy.rs"]
pub mod proxy;

/// Long enough for anything that happens at all on a busy machine: reaching it is a failure.
pub const SOON: Duration = Duration::from_secs(90);
/// Names the administrator's kubeconfig of a real cluster.
const KUBECONFIG: &str = "OPS_TEST_KUBECONFIG";
/// A simulated pod is ready after this time.
const READY_AFTER: Duration = Duration::from_millis(50);

/// A workload as a watch saw it.
#[derive(Clone, Debug)]
struct Seen {
    kind: String,
    name: String,
    uid: String,
    version: String,
    replicas: u32,
    ready: u32,
    gone: bool,
}

/// See the module.
pub struct Kubernetes {
    /// As somebody who may do everything.
    pub client: kube::Client,
    /// The test's own.
    pub namespace: String,
    options: Options,
    kubectl: String,
    seen: watch::Receiver<Vec<Seen>>,
    following: Vec<JoinHandle<()>>,
    /// Who the driver is in a real cluster.
    pub account: Option<Account>,
    _simulated: Option<SimulatedCluster>,
    scratch: tempfile::TempDir,
}

/// The kubeconfig of the real cluster, if the tests are to use one.
pub fn real() -> Option<PathBuf> {
    std::env::var_os(KUBECONFIG).filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Kubernetes {
    /// Without any workload.
    pub async fn start() -> Self {
        // The error only says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match real() {
            Some(kubeconfig) => Self::start_real(&kubeconfig).await,
            None => Self::start_simulated().await,
        }
    }

    /// With a Deployment `scanner` of so many replicas, all ready.
    pub async fn with_scanner(replicas: u32) -> Self {
        let kubernetes = Self::start().await;
        kubernetes.create("Deployment", "scanner", replicas).await;
        kubernetes.wait_until_ready("scanner", replicas).await;
        kubernetes
    }

    async fn start_simulated() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let simulated = SimulatedCluster::start(any, READY_AFTER, Vec::new()).await.unwrap();
        let url = simulated.url();
        let client = kube::Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let options = Options { server: Some(url.clone()), ..Options::default() };
        let kubectl = format!("--server={url}");
        let scratch = tempfile::tempdir().unwrap();
        Self::follow(client, "default".to_owned(), (options, kubectl), (None, Some(simulated)), scratch).await
    }

    async fn start_real(kubeconfig: &Path) -> Self {
        let client = account::client(kubeconfig).await;
        let made = object(&client, "v1", "Namespace", None)
            .create(&PostParams::default(), &of(json!({"metadata": {"generateName": "test-"}})))
            .await
            .unwrap();
        let namespace = made.metadata.name.unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let account = Account::create(&client, &namespace, |_| true).await;
        let (admin, autoscaler) = (scratch.path().join("admin"), scratch.path().join("autoscaler"));
        let file = File::read(kubeconfig);
        file.write(&namespace, &admin);
        account.write_kubeconfig(&file, None, &autoscaler);
        account.wait_until(true, &autoscaler).await;
        let options = Options { kubeconfig: Some(autoscaler), ..Options::default() };
        let kubectl = format!("--kubeconfig={}", admin.display());
        Self::follow(client, namespace, (options, kubectl), (Some(account), None), scratch).await
    }

    async fn follow(
        client: kube::Client,
        namespace: String,
        (options, kubectl): (Options, String),
        (account, simulated): (Option<Account>, Option<SimulatedCluster>),
        scratch: tempfile::TempDir,
    ) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let mut following = Vec::new();
        for kind in ["Deployment", "StatefulSet"] {
            let workloads = object(&client, "apps/v1", kind, Some(&namespace));
            let list = workloads.list(&ListParams::default()).await.unwrap();
            assert!(list.items.is_empty(), "the namespace is new");
            let version = list.metadata.resource_version.unwrap();
            following.push(tokio::spawn(watch_workloads(kind, workloads, version, sender.clone())));
        }
        Self { client, namespace, options, kubectl, seen, following, account, _simulated: simulated, scratch }
    }

    /// How the autoscaler gets here.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The same by way of a proxy.
    pub async fn behind_a_proxy(&self) -> (Proxy, Options) {
        match &self.account {
            Some(account) => {
                let file = File::read(&real().unwrap());
                let proxy = Proxy::start(file.port()).await;
                let kubeconfig = self.scratch.path().join("proxied");
                account.write_kubeconfig(&file, Some(&format!("https://127.0.0.1:{}", proxy.port())), &kubeconfig);
                (proxy, Options { kubeconfig: Some(kubeconfig), ..Options::default() })
            }
            None => {
                let proxy = Proxy::start(port_of(self.options.server.as_deref().unwrap())).await;
                let server = format!("http://127.0.0.1:{}", proxy.port());
                (proxy, Options { server: Some(server), ..Options::default() })
            }
        }
    }

    /// The flag by which `kubectl` gets here, as somebody who may do everything.
    pub fn kubectl(&self) -> &str {
        &self.kubectl
    }

    /// A directory that goes with this.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The driver under test, as the autoscaler makes it.
    pub async fn driver(&self) -> Cluster {
        Cluster::connect(&self.options).await.unwrap()
    }

    /// Objects of a kind in the test's namespace.
    pub fn objects(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        object(&self.client, api_version, kind, Some(&self.namespace))
    }

    /// Makes a Deployment or a StatefulSet.
    pub async fn create(&self, kind: &str, name: &str, replicas: u32) {
        let labels = json!({"app": name});
        let workload = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{"name": "main", "image": "nothing/runs:1"}],
                    },
                },
            },
        });
        self.objects("apps/v1", kind).create(&PostParams::default(), &of(workload)).await.unwrap();
    }

    /// Deletes a Deployment; when this returns it is gone.
    pub async fn delete(&self, name: &str) {
        let uid = self.get(name).await.metadata.uid.unwrap();
        self.objects("apps/v1", "Deployment").delete(name, &DeleteParams::background()).await.unwrap();
        self.wait_for(&format!("the end of {name}"), |seen| seen.iter().any(|seen| seen.gone && seen.uid == uid)).await;
    }

    /// What a person with `kubectl scale` would do to a Deployment.
    pub async fn scale_by_hand(&self, name: &str, replicas: u32) {
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.objects("apps/v1", "Deployment").patch_scale(name, &PatchParams::default(), &scale).await.unwrap();
    }

    /// Gives a Deployment another `labels` or `annotations`.
    pub async fn note(&self, name: &str, where_to: &str) {
        let note = Patch::Merge(json!({"metadata": {where_to: {"touched": "yes"}}}));
        self.objects("apps/v1", "Deployment").patch(name, &PatchParams::default(), &note).await.unwrap();
    }

    /// Puts a HorizontalPodAutoscaler over a Deployment. It owns the replicas, and leaves 1 to 10 of them as they are.
    pub async fn add_autoscaler(&self, name: &str, deployment: &str) {
        let autoscaler = json!({
            "metadata": {"name": name},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
                "minReplicas": 1, "maxReplicas": 10,
            },
        });
        let autoscalers = self.objects("autoscaling/v2", "HorizontalPodAutoscaler");
        autoscalers.create(&PostParams::default(), &of(autoscaler)).await.unwrap();
    }

    async fn get(&self, name: &str) -> DynamicObject {
        self.objects("apps/v1", "Deployment").get(name).await.unwrap()
    }

    /// Replicas that a Deployment asks for.
    pub async fn replicas(&self, name: &str) -> u32 {
        count(&self.get(name).await.data["spec"]["replicas"])
    }

    /// Waits until a workload asks for `replicas`, and all of them are ready and no more.
    pub async fn wait_until_ready(&self, name: &str, replicas: u32) {
        let ready = |seen: &Seen| !seen.gone && (seen.replicas, seen.ready) == (replicas, replicas);
        self.wait_for(&format!("{replicas} ready replicas of {name}"), |all| {
            all.iter().rfind(|seen| seen.name == name).is_some_and(ready)
        })
        .await;
    }

    /// Every write so far that changed the replicas of a Deployment: before and after, in order.
    pub async fn writes(&self, name: &str) -> Vec<(u32, u32)> {
        // What the API says now must have been seen.
        let version = self.get(name).await.metadata.resource_version.unwrap();
        let mut writes = Vec::new();
        self.wait_for(&format!("{name} at {version}"), |all| {
            let of_it: Vec<&Seen> = all.iter().filter(|seen| seen.kind == "Deployment" && seen.name == name).collect();
            writes = of_it
                .windows(2)
                .filter(|pair| pair[0].uid == pair[1].uid && pair[0].replicas != pair[1].replicas)
                .map(|pair| (pair[0].replicas, pair[1].replicas))
                .collect();
            of_it.iter().any(|seen| seen.version == version)
        })
        .await;
        writes
    }

    async fn wait_for(&self, what: &str, mut there: impl FnMut(&Vec<Seen>) -> bool) {
        let mut seen = self.seen.clone();
        let found = timeout(SOON, seen.wait_for(|seen| there(seen))).await.is_ok_and(|found| found.is_ok());
        assert!(found, "still waiting for {what} after {:#?}", self.seen.borrow());
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.following.iter().for_each(JoinHandle::abort);
    }
}

/// Writes down every state of the workloads from `version` on.
async fn watch_workloads(
    kind: &'static str,
    workloads: Api<DynamicObject>,
    mut version: String,
    seen: Arc<watch::Sender<Vec<Seen>>>,
) {
    loop {
        // A watch ends now and then; the next goes on where it ended.
        let stream = workloads.watch(&WatchParams::default(), &version).await.expect("the API can be watched");
        let mut stream = std::pin::pin!(stream);
        while let Some(Ok(event)) = stream.next().await {
            let (workload, gone) = match event {
                WatchEvent::Added(workload) | WatchEvent::Modified(workload) => (workload, false),
                WatchEvent::Deleted(workload) => (workload, true),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => panic!("{kind}: {error:?}"),
            };
            let (spec, status) = (&workload.data["spec"], &workload.data["status"]);
            version = workload.metadata.resource_version.unwrap();
            let state = Seen {
                kind: kind.to_owned(),
                name: workload.metadata.name.unwrap(),
                uid: workload.metadata.uid.unwrap(),
                version: version.clone(),
                replicas: count(&spec["replicas"]),
                ready: count(&status["readyReplicas"]),
                gone,
            };
            seen.send_modify(|all| all.push(state));
        }
    }
}

/// The port of an address that names one.
fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok()).expect(url)
}

/// Counts of 0 are left out of objects.
fn count(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or(0)).unwrap()
}

/// Objects of a kind whose plural is the usual one.
pub fn object(client: &kube::Client, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// A body to be sent; its kind goes by the address.
pub fn of(body: Value) -> DynamicObject {
    serde_json::from_value(body).unwrap()
}

/// The Deployment `scanner`.
pub fn scanner() -> Workload {
    workload("deployment", "scanner")
}

/// A workload where the kubeconfig leads.
pub fn workload(kind: &str, name: &str) -> Workload {
    Workload { kind: kind.into(), name: name.into(), namespace: None, context: None }
}

/// What a driver sees of `scanner`; asks again when the server asks for that, as actors do. (A real one has just been
/// given its custom resources.)
pub async fn read(driver: &Cluster) -> ScaleState {
    loop {
        match driver.scale_of(&scanner()).await {
            Err(WorldError::Refused { status: 429, retry_after_ms: Some(after_ms), .. }) => {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
            }
            seen => return seen.unwrap(),
        }
    }
}
