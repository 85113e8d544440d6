//! The simulated cluster as a whole: starts the API and the controller, and lets the demo and the tests look and
//! meddle without HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::controller::Controller;
use super::store::{Kind, Store, text};
use super::updates::{Author, Cluster};
use super::{http, objects};

pub use super::updates::Write;

/// A deployment that is there from the start.
#[derive(Clone, Debug)]
pub struct SimulatedDeployment {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many replicas it asks for.
    pub replicas: u32,
}

/// A running simulation. It ends when this is dropped.
pub struct SimulatedCluster {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

/// What the API, the watches and the controller share.
pub(super) struct Shared {
    cluster: Mutex<Cluster>,
    changed: Sender<()>,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        // A panic under the lock left whole objects behind: each write ends in one assignment.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a write and wakes whoever waits for one.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let answer = change(&mut self.cluster());
        self.changed.send_replace(());
        answer
    }

    pub(super) fn changed(&self) -> Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl SimulatedCluster {
    /// Starts the API at `bind` (loopback only; port 0 takes a free one). Pods are ready `ready_after` after they
    /// were made.
    pub async fn start(
        bind: SocketAddr,
        ready_after: Duration,
        deployments: Vec<SimulatedDeployment>,
    ) -> io::Result<Self> {
        if !bind.ip().is_loopback() {
            let why = format!("the simulated cluster has no access control, so it does not listen on {bind}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = TcpListener::bind(bind).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            cluster: Mutex::new(Cluster { store: Store::new(), writes: Vec::new() }),
            changed: watch::channel(()).0,
            closed: AtomicBool::new(false),
        });
        let controller = tokio::spawn(control(shared.clone(), Controller::new(ready_after)));
        let router = http::router(shared.clone());
        let server = tokio::spawn(async move {
            // It serves until the task is aborted; accepting never ends by itself.
            let _ = axum::serve(listener, router).await;
        });
        let cluster = Self { shared, address, tasks: [controller, server] };
        for deployment in &deployments {
            cluster.create(&deployment.namespace, &deployment.name, deployment.replicas);
        }
        Ok(cluster)
    }

    /// `http://127.0.0.1:PORT`, for `kubectl --server` and drivers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replicas that a deployment asks for; `None` if it is not there.
    pub fn replicas(&self, namespace: &str, name: &str) -> Option<u32> {
        self.count(namespace, name, "spec", "replicas")
    }

    /// Replicas of it that are ready.
    pub fn ready_replicas(&self, namespace: &str, name: &str) -> Option<u32> {
        self.count(namespace, name, "status", "readyReplicas")
    }

    /// Waits until exactly `ready` replicas of a deployment are ready.
    pub async fn wait_until_ready(&self, namespace: &str, name: &str, ready: u32) {
        let mut changed = self.shared.changed();
        while self.ready_replicas(namespace, name) != Some(ready) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Every write so far that changed the replicas of something, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.cluster().writes.clone()
    }

    /// What a person with `kubectl scale` would do, without HTTP. `false` if the deployment is not there.
    pub fn scale_by_hand(&self, namespace: &str, name: &str, replicas: u32) -> bool {
        let author = Author { user_agent: "by hand", dry_run: false };
        let scale = json!({"spec": {"replicas": replicas}});
        self.shared.write(|cluster| cluster.update_scale(Kind::Deployment, namespace, name, &scale, &author)).is_ok()
    }

    /// Makes a deployment; `false` if there is one of that name.
    pub fn create(&self, namespace: &str, name: &str, replicas: u32) -> bool {
        self.add(Kind::Deployment, objects::deployment(namespace, name, replicas))
    }

    /// Puts a KEDA ScaledObject over a deployment; from then on the API of KEDA is there.
    pub fn add_scaled_object(&self, namespace: &str, name: &str, deployment: &str) -> bool {
        self.add(Kind::ScaledObject, objects::scaled_object(namespace, name, deployment))
    }

    fn add(&self, kind: Kind, object: Value) -> bool {
        debug_assert!(!text(&object, "name").is_empty());
        self.shared.write(|cluster| cluster.store.create(kind, object)).is_ok()
    }

    /// Counts of 0 are left out of the objects.
    fn count(&self, namespace: &str, name: &str, part: &str, field: &str) -> Option<u32> {
        let cluster = self.shared.cluster();
        let deployment = cluster.store.get(Kind::Deployment, namespace, name).ok()?;
        u32::try_from(deployment[part][field].as_u64().unwrap_or(0)).ok()
    }
}

impl Drop for SimulatedCluster {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Watches end when they see it.
        self.shared.changed.send_replace(());
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The controller's loop: a pass at every change and whenever a pod becomes ready.
async fn control(shared: Arc<Shared>, mut controller: Controller) {
    let mut changed = shared.changed();
    loop {
        changed.mark_unchanged();
        let before = shared.cluster().store.revision();
        let next = controller.pass(&mut shared.cluster().store, Instant::now());
        if shared.cluster().store.revision() != before {
            shared.changed.send_replace(());
        }
        match next {
            Some(due) => tokio::select! {
                _ = changed.changed() => {}
                () = sleep_until(due) => {}
            },
            None => {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
