//! The demo's Kubernetes: the simulated cluster, or a real one that the user names. It answers one question, how
//! many lanes are open (replicas ready), and tells the autoscaler where to go.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::error::Error;
use crate::local::world::{SimulatedCluster, SimulatedDeployment};
use crate::model::spec::Workload;
use crate::world::kubernetes::{Cluster, Options};

/// Where the simulated deployment lives, and what a client without a namespace means.
const NAMESPACE: &str = "default";
/// How long a simulated pod takes to be ready.
const READY_AFTER: Duration = Duration::from_secs(3);
/// Between two looks at a real cluster.
const LOOK: Duration = Duration::from_millis(500);

/// See the module. Dropping it ends the simulated cluster; a real one is left as it is.
pub struct Airport {
    lanes: Lanes,
    options: Options,
    /// How `kubectl` gets there.
    kubectl: String,
}

enum Lanes {
    Simulated(Arc<SimulatedCluster>, Workload),
    Real { ready: Arc<AtomicU32>, looking: JoinHandle<()> },
}

impl Airport {
    /// A simulated cluster with the workload at `replicas`, and waits until they are ready.
    ///
    /// # Errors
    /// No port on loopback.
    pub fn simulated(runtime: &Runtime, workload: &Workload, replicas: u32) -> Result<Self, Error> {
        let deployment = SimulatedDeployment { namespace: NAMESPACE.to_owned(), name: workload.name.clone(), replicas };
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let cluster = runtime.block_on(async {
            let cluster = SimulatedCluster::start(any, READY_AFTER, vec![deployment]).await?;
            cluster.wait_until_ready(NAMESPACE, &workload.name, replicas).await;
            Ok::<_, std::io::Error>(cluster)
        });
        let cluster = cluster.map_err(|source| Error::Io { what: "starting the simulated cluster".into(), source })?;
        let url = cluster.url();
        Ok(Self {
            lanes: Lanes::Simulated(Arc::new(cluster), workload.clone()),
            options: Options { server: Some(url.clone()), ..Options::default() },
            kubectl: format!("kubectl --server={url}"),
        })
    }

    /// The cluster of a kubeconfig, where the workload must be there with `replicas` that are ready. Creates nothing.
    ///
    /// # Errors
    /// It is not; no way into the cluster.
    pub fn real(runtime: &Runtime, kubeconfig: &Path, workload: &Workload, replicas: u32) -> Result<Self, Error> {
        let options = Options { kubeconfig: Some(PathBuf::from(kubeconfig)), ..Options::default() };
        let kubectl = format!("kubectl --kubeconfig={}", kubeconfig.display());
        let needs =
            |source| Error::Workload { kubectl: kubectl.clone(), name: workload.name.clone(), replicas, source };
        let cluster = runtime.block_on(Cluster::connect(&options)).map_err(|error| needs(Some(error)))?;
        let found = runtime.block_on(cluster.scale_of(workload)).map_err(|error| needs(Some(error)))?;
        if found.replicas != replicas || found.ready != Some(replicas) {
            return Err(needs(None));
        }
        let ready = Arc::new(AtomicU32::new(replicas));
        let looking = runtime.spawn(look(cluster, workload.clone(), ready.clone()));
        Ok(Self { lanes: Lanes::Real { ready, looking }, options, kubectl })
    }

    /// Asks for the lanes that are open now; may be called from any thread.
    pub fn lanes(&self) -> Arc<dyn Fn() -> u32 + Send + Sync> {
        match &self.lanes {
            Lanes::Simulated(cluster, workload) => {
                let (cluster, name) = (cluster.clone(), workload.name.clone());
                Arc::new(move || cluster.ready_replicas(NAMESPACE, &name).unwrap_or(0))
            }
            Lanes::Real { ready, .. } => {
                let ready = ready.clone();
                Arc::new(move || ready.load(Ordering::Relaxed))
            }
        }
    }

    /// For the autoscaler.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// `kubectl` with the flag that leads here.
    pub fn kubectl(&self) -> &str {
        &self.kubectl
    }

    /// Is it ours?
    pub fn is_simulated(&self) -> bool {
        matches!(self.lanes, Lanes::Simulated(..))
    }
}

impl Drop for Airport {
    fn drop(&mut self) {
        if let Lanes::Real { looking, .. } = &self.lanes {
            looking.abort();
        }
    }
}

/// Keeps `ready` as it is in a real cluster; what cannot be seen stays as it was seen last.
async fn look(cluster: Cluster, workload: Workload, ready: Arc<AtomicU32>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        match cluster.scale_of(&workload).await {
            Ok(state) => ready.store(state.ready.unwrap_or(state.replicas), Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the lanes cannot be counted"),
        }
    }
}
